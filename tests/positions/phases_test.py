"""Exact phases against long decimals, at any int32 position."""

import jax
import numpy as np
import oracles
import pytest

from rope_jax.positions import _phases


def error(position, frequency):
  """The largest distance to the exact phase, around the circle."""
  got = _phases.phase(np.asarray([position], np.int32), np.asarray(frequency))
  worst = 0.0
  for row, p in zip(np.asarray(got, np.float64)[0], position, strict=True):
    for g, f in zip(row, frequency, strict=True):
      gap = g - oracles.exact_phase(int(p), float(f))
      worst = max(worst, abs((gap + np.pi) % (2 * np.pi) - np.pi))
  return worst


SPECTRUM = oracles.rope_frequencies(32, 1e4)


@pytest.mark.parametrize('frequency', [SPECTRUM, SPECTRUM / 7, [0.99, 1e-9]])
def test_phases_keep_their_documented_bound_up_to_2_to_the_24(rng, frequency):
  position = rng.integers(0, 2**24 + 1, 60)
  position[:4] = [0, 1, 2**24 - 1, 2**24]
  assert error(position, frequency) < 3.2e-7


def test_phases_keep_their_documented_bound_up_to_the_last_int32(rng):
  position = rng.integers(2**30, 2**31, 60)
  position[:2] = [2**31 - 1, 2**30]
  assert error(position, SPECTRUM) < 8e-7


def test_phases_of_negative_positions_are_exact_to_the_first_int32(rng):
  position = -rng.integers(1, 2**31, 40)
  position[:3] = [-1, -(2**31), -(2**24)]
  assert error(position, SPECTRUM) < 8e-7


def test_a_float32_product_would_not_pass():
  """What the exact algorithm is for: the plain product is 1e5 x worse."""
  f = np.float32(SPECTRUM[1])
  plain = float(np.float32(2**24 - 1) * f)
  gap = plain - (2**24 - 1) * float(SPECTRUM[1])
  assert abs(gap) > 0.01


def test_phases_stay_within_half_a_turn(rng):
  position = rng.integers(-(2**31), 2**31, (1, 400)).astype(np.int32)
  got = np.asarray(_phases.phase(position, SPECTRUM))
  assert np.abs(got).max() <= np.float32(np.pi)


def test_phases_are_the_same_inside_a_compiled_program(rng):
  position = rng.integers(-(2**31), 2**31, (2, 50)).astype(np.int32)
  compiled = jax.jit(lambda p: _phases.phase(p, SPECTRUM))(position)
  np.testing.assert_array_equal(compiled, _phases.phase(position, SPECTRUM))
