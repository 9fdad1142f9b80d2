"""Phase errors, against 60-digit decimals, bits turned by hand and loops."""

import math
import struct
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from rope_jax import positions
from rope_jax.spectrum import exact, precision, spectra, ways
from rope_jax.spectrum.spectra import Spectrum

# As published; not computed here.
PI = Decimal(
  '3.14159265358979323846264338327950288419716939937510'
  '582097494459230781640628620899862803482534211706798'
)
ROPE = spectra.plain(1e4, 128)
FAR = 2**31 - 1
HALF: Any = 0.5  # No whole number, whatever a checker thinks of it.


def less_turns(value, wrap=True):
  """A Decimal of radians as a float, less whole turns."""
  if wrap:
    value -= 2 * PI * (value / (2 * PI)).to_integral_value()
  return float(value)


def error_of(computed_tf, positions_t, frequency_f, wrap=True):
  """computed - position x frequency, in 90 digits: float64 [t, f]."""
  with localcontext() as context:
    context.prec = 90
    return np.array(
      [
        [
          less_turns(Decimal(float(c)) - Decimal(p) * Decimal(float(f)), wrap)
          for c, f in zip(row, frequency_f, strict=True)
        ]
        for row, p in zip(computed_tf, positions_t, strict=True)
      ]
    )


def single(value):
  """A float64 rounded to float32, by struct."""
  return struct.unpack('f', struct.pack('f', value))[0]


def brain(value):
  """A float rounded to bfloat16, by its bits: to nearest, ties to even."""
  (bits,) = struct.unpack('I', struct.pack('f', value))
  bits += 0x7FFF + ((bits >> 16) & 1)
  return struct.unpack('f', struct.pack('I', bits & 0xFFFF0000))[0]


def by_hand(way, position, frequency):
  """What a way computes, one number at a time; a product of two float32 is
  exact in float64, so that it is rounded once."""
  if way == 'float32':
    return single(single(position) * single(frequency))
  if way == 'bfloat16_frequency':
    return single(single(position) * brain(frequency))
  if way == 'bfloat16_position':
    return single(brain(position) * single(frequency))
  assert way == 'bfloat16'
  return brain(brain(position) * brain(frequency))


