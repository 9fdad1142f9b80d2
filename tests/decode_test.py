"""Decoding through whole models: layers scanned or not, layouts, room."""

import hooks
import jax
import numpy as np
import pytest

from rope_jax import model, positions

ROPE = {'name': 'rope', 'theta': 1e4}
LAYOUTS = {
  'rope': ROPE,
  'rope, nope': [ROPE, {'name': 'nope'}],
  'rope, t5 shared': [ROPE, {'name': 't5'}],
  'learned + rope': [
    {'name': 'compose', 'parts': [{'name': 'learned', 'train_len': 32}, ROPE]}
  ],
  'dynamic_ntk': {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 8},
}


def build(layout, **fields):
  config = model.ModelConfig(
    vocab=40, layers=4, width=32, heads=4, kv_heads=2, mlp_dim=16, **fields
  )
  layout = positions.layout(LAYOUTS[layout])
  weights = model.init_weights(jax.random.key(0), config, layout)
  weights = jax.tree.map(lambda x: 2 * x, weights)
  return config, layout, weights


@pytest.mark.parametrize(
  ('layout', 'scan'),
  [*((name, True) for name in LAYOUTS), ('rope, t5 shared', False)],
)
def test_prefill_then_single_tokens_equals_the_full_forward_pass(layout, scan):
  config, layout, weights = build(layout, scan=scan, qk_norm=True)
  ids = np.random.default_rng(0).integers(0, 40, (2, 14)).astype(np.int32)
  full = hooks.jit(model.forward, static_argnums=(0, 1))
  want = full(config, layout, weights, ids)
  extend = hooks.jit(model.extend, static_argnums=(0, 1))
  cache = model.empty_cache(config, 2, 16)
  length = np.array([14, 14], np.int32)
  got, cache = extend(
    config, layout, weights, cache, ids[:, :9], length_b=length
  )
  np.testing.assert_allclose(got, want[:, :9], atol=1e-4)
  for at in range(9, 14):
    got, cache = extend(
      config, layout, weights, cache, ids[:, at : at + 1], length_b=length
    )
    np.testing.assert_allclose(got[:, 0], want[:, at], atol=1e-4)


def test_a_length_dependent_method_reads_the_cache_at_the_length_of_now():
  """One layer, whose cache does not depend on earlier lengths: every step is
  the last row of a pass over the tokens so far. Frozen lengths are not."""
  config, layout, weights = build('dynamic_ntk')
  config = model.ModelConfig(
    vocab=40, layers=1, width=32, heads=4, kv_heads=2, mlp_dim=16
  )
  weights = {
    **weights,
    'blocks': {k: v[:1] for k, v in weights['blocks'].items()},
  }
  ids = np.random.default_rng(1).integers(0, 40, (1, 14)).astype(np.int32)
  full = hooks.jit(model.forward, static_argnums=(0, 1))
  extend = hooks.jit(model.extend, static_argnums=(0, 1))
  longer = full(config, layout, weights, np.tile(ids, 2))
  cache = model.empty_cache(config, 1, 16)
  for at in range(14):
    got, cache = extend(config, layout, weights, cache, ids[:, at : at + 1])
    if at not in (6, 13):
      continue
    want = full(config, layout, weights, ids[:, : at + 1])[:, -1]
    np.testing.assert_allclose(got[:, 0], want, atol=1e-4)
    if at > 8:
      assert np.abs(longer[:, at] - want).max() > 1e-3


def test_a_token_beyond_the_cache_is_nan_and_the_others_are_kept():
  config, layout, weights = build('rope')
  ids = np.array([[1, 2, 3, 4]], np.int32)
  cache = model.empty_cache(config, 1, 6)
  _, cache = model.extend(config, layout, weights, cache, ids)
  before = np.asarray(cache.k_lbskh)
  logits, cache = model.extend(config, layout, weights, cache, ids)
  np.testing.assert_array_equal(np.isnan(logits).any(-1), [[0, 0, 1, 1]])
  np.testing.assert_array_equal(cache.k_lbskh[:, :, :4], before[:, :, :4])


def test_padding_is_not_kept():
  config, layout, weights = build('rope')
  ids = np.array([[1, 2, 3], [4, 5, 0]], np.int32)
  cache = model.empty_cache(config, 2, 8)
  _, cache = model.extend(
    config, layout, weights, cache, ids, new_b=np.array([3, 2])
  )
  assert np.abs(cache.v_lbskh[:, 0, 2]).max() > 0
  np.testing.assert_array_equal(cache.v_lbskh[:, 1, 2:], 0)
  np.testing.assert_array_equal(cache.count_b, [3, 2])


@pytest.mark.parametrize('shape', [(2, 3), (1, 9)])
def test_shapes_that_do_not_fit_are_refused(shape):
  config, layout, weights = build('rope')
  cache = model.empty_cache(config, 1, 8)
  with pytest.raises(ValueError, match='1 sequences of up to 8 tokens'):
    model.extend(config, layout, weights, cache, np.zeros(shape, np.int32))
