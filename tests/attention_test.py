"""`attend` and `Mask` against float64 loops; memory of the blockwise way."""

import dataclasses
import functools
import importlib
import math

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from rope_jax import positions
from rope_jax.attention import Mask, attend, blocks, context_length, engine

attend_module = importlib.import_module('rope_jax.attention.attend')

ROPE = positions.build({'name': 'rope', 'theta': 100.0, 'fraction': 0.5})
METHOD = positions.compose(ROPE, positions.build({'name': 'alibi'}))
HOWS = ('naive', 'blockwise')


# Blocks of two, so that five queries make three blocks.
SMALL = blocks.Schedule(q_block=2, k_block=2)


def oracle(c, **others):
  """What `METHOD` does to a case, by the loops."""
  slope = oracles.alibi_slopes(4)

  def bias(row, head, i, j):
    distance = int(c.q_pos[row, i]) - int(c.k_pos[row, j])
    return -slope[head] * abs(distance)

  turning = hooks.turning(c, oracles.rope_frequencies(4, 100.0))
  return {**turning, 'bias': bias, **others}


SEGMENTS = np.array([[1, 1, 1, 4, 4, 4, 4], [2, 2, 9, 9, 9, 9, 9]])
LENGTHS = {
  'q_length_bt': np.ones((2, 1), int),
  'k_length_bs': np.ones((2, 1), int),
}
ORDER = np.array([[6, 0, 3, 1, 5], [2, 2, 4, 6, 0]], np.int32)
COUNT = np.array([4, 7], np.int32)


@pytest.mark.parametrize('how', HOWS)
@pytest.mark.parametrize(
  ('mask', 'seen'),
  [
    (None, lambda row, i, j: j <= i + 2),
    (Mask(causal=False), lambda row, i, j: True),
    (Mask(window=3), lambda row, i, j: i + 2 - 3 < j <= i + 2),
    (
      Mask(q_segment_bt=SEGMENTS[:, 2:], k_segment_bs=SEGMENTS),
      lambda row, i, j: j <= i + 2 and SEGMENTS[row, i + 2] == SEGMENTS[row, j],
    ),
    (
      Mask(k_count_b=COUNT, causal=False),
      lambda row, i, j: j < COUNT[row],
    ),
    (
      Mask(k_count_b=COUNT, q_order_bt=ORDER),
      lambda row, i, j: j <= ORDER[row, i] and j < COUNT[row],
    ),
    (
      Mask(q_order_bt=ORDER[:1], window=2),
      lambda row, i, j: ORDER[0, i] - 2 < j <= ORDER[0, i],
    ),
  ],
  ids=[
    'causal',
    'all',
    'window',
    'segments',
    'ragged',
    'order',
    'order_window',
  ],
)
def test_attention_equals_the_loops_under_each_mask(rng, mask, seen, how):
  c = hooks.case(rng, top=30)
  hooks.assert_attends(
    METHOD,
    c,
    oracle=oracle(c, seen=seen),
    mask=mask,
    how=how,
    schedule=SMALL,
    **LENGTHS,
  )


@pytest.mark.parametrize('how', HOWS)
def test_scores_are_capped_before_anything_is_left_out(rng, how):
  """By a window of positions, a view's region, as by the mask."""
  c = hooks.case(rng, top=12)
  local = positions.build({'name': 'local', 'window': 5})

  def seen(row, i, j):
    near = abs(int(c.q_pos[row, i]) - int(c.k_pos[row, j])) < 5
    return near and j <= i + 2

  hooks.assert_attends(
    positions.compose(*METHOD.parts, local),
    c,
    oracle=oracle(c, seen=seen, cap=0.7),
    cap=0.7,
    how=how,
    schedule=SMALL,
    **LENGTHS,
  )


@pytest.mark.parametrize('key_heads', [1, 4])
def test_heads_are_grouped_in_order(rng, key_heads):
  c = hooks.case(rng, k=key_heads, top=30)
  hooks.assert_attends(METHOD, c, oracle=oracle(c))


