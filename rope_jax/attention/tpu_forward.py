"""The TPU kernel of the forward pass: online softmax, biases made in place."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from rope_jax.attention import tpu_tiles as tiles
from rope_jax.attention.scores import FLOOR
from rope_jax.attention.tpu_tiles import LANES, Call, Static


def _kernel(static: Static, *refs: Any) -> None:
  first, last, c_ref, q_info, k_info, q_ref, k_ref, v_ref, *rest = refs
  *codes, out_ref, lse_ref, highest, total, out, q_column = rest
  row, head, i, j = (pl.program_id(a) for a in range(4))
  row = tiles.row_of(row, first.shape[0])

  @pl.when(j == 0)
  def _():
    highest[...] = jnp.full_like(highest, FLOOR)
    total[...] = jnp.zeros_like(total)
    out[...] = jnp.zeros_like(out)
    for at in range(tiles.KNOWN):
      q_column[at] = tiles.column(q_info[0, at : at + 1])

  @pl.when((j >= first[row, i]) & (j < last[row, i]))
  def _():
    q, k = tiles.columns_of(q_column), tiles.rows_of(k_info)
    products = tiles.code_products(static, codes, swapped=False)
    given = tiles.coefficients(static, c_ref, head)
    found = tiles.scores(
      static, q_ref[0, 0], k_ref[0, 0], q, k, given, products
    )
    before = highest[...]
    now = jnp.maximum(before, jnp.max(found, axis=1, keepdims=True))
    weights = jnp.exp(found - now[:, :1])
    shrink = jnp.exp(before - now)
    highest[...] = now
    total[...] = total[...] * shrink + weights.sum(axis=1, keepdims=True)
    more = tiles.dot(static, weights.astype(v_ref.dtype), v_ref[0, 0], 'nn')
    out[...] = out[...] * shrink[:, :1] + more

  @pl.when(j == pl.num_programs(3) - 1)
  def _():
    whole = jnp.where(total[...] == 0, 1.0, total[...])
    out_ref[0, 0] = (out[...] / whole[:, :1]).astype(out_ref.dtype)
    lse_ref[0, 0] = jnp.transpose(highest[...] + jnp.log(whole))[:1]


def forward(call: Call) -> tuple[jax.Array, jax.Array]:
  """(out [b, n, t, h], lse [b, n, t]) of whole blocks."""
  b, n, t, h = call.q.shape
  bq, bk = call.static.blocks
  out, lse = pl.pallas_call(
    functools.partial(_kernel, call.static),
    grid_spec=pltpu.PrefetchScalarGridSpec(
      num_scalar_prefetch=2,
      grid=(b, n, t // bq, call.k.shape[2] // bk),
      in_specs=call.specs_by_query(),
      out_specs=[
        pl.BlockSpec((1, 1, bq, h), lambda r, m, i, *_: (r, m, i, 0)),
        pl.BlockSpec((1, 1, 1, bq), lambda r, m, i, *_: (r, m, 0, i)),
      ],
      scratch_shapes=[
        pltpu.VMEM((bq, LANES), jnp.float32),
        pltpu.VMEM((bq, LANES), jnp.float32),
        pltpu.VMEM((bq, h), jnp.float32),
        pltpu.VMEM((tiles.KNOWN, bq, LANES), jnp.int32),
      ],
    ),
    out_shape=[
      jax.ShapeDtypeStruct(call.q.shape, call.q.dtype),
      jax.ShapeDtypeStruct((b, n, 1, t), jnp.float32),
    ],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=('parallel', 'parallel', 'parallel', 'arbitrary')
    ),
    interpret=call.static.interpret,
    name='rope_jax_forward',
  )(*call.by_query, *call.arrays)
  return out, lse[:, :, 0]
