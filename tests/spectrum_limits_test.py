"""Limits of bases: published figures, closed forms, first violations."""

import decimal
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from rope_jax import positions
from rope_jax.spectrum import limits, spectra, violation
from rope_jax.spectrum.spectra import Spectrum

TAU = '6.28318530717958647692528676655900576839433879875021164'


# The scaling laws.


@pytest.mark.parametrize(
  ('name', 'args'),
  [
    ('llama2(128,1e4,4096)', (1e4, 128, 4096)),
    ('llama1(128,1e4,2048)', (1e4, 128, 2048)),
    ('llama3(128,5e5,8192)', (5e5, 128, 8192)),
  ],
)
def test_golden_critical_dimensions(golden, name, args):
  assert limits.critical_dimension(*args) == golden['critical_dimension'][name]


def test_published_critical_dimensions():
  assert limits.critical_dimension(1e4, 128, 4096) == 92
  assert limits.critical_dimension(1e4, 128, 2048) == 82
  assert limits.critical_dimension(5e5, 128, 8192) == 70


@pytest.mark.parametrize('theta', [2, 500, 1e4, 5e5, 1e8])
@pytest.mark.parametrize('head_dim', [2, 8, 64, 96, 128, 256])
def test_a_critical_dimension_counts_whole_turns(theta, head_dim):
  """2 pi theta^(2k/d) <= T, raised to the power d: no logarithm."""
  with decimal.localcontext() as context:
    context.prec = 80
    context.Emax = 10**6
    for train_len in (1, 6, 7, 64, 2048, 4096, 10**6):
      turns = (decimal.Decimal(train_len) / decimal.Decimal(TAU)) ** head_dim
      count = sum(
        decimal.Decimal(theta) ** (2 * k) <= turns for k in range(head_dim // 2)
      )
      found = limits.critical_dimension(theta, head_dim, train_len)
      assert found == 2 * count, train_len


def test_golden_extrapolation_limits(golden):
  for theta, want in golden['scaling_law_T_extra_llama2'].items():
    found = limits.extrapolation_limit(float(theta), 128, 92)
    assert found == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
  ('theta', 'want', 'digits'),
  [
    (1e4, 4711.7, 1),
    (2e4, 7754.3, 1),
    (4e4, 12761.8, 1),
    (8e4, 21002.7, 1),
    (1.2e5, 28108.7, 1),
    (6e5, 89377, 0),
    (1e6, 129027, 0),
    (2e6, 212347, 0),
  ],
)
def test_tabled_extrapolation_limits(theta, want, digits):
  assert round(limits.extrapolation_limit(theta, 128, 92), digits) == want
  length = limits.extrapolation_limit(theta, 128, 92)
  # It is the wavelength of the first pair that was not trained throughout.
  wavelength = spectra.plain(theta, 128).wavelength_f[46]
  assert length == pytest.approx(wavelength, rel=1e-12)


def test_the_base_for_a_length_has_that_limit():
  for target_len in (7, 4096, 131072, 10**7):
    base = limits.extrapolation_base(target_len, 128, 92)
    power = (target_len / (2 * math.pi)) ** (64 / 46)
    assert base == pytest.approx(power, rel=1e-12)
    limit = limits.extrapolation_limit(base, 128, 92)
    assert limit == pytest.approx(target_len, rel=1e-12)


def test_golden_critical_bases(golden):
  want = golden['scaling_law_critical_base']
  found = limits.critical_base(1e4, 4096, 16384)
  assert found == pytest.approx(want['pre4096_tune16384'], rel=1e-12)
  assert round(found) == 71738
  for length in (4096, 16384):
    assert limits.small_bases(length) == pytest.approx(
      want[f'beta123_tune{length}'], rel=1e-12
    )


def test_published_small_bases():
  assert [round(b) for b in limits.small_bases(4096)] == [2608, 1304, 652]
  assert [round(b) for b in limits.small_bases(16384)] == [10430, 5215, 2608]


