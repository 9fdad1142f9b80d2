"""One tile of attention under any positional method, fully materialised."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions.base import Params, Places, Position

_MASKED = -jnp.inf
_FLOOR = -1e30  # Keeps rows that see nothing finite; their output is zero.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
  """What a tile of attention is made of, sliceable by queries and by keys.

  Attributes:
    q_btnh, k_bskh, v_bskh: as they came, not rotated.
    turned: (q, k) under each of the method's views.
    places: where the tokens stand, or in training are shown to stand.
    real: where they stand in their text: what windows and temperatures go by.
  """

  q_btnh: jax.Array
  k_bskh: jax.Array
  v_bskh: jax.Array
  turned: tuple[tuple[jax.Array, jax.Array], ...]
  places: Places
  real: Places

  def keys_up_to(self, stop: int) -> Inputs:
    """The same with the first `stop` keys alone."""

    def cut(places: Places) -> Places:
      lengths = places.k_length_bs
      return dataclasses.replace(
        places,
        k_pos_bs=places.k_pos_bs[:, :stop],
        k_length_bs=lengths if lengths.shape[1] == 1 else lengths[:, :stop],
      )

    return dataclasses.replace(
      self,
      k_bskh=self.k_bskh[:, :stop],
      v_bskh=self.v_bskh[:, :stop],
      turned=tuple((q, k[:, :stop]) for q, k in self.turned),
      places=cut(self.places),
      real=cut(self.real),
    )

  def _queries(self, cut) -> Inputs:
    def cut_places(places: Places) -> Places:
      lengths = places.q_length_bt
      return dataclasses.replace(
        places,
        q_pos_bt=cut(places.q_pos_bt),
        q_length_bt=lengths if lengths.shape[1] == 1 else cut(lengths),
      )

    return dataclasses.replace(
      self,
      q_btnh=cut(self.q_btnh),
      turned=tuple((cut(q), k) for q, k in self.turned),
      places=cut_places(self.places),
      real=cut_places(self.real),
    )

  def queries(self, start: int, stop: int) -> Inputs:
    """The same with queries start ... stop - 1 alone."""
    return self._queries(lambda x: x[:, start:stop])

  def queries_at(self, start: jax.Array, size: int) -> Inputs:
    """The same with `size` queries from a traced start."""
    return self._queries(
      lambda x: jax.lax.dynamic_slice_in_dim(jnp.asarray(x), start, size, 1)
    )


def prepare(
  position: Position,
  params: Params,
  q_btnh: jax.Array,
  k_bskh: jax.Array,
  v_bskh: jax.Array,
  places: Places,
  real: Places,
) -> Inputs:
  """Rotates whole sequences once per view, before any tile is cut."""
  turned = tuple(
    position.rotate(params, q_btnh, k_bskh, view.places)
    for view in position.views(places)
  )
  return Inputs(q_btnh, k_bskh, v_bskh, turned, places, real)


def _products(q_btnh: jax.Array, k_bskh: jax.Array) -> jax.Array:
  """q . k / sqrt(h) with grouped queries: float32 [b, n, t, s]."""
  b, t, n, h = q_btnh.shape
  s, k = k_bskh.shape[1:3]
  q_btkgh = q_btnh.reshape(b, t, k, n // k, h)
  found = jnp.einsum(
    'btkgh,bskh->bkgts',
    q_btkgh,
    k_bskh,
    preferred_element_type=jnp.float32,
  )
  return found.reshape(b, n, t, s) * (h**-0.5)


def tile(
  position: Position, params: Params, inputs: Inputs, seen_bts: jax.Array | None
) -> jax.Array:
  """Attention of the queries at hand over the keys at hand: [b, t, n, h]."""
  places, real = inputs.places, inputs.real
  total, regions = None, []
  views = position.views(places)
  scale_bnt = position.scale(params, real)
  for view, (q_btnh, k_bskh) in zip(views, inputs.turned, strict=True):
    entries = _products(q_btnh, k_bskh)
    bias = position.bias(params, inputs.q_btnh, inputs.k_bskh, view.places)
    if bias is not None:
      entries = entries + bias.astype(jnp.float32)
    if scale_bnt is not None:
      entries = entries * scale_bnt[..., None]
    if view.region is None:
      total, inside = entries, None
    else:
      inside = view.region(real.q_pos_bt, real.k_pos_bs)[:, None]
      total = jnp.where(inside, entries, _MASKED if total is None else total)
    regions.append(inside)
  assert total is not None
  if seen_bts is not None:
    total = jnp.where(seen_bts[:, None], total, _MASKED)
  highest = jax.lax.stop_gradient(jnp.max(total, axis=-1, keepdims=True))
  weights = jnp.exp(total - jnp.maximum(highest, _FLOOR))
  denominator = jnp.sum(weights, axis=-1, keepdims=True)
  weights = weights / jnp.where(denominator == 0, 1.0, denominator)
  out = _weighted(weights.astype(inputs.v_bskh.dtype), inputs.v_bskh)
  for view, inside in zip(views, regions, strict=True):
    within = weights if inside is None else jnp.where(inside, weights, 0.0)
    extra = position.values(params, within, view.places)
    if extra is not None:
      out = out + extra.astype(jnp.float32)
  return out.astype(inputs.q_btnh.dtype)


def _weighted(weights_bnts: jax.Array, v_bskh: jax.Array) -> jax.Array:
  """Weighted sum of the values: float32 [b, t, n, h]."""
  b, n, t, s = weights_bnts.shape
  k, h = v_bskh.shape[2:]
  found = jnp.einsum(
    'bkgts,bskh->btkgh',
    weights_bnts.reshape(b, k, n // k, t, s),
    v_bskh,
    preferred_element_type=jnp.float32,
  )
  return found.reshape(b, t, n, h)
