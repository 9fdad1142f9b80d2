"""Gradients by jax.grad against central differences, for what methods learn.

Like the contract test it finds each method and its examples by name.
"""

import contract_test as contract
import hooks
import jax
import numpy as np
import pytest

from rope_jax import attention, positions

N, H, D = contract.N, contract.H, contract.D
# Gappy, different by row, with neighbours: the distances of 2 x 5 tokens.
POS = np.array([[0, 1, 4, 5, 11], [3, 4, 9, 16, 17]], np.int32)
# A central difference is wrong by the square of its step, by the rounding of
# the loss (1e-6) divided by it, and where a kink (of a ReLU) lies within it:
# the better one of two.
STEPS = 5e-3, 1e-3

LEARN = [
  name
  for name in contract.SPECS
  if positions.overrides(contract.build(name), 'init')
]


def loss(method, point, direction):
  """A scalar of what `embed` and attention with grouped heads make of it."""
  x = np.zeros((*POS.shape, D), np.float32)
  x = method.embed(point['params'], x, POS)
  out = attention.attend(
    method,
    point['params'],
    point['q'] + x.reshape(*POS.shape, N, H),
    point['k'],
    point['v'],
    q_pos_bt=POS,
    k_pos_bs=POS,
  )
  return (out * direction).sum()


evaluate = hooks.jit(jax.value_and_grad(loss, argnums=1), static_argnums=0)


def unit(x):
  return x / max(np.sqrt((x**2).sum()), 1e-30)


@pytest.mark.parametrize('name', LEARN)
def test_gradients_of_parameters_queries_and_keys_are_differences(name):
  """Each array on its own, between its gradient, along which the difference
  is largest, and a random direction."""
  method, rng = contract.build(name), np.random.default_rng(0)

  def normal(heads):
    return rng.normal(size=(*POS.shape, heads, H)).astype(np.float32)

  point = {
    'params': contract.params_of(method),
    'q': normal(N),
    'k': normal(N // 2),
    'v': normal(N // 2),
  }
  direction = normal(N)
  _, gradient = evaluate(method, point, direction)
  leaves, structure = jax.tree.flatten_with_path(point)
  for at, ((path, leaf), slope) in enumerate(
    zip(leaves, jax.tree.leaves(gradient), strict=True)
  ):
    label = jax.tree_util.keystr(path)
    slope = np.asarray(slope, np.float64)
    way = unit(slope) + unit(rng.normal(size=leaf.shape)) / 2

    def moved(step, at=at, way=way):
      values = [value for _, value in leaves]
      values[at] = np.float32(values[at] + step * way)
      there = jax.tree.unflatten(structure, values)
      return float(evaluate(method, there, direction)[0])

    got = (slope * way).sum()
    assert abs(got) > 1e-2, label
    wants = [(moved(step) - moved(-step)) / (2 * step) for step in STEPS]
    want = min(wants, key=lambda want: abs(got - want))
    assert got == pytest.approx(want, rel=1e-2, abs=1e-3), (label, wants)


def test_the_methods_that_learn_are_among_them():
  names = {name.split('-')[0] for name in LEARN}
  assert names >= {'deberta', 'fire', 'kerple', 'learned', 'shaw', 't5'}
  assert 'transformer_xl' in names
  assert 'rope' not in names