def test_a_query_without_any_key_gives_zero_and_finite_gradients(rng):
  """Row 0 has no key at all, row 1 has two; by each way."""
  c = hooks.case(rng, top=30)
  mask = Mask(k_count_b=np.array([0, 2]), causal=False)
  for how in HOWS:

    def total(q, k, v, how=how):
      out = attend(
        METHOD, {}, q, k, v, q_pos_bt=c.q_pos, k_pos_bs=c.k_pos, mask=mask,
        how=how, schedule=SMALL,
      )  # fmt: skip
      return (out * c.q).sum(), out

    run = hooks.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))
    (_, out), grads = run(c.q, c.k, c.v)
    np.testing.assert_array_equal(out[0], 0)
    assert np.abs(out[1]).min() > 0
    for grad in grads:
      assert np.isfinite(grad).all()
      np.testing.assert_array_equal(grad[0], 0)
      assert np.abs(grad[1]).max() > 0
    np.testing.assert_array_equal(grads[2][1, 2:], 0)  # Keys that are not.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capped(positions.Position):
  """RoPE whose distances stop growing at `window` (ReRoPE), with a vector per
  distance, clipped, in the values (Shaw): a method with views and values."""

  window: int

  def init(self, key, *, heads, head_dim, model_dim):
    del heads, model_dim
    return {'table': jax.random.normal(key, (3, head_dim))}

  def views(self, places):
    still = dataclasses.replace(
      places,
      q_pos_bt=jnp.full_like(places.q_pos_bt, self.window),
      k_pos_bs=jnp.zeros_like(places.k_pos_bs),
    )
    w = self.window

    def near(q, k):
      return q[:, :, None] - k[:, None, :] < w

    def far(q, k):
      return q[:, :, None] - k[:, None, :] >= w

    return positions.View(places, near), positions.View(still, far)

  def rotate(self, params, q_btnh, k_bskh, places):
    rope = positions.build({'name': 'rope', 'theta': 100.0})
    return rope.rotate({}, q_btnh, k_bskh, places)

  def values(self, params, weights_bnts, places):
    rows = params['table'][jnp.clip(places.distance(), 0, 2)]
    return jnp.einsum('bnts,btsh->btnh', weights_bnts, rows)


@pytest.mark.parametrize('how', HOWS)
def test_views_and_values_equal_the_loops(rng, how):
  c = hooks.case(rng, b=1, t=7, k=4)
  c.q_pos = c.k_pos = np.arange(7, dtype=np.int32)[None]
  method = Capped(window=3)
  table = rng.normal(size=(3, 8))
  got = hooks.attend(
    method, {'table': table.astype(np.float32)}, c.q, c.k, c.v, c.q_pos,
    c.k_pos, how=how, schedule=SMALL,
  )  # fmt: skip
  f = oracles.rope_frequencies(8, 100.0)
  for i in range(7):
    for n in range(4):
      weights = []
      for j in range(i + 1):
        q = oracles.rope(c.q[0, i, n], min(i - j, 3), f)
        weights.append(math.exp(q @ c.k[0, j, n] / math.sqrt(8)))
      want = sum(
        w * (c.v[0, j, n] + table[min(i - j, 2)]) for j, w in enumerate(weights)
      ) / sum(weights)
      np.testing.assert_allclose(got[0, i, n], want, atol=2e-6)


