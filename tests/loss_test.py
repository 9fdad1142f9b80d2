"""The loss by chunks of the vocabulary, against float64."""

import functools

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import model

V, D = 23, 6


def case(rng):
  x = rng.normal(size=(2, 5, D)).astype(np.float32)
  table = rng.normal(size=(V, D)).astype(np.float32)
  targets = rng.integers(0, V, (2, 5))
  weight = rng.normal(size=(2, 5)).astype(np.float32)
  return x, table, targets, weight


def oracle(x, table, targets, weight, cap=0.0):
  """Loss, and its gradients in closed form."""
  x, table, weight = (np.asarray(a, np.float64) for a in (x, table, weight))
  logits, slope = x @ table.T, 1.0
  if cap:
    slope = 1 / np.cosh(logits / cap) ** 2
    logits = cap * np.tanh(logits / cap)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  hot = np.eye(V)[targets]
  nll = -np.log((p * hot).sum(-1))
  d = (p - hot) * weight[..., None] * slope
  return nll, d @ table, np.einsum('btv,btd->vd', d, x)


@pytest.mark.parametrize(
  ('chunk', 'cap'),
  [(c, 0.0) for c in (1, 4, 8, 22, 23, 100)] + [(8, 1.5), (100, 1.5)],
)
def test_loss_and_gradients_equal_float64(rng, chunk, cap):
  x, table, targets, weight = case(rng)

  @hooks.jit
  def both(x, table):
    def loss(x, table):
      nll = model.projected_nll(x, table, targets, chunk, cap)
      return (nll * weight).sum(), nll

    return jax.value_and_grad(loss, (0, 1), has_aux=True)(x, table)

  (_, nll), (d_x, d_table) = both(x, table)
  want = oracle(x, table, targets, weight, cap)
  for got, truth in zip((nll, d_x, d_table), want, strict=True):
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, truth, atol=2e-5)


def test_large_logits_do_not_overflow(rng):
  x, table, targets, _ = case(rng)
  nll = hooks.jit(model.projected_nll, static_argnums=3)(
    300 * x, table, targets, 4
  )
  logits = 300 * x.astype(np.float64) @ table.T.astype(np.float64)
  top = logits.max(-1)
  picked = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
  want = np.log(np.exp(logits - top[..., None]).sum(-1)) + top - picked
  np.testing.assert_allclose(nll, want, rtol=1e-5, atol=1e-3)


def test_a_table_split_over_devices_gives_the_same(rng):
  from jax.sharding import NamedSharding, PartitionSpec

  x, table, targets, _ = case(rng)
  table = np.concatenate([table, table])[:40]
  auto = jax.sharding.AxisType.Auto
  mesh = jax.make_mesh((8,), ('tensor',), axis_types=(auto,))
  split = NamedSharding(mesh, PartitionSpec('tensor'))
  run = hooks.jit(functools.partial(model.projected_nll, chunk=16))
  want = run(x, table, targets)
  got = run(x, jax.device_put(table, split), targets)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_bfloat16_states_give_a_float32_loss(rng):
  x, table, targets, weight = case(rng)
  x = jnp.asarray(x, jnp.bfloat16)
  want = oracle(np.asarray(x, np.float64), table, targets, weight)[0]
  got = model.projected_nll(x, table, targets, 8)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=0.05)


def temporary(vocab):
  """Scratch memory beyond a gradient of the table itself."""

  def loss(x, table, targets):
    return model.projected_nll(x, table, targets, 128).sum()

  x = jax.ShapeDtypeStruct((4, 512, 8), jnp.float32)
  table = jax.ShapeDtypeStruct((vocab, 8), jnp.float32)
  targets = jax.ShapeDtypeStruct((4, 512), jnp.int32)
  go = hooks.jit(jax.grad(loss, (0, 1)))
  used = go.lower(x, table, targets).compile().memory_analysis()
  return used.temp_size_in_bytes - 4 * 4 * vocab * 8


def test_memory_does_not_grow_with_the_vocabulary():
  small, large = temporary(256), temporary(4096)
  assert large < 1.3 * small
  assert large < 4 * 512 * 4096 * 4 / 4  # A quarter of the logits.
