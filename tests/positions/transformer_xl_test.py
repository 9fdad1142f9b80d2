"""Transformer-XL: against the loops, and at every length and place the same."""

import hooks
import jax
import numpy as np
import oracles_relative as oracles
import pytest

from rope_jax import attention, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
  {'clamp_len': 9},
]


def build(**fields):
  return positions.build({'name': 'transformer_xl', **fields})


def params(position, heads=4, model_dim=32):
  drawn = position.init(
    jax.random.key(0), heads=heads, head_dim=8, model_dim=model_dim
  )
  return {'u': 40 * drawn['u'], 'v': 40 * drawn['v'], 'w': 2 * drawn['w']}


@pytest.mark.parametrize('clamp_len', [None, 1, 20])
@pytest.mark.parametrize('mask', [None, attention.Mask(causal=False)])
def test_attention_under_transformer_xl_equals_the_loops(rng, clamp_len, mask):
  c = hooks.case(rng, top=5000 if clamp_len is None else 40)
  method = build(clamp_len=clamp_len)
  weights = params(method)
  oracle = oracles.transformer_xl(c, **weights, clamp_len=clamp_len)
  if mask is not None:
    oracle['seen'] = lambda row, i, j: True
  hooks.assert_attends(
    method, c, params=weights, oracle=oracle, atol=2e-5, mask=mask
  )


@pytest.mark.parametrize('clamp_len', [None, 30])
def test_same_query_key_and_distance_have_one_logit_at_any_length(
  rng, clamp_len
):
  """An encoding of ascending positions would depend on how many keys there
  are. The first and the last of 9 keys stay where they are, and what is around
  them changes; then both move."""
  method = build(clamp_len=clamp_len)
  weights = params(method)
  c = hooks.case(rng, b=1, t=1, s=9, k=4)

  def logit(q_pos, k_pos, which):
    at = hooks.places(
      np.array([[q_pos]], np.int32), np.array([k_pos], np.int32)
    )
    return np.asarray(method.bias(weights, c.q, c.k[:, which], at))[0, :, 0]

  whole = logit(100, [3, 5, 40, 41, 70, 71, 80, 90, 100], np.arange(9))
  ends = logit(100, [3, 100], [0, 8])
  np.testing.assert_allclose(ends, whole[:, [0, 8]], atol=2e-6)
  longer = logit(100, [3, *range(4, 11), 100], np.arange(9))
  np.testing.assert_allclose(longer[:, [0, 8]], ends, atol=2e-6)
  for start in (7, 123_456, 2**30):
    moved = logit(start + 97, [start, start + 97], [0, 8])
    np.testing.assert_allclose(moved, ends, atol=2e-5)


def test_a_clamp_beyond_all_distances_changes_nothing(rng):
  """The two ways to the position term: a sum of products, and a table."""
  c = hooks.case(rng, top=60)
  weights = params(build())
  plain, clamped = (
    hooks.attend(method, weights, c.q, c.k, c.v, c.q_pos, c.k_pos)
    for method in (build(), build(clamp_len=64))
  )
  np.testing.assert_allclose(plain, clamped, atol=5e-6)


def test_all_keys_farther_than_the_clamp_look_alike():
  method = build(clamp_len=5)
  q, k = np.array([[50]], np.int32), np.array([[0, 20, 45, 46]], np.int32)
  got = hooks.biases(method, params(method), q, k)[0, :, 0]
  np.testing.assert_array_equal(got[:, 0], got[:, 1])
  np.testing.assert_array_equal(got[:, 0], got[:, 2])
  assert (got[:, 2] != got[:, 3]).all()


def test_a_distance_differs_from_its_negative():
  pos = np.array([[3, 9]], np.int32)
  got = hooks.biases(build(), params(build()), pos, pos)[0]
  assert (np.abs(got[:, 0, 1] - got[:, 1, 0]) > 1e-3).all()


def test_parameters_hold_no_length():
  drawn = params(build(clamp_len=9), heads=6, model_dim=48)
  shapes = {name: x.shape for name, x in drawn.items()}
  assert shapes == {'u': (6, 8), 'v': (6, 8), 'w': (48, 6, 8)}


@pytest.mark.parametrize('clamp_len', [None, 7])
def test_a_subset_of_heads_keeps_its_own_parameters(clamp_len):
  pos = np.arange(20, dtype=np.int32)[None]
  method = build(clamp_len=clamp_len)
  weights = params(method, heads=6)
  whole = hooks.biases(method, weights, pos, pos, heads=6)
  some = hooks.biases(method, weights, pos, pos, heads=6, chosen=[4, 1])
  np.testing.assert_allclose(some, whole[:, [4, 1]], atol=1e-6)


def test_two_hyperparameters_in_one_process_do_not_mix():
  weights = build().init(jax.random.key(0), heads=4, head_dim=16, model_dim=32)
  hooks.order_matters_not(
    {'name': 'transformer_xl', 'clamp_len': 100},
    {'clamp_len': 300},
    {'clamp_len': None},
    params=lambda _: weights,
  )


def test_an_odd_width_is_refused():
  with pytest.raises(ValueError, match='model_dim=33 is odd'):
    build().check(heads=3, head_dim=11, model_dim=33)


@pytest.mark.parametrize('clamp_len', [0, -1])
def test_a_clamp_out_of_range_is_named_with_its_value(clamp_len):
  with pytest.raises(ValueError, match=f'clamp_len={clamp_len}.*>= 1, or None'):
    build(clamp_len=clamp_len)