def test_bfloat16_at_position_100_000_is_near_the_loops(rng):
  c = hooks.case(rng, top=30)
  for name in ('q', 'k', 'v'):
    setattr(c, name, jnp.asarray(getattr(c, name), jnp.bfloat16))
  c.q_pos, c.k_pos = c.q_pos + 100_000, c.k_pos + 100_000
  got = hooks.attend(METHOD, {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
  assert got.dtype == jnp.bfloat16
  for name in ('q', 'k', 'v'):
    setattr(c, name, np.asarray(getattr(c, name), np.float64))
  want = oracles.attention(c.q, c.k, c.v, **oracle(c))
  np.testing.assert_allclose(np.asarray(got, np.float64), want, atol=0.03)


def test_auto_is_naive_up_to_its_limits_and_by_blocks_beyond(rng, monkeypatch):
  c = hooks.case(rng, top=30)  # 5 queries, 7 keys.
  arrays = (METHOD, {}, c.q, c.k, c.v)
  at = {'q_pos_bt': c.q_pos, 'k_pos_bs': c.k_pos}
  calls = []
  original = engine.flash

  def counted(*args):
    calls.append(args)
    return original(*args)

  monkeypatch.setattr(engine, 'flash', counted)
  for entries, queries in ((35, 4), (34, 5), (34, 4)):
    assert not calls
    monkeypatch.setattr(attend_module, 'NAIVE_ENTRIES', entries)
    monkeypatch.setattr(attend_module, 'NAIVE_QUERIES', queries)
    jax.eval_shape(lambda: attend(*arrays, **at))
  assert len(calls) == 1


def test_context_length_is_that_of_each_segment_whatever_its_id():
  pos = np.array([[0, 1, 2, 0, 1], [4, 0, 9, 1, 2]], np.int32)
  segment = np.array([[900, 900, 900, -3, -3], [1, 0, 1, 0, 7]], np.int32)
  want = [[3, 3, 3, 2, 2], [6, 2, 6, 2, 1]]
  np.testing.assert_array_equal(context_length(pos, segment), want)
  np.testing.assert_array_equal(context_length(pos, None), [[3], [10]])
  np.testing.assert_array_equal(context_length(pos + 50, segment), want)


def test_context_length_counts_only_what_exists_and_does_not_overflow():
  pos = np.array([[0, 1, 2, 7], [3, 4, 5, 6], [5, 6, 7, 8]], np.int32)
  got = context_length(pos, None, np.array([3, 4, 0]))
  np.testing.assert_array_equal(got, [[3], [4], [0]])
  far = np.array([[0, 2**31 - 1], [2**31 - 2, 2**31 - 1]], np.int32)
  np.testing.assert_array_equal(context_length(far, None), [[2**31 - 1], [2]])


X = np.zeros((1, 3, 4, 8), np.float32)
POS = np.zeros((1, 3), np.int32)


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'how': 'flash'}, r"how='flash' is not one of .*'blockwise'"),
    ({'q_btnh': X.astype(np.float16)}, 'q is float16.*overflow above 65,504'),
    ({'v_bskh': X.astype(np.int32)}, 'v is int32; it must be float32 or'),
    ({'q_btnh': X[0]}, r'q must be \[b, t, n, h\]'),
    ({'v_bskh': X[:, :2]}, 'k and v .* alike'),
    ({'k_bskh': X[..., :4], 'v_bskh': X[..., :4]}, 'head dim must agree'),
    ({'q_btnh': X[:, :, :3]}, '3 query heads and 4 key heads.*multiple'),
    ({'q_pos_bt': POS[0]}, r'positions must be \[b, t\]'),
    ({'k_pos_bs': POS[:, :2]}, r'positions must be \[b, t\]'),
    ({'k_bskh': X[:, :2], 'v_bskh': X[:, :2], 'k_pos_bs': POS[:, :2]},
     '3 queries but 2 keys; give q_order_bt'),
    ({'heads': np.array([2, 3, 0, 1])}, 'total_heads says out of how many'),
    ({'heads': np.array([0, 1]), 'total_heads': 8}, r'heads must be \[n\]'),
    ({'total_heads': 8}, '4 query heads of total_heads=8; give heads'),
    ({'q_btnh': X[:, :1], 'q_pos_bt': POS[:, :1],
      'mask': Mask(q_segment_bt=POS[:, :1], k_segment_bs=POS)},
     'give q_length_bt and k_length_bs'),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_a_remedy(changed, message):
  arguments = {
    'q_btnh': X, 'k_bskh': X, 'v_bskh': X, 'q_pos_bt': POS, 'k_pos_bs': POS
  }  # fmt: skip
  with pytest.raises(ValueError, match=message):
    attend(METHOD, {}, **{**arguments, **changed})


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'q_segment_bt': POS}, 'go together; only q was given'),
    ({'k_segment_bs': POS}, 'go together; only k was given'),
    ({'window': 0}, 'window=0.*>= 1 of a causal mask'),
    ({'window': 4, 'causal': False}, 'window=4, causal=False'),
  ],
)
def test_a_mask_that_means_nothing_is_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    Mask(**fields)


def temporary(how, length, gradient):
  """Bytes of scratch memory of the compiled program; nothing is run."""
  method = positions.compose(ROPE, positions.build({'name': 't5'}))
  params = ({}, {'table': jax.ShapeDtypeStruct((32, 4), jnp.float32)})
  x = jax.ShapeDtypeStruct((1, length, 4, 8), jnp.float32)
  pos = jax.ShapeDtypeStruct((1, length), jnp.int32)

  def go(params, q, k, v, pos):
    out = attend(
      method, params, q, k, v, q_pos_bt=pos, k_pos_bs=pos, how=how
    )  # fmt: skip
    return (out**2).sum() if gradient else out

  if gradient:
    go = jax.grad(go, (0, 1, 2, 3))
  compiled = hooks.jit(go).lower(params, x, x, x, pos).compile()
  return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize('gradient', [False, True])
def test_memory_of_blocks_grows_with_the_length_and_not_its_square(gradient):
  at = functools.partial(temporary, gradient=gradient)
  short, long = at('blockwise', 1024), at('blockwise', 4096)
  assert long < 5 * short
  small, large = at('naive', 1024), at('naive', 2048)
  assert large > 3.5 * small
  assert long < large