@pytest.mark.parametrize(('theta', 'train_len'), [(1e4, 2048), (5e5, 8192)])
def test_a_critical_base_keeps_the_pair_that_just_turns_once(theta, train_len):
  """The wavelength that was train_len under theta is tune_len under it."""
  for tune_len in (train_len, 3 * train_len, 2**20):
    base = limits.critical_base(theta, train_len, tune_len)
    share = halve(theta, train_len)  # 2k / d of that pair.
    assert 2 * math.pi * base**share == pytest.approx(tune_len, rel=1e-10)


def halve(theta, length):
  low, high = 0.0, 1.0
  for _ in range(60):
    middle = (low + high) / 2
    if 2 * math.pi * theta**middle < length:
      low = middle
    else:
      high = middle
  return low


def test_tuning_above_and_below_the_critical_base():
  above = limits.tuned(1e4, 128, 4096, 1e6, 16384)
  assert (round(above.limit), above.critical_dim) == (129027, 92)
  assert round(above.critical_base) == 71738
  below = limits.tuned(1e4, 128, 4096, 5e4, 16384)
  assert (below.limit, below.critical_dim) == (16384, 94)
  edge = limits.critical_base(1e4, 4096, 16384)
  assert limits.tuned(1e4, 128, 4096, edge, 16384).limit == 16384
  same = limits.tuned(1e4, 128, 4096, 1e4)
  assert (same.limit, same.critical_dim) == (4096, 92)


def test_two_heads_in_one_process_in_both_orders():
  first = [limits.critical_dimension(1e4, d, 4096) for d in (128, 64)]
  again = [limits.critical_dimension(1e4, d, 4096) for d in (64, 128)]
  assert first == again[::-1] == [92, 46]


# Bases for a length.


def test_the_published_fit_is_a_fit_of_the_published_bases():
  """Least squares in logarithms find its power and its factor."""
  x, y = (
    [math.log(value) for value in values]
    for values in (
      [1024 * k for k in limits.PAPER_BASES],
      limits.PAPER_BASES.values(),
    )
  )
  mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
  power = sum(
    (a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)
  ) / sum((a - mean_x) ** 2 for a in x)
  assert power == pytest.approx(1.628, abs=0.02)
  for length in (1024, 2**15, 2**20):
    assert limits.fitted_base(length) == pytest.approx(
      math.exp(mean_y + power * (math.log(length) - mean_x)), rel=0.15
    )
  assert limits.fitted_base(1) == 0.0424
  assert limits.fitted_base(10**5) == pytest.approx(0.0424 * 10**8.14)


def cosine_integral(x: Fraction) -> float:
  """Ci(x) = gamma + log x + sum_n (-1)^n x^2n / (2n (2n)!)."""
  total, term = Fraction(0), Fraction(1)
  for n in range(1, 12):
    term *= -x * x / ((2 * n - 1) * (2 * n))
    total += term / (2 * n)
  gamma = 0.57721566490153286061
  return gamma + math.log(x) + float(total)


def test_the_asymptotic_base_ends_at_the_first_zero_of_ci():
  zero = 1000 / limits.asymptotic_base(1000)
  assert zero == pytest.approx(0.6165, abs=5e-5)
  assert abs(cosine_integral(Fraction(zero))) < 1e-15
  assert cosine_integral(Fraction(zero) * 99 / 100) < 0
  assert cosine_integral(Fraction(zero) * 101 / 100) > 0


def test_the_asymptotic_base_is_where_wide_heads_stop_to_fail():
  length, wide = 2000, 8192
  base = limits.asymptotic_base(length)
  below = limits.first_violation(spectra.plain(0.97 * base, wide), length)
  assert below is not None
  assert below > 0.9 * length
  above = limits.first_violation(spectra.plain(1.03 * base, wide), length)
  assert above is None


# First violations.

