"""Attention by our TPU kernels: which methods have them, and how to call."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rope_jax.attention import tpu_backward, tpu_forward
from rope_jax.attention.blocks import along, padded_lse
from rope_jax.attention.inputs import Inputs
from rope_jax.attention.plan import plan, span
from rope_jax.attention.rule import Rule
from rope_jax.attention.tpu_tiles import INFO, LANES, Call, Static
from rope_jax.positions import Compose, parts
from rope_jax.positions._area import Area
from rope_jax.positions._curve import Curve
from rope_jax.positions.base import Params, Position, overrides

BLOCK = 512


def why_not(position: Position) -> str | None:
  """What keeps a method from the kernels, or None.

  They serve methods with one view, all of whose biases are curves: rotations,
  ALiBi, T5, KERPLE, FIRE, Sandwich, windows by position, and what is composed
  of them.
  """
  for part in parts(position):
    name = type(part).__name__
    if overrides(part, 'bias') and not isinstance(part, Curve):
      return f'the bias of {name} reads queries or keys'
    if overrides(part, 'values'):
      return f'{name} adds to the values'
    if overrides(part, 'scale'):
      return f'{name} scales the scores'
    if overrides(part, 'views') and _area(part) is None:
      return f'{name} pretends positions or sees chunks'
  return None


def _area(part: Position) -> Area | None:
  """The window of a part that does nothing else, if the kernels know it."""
  area = getattr(part, 'area', None)
  return area if isinstance(area, Area) and area.unit == 1 else None


def _call(
  position: Position,
  rule: Rule,
  params: Params,
  inputs: Inputs,
  blocks: tuple[int, int] | None,
  interpret: bool,
) -> tuple[Call, Any]:
  """The arrays of the kernels, and the pull-back of the coefficients."""
  reason = why_not(position)
  if reason is not None:
    raise ValueError(f'No TPU kernel serves this method: {reason}.')
  sizes, counts = [], []
  for at, count in enumerate(inputs.counts):
    size = min(BLOCK, -(-count // LANES) * LANES)
    size = size if blocks is None else blocks[at]
    sizes.append(size)
    counts.append(-(-count // size) * size)
  inputs = inputs.padded(*counts)
  q, k = inputs.turned[0]
  n, h = q.shape[1], q.shape[3]
  places, tokens, real = inputs.places, inputs.tokens, inputs.real
  compound = isinstance(position, Compose)
  each = params if compound and params else ({},) * len(parts(position))
  each = each if compound else (params,)
  chosen = [
    (part, own)
    for part, own in zip(parts(position), each, strict=True)
    if overrides(part, 'bias')
  ]
  curves: Any = tuple(part for part, _ in chosen)

  def pack(learned):
    found = [
      curve.coefficients(own, places.heads, places.total_heads, h)
      for curve, own in zip(curves, learned, strict=True)
    ]
    found = [x.astype(jnp.float32) for x in found]
    return found if found else [jnp.zeros((n, 1), jnp.float32)]

  learned = [own for _, own in chosen]
  packed, pull = jax.vjp(pack, learned)
  codes = [(c.codes(places.q_pos_bt), c.codes(places.k_pos_bs)) for c in curves]
  active = plan(position, rule, inputs, *sizes)
  area = next((a for p in parts(position) if (a := _area(p))), None)
  segments = tokens.q_segment_bt is not None
  static = Static(
    curves=curves,
    counts=tuple(x.shape[1] for x in packed) if curves else (),
    with_codes=tuple(q_code is not None for q_code, _ in codes),
    learns=bool(jax.tree.leaves(learned)),
    rule=rule,
    area=area,
    segments=segments,
    group=n // k.shape[1],
    blocks=(sizes[0], sizes[1]),
    scale=h**-0.5,
    exact=q.dtype == jnp.float32,
    interpret=interpret,
  )
  call = Call(
    static=static,
    by_query=_spans(active),
    by_key=_spans(jnp.swapaxes(active, 1, 2)),
    packed=jnp.concatenate(packed, axis=1),
    q_info=_info(
      places.q_pos_bt, tokens.q_order_bt, tokens.q_segment_bt, real.q_pos_bt
    ),
    k_info=_info(
      places.k_pos_bs, tokens.k_order_bs, tokens.k_segment_bs, real.k_pos_bs
    ),
    q=q,
    k=k,
    v=inputs.v_bksh,
    codes=tuple(x for pair in codes for x in pair if x is not None),
  )

  def pull_packed(d_packed):
    d_each, at = [], 0
    for x in packed:
      d_each.append(d_packed[:, at : at + x.shape[1]])
      at += x.shape[1]
    (d_chosen,) = pull(d_each) if curves else ([],)
    d_chosen = iter(d_chosen)
    found = [
      next(d_chosen) if overrides(part, 'bias') else jax.tree.map(
        jnp.zeros_like, own
      )
      for part, own in zip(parts(position), each, strict=True)
    ]  # fmt: skip
    if not compound:
      return found[0]
    return tuple(found) if params else params

  return call, pull_packed


def _spans(active: jax.Array) -> tuple[jax.Array, jax.Array]:
  first, last = jax.vmap(span)(active)
  return first.astype(jnp.int32), last.astype(jnp.int32)


def _info(pos, order, segment, real) -> jax.Array:
  """int32 [b or 1, 8, tokens], in the order of POS, ORDER, SEGMENT, REAL."""
  segment = jnp.zeros_like(jnp.asarray(order)) if segment is None else segment
  rows = [jnp.asarray(x, jnp.int32) for x in (pos, order, segment, real)]
  shape = jnp.broadcast_shapes(*(x.shape for x in rows))
  rows = [jnp.broadcast_to(x, shape) for x in rows]
  rows += [jnp.zeros(shape, jnp.int32)] * (INFO - len(rows))
  return jnp.stack(rows, axis=1)


def forward(
  position: Position,
  rule: Rule,
  params: Params,
  inputs: Inputs,
  *,
  blocks: tuple[int, int] | None = None,
  interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
  """`blocks.forward` by the kernel: (out [b, n, t, h], lse [b, n, t]).

  Args:
    position: a method for which `why_not` is None.
    rule, params, inputs: as there.
    blocks: queries and keys of a tile, multiples of 128 on a TPU; None is 512,
      or fewer for short rows.
    interpret: runs the kernel on any platform, slowly.
  """
  call, _ = _call(position, rule, params, inputs, blocks, interpret)
  t = inputs.counts[0]
  out, lse = tpu_forward.forward(call)
  return out[:, :, :t].astype(jnp.float32), lse[:, :, :t]


def gradients(
  position: Position,
  rule: Rule,
  params: Params,
  inputs: Inputs,
  lse_bnt: jax.Array,
  out_bnth: jax.Array,
  d_out_bnth: jax.Array,
  *,
  blocks: tuple[int, int] | None = None,
  interpret: bool = False,
) -> tuple[list[jax.Array], list[jax.Array]]:
  """`blocks.gradients` by the kernels."""
  call, pull = _call(position, rule, params, inputs, blocks, interpret)
  t, s = inputs.counts
  more = call.q.shape[2] - t
  lse = padded_lse(lse_bnt, more)
  delta = jnp.pad(along(out_bnth, d_out_bnth), [(0, 0), (0, 0), (0, more)])
  d_out = d_out_bnth.astype(call.v.dtype)
  d_out = jnp.pad(d_out, [(0, 0), (0, 0), (0, more), (0, 0)])
  d_c, d_q, d_k, d_v = tpu_backward.backward(call, lse, delta, d_out)
  d_params = [
    x for x in jax.tree.leaves(pull(d_c))
    if jnp.issubdtype(x.dtype, jnp.inexact)
  ]  # fmt: skip
  return d_params, [d_q[:, :, :t], d_k[:, :, :s], d_v[:, :, :s]]
