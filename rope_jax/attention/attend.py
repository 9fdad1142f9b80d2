"""`attend`: attention under any positional method, by several schedules."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rope_jax.attention import engine, fused, ring, scores, spread
from rope_jax.attention.blocks import Schedule
from rope_jax.attention.inputs import prepare
from rope_jax.attention.mask import Mask, context_length
from rope_jax.attention.rule import check_shape
from rope_jax.attention.shares import shared
from rope_jax.positions.base import Params, Places, Position
from rope_jax.varying import uniform

Array = jax.Array | np.ndarray

HOWS = ('auto', 'naive', 'blockwise', 'fused', 'ring', 'spread')
# Up to this many entries of one score matrix, or for this few queries (as in
# decoding), 'auto' materialises the scores: they would be a tile or two.
NAIVE_ENTRIES = 128 * 128
NAIVE_QUERIES = 8


def attend(
  position: Position,
  params: Params,
  q_btnh: jax.Array,
  k_bskh: jax.Array,
  v_bskh: jax.Array,
  *,
  q_pos_bt: Array,
  k_pos_bs: Array,
  mask: Mask | None = None,
  how: str = 'auto',
  cap: float | None = None,
  q_length_bt: Array | None = None,
  k_length_bs: Array | None = None,
  q_true_bt: Array | None = None,
  k_true_bs: Array | None = None,
  heads: Array | None = None,
  total_heads: int | None = None,
  schedule: Schedule | None = None,
  mesh: Mesh | None = None,
) -> jax.Array:
  """Softmax attention of the queries over the keys, with a positional method.

  out_i = sum_j softmax_j(q'_i . k'_j / sqrt(h) + bias_ij) v_j

  Args:
    position: the method; static under jit.
    params: its parameters, as its `init` made them.
    q_btnh: queries, float32 or bfloat16.
    k_bskh: keys, not rotated; n must be a multiple of k (grouped queries, no
      key is repeated in memory).
    v_bskh: values.
    q_pos_bt: int32 positions of the queries, in tokens.
    k_pos_bs: int32 positions of the keys.
    mask: which keys are seen; None is causal by token order, with the queries
      as the last t of the s tokens.
    how: 'naive' materialises [b, n, t, s]. 'blockwise' goes by tiles, forward
      and backward, with memory linear in t + s, and skips tiles in which
      nothing is seen. 'fused' is the platform's flash kernel, for methods that
      only rotate or scale. 'ring' shares a row's tokens over devices. 'spread'
      has all queries look at each device's keys, for a chunk of queries over a
      cache split by tokens; forward alone. 'auto' is 'naive' for 8 queries or
      128 x 128 scores and fewer, else 'fused' if that can be had, else
      'blockwise'.
    cap: scores, biases included, become cap tanh(score / cap) before the mask
      (Gemma 2), > 0; None leaves them.
    q_length_bt: int32 [b, t] or [b, 1], the context length of each query's
      sequence; None derives it from positions, segments and the mask's
      k_count_b (give that for a cache that is not full).
    k_length_bs: the same for the keys.
    q_true_bt: int32 positions of the queries in their text, where training
      shows others (q_pos_bt): what windows, temperatures and lengths go by.
      None is q_pos_bt.
    k_true_bs: the same for the keys; both or neither.
    heads: int32 [n], which heads these are, where only some are at hand.
    total_heads: how many heads the layer has; None means n. Goes with heads.
    schedule: the tiles of 'blockwise', 'ring' and 'spread'; None is the
      platform's best. The other ways have none.
    mesh: under jit on several devices, what to share the work out over: rows
      over its axes 'data' and 'fsdp', heads over 'tensor', and by 'ring' or
      'spread' the tokens of a row over 'seq'. None leaves it to XLA, which has
      every device do all of 'blockwise' and 'fused'.

  Returns:
    [b, t, n, h] of the queries' dtype; softmax and biases are in float32.

  Raises:
    ValueError: shapes or dtypes that do not fit, a `how` that there is not, or
      one that this method, mask or mesh does not allow; says why.

  Differentiable once, in reverse: 'naive' alone also forward and twice.

  Example:
    >>> from rope_jax import positions
    >>> rope = positions.build({'name': 'rope', 'theta': 1e4})
    >>> x, pos = jnp.ones((1, 3, 2, 4)), jnp.arange(3)[None]
    >>> attend(rope, {}, x, x, x, q_pos_bt=pos, k_pos_bs=pos).shape
    (1, 3, 2, 4)

  Source: Vaswani et al. 2017, eq. 1; grouped queries: Ainslie et al. 2023,
    arXiv:2305.13245.
  """
  _check_shapes(q_btnh, k_bskh, v_bskh, q_pos_bt, k_pos_bs)
  mask = Mask() if mask is None else mask
  mask.check(q_btnh.shape[0], q_btnh.shape[1], k_bskh.shape[1])
  if mesh is not None and not isinstance(mesh, Mesh):
    raise ValueError(f'attend: mesh={mesh!r} must be a jax.sharding.Mesh.')
  if cap is not None and not 0 < cap < np.inf:
    raise ValueError(f'attend: cap={cap!r} must be a number > 0, or None.')
  how = _chosen(how, position, mask, cap, schedule, q_btnh, k_bskh.shape[1])
  if (q_true_bt is None) != (k_true_bs is None):
    raise ValueError('attend: q_true_bt and k_true_bs go together; give both.')
  one = ((q_btnh.shape[0], 1), (1, 1))
  queried, keyed = q_btnh.shape[:2], k_bskh.shape[:2]
  check_shape('attend: q_true_bt', q_true_bt, queried)
  check_shape('attend: k_true_bs', k_true_bs, keyed)
  check_shape('attend: q_length_bt', q_length_bt, queried, *one)
  check_shape('attend: k_length_bs', k_length_bs, keyed, *one)
  q_true_bt = q_pos_bt if q_true_bt is None else q_true_bt
  k_true_bs = k_pos_bs if k_true_bs is None else k_true_bs
  queries, keys, count = q_btnh.shape[1], k_bskh.shape[1], q_btnh.shape[2]
  if heads is None:
    heads = np.arange(count, dtype=np.int32)
    if total_heads not in (None, count):
      raise ValueError(
        f'attend: {count} query heads of total_heads={total_heads}; give '
        'heads, which of them these are.'
      )
  elif (
    total_heads is None
    or np.shape(heads) != (count,)
    or (
      isinstance(heads, np.ndarray)
      and not 0 <= heads.min() <= heads.max() < total_heads
    )
  ):
    told = heads if isinstance(heads, np.ndarray) else np.shape(heads)
    raise ValueError(
      f'attend: heads {told} and total_heads={total_heads} for {count} query '
      'heads; heads must be [n], each below total_heads, and total_heads says '
      'out of how many.'
    )
  if q_length_bt is None or k_length_bs is None:
    length_bs = context_length(k_true_bs, mask.k_segment_bs, mask.k_count_b)
    k_length_bs = length_bs if k_length_bs is None else k_length_bs
    if q_length_bt is None:
      q_length_bt = length_bs
      if length_bs.shape[1] != 1 and q_btnh.shape[1] != k_bskh.shape[1]:
        raise ValueError(
          f'attend: {q_btnh.shape[1]} queries and {k_bskh.shape[1]} keys in '
          'segments; give q_length_bt and k_length_bs, which cannot be derived.'
        )
  places = Places(
    q_pos_bt=q_pos_bt,
    k_pos_bs=k_pos_bs,
    q_length_bt=q_length_bt,
    k_length_bs=k_length_bs,
    heads=heads,
    total_heads=total_heads or count,
  )
  real = dataclasses.replace(places, q_pos_bt=q_true_bt, k_pos_bs=k_true_bs)
  rule, tokens = mask.split(queries, keys, cap)
  inputs = prepare(
    position, params, q_btnh, k_bskh, v_bskh, places, real, tokens
  )
  if how != 'naive':
    params, inputs = uniform((params, inputs))
  if how == 'ring':
    mesh = ring.check(mesh, queries, keys)
    balanced = mask.causal and mask.q_order_bt is None
    out_bnth = ring.ring(
      position, rule, schedule, params, inputs, mesh, balanced
    )
  elif how == 'spread':
    mesh = spread.check(mesh, queries, keys)
    out_bnth = spread.spread(position, rule, schedule, params, inputs, mesh)
  elif how == 'naive':
    out_bnth = scores.attention(position, rule, params, inputs.tile())
  elif how == 'fused':
    run = functools.partial(fused.attention, position, rule)
    out_bnth = shared(run, params, inputs, mesh)
  else:
    run = functools.partial(engine.flash, position, rule, schedule)
    out_bnth = shared(run, params, inputs, mesh)
  return jnp.swapaxes(out_bnth, 1, 2).astype(q_btnh.dtype)


def _chosen(how, position, mask, cap, schedule, q_btnh, keys) -> str:
  if how not in HOWS:
    raise ValueError(f'attend: how={how!r} is not one of {HOWS}.')
  if how == 'fused':
    fused.check(position, mask, cap, q_btnh, keys)
  if how != 'auto':
    return how
  if schedule is not None:
    return 'blockwise'
  queries = q_btnh.shape[1]
  if queries <= NAIVE_QUERIES or queries * keys <= NAIVE_ENTRIES:
    return 'naive'
  return (
    'fused' if fused.can(position, mask, cap, q_btnh, keys) else 'blockwise'
  )


def _check_shapes(q_btnh, k_bskh, v_bskh, q_pos_bt, k_pos_bs) -> None:
  for name, x in (('q_pos_bt', q_pos_bt), ('k_pos_bs', k_pos_bs)):
    if not hasattr(x, 'dtype') or not jnp.issubdtype(x.dtype, jnp.integer):
      told = getattr(x, 'dtype', type(x).__name__)
      raise ValueError(
        f'attend: {name} is {told}; positions are arrays of whole numbers, '
        'int32.'
      )
  shapes = (
    f'q {q_btnh.shape}, k {k_bskh.shape}, v {v_bskh.shape}, '
    f'q_pos {q_pos_bt.shape}, k_pos {k_pos_bs.shape}'
  )
  if q_btnh.ndim != 4 or k_bskh.ndim != 4 or v_bskh.shape != k_bskh.shape:
    raise ValueError(
      f'attend: {shapes}; q must be [b, t, n, h], k and v [b, s, k, h] alike.'
    )
  for name, x in (('q', q_btnh), ('k', k_bskh), ('v', v_bskh)):
    if x.dtype not in (jnp.float32, jnp.bfloat16):
      raise ValueError(
        f'attend: {name} is {x.dtype}; it must be float32 or bfloat16'
        + (
          ', since float16 scores overflow above 65,504.'
          if x.dtype == jnp.float16
          else '.'
        )
      )
  if not q_btnh.size or not k_bskh.size:
    raise ValueError(f'attend: {shapes}; no axis may be empty.')
  batch, queries, heads, head_dim = q_btnh.shape
  if k_bskh.shape[0] != batch or k_bskh.shape[3] != head_dim:
    raise ValueError(f'attend: {shapes}; batch and head dim must agree.')
  if heads % k_bskh.shape[2]:
    raise ValueError(
      f'attend: {heads} query heads and {k_bskh.shape[2]} key heads; the first '
      'must be a multiple of the second.'
    )
  if q_pos_bt.shape != (batch, queries) or k_pos_bs.shape != k_bskh.shape[:2]:
    raise ValueError(
      f'attend: {shapes}; positions must be [b, t] and [b, s] (broadcast a '
      'single row over the batch).'
    )