# methods.md 3.1: the first distance with a negative sum, or None.
PAPER = {
  1: (4.3e3, None),
  2: (1.6e4, None),
  4: (2.7e4, 4079),
  8: (8.4e4, None),
  16: (3.1e5, 12223),
  32: (6.4e5, 27685),
  64: (2.1e6, None),
  128: (7.8e6, 128915),
  256: (3.6e7, 207455),
  512: (6.4e7, 511210),
  1024: (5.1e8, 874868),
}
SU = {
  1: (4.3e3, None),
  2: (1.2e4, 1554),
  4: (2.7e4, 4079),
  8: (8.4e4, None),
  16: (2.3e5, 12865),
  32: (6.3e5, None),
  64: (2.1e6, None),
  128: (4.9e6, 125573),
  256: (2.4e7, 141858),
  512: (5.8e7, 273611),
  1024: (6.5e7, 679592),
}


def test_the_published_tables_and_where_they_fail():
  rows = limits.published()
  assert [row.length for row in rows] == [1024 * k for k in PAPER]
  for row, paper, su in zip(rows, PAPER.values(), SU.values(), strict=True):
    assert (row.paper, row.paper_violation) == paper, row.length
    assert (row.su, row.su_violation) == su, row.length


def test_the_published_tables_in_thousands():
  """The paper's 4k and 128k hold then; 16k, 32k, 256k, 512k and 1M fail."""
  rows = limits.published(k=1000)
  assert [row.length for row in rows] == [1000 * k for k in PAPER]
  failing = [row.length // 1000 for row in rows if row.paper_violation]
  assert failing == [16, 32, 256, 512, 1024]
  for row in rows:
    if row.paper_violation:
      assert row.paper_violation == PAPER[row.length // 1000][1]


def test_heads_of_64_fail_earlier():
  rows = limits.published(64)
  assert rows[2].paper_violation is not None
  assert rows[2].paper_violation < 4079


def violation_by_loops(frequencies, length):
  for m in range(length):
    if sum(math.cos(m * f) for f in frequencies) < 0:
      return m
  return None


@pytest.mark.parametrize(
  ('theta', 'length', 'want'),
  [
    (1e4, 4096, 1707),
    (1e4, 1708, 1707),
    (1e4, 1707, None),
    (500, 4096, 171),
    (2.7e4, 4096, 4079),
    (4303, 1024, None),
    (4328, 1024, None),
    (5620, 1024, None),
    (6100, 1024, None),
    (4290, 1024, ...),
    (5000, 1024, ...),
    (5984, 1024, ...),
  ],
)
def test_first_violations_by_loops(theta, length, want):
  found = limits.first_violation(spectra.plain(theta, 128), length)
  series = [theta ** (-2 * k / 128) for k in range(64)]
  assert found == violation_by_loops(series, length)
  if want is ...:
    assert found is not None
  else:
    assert found == want


@pytest.mark.parametrize(('theta', 'want'), [(5e5, 18438), (1e6, 27115)])
def test_published_first_violations_far_away(theta, want):
  spectrum = spectra.plain(theta, 128)
  assert limits.first_violation(spectrum, 10**6) == want
  assert limits.first_violation(spectrum.frequency_f, want + 1) == want
  assert limits.first_violation(spectrum, want) is None
  at = sum(math.cos(want * f) for f in spectrum.frequency_f.tolist())
  assert at < 0


@pytest.mark.parametrize('partial', ['p_rope', 'rope'])
def test_half_a_head_that_stands_still_never_violates(partial):
  position = positions.build({'name': partial, 'theta': 1e4, 'fraction': 0.5})
  spectrum = spectra.of(position, 128)
  assert (spectrum.frequency_f == 0).sum() == 32
  assert limits.first_violation(spectrum, 10**6) is None


def test_amplitudes_weigh():
  """9 cos(2) + 1 < 0, while cos(2) + 1 > 0."""
  frequency_f = np.array([1.0, 0.0])
  plain, loud = Spectrum('a', frequency_f), Spectrum('b', frequency_f, 3.0)
  assert limits.first_violation(plain, 10**5) is None
  assert limits.first_violation(loud, 10**5) == 2


# In whole numbers, where rounding leaves a doubt.


def test_a_cosine_that_rounds_to_zero_is_settled():
  """pi / 2 as float64 is below pi / 2, the next number above it."""
  below = math.pi / 2
  above = math.nextafter(below, 2)
  assert limits.first_violation(np.array([below]), 9) == 2
  assert limits.first_violation(np.array([above]), 9) == 1
  spectrum = Spectrum('s', np.array([below]))
  assert violation.exact_sign(spectrum, 1) == 1
  assert violation.exact_sign(spectrum, 3) == -1  # 3 pi / 2 less 1.8e-16.
  assert violation.exact_sign(spectrum, 5) == 1


@pytest.mark.parametrize('distance', [1, 2, 5, 1707, 99_991, 2**30 + 1])
def test_exact_signs_on_both_sides_of_zero(distance):
  """cos(m f) + 1/4 and cos(m f) + 1/4 (1 + 2^-40) at the nearest float f of
  arccos(-1/4) / m: decimals say on which side each lies."""
  with decimal.localcontext() as context:
    context.prec = 70
    frequency = math.acos(-0.25) / distance
    for nudge in (-1, 0, 1):
      f = frequency
      for _ in range(abs(nudge)):
        f = math.nextafter(f, math.inf if nudge > 0 else 0)
      phase = decimal.Decimal(distance) * decimal.Decimal(f)
      cosine, term, order = decimal.Decimal(0), decimal.Decimal(1), 0
      while abs(term) > decimal.Decimal('1e-65'):
        cosine += term
        order += 2
        term *= -phase * phase / (order * (order - 1))
      # Amplitude 2: 4 cos(m f) and a pair that stands still, 1.
      spectrum = Spectrum('s', np.array([f, 0.0]), 2.0)
      want = 1 if 4 * cosine + 1 > 0 else -1
      assert violation.exact_sign(spectrum, distance) == want


def test_a_doubt_far_out_is_settled_at_its_own_distance():
  """A quarter turn after 70001 tokens, to the last bit of the frequency."""
  quarter = decimal.Decimal(TAU) / 4
  frequency = math.pi / 2 / 70_001
  while 70_001 * decimal.Decimal(frequency) < quarter:
    frequency = math.nextafter(frequency, 1)
  assert limits.first_violation(np.array([frequency]), 10**5) == 70_001
  before = math.nextafter(frequency, 0)
  assert 70_001 * decimal.Decimal(before) < quarter
  assert limits.first_violation(np.array([before]), 10**5) == 70_002


@pytest.mark.parametrize('bits', [32, 64, 300])
def test_cosines_in_whole_numbers_are_right_to_the_unit(bits):
  for phase in ('0', '0.5', '1.75', '3', '1000.25', '123456789.0625'):
    with decimal.localcontext() as context:
      context.prec = 300
      cosine, term, order = decimal.Decimal(0), decimal.Decimal(1), 0
      # 2 cos^2 - 1 often enough that the series may begin at less than one.
      small, doubled = decimal.Decimal(phase), 0
      while small > 1:
        small, doubled = small / 2, doubled + 1
      while abs(term) > decimal.Decimal('1e-290'):
        cosine += term
        order += 2
        term *= -small * small / (order * (order - 1))
      for _ in range(doubled):
        cosine = 2 * cosine * cosine - 1
      found = violation._cosine(Fraction(phase), bits)
      assert abs(found - cosine * 2**bits) < 1, phase


def test_exact_signs_are_those_of_sums_that_are_clear():
  spectrum = spectra.plain(1e4, 128)
  for distance in (0, 1, 1706, 1707, 4096, 62376, 10**9):
    total = sum(
      math.cos(math.fmod(distance * f, 2 * math.pi))
      for f in spectrum.frequency_f.tolist()
    )
    assert abs(total) > 1e-3
    assert violation.exact_sign(spectrum, distance) == math.copysign(1, total)


def test_every_doubt_is_settled(monkeypatch):
  """With rounding said to be huge, whole numbers find the same distance."""
  spectrum = spectra.plain(30, 16)
  want = limits.first_violation(spectrum, 500)
  assert want == violation_by_loops(spectrum.frequency_f.tolist(), 500)
  asked = []
  settle = violation.exact_sign

  def counted(*args):
    asked.append(args[1])
    return settle(*args)

  monkeypatch.setattr(violation, 'exact_sign', counted)
  monkeypatch.setattr(violation.sums, 'rounding', lambda *_: 1e9)
  assert limits.first_violation(spectrum, 500) == want
  assert asked == list(range(want + 1))


# Bad input.

_NAN = float('nan')


@pytest.mark.parametrize(
  ('call', 'words'),
  [
    *itertools.chain.from_iterable(
      [
        (lambda b=b: limits.critical_dimension(b, 128, 4096), f'theta={b}'),
        (lambda b=b: limits.extrapolation_limit(b, 128, 92), f'theta={b}'),
        (lambda b=b: limits.critical_base(b, 4096, 8192), f'theta={b}'),
        (lambda b=b: limits.tuned(1e4, 128, 4096, b), f'tune_theta={b}'),
      ]
      for b in (0, 1, -1e4, _NAN, math.inf)
    ),
    *itertools.chain.from_iterable(
      [
        (lambda d=d: limits.critical_dimension(1e4, d, 4096), f'head_dim={d}'),
        (lambda d=d: limits.extrapolation_limit(1e4, d, 2), f'head_dim={d}'),
        (lambda d=d: limits.extrapolation_base(4096, d, 2), f'head_dim={d}'),
        (lambda d=d: limits.published(d), f'head_dim={d}'),
      ]
      for d in (0, -2, 127, 64.0)
    ),
    *itertools.chain.from_iterable(
      [
        (lambda n=n: limits.critical_dimension(1e4, 128, n), f'train_len={n}'),
        (lambda n=n: limits.small_bases(n), f'train_len={n}'),
        (lambda n=n: limits.fitted_base(n), f'length={n}'),
        (lambda n=n: limits.asymptotic_base(n), f'length={n}'),
        (lambda n=n: limits.critical_base(1e4, 4096, n), f'tune_len={n}'),
        (lambda n=n: limits.extrapolation_base(n, 128, 92), f'target_len={n}'),
        (lambda n=n: limits.first_violation(np.ones(2), n), f'length={n}'),
      ]
      for n in (0, -5, 4096.5, _NAN)
    ),
    (lambda: limits.critical_base(1e4, 6, 8192), 'train_len=6 .*>= 7'),
    (
      lambda: limits.critical_base(1e4, 4096, 4095),
      'tune_len=4095 is below train_len=4096',
    ),
    (lambda: limits.tuned(1e4, 128, 4096, 1e6, 100), 'tune_len=100'),
    *(
      (
        lambda c=c: limits.extrapolation_limit(1e4, 128, c),
        f'critical_dim={c} .*2, head_dim=128',
      )
      for c in (0, 93, 130, 92.0)
    ),
    (lambda: limits.published(k=512), 'k=512 must be 1024 or 1000'),
    (lambda: limits.first_violation(np.ones((2, 2)), 9), 'one number per pair'),
    (lambda: limits.first_violation(np.array([_NAN]), 9), 'must be finite'),
    (lambda: limits.first_violation(np.ones(2), 2**41), r'\[1, 2\^40\]'),
  ],
)
def test_errors_name_the_field_and_what_is_allowed(call, words):
  with pytest.raises(ValueError, match=words):
    call()
