"""Regions of the score matrix that say which tiles they can touch."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Area:
  """Pairs by their distance and by the key's position: a `Region`.

  low <= floor(q_pos / unit) - floor(k_pos / unit) < high,
  k_low <= k_pos < k_high

  Attributes:
    low, high: bounds of the distance, in units; None is no bound.
    unit: tokens, >= 1; 1 for a distance in tokens, else one in whole chunks.
    k_low, k_high: bounds of the key's position, tokens; None is no bound.
  """

  low: int | None = None
  high: int | None = None
  unit: int = 1
  k_low: int | None = None
  k_high: int | None = None

  def __call__(self, q_pos_bt: base.Array, k_pos_bs: base.Array) -> jax.Array:
    q = jnp.asarray(q_pos_bt)[:, :, None]
    k = jnp.asarray(k_pos_bs)[:, None, :]
    return self.holds(q, k)

  def holds(self, q_pos: jax.Array, k_pos: jax.Array) -> jax.Array:
    """Which pairs are of the area, for positions that broadcast."""
    return self._touch(q_pos, q_pos, k_pos, k_pos)

  def touches(
    self, q_low: jax.Array, q_high: jax.Array, k_low: jax.Array,
    k_high: jax.Array,
  ) -> jax.Array:  # fmt: skip
    """Whether a tile can hold a pair of the area, from the bounds of its
    positions; never False for one that does."""
    return self._touch(q_low, q_high, k_low, k_high)

  def _touch(self, q_low, q_high, k_low, k_high):
    found = jnp.ones(jnp.broadcast_shapes(q_low.shape, k_low.shape), bool)
    least, most = q_low - k_high, q_high - k_low
    if self.unit != 1:
      least = q_low // self.unit - k_high // self.unit
      most = q_high // self.unit - k_low // self.unit
    for bound, holds in (
      (self.low, lambda x: most >= x),
      (self.high, lambda x: least < x),
      (self.k_low, lambda x: k_high >= x),
      (self.k_high, lambda x: k_low < x),
    ):
      if bound is not None:
        found &= holds(bound)
    return found
