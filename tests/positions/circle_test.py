"""Cosine and sine together, against float64."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax.positions import _circle


@pytest.mark.parametrize(('reach', 'bound'), [(4.0, 1.2e-7), (1e4, 2.5e-7)])
def test_they_are_as_good_as_documented(reach, bound):
  x = np.random.default_rng(0).uniform(-reach, reach, 200_000)
  x = np.concatenate([x, np.arange(-8, 9) * np.pi / 4]).astype(np.float32)
  cos, sin = jax.jit(_circle.cos_sin)(x)
  wide = x.astype(np.float64)
  np.testing.assert_allclose(cos, np.cos(wide), rtol=0, atol=bound)
  np.testing.assert_allclose(sin, np.sin(wide), rtol=0, atol=bound)


def test_a_quarter_turn_is_whole_and_its_first_parts_are_exact_in_products():
  parts = [np.float32(x) for x in _circle._QUARTER]
  assert float(sum(Fraction(float(x)) for x in parts)) == pytest.approx(
    np.pi / 2, rel=1e-14
  )
  for part in parts[:2]:
    for count in (2**13 - 1, 5461):
      exact = Fraction(count) * Fraction(float(part))
      assert Fraction(float(np.float32(count) * part)) == exact


def test_their_derivatives_are_theirs_and_nan_stays():
  x = jnp.linspace(-9, 9, 50)
  moved = jax.vmap(jax.grad(lambda x: 2 * _circle.cos_sin(x)[0]))(x)
  np.testing.assert_allclose(moved, -2 * np.sin(np.float64(x)), atol=1e-6)
  moved = jax.vmap(jax.grad(lambda x: 3 * _circle.cos_sin(x)[1]))(x)
  np.testing.assert_allclose(moved, 3 * np.cos(np.float64(x)), atol=1e-6)
  assert np.isnan(_circle.cos_sin(jnp.array([jnp.nan, jnp.inf]))).all()
