"""KERPLE: both kernels, their ranges, finite gradients at distance zero."""

import hooks
import jax
import numpy as np
import oracles_relative as oracles
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
  {'variant': 'power'},
]


def build(variant='log'):
  return positions.build({'name': 'kerple', 'variant': variant})


def raw(variant, a, p):
  """Parameters whose kernel has these a and p."""
  a, p = np.asarray(a), np.asarray(p)
  p_raw = np.log(np.expm1(p)) if variant == 'log' else np.log(p / (2 - p))
  return {
    'a': np.log(np.expm1(a)).astype(np.float32),
    'p': p_raw.astype(np.float32),
  }


@pytest.mark.parametrize('variant', ['log', 'power'])
def test_attention_under_kerple_equals_the_loops(rng, variant):
  c = hooks.case(rng, top=60)
  a, p = [0.9, 0.02, 0.4, 1.5], [0.05, 1.9, 1.0, 0.6]
  oracle = oracles.kerple(c, a, p, variant)
  hooks.assert_attends(
    build(variant), c, params=raw(variant, a, p), oracle=oracle, atol=2e-5
  )


@pytest.mark.parametrize('variant', ['log', 'power'])
def test_it_starts_within_the_ranges_of_the_source(variant):
  method = build(variant)
  drawn = method.init(jax.random.key(3), heads=4000, head_dim=8, model_dim=32)
  a, p = (np.asarray(x) for x in method.shape(drawn))
  assert a.shape == p.shape == (4000,)
  for drawn, top in ((a, 1.0), (p, 2.0)):
    assert 0.0099 < drawn.min() < 0.02
    assert 0.97 * top < drawn.max() <= top
    assert abs(drawn.mean() - top / 2) < 0.02 * top


@pytest.mark.parametrize('variant', ['log', 'power'])
@pytest.mark.parametrize('raw_value', [-1e4, -30.0, 0.0, 30.0])
def test_value_and_gradient_are_finite_at_every_distance(variant, raw_value):
  """Distance 0, keys ahead, and 2 million tokens; far outside the source's
  clamp, where d^p would have an infinite derivative at d = 0."""
  q = np.array([[7, 2_000_000]], np.int32)
  k = np.array([[0, 6, 7, 8, 50, 2_000_000]], np.int32)
  at = hooks.places(q, k, heads=2)
  x = np.zeros((1, 6, 2, 8), np.float32)
  weights = {
    'a': np.full(2, min(raw_value, 1.0), np.float32),
    'p': np.full(2, raw_value, np.float32),
  }
  method = build(variant)
  value, vjp = jax.vjp(lambda w: method.bias(w, x[:, :2], x, at), weights)
  assert np.isfinite(value).all()
  assert (np.asarray(value) <= 0).all()
  (gradients,) = vjp(np.ones(value.shape, np.float32))
  for gradient in gradients.values():
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize('variant', ['log', 'power'])
def test_distance_zero_costs_nothing_and_keys_ahead_cost_the_same(variant):
  weights = raw(variant, [0.3, 0.7], [0.4, 1.2])
  q = np.array([[5]], np.int32)
  k = np.array([[5, 2, 8]], np.int32)
  got = hooks.biases(build(variant), weights, q, k, heads=2)[0, :, 0]
  np.testing.assert_array_equal(got[:, 0], 0)
  np.testing.assert_array_equal(got[:, 1], got[:, 2])


def test_powers_never_exceed_two():
  _, p = build('power').shape({'a': np.zeros(1), 'p': np.array([1e9])})
  assert p == 2


@pytest.mark.parametrize('variant', ['log', 'power'])
def test_a_subset_of_heads_keeps_its_own_shape(variant):
  pos = np.arange(40, dtype=np.int32)[None]
  method = build(variant)
  weights = method.init(jax.random.key(0), heads=6, head_dim=8, model_dim=32)
  whole = hooks.biases(method, weights, pos, pos, heads=6)
  some = hooks.biases(method, weights, pos, pos, heads=6, chosen=[4, 1])
  np.testing.assert_array_equal(some, whole[:, [4, 1]])


def test_two_hyperparameters_in_one_process_do_not_mix():
  weights = raw('log', [0.5] * 4, [0.3] * 4)
  hooks.order_matters_not(
    {'name': 'kerple'}, {'variant': 'power'}, params=lambda _: weights
  )


def test_an_unknown_variant_is_named():
  with pytest.raises(ValueError, match=r"variant='weight'.*log.*power"):
    build('weight')
