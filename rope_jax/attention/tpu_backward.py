"""The TPU kernels of the backward pass: of queries and curves, and of keys."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from rope_jax.attention import tpu_tiles as tiles
from rope_jax.attention.tpu_tiles import LANES, Call, Static


def _queries_kernel(static: Static, learns: bool, *refs: Any) -> None:
  first, last, c_ref, q_info, k_info, q_ref, k_ref, v_ref, *rest = refs
  *codes, d_ref, lse_ref, delta_ref = rest[: -(7 + static.coded)]
  outs = rest[-(7 + static.coded) :]
  d_q_ref, d_c_ref, d_q, d_c, q_column, sums, d_scores, *kept = outs
  row, head, i, j = (pl.program_id(a) for a in range(4))
  row = tiles.row_of(row, first.shape[0])

  @pl.when(j == 0)
  def _():
    d_q[...] = jnp.zeros_like(d_q)
    d_c[...] = jnp.zeros_like(d_c)
    for at in range(tiles.KNOWN):
      q_column[at] = tiles.column(q_info[0, at : at + 1])
    sums[0] = tiles.column(lse_ref[0, 0])
    sums[1] = tiles.column(delta_ref[0, 0])

  @pl.when((j >= first[row, i]) & (j < last[row, i]))
  def _():
    q = tiles.columns_of(q_column)
    k = tiles.rows_of(k_info)
    products = tiles.code_products(static, codes, swapped=False)
    given = tiles.coefficients(static, c_ref, head)
    found = tiles.scores(
      static, q_ref[0, 0], k_ref[0, 0], q, k, given, products
    )
    weights = jnp.exp(found - sums[0][:, :1])
    d_weights = tiles.dot(static, d_ref[0, 0], v_ref[0, 0], 'nt')
    d_found = weights * (d_weights - sums[1][:, :1])
    narrow = d_found.astype(k_ref.dtype)
    d_q[...] += tiles.dot(static, narrow, k_ref[0, 0], 'nn') * static.scale
    if learns:
      d_scores[...] = d_found
      refs, at = [], 0
      for product in products:
        if product is None:
          refs.append(None)
          continue
        kept[at][...] = product
        refs.append(kept[at])
        at += 1
      d_c[...] += tiles.pull(
        static, given, (d_scores, refs), q_column, k(tiles.POS)
      )

  @pl.when(j == pl.num_programs(3) - 1)
  def _():
    d_q_ref[0, 0] = d_q[...].astype(d_q_ref.dtype)
    d_c_ref[0, 0, 0] = d_c[...]


def _keys_kernel(static: Static, blocks: int, *refs: Any) -> None:
  first, last, c_ref, q_info, k_info, q_ref, k_ref, v_ref, *rest = refs
  *codes, d_ref, lse_ref, delta_ref = rest[:-5]
  d_k_ref, d_v_ref, d_k, d_v, k_column = rest[-5:]
  row, group, j, step = (pl.program_id(a) for a in range(4))
  row = tiles.row_of(row, first.shape[0])
  head = group * static.group + jax.lax.div(step, blocks)
  i = jax.lax.rem(step, blocks)

  @pl.when(step == 0)
  def _():
    d_k[...] = jnp.zeros_like(d_k)
    d_v[...] = jnp.zeros_like(d_v)
    for at in range(tiles.KNOWN):
      k_column[at] = tiles.column(k_info[0, at : at + 1])

  @pl.when((i >= first[row, j]) & (i < last[row, j]))
  def _():
    q, k = tiles.rows_of(q_info), tiles.columns_of(k_column)
    products = tiles.code_products(static, codes, swapped=True)
    given = tiles.coefficients(static, c_ref, head)
    found = tiles.scores(
      static, q_ref[0, 0], k_ref[0, 0], q, k, given, products, swapped=True
    )
    weights = jnp.exp(found - lse_ref[0, 0])
    d = d_ref[0, 0]
    d_v[...] += tiles.dot(static, weights.astype(d.dtype), d, 'nn')
    d_weights = tiles.dot(static, v_ref[0, 0], d, 'nt')
    d_found = (weights * (d_weights - delta_ref[0, 0])).astype(q_ref.dtype)
    d_k[...] += tiles.dot(static, d_found, q_ref[0, 0], 'nn') * static.scale

  @pl.when(step == pl.num_programs(3) - 1)
  def _():
    d_k_ref[0, 0] = d_k[...].astype(d_k_ref.dtype)
    d_v_ref[0, 0] = d_v[...].astype(d_v_ref.dtype)


def backward(
  call: Call, lse: jax.Array, delta: jax.Array, d_out: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """(d_coefficients [n, c], d_q, d_k, d_v) of whole blocks."""
  static = call.static
  b, n, t, h = call.q.shape
  s = call.k.shape[2]
  bq, bk = static.blocks
  lse, delta = lse[:, :, None], delta[:, :, None]

  def q_row(r, m, i, *_):
    return r, m, 0, i

  def q_at(r, m, i, *_):
    return r, m, i, 0

  learns = static.learns
  d_q, d_c = pl.pallas_call(
    functools.partial(_queries_kernel, static, learns),
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(b, n, t // bq, s // bk),
      in_specs=[
        *call.specs_by_query(),
        pl.BlockSpec((1, 1, bq, h), q_at),
        pl.BlockSpec((1, 1, 1, bq), q_row),
        pl.BlockSpec((1, 1, 1, bq), q_row),
      ],
      out_specs=[
        pl.BlockSpec((1, 1, bq, h), q_at),
        pl.BlockSpec(
          (1, 1, 1, 1, static.columns), lambda r, m, i, *_: (r, m, i, 0, 0)
        ),
      ],
      scratch_shapes=[
        pltpu.VMEM((bq, h), jnp.float32),
        pltpu.VMEM((1, static.columns), jnp.float32),
        pltpu.VMEM((tiles.KNOWN, bq, LANES), jnp.int32),
        pltpu.VMEM((2, bq, LANES), jnp.float32),
        pltpu.VMEM((bq, bk), jnp.float32),
        *[pltpu.VMEM((bq, bk), jnp.float32)] * static.coded,
      ],
    ),
    out_shape=[
      jax.ShapeDtypeStruct(call.q.shape, call.q.dtype),
      jax.ShapeDtypeStruct((b, n, t // bq, 1, static.columns), jnp.float32),
    ],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=('parallel', 'parallel', 'parallel', 'arbitrary')
    ),
    interpret=static.interpret,
    name='rope_jax_backward_queries',
  )(*call.by_query, *call.arrays, d_out, lse, delta)

  blocks = t // bq

  def head(m, step):
    return m * static.group + jax.lax.div(step, blocks)

  def near(r, j, step, first, last):
    r = tiles.row_of(r, first.shape[0])
    low, high = first[r, j], last[r, j]
    i = jax.lax.rem(step, blocks)
    return jnp.clip(i, low, jnp.maximum(high - 1, low))

  def d_at(r, m, j, step, first, last):
    return r, head(m, step), near(r, j, step, first, last), 0

  def d_row(r, m, j, step, first, last):
    return r, head(m, step), 0, near(r, j, step, first, last)

  def k_at(r, m, j, *_):
    return r, m, j, 0

  d_k, d_v = pl.pallas_call(
    functools.partial(_keys_kernel, static, blocks),
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(b, n // static.group, s // bk, static.group * blocks),
      in_specs=[
        *call.specs_by_key(head, near),
        pl.BlockSpec((1, 1, bq, h), d_at),
        pl.BlockSpec((1, 1, 1, bq), d_row),
        pl.BlockSpec((1, 1, 1, bq), d_row),
      ],
      out_specs=[pl.BlockSpec((1, 1, bk, h), k_at)] * 2,
      scratch_shapes=[
        pltpu.VMEM((bk, h), jnp.float32),
        pltpu.VMEM((bk, h), jnp.float32),
        pltpu.VMEM((tiles.KNOWN, bk, LANES), jnp.int32),
      ],
    ),
    out_shape=[
      jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (call.k, call.v)
    ],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=('parallel', 'parallel', 'parallel', 'arbitrary')
    ),
    interpret=static.interpret,
    name='rope_jax_backward_keys',
  )(*call.by_key, *call.arrays, d_out, lse, delta)
  d_c = d_c.sum(axis=(0, 2, 3))[:, : sum(static.counts)]
  return d_c, d_q, d_k, d_v
