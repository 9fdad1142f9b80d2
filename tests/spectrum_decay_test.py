"""Inner products against distance: sums, curves, draws, the classic study."""

import cmath
import decimal
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from rope_jax import positions
from rope_jax.spectrum import classic, decay, spectra, sums
from rope_jax.spectrum.decay import Curve
from rope_jax.spectrum.spectra import Spectrum

LLAMA = spectra.plain(1e4, 128)
YARN = spectra.of(
  positions.build(
    {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}
  ),
  64,
)
HALF = spectra.of(
  positions.build({'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5}), 32
)


def two_pi() -> decimal.Decimal:
  """By the mean of Gauss and Legendre."""
  one, two = decimal.Decimal(1), decimal.Decimal(2)
  a, b, t, p = one, one / two.sqrt(), one / 4, one
  for _ in range(7):  # Twice as many digits each time.
    a, b, before = (a + b) / 2, (a * b).sqrt(), a
    t -= p * (before - a) ** 2
    p *= 2
  return (a + b) ** 2 / (2 * t)


def exact_sum(spectrum: Spectrum, distance: int) -> float:
  """The sum of cosines in decimal numbers of 60 digits."""
  with decimal.localcontext() as context:
    context.prec = 60
    turn = two_pi()
    total = decimal.Decimal(0)
    for square, frequency in zip(
      spectrum.square_f.tolist(), spectrum.frequency_f.tolist(), strict=True
    ):
      phase = decimal.Decimal(distance) * decimal.Decimal(frequency)
      phase -= turn * (phase / turn).to_integral_value()
      term, cosine, order = decimal.Decimal(1), decimal.Decimal(0), 0
      while abs(term) > decimal.Decimal('1e-50'):
        cosine += term
        order += 2
        term *= -phase * phase / (order * (order - 1))
      total += decimal.Decimal(square) * cosine
    return float(total)


def test_the_decimal_oracle_knows_its_constant():
  with decimal.localcontext() as context:
    context.prec = 60
    assert str(two_pi()).startswith(
      '6.28318530717958647692528676655900576839433879875021'
    )


def test_golden_sums(golden):
  want = golden['B_m_sumcos_d128_b1e4']
  found = decay.cosine_sum(LLAMA, np.array([int(m) for m in want]))
  np.testing.assert_allclose(found, list(want.values()), rtol=0, atol=1e-11)


FAR = (1, 1023, 1024, 65535, 10**6 + 7, 2**20 + 1, 12345678, 10**8, 2**40 - 1)


@pytest.mark.parametrize('spectrum', [LLAMA, YARN, HALF], ids=lambda s: s.label)
@pytest.mark.parametrize('distance', FAR)
def test_sums_are_right_far_away(spectrum, distance):
  want = exact_sum(spectrum, distance)
  lone = decay.cosine_sum(spectrum, np.array([0, distance]))[1]
  (first, block), *_ = sums.cosine_blocks(spectrum, distance + 1, distance)
  assert first == distance
  limit = decay.rounding(spectrum, distance + 1)
  assert abs(lone - want) <= limit
  assert abs(block[0] - want) <= limit
  if distance <= 2**27:
    assert limit < 1e-8
  behind = decay.cosine_sum(spectrum, np.array([-distance]))[0]
  assert abs(behind - want) <= limit


def test_a_block_is_right_at_every_row_and_column():
  start, count = 999_000, 3000  # Three rows, the last one cut.
  found = dict(sums.cosine_blocks(LLAMA, start + count, start, 1700))
  assert {first: len(v) for first, v in found.items()} == {
    start: 1700,
    start + 1700: 1300,
  }
  value_m = np.concatenate(list(found.values()))
  limit = decay.rounding(LLAMA, start + count)
  for at in (0, 1, 1023, 1024, 1699, 1700, 1701, 2723, 2724, 2999):
    assert abs(value_m[at] - exact_sum(LLAMA, start + at)) <= limit


@pytest.mark.parametrize(
  'distance_m',
  [
    [5, 3, 3, -4, 0],
    [0, 10**9],
    [7],
    [],
    list(range(40, -3, -1)),
    [10**6 + 5, 3 - 10**6, 10**6 + 9, 10**6],
  ],
)
def test_distances_come_in_any_order(distance_m):
  found = decay.cosine_sum(YARN, np.array(distance_m, np.int64))
  want = [exact_sum(YARN, m) for m in distance_m]
  np.testing.assert_allclose(found, want, rtol=0, atol=1e-9)


def test_still_pairs_count_one_and_amplitudes_square():
  spectrum = Spectrum('s', np.array([0.5, 0.0]), amplitude=3.0)
  found = decay.cosine_sum(spectrum, np.array([0, 2, 900]))
  want = [9 * math.cos(0.5 * m) + 1 for m in (0, 2, 900)]
  np.testing.assert_allclose(found, want, rtol=0, atol=1e-12)


def test_two_spectra_in_one_process_in_both_orders():
  at = np.array([100])
  first = decay.cosine_sum(LLAMA, at), decay.cosine_sum(YARN, at)
  again = decay.cosine_sum(YARN, at), decay.cosine_sum(LLAMA, at)
  assert first == again[::-1]
  assert first[0] != first[1]


def test_a_fast_pair_is_taken_modulo_a_turn():
  spectrum = Spectrum('fast', np.array([2.0**59, -3.0, 1e-300]))
  for distance in (1, 77):
    found = decay.cosine_sum(spectrum, np.array([distance]))[0]
    assert abs(found - exact_sum(spectrum, distance)) < 1e-13


@pytest.mark.parametrize('centre', [0, 3, 20, 40])
def test_ones_is_the_inner_product_of_rotated_ones(centre):
  curve = decay.ones(YARN, 41, centre)
  assert curve.distance_m.tolist() == list(range(-centre, 41 - centre))
  for distance, value in zip(curve.distance_m, curve.value_m, strict=True):
    query, key = 100, 100 - int(distance)  # Positions.
    total = 0.0
    for frequency in YARN.frequency_f.tolist():
      a, b = query * frequency, key * frequency
      q = (math.cos(a) - math.sin(a), math.sin(a) + math.cos(a))
      k = (math.cos(b) - math.sin(b), math.sin(b) + math.cos(b))
      total += YARN.amplitude**2 * (q[0] * k[0] + q[1] * k[1])
    assert value == pytest.approx(total, abs=1e-11)


def test_golden_bound(golden):
  want = golden['roformer_relative_upper_bound_d128_b1e4']
  found = decay.bound(LLAMA, 1001)
  assert found.distance_m[-1] == 1000
  np.testing.assert_allclose(
    found.value_m[[int(m) for m in want]], list(want.values()), rtol=1e-12
  )


@pytest.mark.parametrize('distance', [0, 1, 1023, 1024, 16383, 16384, 39_999])
def test_bound_by_a_loop(distance):
  found = decay.bound(YARN, 40_000).value_m[distance]
  partial, total = 0j, 0.0
  for frequency in YARN.frequency_f.tolist():
    partial += YARN.amplitude**2 * cmath.exp(1j * distance * frequency)
    total += abs(partial)
  assert found == pytest.approx(total / 32, abs=1e-9)


def test_bound_bounds_inner_products(rng):
  """As Abel's summation says, for any q and k of a head."""
  curve = decay.bound(LLAMA, 3000)
  h_f = rng.normal(size=64) + 1j * rng.normal(size=64)
  change = np.abs(np.diff(h_f, append=0)).max()
  for m in (0, 1, 10, 500, 2999):
    product = sum(
      h * cmath.exp(1j * m * f)
      for h, f in zip(h_f, LLAMA.frequency_f.tolist(), strict=True)
    )
    assert abs(product) <= 64 * curve.value_m[m] * change


# Random queries and keys.


@pytest.mark.parametrize('draw', ['normal', 'uniform'])
def test_one_draw_is_a_query_and_a_key_turned_by_matrices(draw):
  curve = decay.random(YARN, 50, 1, 7, draw)
  assert curve.low_m is curve.high_m is None
  assert curve.distance_m.tolist() == list(range(50))
  make = np.random.default_rng(7)
  drawn = make.standard_normal if draw == 'normal' else make.random
  q0, q1, k0, k1 = drawn((4, 1, 32))[:, 0]
  for distance in (0, 1, 49):
    total = 0.0
    for pair, frequency in enumerate(YARN.frequency_f.tolist()):
      x = cmath.exp(1j * distance * frequency) * complex(q0[pair], q1[pair])
      y = complex(k0[pair], k1[pair])
      total += YARN.amplitude**2 * (x * y.conjugate()).real
    assert curve.value_m[distance] == pytest.approx(total, abs=1e-10)


def test_normal_draws_know_no_distance():
  """Mean 0 and variance 128 everywhere; the quantiles are flat."""
  draws = 4000
  curve = decay.random(LLAMA, 65536, draws, 3, 'normal', points=200)
  assert curve.low_m is not None
  assert curve.high_m is not None
  sure = 5 * math.sqrt(128 / draws)
  assert np.abs(curve.value_m).max() < sure
  # A sum of 128 products is nearly normal: 1.645 standard deviations. A
  # quantile's own error there is 2.1 standard deviations / sqrt(draws).
  want = 1.645 * math.sqrt(128)
  np.testing.assert_allclose(curve.low_m, -want, atol=2.3 * sure)
  np.testing.assert_allclose(curve.high_m, want, atol=2.3 * sure)


def moments_of_uniform() -> tuple[Fraction, Fraction, Fraction, Fraction]:
  """(E a, Var a, Var b, Cov(a, b)) of a = q0 k0 + q1 k1, b = q0 k1 - q1 k0."""
  power = {n: Fraction(1, n + 1) for n in range(3)}  # E x^n over U[0, 1).

  def mean(*terms):
    total = Fraction(0)
    for factor, names in terms:
      product = Fraction(factor)
      for name in ('q0', 'q1', 'k0', 'k1'):
        product *= power[names.count(name)]
      total += product
    return total

  a = [(1, ('q0', 'k0')), (1, ('q1', 'k1'))]
  b = [(1, ('q0', 'k1')), (-1, ('q1', 'k0'))]

  def second(x, y):
    return mean(*((f * g, m + n) for f, m in x for g, n in y))

  ea, eb = mean(*a), mean(*b)
  assert eb == 0
  return ea, second(a, a) - ea**2, second(b, b), second(a, b)


def test_uniform_draws_decay_as_a_quarter_of_ones():
  """The mean alone moves; the spread is the same at any distance."""
  mean, variance, other, together = moments_of_uniform()
  assert (mean, variance, other, together) == (
    Fraction(1, 2),
    Fraction(7, 72),
    Fraction(7, 72),
    0,
  )
  draws = 4000
  curve = decay.random(LLAMA, 65536, draws, 5, 'uniform', points=200)
  assert curve.low_m is not None
  assert curve.high_m is not None
  spread = math.sqrt(64 * variance)  # cos^2 + sin^2 = 1 of both variances.
  want_m = np.array(
    [
      0.5 * sum(math.cos(m * f) for f in LLAMA.frequency_f.tolist())
      for m in curve.distance_m.tolist()
    ]
  )
  sure = 5 * spread / math.sqrt(draws)
  np.testing.assert_allclose(curve.value_m, want_m, atol=sure)
  np.testing.assert_allclose(
    curve.low_m - want_m, -1.645 * spread, atol=2.3 * sure
  )
  np.testing.assert_allclose(
    curve.high_m - want_m, 1.645 * spread, atol=2.3 * sure
  )
  ones_m = decay.ones(LLAMA, 65536).value_m[curve.distance_m]
  np.testing.assert_allclose(want_m, ones_m / 4, atol=1e-9)


def test_a_seed_says_which_draws():
  first, again, other = (
    decay.random(LLAMA, 100, 3, seed).value_m for seed in (0, 0, 1)
  )
  assert (first == again).all()
  assert (first != other).any()


# What is drawn.


@pytest.mark.parametrize('points', [2, 3, 10, 100, 2048])
@pytest.mark.parametrize('length', [1, 2, 3, 101, 2048, 2049, 10**6, 2**40])
def test_spread_has_the_small_distances_then_equal_ratios(length, points):
  found = decay.spread(length, points)
  assert found.size == min(length, points)
  assert (found[0], found[-1]) == (0, length - 1)
  step = np.diff(found)
  assert (step > 0).all()
  # Dense to some distance, then as a geometric series rounded to whole ones.
  dense = int(np.argmax(step > 1)) if (step > 1).any() else len(step)
  far = [int(m) for m in found[dense:]]
  assert found[:dense].tolist() == list(range(dense))
  if len(far) > 2:
    ratio = (far[-1] / far[1]) ** (1 / (len(far) - 2))
    for at, distance in enumerate(far[1:], 1):
      want = far[1] * ratio ** (at - 1)
      assert abs(distance - want) <= 0.51 * (1 + want / far[1])


@pytest.mark.parametrize('points', [2, 7, 64, 5000])
def test_envelope_by_loops(points):
  curve = decay.cosines(YARN, 4000)
  found = decay.envelope(curve, points)
  assert found.low_m is not None
  assert found.high_m is not None
  edges = [*decay.spread(4000, points + 1).tolist(), 4000]
  if points < 4000:
    edges.pop(-2)  # The last bin holds the last distance.
  assert found.distance_m.size == len(edges) - 1 == min(points, 4000)
  for at, (first, end) in enumerate(itertools.pairwise(edges)):
    inside = [float(curve.value_m[m]) for m in range(first, end)]
    assert found.distance_m[at] == (first + end - 1) // 2
    assert found.low_m[at] == min(inside)
    assert found.high_m[at] == max(inside)
    assert found.value_m[at] == pytest.approx(sum(inside) / len(inside))


def test_envelope_shows_what_every_second_point_hides():
  spectrum = Spectrum('alternates', np.array([math.pi]))
  curve = decay.cosines(spectrum, 4096)
  assert (curve.value_m[::2] > 0.99).all()
  found = decay.envelope(curve, 16, 'linear')
  np.testing.assert_allclose(found.low_m, -1, atol=1e-12)
  np.testing.assert_allclose(found.high_m, 1, atol=1e-12)
  np.testing.assert_allclose(found.value_m, 0, atol=1e-12)


def test_envelope_of_a_window_with_the_query_in_its_middle():
  curve = decay.ones(LLAMA, 1000, 500)
  found = decay.envelope(curve, 10)
  assert found.distance_m.tolist() == list(range(-451, 500, 100))
  assert found.high_m is not None
  assert found.high_m.argmax() == 5  # Distance 0 is the first of its bin.
  with pytest.raises(ValueError, match=r'distance -500; use .linear'):
    decay.envelope(curve, 10, 'log')


def test_envelope_of_a_band_holds_the_band():
  curve = decay.random(LLAMA, 100, 50, draw='uniform')
  found = decay.envelope(curve, 4, 'linear')
  assert curve.low_m is not None
  assert curve.high_m is not None
  assert found.low_m is not None
  assert found.high_m is not None
  for at in range(4):
    part = range(25 * at, 25 * at + 25)
    assert found.low_m[at] == min(curve.low_m[m] for m in part)
    assert found.high_m[at] == max(curve.high_m[m] for m in part)


def test_an_envelope_in_blocks_is_that_of_the_whole_curve():
  length = 3 * 2**20 + 17  # Bins lie across the ends of blocks.
  found = decay.cosines(LLAMA, length, points=50)
  want = decay.envelope(decay.cosines(LLAMA, length), 50)
  assert (found.distance_m == want.distance_m).all()
  for field in ('low_m', 'high_m'):
    assert (getattr(found, field) == getattr(want, field)).all()
  np.testing.assert_allclose(found.value_m, want.value_m, atol=1e-10)


# The classic study.


def line(distance_m, value_m, label='made') -> Curve:
  return Curve(label, 'ones', np.array(distance_m), np.array(value_m, float))


def end_by_loops(curve: Curve) -> int | None:
  """The end of the decay, each octave's area by itself."""
  value = dict(
    zip(curve.distance_m.tolist(), curve.value_m.tolist(), strict=True)
  )
  last = max(value)

  def area(end):  # From 0; a cell's area is spread evenly over it.
    whole = int(end)
    cells = [(value[m] + value[m + 1]) / 2 for m in range(min(whole + 1, last))]
    return math.fsum(cells[:whole]) + (
      (end - whole) * cells[whole] if whole < last else 0
    )

  least, at = math.inf, None
  for m in range(1, last + 1):
    low, high = m / math.sqrt(2), m * math.sqrt(2)
    if high > last:
      return None
    mean = (area(high) - area(low)) / (high - low)
    if mean > least + 0.03 * value[0]:
      return at
    if mean < least:
      least, at = mean, m
  return None


@pytest.mark.parametrize(
  ('theta', 'length'), [(50, 500), (300, 700), (1e4, 99)]
)
def test_the_end_of_decay_by_loops(theta, length):
  curve = decay.ones(spectra.plain(theta, 128), length)
  assert classic.facts(curve).end_of_decay == end_by_loops(curve)


def test_the_classic_claims():
  """1e4 decays to about 15000 tokens and rises again; 5e6 decays on."""
  rows = {s.label: classic.facts(s.curve()) for s in classic.settings()}
  short = rows['1e4 over 4096']
  assert short.end_of_decay is None
  assert short.first_negative == 1707
  assert short.slope_near < -5
  assert short.slope_far < -5
  small = rows['1e4 over 65536']
  assert small.end_of_decay is not None
  assert 10_000 < small.end_of_decay < 20_000
  assert small.first_negative == 1707
  assert small.slope_near < -5
  assert small.slope_far > 1
  large = rows['5e6 over 65536']
  assert (large.end_of_decay, large.first_negative) == (None, None)
  assert large.slope_near < -3
  assert large.slope_far < -3
  assert (small.start, large.start) == pytest.approx((128, 128))
  middle = rows['5e6, q in the middle']
  assert (middle.length, middle.end_of_decay) == (32768, None)
  # The mean over draws decays as `ones` does; one draw's own wiggle is larger
  # than what it decays by in an octave; normal draws do not decay at all.
  mean = rows['1e4, q, k of U[0, 1)']
  assert mean.end_of_decay == pytest.approx(small.end_of_decay, rel=0.05)
  assert rows['5e6, q, k of U[0, 1)'].end_of_decay is None
  one = rows['5e6, one q, k of U[0, 1)']
  assert one.end_of_decay is not None
  assert one.end_of_decay < 65536 / 8
  normal = rows['5e6, q, k of N(0, 1)']
  assert normal.end_of_decay is not None
  assert normal.end_of_decay < 10
  assert abs(normal.slope_near) < 0.5


@pytest.mark.parametrize('head_dim', [64, 128, 256])
@pytest.mark.parametrize('theta', [1e3, 1e4, 1e5])
def test_decay_ends_where_the_slowest_pair_has_made_a_quarter_turn(
  theta, head_dim
):
  """Of a smooth series the sum moves as -cos(m / theta) / m: it turns at
  m = pi / 2 theta, a quarter of the slowest wavelength."""
  spectrum = spectra.plain(theta, head_dim)
  found = classic.facts(spectrum, int(8 * theta))
  slowest = spectrum.wavelength_f[-1]
  assert found.end_of_decay is not None
  assert 0.23 < found.end_of_decay / slowest < 0.32
  # Two windows, one end.
  assert classic.facts(spectrum, int(16 * theta)).end_of_decay == (
    found.end_of_decay
  )


def test_facts_of_a_curve_that_is_known():
  """It falls by 1 a doubling to 64 tokens, then rises by 2 a doubling."""
  distance_m = np.arange(1024)
  octave_m = np.log2(np.maximum(distance_m, 1))
  value_m = np.where(octave_m <= 6, 6 - octave_m, 2 * (octave_m - 6)) - 1
  found = classic.facts(line(distance_m, value_m))
  assert (found.length, found.start, found.lowest_at) == (1024, 5, 64)
  assert found.slope_near == pytest.approx(-1)
  assert found.slope_far == pytest.approx(2)
  assert (found.first_negative, found.lowest) == (33, -1)
  # Near its corner the octave's mean is lowest a third of an octave early.
  assert found.end_of_decay is not None
  assert 46 <= found.end_of_decay <= 64
  whole = classic.facts(line(distance_m, value_m), 65)
  assert (whole.length, whole.end_of_decay) == (65, None)
  assert whole.slope_near != whole.slope_near  # No two distances: NaN.


@pytest.mark.parametrize('length', [640, 4096])
def test_slopes_by_another_least_squares(length):
  curve = decay.ones(LLAMA, length)
  found = classic.facts(curve)
  near = range(1, length // 64 + 1)
  far = range(length // 8, length)
  for slope, part in ((found.slope_near, near), (found.slope_far, far)):
    octaves = [math.log2(m) for m in part]
    values = [float(curve.value_m[m]) for m in part]
    assert slope == pytest.approx(np.polyfit(octaves, values, 1)[0], rel=1e-9)
  lowest = min(curve.value_m.tolist())
  assert found.lowest == lowest
  assert curve.value_m[found.lowest_at] == lowest


def test_a_wiggle_is_no_rise_and_a_rise_of_three_percent_is():
  distance_m = np.arange(2000)
  fall_m = 100 - 5 * np.log2(np.maximum(distance_m, 1))
  fall_m += 8 * np.cos(2.0 * distance_m)
  assert (np.diff(fall_m) > 0).sum() > 500
  assert classic.facts(line(distance_m, fall_m)).end_of_decay is None
  for rise in (2.9, 3.1):
    step_m = np.where(distance_m < 1000, 50.0, 50.0 + rise)
    step_m[:300] += np.linspace(50, 0, 300)
    end = classic.facts(line(distance_m, step_m)).end_of_decay
    if rise < 3:
      assert end is None
    else:  # The octaves that lie in the flat part, 300 to 1000 tokens.
      assert end is not None
      assert 300 * math.sqrt(2) - 2 <= end <= 1000 / math.sqrt(2) + 2


def test_what_begins_below_zero_has_nothing_to_decay_from():
  distance_m = np.arange(100)
  assert classic.facts(line(distance_m, -1 - distance_m)).end_of_decay == 0


def test_the_query_in_the_middle_is_the_same_curve_on_both_sides():
  curve = decay.ones(LLAMA, 8192, 4096)
  side = classic.facts(curve)
  assert (curve.value_m[1:4096] == curve.value_m[:4096:-1][:4095]).all()
  plain = classic.facts(LLAMA, 4096)
  assert side == plain


def test_the_table_is_aligned_and_says_what_is_not_there():
  text = classic.table(
    [
      classic.facts(LLAMA, 65536),
      classic.facts(spectra.plain(5e6, 128), 100),
    ]
  )
  lines = text.splitlines()
  assert len(lines) == 4
  assert '14607' in lines[2]
  assert '(tokens)' in lines[1]
  assert len(set(map(len, lines[1:]))) == 1
  assert lines[3].count('–') == 3  # No end, no negative, no slope near.


@pytest.mark.parametrize(
  ('call', 'words'),
  [
    (lambda: decay.cosines(LLAMA, 0), r'length=0 .*\[1, 2\^40\]'),
    (lambda: decay.cosines(LLAMA, 1.5), r'length=1\.5 .*whole number'),
    (lambda: decay.bound(LLAMA, 2**40 + 1), 'length=1099511627777'),
    (lambda: decay.cosines(LLAMA, 9, points=1), 'points=1 must be at least 2'),
    (lambda: decay.ones(LLAMA, 10, 10), r'centre=10.*\[0, 10\).* 5 for'),
    (lambda: decay.ones(LLAMA, 10, -1), 'centre=-1'),
    (lambda: decay.random(LLAMA, 10, 0), 'draws=0 must be at least 1'),
    (lambda: decay.random(LLAMA, 10, draw='cauchy'), "draw='cauchy'.*'normal'"),
    (lambda: decay.spread(10, 1), 'points=1'),
    (lambda: sums.cosine_blocks(LLAMA, 10, 10), r'start=10 .*\[0, length=10\)'),
    (lambda: sums.cosine_blocks(LLAMA, 10, 0, 0), 'block=0'),
    (lambda: decay.cosine_sum(LLAMA, np.array([0.5])), 'dtype float64'),
    (lambda: decay.cosine_sum(LLAMA, np.array([[1]])), r'shape \(1, 1\)'),
    (lambda: decay.cosine_sum(LLAMA, np.array([2**40])), r'within 2\^40'),
    (
      lambda: decay.cosine_sum(
        Spectrum('x', np.array([2.0**60])), np.arange(2)
      ),
      r'frequency_f\[0\]=1\.15292e\+18.*less than 2\^60',
    ),
    (lambda: line([], []), 'at least one distance'),
    (lambda: line([1, 1], [0, 0]), 'must ascend'),
    (lambda: line([1, 2], [0]), r'value_m has shape \(1,\)'),
    (lambda: decay.envelope(line([1, 2], [0, 0]), 1), 'points=1'),
    (
      lambda: decay.envelope(line([1, 2], [0, 0]), 2, 'cubic'),
      "spacing='cubic'",
    ),
    (lambda: classic.facts(LLAMA), 'length=None'),
    (lambda: classic.facts(line([0, 1], [1, 1]), 3), r'length=3.*\[1, 2\]'),
    (lambda: classic.facts(line([1, 2], [1, 1])), 'no value at distance 0'),
    (lambda: classic.settings(127), 'head_dim=127'),
    (
      lambda: classic.Setting('a', LLAMA, 10, 'bound').curve(),
      "kind='bound' must be one of",
    ),
  ],
)
def test_errors_name_the_field_and_what_is_allowed(call, words):
  with pytest.raises(ValueError, match=words):
    call()
