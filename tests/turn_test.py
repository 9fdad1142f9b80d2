"""Rotations made apart from the program around them, as on CPU."""

import contract_test as laws
import hooks
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from rope_jax import attention, positions
from rope_jax.positions import _turn


@pytest.fixture
def large(monkeypatch):
  """Everything counts as large."""
  monkeypatch.setattr(_turn, 'LARGE', 0)


@pytest.mark.parametrize(
  'name', ['rope', 'half_rope+alibi', 'dynamic_yarn', 'self_extend', 'xpos']
)
def test_apart_equals_joined_in_values_and_gradients(name, monkeypatch):
  method, (x, pos) = laws.build(name), laws.tokens(t=6, b=2)
  params = laws.params_of(method)
  found = []
  for least in (0, 2**30):
    monkeypatch.setattr(_turn, 'LARGE', least)

    def total(x):
      out = laws.run(method, params, x, pos)
      return (out * jnp.sin(jnp.arange(out.size).reshape(out.shape))).sum(), out

    found.append(hooks.jit(jax.value_and_grad(total, has_aux=True))(x))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *found)


@pytest.mark.parametrize('pairing', ['half', 'interleaved'])
@pytest.mark.parametrize('fraction', [1.0, 0.5])
def test_apart_equals_the_loops(rng, large, pairing, fraction):
  position = positions.build(
    {'name': 'rope', 'theta': 100.0, 'pairing': pairing, 'fraction': fraction}
  )
  c = hooks.case(rng)
  frequency, _ = position.frequencies(8)
  turning = hooks.turning(c, frequency[: int(4 * fraction)], 1.0, pairing)
  # Not `hooks.attend`, which remembers what it compiled.
  got = attention.attend(
    position, {}, c.q, c.k, c.v, q_pos_bt=c.q_pos, k_pos_bs=c.k_pos
  )
  want = oracles.attention(c.q, c.k, c.v, **turning)
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_learned_spectrum_has_its_gradient_apart(rng, large):
  position = positions.build(
    {'name': 'free_rope', 'frequency': (0.5, 0.25), 'learned': True}
  )
  x = rng.normal(size=(1, 3, 1, 4)).astype(np.float32)
  pos = np.array([[0, 2, 5]], np.int32)

  @jax.jit
  def loss(frequency):
    q, k = position.rotate(
      {'frequency': frequency}, x, x, hooks.places(pos, pos, heads=1)
    )
    return (q * np.arange(12).reshape(x.shape)).sum() + (k**3).sum()

  given = np.array([0.5, 0.25])
  got = jax.grad(loss)(given.astype(np.float32))
  for at in range(2):
    step = np.zeros(2)
    step[at] = 1e-2
    ends = [loss(np.float32(given + sign * step)) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-2
    np.testing.assert_allclose(got[at], slope, rtol=2e-2, atol=2e-2)


def test_waves_are_made_once_for_queries_and_keys(monkeypatch):
  position, counts = positions.build({'name': 'rope', 'theta': 100.0}), []
  real = _turn.waves
  monkeypatch.setattr(_turn, 'waves', lambda *a: counts.append(1) or real(*a))
  x = jnp.ones((1, 3, 1, 4))
  pos = np.arange(3)[None]
  for k_pos, expected in ((pos, 1), (pos.copy(), 2)):
    counts.clear()
    places = hooks.places(pos, k_pos, heads=1)
    position.rotate({}, x, x, places)
    assert len(counts) == expected
