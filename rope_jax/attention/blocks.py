"""Attention by blocks: online softmax, and tiles made again backwards."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from rope_jax.attention.inputs import Inputs
from rope_jax.attention.plan import clear, plan, span
from rope_jax.attention.rule import Rule
from rope_jax.attention.scores import FLOOR, entries, mix
from rope_jax.attention.trees import (
  floats_of,
  is_query,
  learned_of,
  with_floats,
)
from rope_jax.positions.base import Params, Position
from rope_jax.varying import alike


@dataclasses.dataclass(frozen=True)
class Schedule:
  """How tiles are worked off.

  Attributes:
    q_block, k_block: tokens on a side of a tile.
    heads: how many query heads of a row to work on at a time, at most, but at
      least those of a key head (tiles fit a core's cache); None is all heads of
      all rows at once (matrix units are kept busy).
    multiple: what the sides of tiles are rounded up to where several are
      needed.

  Raises:
    ValueError: a size below 1.
  """

  q_block: int
  k_block: int
  heads: int | None = 1
  multiple: int = 1

  def __post_init__(self):
    for field in ('q_block', 'k_block', 'heads', 'multiple'):
      value = getattr(self, field)
      if field == 'heads' and value is None:
        continue
      if not isinstance(value, int) or value < 1:
        raise ValueError(
          f'Schedule: {field}={value!r} must be an integer >= 1.'
        )


def forward(
  position: Position,
  rule: Rule,
  schedule: Schedule,
  params: Params,
  inputs: Inputs,
) -> tuple[jax.Array, jax.Array]:
  """Attention and the logarithm of its normaliser.

  Returns:
    (out_bnth, lse_bnt), float32; a query that sees nothing has 0 and FLOOR.
  """
  t: int = inputs.counts[0]
  inputs, sizes = _whole_blocks(inputs, schedule)

  def one(unit: Inputs):
    return _forward(position, rule, sizes, params, unit)

  found: Any = _over_units(one, inputs, schedule)
  out, lse = found
  return out[:, :, :t], lse[:, :, :t]


def gradients(
  position: Position,
  rule: Rule,
  schedule: Schedule,
  params: Params,
  inputs: Inputs,
  lse_bnt: jax.Array,
  out_bnth: jax.Array,
  d_out_bnth: jax.Array,
) -> tuple[list[jax.Array], list[jax.Array]]:
  """The gradients of what is learned and of what `inputs` has of floats.

  Args:
    position, rule, schedule, params, inputs: as in `forward`.
    lse_bnt: the logarithm of the normaliser: over these keys, or over more of
      which these are a part.
    out_bnth: the output, over the same keys as the normaliser.
    d_out_bnth: the cotangent of the output.
  """
  t = inputs.counts[0]
  padded, sizes = _whole_blocks(inputs, schedule)
  more = padded.counts[0] - t
  lse = padded_lse(lse_bnt, more)
  out, d_out = (
    jnp.pad(x, [(0, 0), (0, 0), (0, more), (0, 0)])
    for x in (out_bnth, d_out_bnth)
  )

  def one(unit: Inputs, lse, out, d_out):
    delta = along(out, d_out)
    return _backward(position, rule, sizes, params, unit, lse, delta, d_out)

  d_params, d_floats = _over_units(
    one, padded, schedule, (lse, out, d_out), summed=True
  )
  d_floats = [
    d[:, :, : x.shape[2]].astype(x.dtype)
    for d, x in zip(d_floats, floats_of(inputs), strict=True)
  ]
  return d_params, d_floats


def padded_lse(lse_bnt: jax.Array, more: int) -> jax.Array:
  """Normalisers with `more` of padding, under which every weight is 0."""
  pad = [(0, 0), (0, 0), (0, more)]
  return jnp.pad(lse_bnt, pad, constant_values=jnp.inf)


def along(out_bnth: jax.Array, d_out_bnth: jax.Array) -> jax.Array:
  """What the softmax takes from the gradient of each of a row's scores: the
  sum over h of out x d_out, float32 [b, n, t]."""
  both = out_bnth.astype(jnp.float32) * d_out_bnth.astype(jnp.float32)
  # As a product, which is twice as fast on CPU as a sum.
  ones_h = jnp.ones(both.shape[-1], jnp.float32)
  exact = jax.lax.Precision.HIGHEST
  return jnp.einsum('bnth,h->bnt', both, ones_h, precision=exact)


def _whole_blocks(inputs: Inputs, schedule: Schedule):
  """Inputs whose counts are multiples of a block, and (q_block, k_block)."""
  sizes, counts = [], []
  for count, block in zip(
    inputs.counts, (schedule.q_block, schedule.k_block), strict=True
  ):
    blocks = -(-count // block)
    size = -(-count // blocks)
    if blocks > 1:
      size += -size % schedule.multiple
      blocks = -(-count // size)
    sizes.append(size)
    counts.append(size * blocks)
  return inputs.padded(*counts), tuple(sizes)


def _over_units(one, inputs, schedule, more=(), summed=False):
  """`one` on everything, or on some heads of each row in turn."""
  if schedule.heads is None:
    return one(inputs, *more)
  b, groups = inputs.v_bksh.shape[:2]
  most = max(1, schedule.heads * groups // inputs.turned[0][0].shape[1])
  size = max(n for n in range(1, min(most, groups) + 1) if groups % n == 0)
  units = b * groups // size
  split = [x.reshape(units, 1, -1, *x.shape[2:]) for x in more]

  def at(index):
    return one(inputs.unit(index, size), *(x[index] for x in split))

  def joined(x):  # [units, 1, heads, ...] -> [b, n, ...]
    return x.reshape(b, -1, *x.shape[3:])

  if units == 1:
    return at(0)
  if not summed:
    return jax.tree.map(joined, jax.lax.map(at, jnp.arange(units)))

  def step(total, index):
    d_params, d_floats = at(index)
    return jax.tree.map(jnp.add, total, d_params), d_floats

  shapes = jax.eval_shape(at, 0)[0]
  zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  zero = alike(zero, inputs)
  d_params, d_floats = jax.lax.scan(step, zero, jnp.arange(units))
  return d_params, [joined(x) for x in d_floats]


def _perhaps(position, inputs):
  """(active, go, so_far) -> go(so_far), or so_far for a tile of no use.

  Tiles between the first and the last useful one are useful too, but for
  methods that see regions: a choice is made for those alone.
  """
  if any(view.region is not None for view in position.views(inputs.places)):
    return lambda active, go, x: jax.lax.cond(active, go, lambda x: x, x)
  return lambda active, go, x: go(x)


def _forward(position, rule, sizes, params, inputs):
  q_block, k_block = sizes
  active = plan(position, rule, inputs, q_block, k_block).any(axis=0)
  perhaps = _perhaps(position, inputs)
  first, last = span(active)
  whole = clear(position, rule, inputs, q_block, k_block)
  b, n, t, h = inputs.turned[0][0].shape

  def row(at):
    rows = inputs.queries(at * q_block, q_block)

    def tile(masked, j, so_far):
      here = rows.keys(j * k_block, k_block).tile()

      def go(so_far):
        highest, total, out = so_far
        found = entries(
          position, rule, params, here, in_blocks=True, masked=masked
        )
        now = jnp.maximum(highest, jnp.max(found, axis=-1))
        weights = jnp.exp(found - now[..., None])
        shrink = jnp.exp(highest - now)
        total = total * shrink + jnp.sum(weights, axis=-1)
        more = mix(position, params, here, weights, in_blocks=True)
        return now, total, out * shrink[..., None] + more

      return perhaps(active[at, j], go, so_far)

    start = (
      jnp.full((b, n, q_block), FLOOR, jnp.float32),
      jnp.zeros((b, n, q_block), jnp.float32),
      jnp.zeros((b, n, q_block, h), jnp.float32),
    )
    start = alike(start, inputs)
    begin, seen = first[at], functools.partial(tile, True)
    if whole is not None:  # Most tiles of long rows are below the diagonal.
      end = jnp.clip(whole[at], begin, last[at])
      below = functools.partial(tile, False)
      start, begin = jax.lax.fori_loop(begin, end, below, start), end
    highest, total, out = jax.lax.fori_loop(begin, last[at], seen, start)
    total = jnp.where(total == 0, 1.0, total)
    return out / total[..., None], highest + jnp.log(total)

  blocks = t // q_block
  if blocks == 1:
    return row(0)
  out, lse = jax.lax.map(row, jnp.arange(blocks))

  def joined(x):  # [blocks, b, n, q_block, ...] -> [b, n, t, ...]
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(b, n, t, *x.shape[4:])

  return joined(out), joined(lse)


def _backward(position, rule, sizes, params, inputs, lse, delta, d_out):
  q_block, k_block = sizes
  active = plan(position, rule, inputs, q_block, k_block).any(axis=0)
  perhaps = _perhaps(position, inputs)
  first, last = span(active.T)
  learned, fill = learned_of(params)
  sides = is_query(inputs)
  whole = floats_of(inputs)
  zeros = alike([jnp.zeros(x.shape, jnp.float32) for x in whole], inputs)

  def cut(x, at):
    return jax.lax.dynamic_slice_in_dim(x, at * q_block, q_block, 2)

  def column(d_so_far, j):
    """One block of keys with all queries that see it."""
    d_params, d_queries = d_so_far
    keys = inputs.keys(j * k_block, k_block).tile()
    d_keys = [
      jnp.zeros(x.shape, jnp.float32)
      for x, query in zip(floats_of(keys), sides, strict=True)
      if not query
    ]
    d_keys = alike(d_keys, inputs)

    def tile(i, so_far):
      here = keys.queries(i * q_block, q_block)

      def go(so_far):
        d_params, d_queries, d_keys = so_far
        lse_i, delta_i, d_out_i = (cut(x, i) for x in (lse, delta, d_out))

        def scored(learned, floats):
          made = with_floats(here, floats)
          return entries(position, rule, fill(learned), made, in_blocks=True)

        def mixed(learned, floats, weights):
          made = with_floats(here, floats)
          return mix(position, fill(learned), made, weights, in_blocks=True)

        given = floats_of(here)
        found, pull_scores = jax.vjp(scored, learned, given)
        weights = jnp.exp(found - lse_i[..., None])
        _, pull_mix = jax.vjp(mixed, learned, given, weights)
        d_p1, d_f1, d_weights = pull_mix(d_out_i.astype(jnp.float32))
        d_found = weights * (d_weights - delta_i[..., None])
        d_p2, d_f2 = pull_scores(d_found)
        d_params = jax.tree.map(lambda *x: sum(x), d_params, d_p1, d_p2)
        q_at, k_at, new_queries, new_keys = 0, 0, [], []
        for query, a, c in zip(sides, d_f1, d_f2, strict=True):
          d = a.astype(jnp.float32) + c.astype(jnp.float32)
          if query:
            old = d_queries[q_at]
            d = d + cut(old, i)
            new_queries.append(
              jax.lax.dynamic_update_slice_in_dim(old, d, i * q_block, 2)
            )
            q_at += 1
          else:
            new_keys.append(d_keys[k_at] + d)
            k_at += 1
        return d_params, new_queries, new_keys

      return perhaps(active[i, j], go, so_far)

    d_params, d_queries, d_keys = jax.lax.fori_loop(
      first[j], last[j], tile, (d_params, d_queries, d_keys)
    )
    return (d_params, d_queries), [jnp.swapaxes(x, 2, 3) for x in d_keys]

  zero_params = [jnp.zeros(x.shape, jnp.float32) for x in learned]
  zero_params = alike(zero_params, inputs)
  queries = [z for z, query in zip(zeros, sides, strict=True) if query]
  blocks = inputs.counts[1] // k_block
  (d_params, d_queries), d_keys = jax.lax.scan(
    column, (zero_params, queries), jnp.arange(blocks)
  )

  def joined(x):  # [blocks, b, k, k_block, h] -> [b, k, s, h]
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(*x.shape[:2], -1, x.shape[-1])

  d_queries, d_keys = iter(d_queries), iter(joined(x) for x in d_keys)
  return d_params, [
    next(d_queries) if query else next(d_keys) for query in sides
  ]
