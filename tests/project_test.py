"""Products with weights and the SwiGLU gate, against JAX's own derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax.model.project import project
from rope_jax.model.swiglu import swiglu


@pytest.mark.parametrize(
  ('x_shape', 'w_shape', 'how'),
  [
    ((2, 3, 4), (4, 5, 2), 'btd,dkh->btkh'),  # Wider after than before.
    ((2, 3, 5, 2), (5, 2, 4), 'btnh,nhd->btd'),  # Narrower.
    ((1, 1, 4), (4, 4), 'btd,dm->btm'),
  ],
)
def test_products_and_their_derivatives(rng, x_shape, w_shape, how):
  x, w = (rng.normal(size=s).astype(np.float32) for s in (x_shape, w_shape))
  made = []
  for go in (project, lambda x, w: jnp.einsum(how, x, w)):
    out, pull = jax.vjp(go, x, w)
    made.append((out, pull(jnp.cos(out))))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), *made
  )


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_derivatives_have_the_dtypes_of_what_they_are_of(rng, dtype):
  x = jnp.asarray(rng.normal(size=(1, 2, 4)), dtype)
  w = jnp.asarray(rng.normal(size=(4, 3)), dtype)
  out, pull = jax.vjp(project, x, w)
  assert {y.dtype for y in (out, *pull(out))} == {jnp.dtype(dtype)}


def test_the_gate_and_its_derivative(rng):
  both = 3 * rng.normal(size=(2, 3, 2, 5)).astype(np.float32)

  def plain(both):
    gate, up = both[:, :, 0], both[:, :, 1]
    return gate / (1 + jnp.exp(-gate)) * up

  made = []
  for go in (swiglu, plain):
    out, pull = jax.vjp(go, both)
    made.append((out, pull(jnp.cos(out))))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5), *made
  )


def test_the_gate_is_finite_far_out():
  both = jnp.array([[[[-1e4, 1e4], [2.0, 3.0]]]])
  out, pull = jax.vjp(swiglu, both)
  np.testing.assert_allclose(out, [[[0.0, 3e4]]])
  assert np.isfinite(pull(jnp.ones_like(out))[0]).all()
