"""Exact phases against long decimals, at any int32 position."""

from decimal import Decimal, localcontext

import jax
import numpy as np
import oracles
import pytest

from rope_jax.positions import _phases


def error(position, frequency, phase=_phases.phase):
  """The largest distance to the exact phase, around the circle."""
  got = phase(np.asarray([position], np.int32), np.asarray(frequency))
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


# Frequencies that are data.

TRACED = SPECTRUM.astype(np.float32)
traced = jax.jit(_phases.traced_phase, static_argnums=2)


@pytest.mark.parametrize(
  'frequency',
  [TRACED, -TRACED, TRACED / np.float32(7), np.float32([0.99, 1e-9, 0, -0.0])],
)
def test_traced_frequencies_keep_the_same_bound(rng, frequency):
  near = rng.integers(0, 2**24 + 1, 60)
  near[:4] = [0, 1, 2**24 - 1, 2**24]
  assert error(near, frequency, traced) < 3.2e-7
  far = rng.integers(-(2**31), 2**31, 60)
  far[:4] = [2**31 - 1, 2**30, -(2**31), -1]
  assert error(far, frequency, traced) < 3.3e-7


def test_traced_frequencies_of_any_size_are_exact(rng):
  """Every exponent of a float32, subnormal ones too, up to 2^31: beyond it
  the long decimals of the oracle end."""
  mantissa = rng.integers(2**23, 2**24, 180).astype(np.float64)
  frequency = np.ldexp(mantissa, np.arange(-172, 8)).astype(np.float32)
  assert frequency[0] < 1.2e-38  # Subnormal.
  assert frequency[-1] > 2**30
  assert error([1, 3, 77_777, 2**31 - 1], frequency, traced) < 3.3e-7


def test_the_words_of_data_are_those_of_numbers():
  """Except for the rounding of the float64 that `fixed_point` divides."""
  exact, got = (
    np.array(h, np.uint64) * np.uint64(2**32) + np.array(l, np.uint64)
    for h, l in (
      _phases.fixed_point(TRACED.astype(np.float64)),
      jax.jit(_phases.words_of)(TRACED),
    )
  )
  apart = (got - exact).astype(np.int64)
  assert np.abs(apart).max() < 2**12
  assert (apart != 0).any()


def test_the_words_are_the_product_with_one_over_two_pi_to_the_last_bit(rng):
  """Four thousand of them: a carry between the words is rare."""
  mantissa = rng.integers(2**23, 2**24, 4000).astype(np.float64)
  frequency = np.ldexp(mantissa, rng.integers(-40, -22, 4000))
  frequency = (frequency * rng.choice([-1, 1], 4000)).astype(np.float32)
  high, low = (np.asarray(w).tolist() for w in _phases.words_of(frequency))
  with localcontext() as context:
    context.prec = 55
    for at, f in enumerate(frequency.tolist()):
      turns = Decimal(f) / (2 * oracles.PI)
      apart = high[at] * 2**32 + low[at] - int(turns * 2**64)
      assert abs((apart + 2**63) % 2**64 - 2**63) <= 1, f


@pytest.mark.parametrize('divisor', [3.0, 0.125, 1.7, 1e-3])
def test_traced_frequencies_are_divided_exactly(divisor):
  want = [Decimal(float(f)) / Decimal(divisor) for f in TRACED]
  pos = np.array([[2**31 - 1, 5, 100_003]], np.int32)
  got = np.asarray(traced(pos, TRACED, divisor))
  for row, p in zip(got[0], pos[0].tolist(), strict=True):
    for g, f in zip(row, want, strict=True):
      gap = float(g) - oracles.exact_phase(p, f)
      assert abs((gap + np.pi) % (2 * np.pi) - np.pi) < 3.3e-7


def test_the_derivative_in_a_traced_frequency_is_the_position(rng):
  """By finite differences of the exact phase: neighbouring float32 values."""
  pos = np.array([[0, 1, 1000, -70_000, 2**24 + 2]], np.int32)
  weight = rng.normal(size=(1, 5, 16)).astype(np.float32)

  def total(frequency):
    return (traced(pos, frequency, 1.0) * weight).sum()

  want = (pos[0, :, None] * weight[0].astype(np.float64)).sum(axis=0)
  np.testing.assert_allclose(jax.grad(total)(TRACED), want, rtol=1e-5)
  step = np.spacing(TRACED)
  near = pos[:, :3]  # Where a step of the frequency is no whole turn.
  up, down = (
    np.asarray(traced(near, TRACED + by, 1.0), np.float64)
    for by in (64 * step, -64 * step)
  )
  gap = (up - down + np.pi) % (2 * np.pi) - np.pi
  _, tangent = jax.jvp(lambda f: traced(near, f, 1.0), (TRACED,), (128 * step,))
  np.testing.assert_allclose(gap, tangent, rtol=1e-4, atol=1e-6)
  half = jax.jvp(lambda f: traced(near, f, 2.0), (TRACED,), (step,))[1]
  np.testing.assert_allclose(half, np.asarray(tangent) / 256, rtol=1e-6)


def test_a_frequency_that_is_not_finite_is_nan():
  bad = np.float32([np.nan, np.inf, -np.inf, 1.0])
  got = np.asarray(traced(np.ones((1, 1), np.int32), bad, 1.0))
  assert np.isnan(got[0, 0]).tolist() == [True, True, True, False]


def test_traced_phases_may_be_mapped(rng):
  many = rng.uniform(0, 1, (3, 4)).astype(np.float32)
  pos = rng.integers(0, 2**31, (1, 5)).astype(np.int32)
  got = jax.vmap(lambda f: _phases.traced_phase(pos, f))(many)
  for row, f in zip(got, many, strict=True):
    np.testing.assert_array_equal(row, _phases.traced_phase(pos, f))
