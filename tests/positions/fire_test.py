"""FIRE: against the loops, its normaliser, its rows at a time."""

import functools

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import oracles_relative as oracles
import pytest

from rope_jax import positions
from rope_jax.positions import fire

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'threshold': 4.0},
]


def build(**fields):
  return positions.build({'name': 'fire', **fields})


def params(position, heads=4, **others):
  drawn = position.init(
    jax.random.key(0), heads=heads, head_dim=8, model_dim=32
  )
  return {**drawn, 'w_out': 4 * drawn['w_out'], **others}


@pytest.mark.parametrize('m', [1.0, -0.8, 0.0])
def test_attention_under_fire_equals_the_loops(rng, m):
  """Learned m of either sign; at 0 the position alone normalises."""
  c = hooks.case(rng, top=1200)
  weights = params(build(), m=np.float32(m), c=np.float32(-0.2))
  oracle = oracles.fire(c, weights, 512.0)
  hooks.assert_attends(build(), c, params=weights, oracle=oracle, atol=2e-5)


@pytest.mark.parametrize('rows', [16, 17, 32, 45])
def test_a_few_queries_at_a_time_equal_all_at_once(monkeypatch, rows):
  pos = np.arange(rows, dtype=np.int32)[None] * 3
  method = build(threshold=20.0)
  weights = params(method)

  def run(weights):
    bias = method.bias(
      weights,
      jnp.zeros((1, rows, 4, 8)),
      jnp.zeros((1, rows, 4, 8)),
      hooks.places(pos, pos),
    )
    return (bias**2).sum(), bias

  go = functools.partial(jax.value_and_grad(run, has_aux=True), weights)
  (_, some), some_gradient = go()
  monkeypatch.setattr(fire, '_ROWS', 10**6)
  (_, whole), whole_gradient = go()
  np.testing.assert_allclose(some, whole, atol=1e-6)
  for name, gradient in whole_gradient.items():
    scale = max(1, np.abs(gradient).max())
    np.testing.assert_allclose(
      some_gradient[name], gradient, atol=1e-5 * scale, err_msg=name
    )


def test_hidden_units_are_never_held_for_all_pairs_of_tokens():
  """Of sixteen queries at a time, in the backward pass too."""
  pos = np.arange(256, dtype=np.int32)[None]
  method = build()
  weights = params(method)

  def loss(weights):
    x = jnp.zeros((1, 256, 4, 8))
    return method.bias(weights, x, x, hooks.places(pos, pos)).sum()

  found = hooks.jit(jax.grad(loss)).lower(weights).compile().memory_analysis()
  assert found.temp_size_in_bytes < 256 * 256 * 32 * 4 / 2


def test_a_distance_is_a_share_of_the_context_so_far():
  """At the first key the share is one, whatever the position, past the
  threshold; before it, one is the threshold itself."""
  method = build(threshold=50.0)
  q = jnp.array([50, 100, 5000, 10])
  c = method.coefficients(params(method), np.array([0]), 1, 8)[0]
  share = method.share(list(c), q, q)
  np.testing.assert_allclose(share[:3], 1, atol=1e-5)
  assert share[3] == pytest.approx(np.log(2) / np.log(6), rel=1e-5)


def test_scores_depend_on_the_position_past_the_threshold_alone():
  method = build(threshold=50.0)
  weights = params(method)
  k = np.array([[0, 3, 8]], np.int32)

  def at(start):
    return hooks.biases(method, weights, np.array([[start + 9]]), k + start)

  np.testing.assert_allclose(at(40), at(0), atol=1e-6)
  assert np.abs(at(400) - at(0)).max() > 1e-2
  assert not method.relative


@pytest.mark.parametrize('c', [0.1, 0.0])
@pytest.mark.parametrize('m', [1.0, 0.0])
def test_value_and_gradient_are_finite_at_every_distance(c, m):
  """Distance 0, the first token of all, keys ahead; learned zeros."""
  q = np.array([[0, 7, 2_000_000]], np.int32)
  k = np.array([[0, 6, 7, 8, 2_000_000]], np.int32)
  method = build()
  weights = params(method, c=np.float32(c), m=np.float32(m))
  x = jnp.zeros((1, 5, 4, 8))
  value, vjp = jax.vjp(
    lambda w: method.bias(w, x[:, :3], x, hooks.places(q, k)), weights
  )
  assert np.isfinite(value).all()
  for gradient in jax.tree.leaves(vjp(jnp.ones_like(value))):
    assert np.isfinite(gradient).all()


def test_it_starts_as_the_source_does():
  drawn = build(hidden=400).init(
    jax.random.key(0), heads=50, head_dim=8, model_dim=32
  )
  assert (float(drawn['c']), float(drawn['m'])) == (np.float32(0.1), 1.0)
  for name, bound in (('w_in', 1), ('b_in', 1), ('w_out', 1 / 20)):
    assert 0.95 * bound < np.abs(drawn[name]).max() <= bound
    assert abs(drawn[name].mean()) < 0.15 * bound


def test_a_subset_of_heads_keeps_its_own_outputs():
  pos = np.arange(20, dtype=np.int32)[None]
  weights = params(build(), heads=6)
  whole = hooks.biases(build(), weights, pos, pos, heads=6)
  some = hooks.biases(build(), weights, pos, pos, heads=6, chosen=[4, 1])
  np.testing.assert_allclose(some, whole[:, [4, 1]], atol=1e-6)


def test_two_hyperparameters_in_one_process_do_not_mix():
  weights = params(build())
  hooks.order_matters_not(
    {'name': 'fire'},
    {'threshold': 1500.0},
    {'epsilon': 3.0},
    params=lambda _: weights,
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'hidden': 0}, 'hidden=0.*units >= 1'),
    ({'threshold': 0.0}, r'threshold=0\.0.*above 0'),
    ({'init_c': -0.1}, r'init_c=-0\.1.*above 0'),
    ({'epsilon': float('inf')}, 'epsilon=inf.*above 0'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
