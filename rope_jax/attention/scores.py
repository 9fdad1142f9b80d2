"""One tile of attention under any positional method, fully materialised."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rope_jax.attention import toeplitz
from rope_jax.attention.inputs import Inputs
from rope_jax.attention.rule import Rule, seen
from rope_jax.positions.base import Params, Position, overrides
from rope_jax.varying import alike

_MASKED = -jnp.inf
FLOOR = -1e30  # Keeps rows that see nothing finite; their output is zero.


def entries(
  position: Position,
  rule: Rule,
  params: Params,
  tile: Inputs,
  *,
  in_blocks: bool = False,
  masked: bool = True,
) -> jax.Array:
  """What the softmax is taken of: float32 [b, n, t, s], -inf where unseen.

  Args:
    position: the method.
    rule: the mask's.
    params: the method's parameters.
    tile: the queries and keys at hand, from `Inputs.tile`.
    in_blocks: whether this is one of many tiles, for which it pays to find out
      what a tile does not need.
    masked: whether anything of the tile may be unseen.
  """
  real, total = tile.real, None
  products = _tile_products if in_blocks else _products
  scale_bnt = position.scale(params, real)
  for view, pair in zip(position.views(tile.places), tile.turned, strict=True):
    inside = None
    if view.region is not None:
      inside = view.region(real.q_pos_bt, real.k_pos_bs)[:, None]

    def make(pair=pair, view=view):
      found = products(*pair)
      bias = toeplitz.bias(position, params, tile, view.places, in_blocks)
      if bias is not None:
        found = found + bias
      if scale_bnt is not None:
        found = found * scale_bnt[..., None]
      # Before regions: what a view does not see must stay unseen.
      cap = rule.cap
      return found if cap is None else cap * jnp.tanh(found / cap)

    if in_blocks and len(tile.turned) > 1:
      assert inside is not None
      q, k = pair
      shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[3])
      nothing = alike(jnp.full(shape, _MASKED, jnp.float32), (q, k))
      found = jax.lax.cond(
        jnp.any(inside), make, lambda nothing=nothing: nothing
      )
    else:
      found = make()
    if inside is None:
      total = found
    else:
      total = jnp.where(inside, found, _MASKED if total is None else total)
  assert total is not None
  if not masked:
    return total
  return jnp.where(seen(rule, tile.tokens)[:, None], total, _MASKED)


def mix(
  position: Position,
  params: Params,
  tile: Inputs,
  weights_bnts: jax.Array,
  *,
  in_blocks: bool = False,
) -> jax.Array:
  """What the weights pick up, linear in them: float32 [b, n, t, h]."""
  weighted = _tile_weighted if in_blocks else _weighted
  out = weighted(weights_bnts, tile.v_bksh)
  if not overrides(position, 'values'):
    return out
  real = tile.real
  for view in position.views(tile.places):
    within = weights_bnts
    if view.region is not None:
      inside = view.region(real.q_pos_bt, real.k_pos_bs)[:, None]
      within = jnp.where(inside, weights_bnts, 0.0)
    extra = position.values(params, within, view.places)
    if extra is not None:
      out = out + jnp.swapaxes(extra, 1, 2).astype(jnp.float32)
  return out


def attention(
  position: Position, rule: Rule, params: Params, tile: Inputs
) -> jax.Array:
  """Softmax attention of the queries over all keys: float32 [b, n, t, h]."""
  total = entries(position, rule, params, tile)
  highest = jax.lax.stop_gradient(jnp.max(total, axis=-1, keepdims=True))
  weights = jnp.exp(total - jnp.maximum(highest, FLOOR))
  denominator = jnp.sum(weights, axis=-1, keepdims=True)
  weights = weights / jnp.where(denominator == 0, 1.0, denominator)
  return mix(position, params, tile, weights)


def _products(q_bnth: jax.Array, k_bkhs: jax.Array) -> jax.Array:
  """q . k / sqrt(h) with grouped queries: float32 [b, n, t, s]."""
  b, n, t, h = q_bnth.shape
  k, s = k_bkhs.shape[1], k_bkhs.shape[3]
  found = _einsum(
    'bkgth,bkhs->bkgts', q_bnth.reshape(b, k, n // k, t, h), k_bkhs
  )
  return found.reshape(b, n, t, s) * (h**-0.5)


def _weighted(weights_bnts: jax.Array, v_bkhs: jax.Array) -> jax.Array:
  """Weighted sum of the values: float32 [b, n, t, h]."""
  b, n, t, s = weights_bnts.shape
  k, h = v_bkhs.shape[1:3]
  weights = weights_bnts.reshape(b, k, n // k, t, s).astype(v_bkhs.dtype)
  return _einsum('bkgts,bkhs->bkgth', weights, v_bkhs).reshape(b, n, t, h)


def _einsum(how: str, x: jax.Array, y: jax.Array) -> jax.Array:
  return jnp.einsum(how, x, y, preferred_element_type=jnp.float32)


def _products_backward(kept, d_bnts):
  q, k_bkhs = kept
  b, n, t, h = q.shape
  k, s = k_bkhs.shape[1], k_bkhs.shape[3]
  d = (d_bnts * h**-0.5).reshape(b, k, n // k, t, s).astype(q.dtype)
  d_q = _einsum('bkgts,bkhs->bkgth', d, k_bkhs).reshape(q.shape)
  d_k = _einsum('bkgts,bkgth->bkhs', d, q.reshape(b, k, n // k, t, h))
  return d_q.astype(q.dtype), d_k.astype(k_bkhs.dtype)


def _weighted_backward(kept, d_bnth):
  weights, v_bkhs = kept
  b, n, t, s = weights.shape
  k, h = v_bkhs.shape[1:3]
  d = d_bnth.reshape(b, k, n // k, t, h).astype(v_bkhs.dtype)
  d_weights = _einsum('bkgth,bkhs->bkgts', d, v_bkhs).reshape(weights.shape)
  narrow = weights.reshape(b, k, n // k, t, s).astype(v_bkhs.dtype)
  d_v = _einsum('bkgts,bkgth->bkhs', narrow, d)
  return d_weights.astype(weights.dtype), d_v.astype(v_bkhs.dtype)


def _with_backward(product, backward):
  """The same product, its derivative in the order of axes that is fastest."""
  made = jax.custom_vjp(product)
  made.defvjp(lambda x, y: (product(x, y), (x, y)), backward)
  return made


_tile_products = _with_backward(_products, _products_backward)
_tile_weighted = _with_backward(_weighted, _weighted_backward)