@pytest.mark.parametrize(
  'spectrum',
  [
    ROPE,
    spectra.plain(5e5, 64),
    spectra.of(
      positions.build({'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5}), 32
    ),
    Spectrum('odd ones', np.array([-0.3, 1e-30, 6.5, 1e12, 2 * math.pi])),
  ],
  ids=lambda s: s.label,
)
def test_exact_phases_are_those_of_decimals(spectrum):
  at = [0, 1, -7, 4095, 131071, 10**6 + 3, 2**24 + 1, FAR, -FAR]
  found = exact.phase(spectrum, at)
  zero = np.zeros((len(at), spectrum.frequency_f.size))
  want = -error_of(zero, at, spectrum.frequency_f)
  np.testing.assert_allclose(found, want, rtol=0, atol=1e-15)
  assert np.abs(found).max() <= math.pi


def test_words_of_turns_hold_pi():
  """One radian, times 2 pi of 100 published digits, is a whole turn."""
  with localcontext() as context:
    context.prec = 120
    product = 2 * PI * exact.to_turns(1.0) / 2**192
    assert abs(product - 1) < Decimal(2) ** -188


@pytest.mark.parametrize(
  'way', ['float32', 'bfloat16_frequency', 'bfloat16_position', 'bfloat16']
)
@pytest.mark.parametrize('theta', [1e4, 5e5])
def test_errors_of_products_by_hand(way, theta):
  at = [0, 1, 255, 257, 4095, 131056, 1048531, 2**24 + 1, -4095]
  spectrum = spectra.plain(theta, 64)
  computed = [
    [by_hand(way, p, f) for f in spectrum.frequency_f.tolist()] for p in at
  ]
  for wrapped in (True, False):
    want = error_of(computed, at, spectrum.frequency_f, wrapped)
    found = precision.phase_error(spectrum, way, at, wrapped)
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-15)
  assert np.abs(found).max() > 1e-5  # There was something to compare.


@pytest.mark.parametrize('way', ['split', 'split_float32'])
def test_errors_of_split_positions_by_hand(way):
  """Float32 by struct where numpy has arrays; cosines are math's, which may
  differ from numpy's by a unit."""
  at = [0, 5, 1023, 1024, 4095, 131056, 1048531]
  spectrum = spectra.plain(1e4, 16)
  rounded = single if way == 'split_float32' else float
  computed = []
  for p in at:
    row = []
    for f in spectrum.frequency_f.tolist():
      far, near = (
        rounded(part * rounded(f)) for part in (p // 1024 * 1024, p % 1024)
      )
      c, s, d, e = (
        single(wave(x)) for x in (far, near) for wave in (math.cos, math.sin)
      )
      sine = single(single(s * d) + single(c * e))
      cosine = single(single(c * d) - single(s * e))
      row.append(math.atan2(sine, cosine))
    computed.append(row)
  want = error_of(computed, at, spectrum.frequency_f)
  found = precision.phase_error(spectrum, way, at)
  np.testing.assert_allclose(found, want, rtol=0, atol=3e-7)
  if way == 'split':  # Units apart, if any, are of a library's cosine.
    assert (np.abs(found - want) < 1e-15).mean() > 0.9
    assert np.abs(want).max() < 2e-7
  else:
    assert np.abs(want).max() > 1e-3


def test_our_phases_keep_their_bound():
  """`_phases` says: 3.2e-7 up to position 2^24; then 2e-16 of the phase."""
  rng = np.random.default_rng(0)
  at = [*rng.integers(-(2**24), 2**24, 200), 2**24, -(2**24)]
  for theta in (1e4, 5e5, 1e8):
    found = precision.phase_error(spectra.plain(theta, 128), 'exact', at)
    assert 1e-8 < np.abs(found).max() < 3.2e-7
  found = precision.phase_error(ROPE, 'exact', [FAR, -FAR, FAR - 12345])
  assert np.abs(found).max() < 3.2e-7 + 5e-7


@pytest.mark.parametrize(
  ('length', 'figure'), [(4096, 2.4e-4), (131072, 7.8e-3), (1048576, 6.2e-2)]
)
def test_figures_of_the_reference(length, figure):
  """Two digits, as methods.md has them, for base 1e4 and 64 pairs."""
  (row,) = precision.worst(ROPE, ['float32'], [length])
  assert float(f'{row.error:.1e}') == figure
  assert row.unwrapped == row.error
  (ours,) = precision.worst(ROPE, ['exact'], [length])
  assert ours.error < 3.2e-7
  assert ours.unwrapped is None


def test_bfloat16_frequencies_are_five_radians_off_at_4k():
  (row,) = precision.worst(ROPE, ['bfloat16_frequency'], [4096])
  assert row.unwrapped == pytest.approx(5.0, abs=0.05)
  # The most that any pair of this base is off by, by its own rounding.
  most = max(abs(brain(f) - f) for f in ROPE.frequency_f.tolist())
  assert row.unwrapped == pytest.approx(4095 * most, rel=1e-5)
  assert row.error <= math.pi


def test_bfloat16_positions_alias_above_256():
  def phases(way, at):
    return ways.WAYS[way](ROPE, np.array(at))

  for way in ('bfloat16_position', 'bfloat16'):
    below = phases(way, [254, 255, 256])
    assert (below[0, 0], below[1, 0], below[2, 0]) == (254, 255, 256)
    one, other = phases(way, [256, 257])
    np.testing.assert_array_equal(one, other)
  one, other = phases('bfloat16_frequency', [256, 257])
  assert (one != other).all()
  error = precision.phase_error(ROPE, 'bfloat16_position', [257])
  assert error[0, 0] == -1.0


@pytest.mark.parametrize('theta', [1e4, 5e5, 1e6, 150000.0])
@pytest.mark.parametrize('width', [64, 128])
def test_float32_powers_are_those_of_the_code_bases(theta, width):
  exponent = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
  theirs = np.float32(1) / np.float32(theta) ** exponent
  assert theirs.dtype == np.float32
  spectrum = spectra.plain(theta, width)
  np.testing.assert_array_equal(ways.inverse_frequency(spectrum), theirs)
  linear = positions.build({'name': 'linear', 'theta': theta, 'factor': 4.0})
  slowed = ways.inverse_frequency(spectra.of(linear, width))
  np.testing.assert_array_equal(slowed, theirs / 4)
  # A quarter of a head that is four times as wide has the same series.
  part = positions.build({'name': 'rope', 'theta': theta, 'fraction': 0.25})
  found = ways.inverse_frequency(spectra.of(part, 4 * width))
  np.testing.assert_array_equal(found[: width // 2], theirs)
  assert not found[width // 2 :].any()


def test_float32_powers_cost_digits_for_some_bases():
  one, other = precision.worst(
    spectra.plain(5e5, 128), ['float32', 'float32_inverse'], [2**20]
  )
  assert other.error > 1.3 * one.error


@pytest.mark.parametrize(
  'values', [[1.0], [0.0, 0.0], [1.0, 1.0], [2.0, 0.5], [-1.0, -0.01, 0.0]]
)
def test_float32_powers_of_any_spectrum(values):
  """They are the frequencies, to float32, whatever base is assumed."""
  found = ways.inverse_frequency(Spectrum('x', np.array(values)))
  np.testing.assert_allclose(found, values, rtol=1e-6)


def test_split_positions_need_tables_in_float64():
  rows = precision.worst(ROPE, ['split', 'split_float32', 'float32'], [2**20])
  tables, products, plain = (row.error for row in rows)
  assert tables < 2e-7
  assert products > 0.1 * plain


def test_the_worst_is_where_it_says():
  lengths = [300, 50, 150, 777, 1000, 5000]
  for row in precision.worst(ROPE, ['float32', 'bfloat16', 'split'], lengths):
    assert max(0, row.length - 64) <= row.position < row.length
    error = precision.phase_error(ROPE, row.way, [row.position])
    assert abs(error[0, row.pair]) == row.error
    near = range(max(0, row.length - 64), row.length)
    every = precision.phase_error(ROPE, row.way, near)
    assert np.abs(every).max() == row.error


def test_two_bases_in_one_process_in_both_orders():
  def once(theta):
    spectrum = spectra.plain(theta, 32)
    return [row.error for row in precision.worst(spectrum, lengths=[5000])]

  first, second, again, back = map(once, (1e4, 3e6, 3e6, 1e4))
  assert first == back
  assert second == again
  assert first != second


def rotated(vector, phases):
  """Pairs (x, y) turned by their phases, as a loop."""
  return [
    (
      x * math.cos(p) - y * math.sin(p),
      x * math.sin(p) + y * math.cos(p),
    )
    for (x, y), p in zip(vector, phases, strict=True)
  ]


@pytest.mark.parametrize('way', ['float32', 'bfloat16_frequency', 'bfloat16'])
def test_score_errors_by_rotating_vectors(way):
  length, draws, seed = 5000, 3, 7
  spectrum = Spectrum(
    'x', np.array([1.0, 0.2, 0.01, 0.0]), 1.25, np.array([1.0, 0.2, 0.1, 0.0])
  )
  frequency = spectrum.frequency_f.tolist()
  rng = np.random.default_rng(seed)
  q, k = (rng.standard_normal((draws, 4, 2)).tolist() for _ in range(2))
  spread = np.geomspace(1, length - 1, 64)
  distances = sorted({round(float(m)) for m in spread})

  def phases(position):
    return [by_hand(way, position, f) for f in frequency]

  wrong, right = [], []
  for draw in range(draws):
    for m in distances:

      def score(phases_of, draw=draw, m=m):
        at = length - 1
        one = rotated(q[draw], phases_of(at))
        other = rotated(k[draw], phases_of(at - m))
        weights = [1.25**2 if f else 1.0 for f in frequency]
        return sum(
          w * (a * c + b * d)
          for w, (a, b), (c, d) in zip(weights, one, other, strict=True)
        ) / math.sqrt(8)

      true = score(
        lambda p: [less_turns(Decimal(p) * Decimal(f)) for f in frequency]
      )
      right.append(true)
      wrong.append(score(phases) - true)
  found = precision.score_error(spectrum, way, length, draws, seed)
  assert found.largest == pytest.approx(np.abs(wrong).max(), rel=1e-6)
  assert found.rms == pytest.approx(
    np.sqrt(np.mean(np.square(wrong))), rel=1e-6
  )
  assert found.score == pytest.approx(np.sqrt(np.mean(np.square(right))))


def test_score_errors_follow_from_phase_errors():
  """The mean square of the docstring, over many draws."""
  length = 2**17
  found = precision.score_error(ROPE, 'float32', length, draws=4000)
  distance = np.unique(np.rint(np.geomspace(1, length - 1, 64)).astype(int))
  error = precision.phase_error(
    ROPE, 'float32', [length - 1, *(length - 1 - distance)]
  )
  gap = error[0] - error[1:]
  want = math.sqrt(np.mean(4 * np.sin(gap / 2) ** 2))
  assert found.rms == pytest.approx(want, rel=0.03)
  assert found.score == pytest.approx(1.0, rel=0.03)
  assert found.largest > 3 * found.rms


def test_score_errors_grow_with_the_length_but_for_ours():
  lengths = (2**12, 2**17, 2**20)
  plain = [precision.score_error(ROPE, 'float32', n).rms for n in lengths]
  assert plain[0] * 10 < plain[1]
  assert plain[1] * 4 < plain[2]
  ours = [precision.score_error(ROPE, 'exact', n).rms for n in lengths]
  assert max(ours) < 2e-7


def test_draws_depend_on_the_seed_alone():
  def once(seed):
    return precision.score_error(ROPE, 'bfloat16', 300, draws=4, seed=seed)

  assert once(1) == once(1)
  assert once(1) != once(2)


def test_tables():
  rows = precision.worst(ROPE, ['float32', 'bfloat16_frequency'], [4096, 2**17])
  lines = precision.table(rows).splitlines()
  assert lines[0] == (
    'largest phase error (radians; with whole turns) below position'
  )
  assert lines[1].split() == ['way', '4,096', '131,072']
  assert lines[2].split() == ['float32', '2.4e-4', '7.8e-3']
  assert lines[3].split()[:3] == ['bfloat16_frequency', '2.6', '(5.01)']
  assert len({len(line) for line in lines[1:]}) == 1  # Aligned to the right.
  both = [*rows, *precision.worst(spectra.plain(5e5, 64), ['float32'], [4096])]
  named = precision.table(both).splitlines()
  assert named[-1].split() == ['theta', '500000:', 'float32', '1.9e-4', '-']
  scores = [precision.score_error(ROPE, 'float32', 4096)]
  text = precision.table(scores)
  assert text.startswith(f'error of scores of size {scores[0].score:.2g},')
  assert f'{scores[0].rms:.1e}'.split('e')[0] in text
  for wrong in ([], [*rows, *scores]):
    with pytest.raises(ValueError, match='rows are of'):
      precision.table(wrong)


@pytest.mark.parametrize(
  ('call', 'said'),
  [
    (lambda: precision.phase_error(ROPE, 'fp8', [1]), "way='fp8' must be one"),
    (lambda: precision.phase_error(ROPE, 'float32', []), r'shape \(0,\)'),
    (lambda: precision.phase_error(ROPE, 'float32', [HALF]), 'are float64'),
    (
      lambda: precision.phase_error(ROPE, 'float32', np.ones((1, 1), int)),
      r'shape \(1, 1\)',
    ),
    (
      lambda: precision.phase_error(ROPE, 'float32', [2**31]),
      'hold 2147483648',
    ),
    (
      lambda: precision.phase_error(ROPE, 'exact', [1], wrapped=False),
      "way='exact' drops whole turns",
    ),
    (lambda: precision.worst(ROPE, ['float']), "way='float'"),
    (lambda: precision.worst(ROPE, lengths=[0]), 'length=0 must be'),
    (lambda: precision.worst(ROPE, lengths=[2**31 + 1]), 'length=2147483649'),
    (lambda: precision.worst(ROPE, lengths=[HALF]), r'length=0\.5'),
    (lambda: precision.score_error(ROPE, 'float32', 1), 'length=1 must be'),
    (lambda: precision.score_error(ROPE, 'x', 10), "way='x'"),
    (lambda: precision.score_error(ROPE, 'exact', 10, draws=0), 'draws=0'),
    (
      lambda: exact.phase(Spectrum('fast', np.array([1e19])), [1]),
      'frequency_f of 1e',
    ),
  ],
)
def test_bad_input_is_named(call, said):
  with pytest.raises(ValueError, match=said):
    call()
