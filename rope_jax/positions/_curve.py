"""Biases that are curves: of a pair's positions and a few numbers a head."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp

from rope_jax.positions import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve(base.Position):
  """A bias that does not read queries or keys: a child defines the curve.

  bias_h(i, j) = curve(c_h, i - j, i)

  with the numbers c_h of a head from `coefficients`. The form that a kernel
  can evaluate inside a tile, and whose gradients it can take there: `curve` is
  elementwise, in operations that an accelerator's kernel language has (no
  gather, no sort, no table), and all that it reads of the method's parameters
  is in c_h.

  Class attributes:
    light: whether the curve is so few operations that a tile has it for every
      pair sooner than once for each distance.
  """

  reads: ClassVar[str] = 'distance'
  light: ClassVar[bool] = False

  def coefficients(
    self, params: base.Params, heads: base.Array, total: int, head_dim: int
  ) -> jax.Array:
    """The numbers of each head at hand: float32 [n, c]; differentiable."""
    raise NotImplementedError

  def curve(
    self,
    c: Sequence[jax.Array],
    distance: jax.Array,
    q_pos: jax.Array,
    product: jax.Array | None,
  ) -> jax.Array:
    """The bias of pairs of tokens: float32, of the broadcast shape.

    Args:
      c: the columns of `coefficients`, float32, of any shape that broadcasts
        against the distances.
      distance: int32, query position minus key position.
      q_pos: int32 query positions, broadcastable against the distances.
      product: float32, the product of the pair's `codes`; None without.
    """
    raise NotImplementedError

  def codes(self, pos_bt: base.Array) -> jax.Array | None:
    """Vectors of tokens whose products `curve` reads: float32 [b, t, w]."""
    del pos_bt
    return None

  def bias(self, params, q_btnh, k_bskh, places):
    del k_bskh
    head_dim = q_btnh.shape[-1]
    c_nc = self.coefficients(
      params, places.heads, places.total_heads, head_dim
    ).astype(jnp.float32)
    columns = [c_nc[None, :, at, None, None] for at in range(c_nc.shape[1])]
    q_codes, k_codes = self.codes(places.q_pos_bt), self.codes(places.k_pos_bs)
    product = None
    if q_codes is not None and k_codes is not None:
      exact = jax.lax.Precision.HIGHEST
      product = jnp.einsum('btw,bsw->bts', q_codes, k_codes, precision=exact)
      product = product[:, None]
    q_pos_b1t1 = jnp.asarray(places.q_pos_bt)[:, None, :, None]
    distance_b1ts = places.distance()[:, None]
    found = self.curve(columns, distance_b1ts, q_pos_b1t1, product)
    b, _, t, s = distance_b1ts.shape
    return jnp.broadcast_to(found, (b, c_nc.shape[0], t, s))
