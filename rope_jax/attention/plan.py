"""Which tiles have anything to see, from bounds of what stands in them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rope_jax.attention.inputs import Inputs
from rope_jax.attention.rule import NEVER, Rule
from rope_jax.positions.base import Position


def plan(
  position: Position, rule: Rule, inputs: Inputs, q_block: int, k_block: int
) -> jax.Array:
  """Whether some query of a tile may see some key of it: bool [b or 1, i, j].

  Args:
    position: the method, for the regions of its views.
    rule: the mask's.
    inputs: whole blocks of queries and of keys.
    q_block: queries in a block.
    k_block: keys in a block.

  Returns:
    Never False for a tile in which there is something to see. Takes memory for
    one number per block and tile.
  """
  tokens, real = inputs.tokens, inputs.real
  q_order = _bounds(tokens.q_order_bt, q_block, 1)
  there = jnp.asarray(tokens.k_order_bs) != NEVER
  k_order = _bounds(tokens.k_order_bs, k_block, 2, there)
  found = k_order[0] <= k_order[1]  # Some key is there.
  found = jnp.broadcast_to(
    found, jnp.broadcast_shapes(found.shape, q_order[0].shape)
  )
  if rule.causal:
    found = found & (k_order[0] <= q_order[1])
  if rule.window is not None:
    found = found & (k_order[1] > q_order[0] - rule.window)
  if tokens.q_segment_bt is not None:
    q = _bounds(tokens.q_segment_bt, q_block, 1)
    k = _bounds(tokens.k_segment_bs, k_block, 2)
    found = found & (q[0] <= k[1]) & (k[0] <= q[1])
  q_pos = _bounds(real.q_pos_bt, q_block, 1)
  k_pos = _bounds(real.k_pos_bs, k_block, 2, there)
  inside = None
  for view in position.views(inputs.places):
    if view.region is None:
      return found
    touches = getattr(view.region, 'touches', None)
    if touches is None:  # A region that cannot tell.
      return found
    here = touches(*q_pos, *k_pos)
    inside = here if inside is None else inside | here
  assert inside is not None
  return found & inside


def clear(
  position: Position, rule: Rule, inputs: Inputs, q_block: int, k_block: int
) -> jax.Array | None:
  """How many tiles from the first on every query of a block sees whole: int32
  [i]. None where that is not worth knowing."""
  tokens = inputs.tokens
  if (
    not rule.causal
    or rule.window is not None
    or tokens.q_segment_bt is not None
    or any(view.region is not None for view in position.views(inputs.places))
  ):
    return None
  q_order = _bounds(tokens.q_order_bt, q_block, 1)
  k_order = _bounds(tokens.k_order_bs, k_block, 2)
  whole = jnp.all(k_order[1] <= q_order[0], axis=0)
  return jnp.sum(jnp.cumprod(whole.astype(jnp.int32), axis=1), axis=1)


def _bounds(x, block, axis, there=None):
  """Least and largest in each block: int32 [b, i, 1] or [b, 1, j]."""
  x = jnp.asarray(x)
  size = x.shape[1]
  x = x.reshape(x.shape[0], size // block, block)
  if there is None:
    low, high = x.min(axis=-1), x.max(axis=-1)
  else:
    there = jnp.broadcast_to(there, (there.shape[0], size))
    there = there.reshape(there.shape[0], size // block, block)
    low = jnp.where(there, x, NEVER).min(axis=-1)
    high = jnp.where(there, x, -1).max(axis=-1)
  return jnp.expand_dims(low, 3 - axis), jnp.expand_dims(high, 3 - axis)


def span(active: jax.Array) -> tuple[jax.Array, jax.Array]:
  """First active place and one past the last, of each row of bool [i, j]."""
  count = active.shape[1]
  first = jnp.argmax(active, axis=1)
  last = count - jnp.argmax(active[:, ::-1], axis=1)
  return first, jnp.where(active.any(axis=1), last, first)
