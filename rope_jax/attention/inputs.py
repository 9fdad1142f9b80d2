"""What attention is made of, by token and head, and how it is cut."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rope_jax.attention.rule import NEVER, Tokens
from rope_jax.positions import parts
from rope_jax.positions.base import Params, Places, Position, overrides

Pair = tuple[jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
  """Queries and keys with all that is known of them; a tile is one too.

  Attributes:
    turned: (q_bnth, k_bksh) under each of the method's views, rotated.
    plain: the same as they came, for biases that read them; else None.
    v_bksh: values.
    places: where the tokens stand, or in training are shown to stand.
    real: where they stand in their text: what windows and temperatures go by.
    tokens: their order and segments: what the mask's rule goes by.
  """

  turned: tuple[Pair, ...]
  plain: Pair | None
  v_bksh: jax.Array
  places: Places
  real: Places
  tokens: Tokens

  @property
  def counts(self) -> tuple[int, int]:
    """How many queries and keys there are."""
    return self.turned[0][0].shape[2], self.v_bksh.shape[2]

  def queries(self, start: Any, size: int) -> Inputs:
    """Those of `size` queries from `start` on, which may be traced."""
    return self._cut(start, size, 'q')

  def keys(self, start: Any, size: int) -> Inputs:
    """Those of `size` keys from `start` on."""
    return self._cut(start, size, 'k')

  def tile(self) -> Inputs:
    """The same as a tile, whose keys and values are [b, k, h, s]: the order in
    which products and their derivatives are fastest."""

    def pair(x):
      return None if x is None else (x[0], jnp.swapaxes(x[1], 2, 3))

    return dataclasses.replace(
      self,
      turned=tuple(pair(x) for x in self.turned),
      plain=pair(self.plain),
      v_bksh=jnp.swapaxes(self.v_bksh, 2, 3),
    )

  def _cut(self, start, size, side) -> Inputs:
    def one(x, axis):
      if x is None or x.shape[axis] == 1:
        return x
      return jax.lax.dynamic_slice_in_dim(x, start, size, axis)

    return self.map_side(side, lambda _, x: one(x, 1), lambda x: one(x, 2))

  def padded(self, queries: int, keys: int) -> Inputs:
    """The same with more queries and keys, which see nothing and are not
    seen; their positions count on."""
    made = self
    for side, count in (('q', queries), ('k', keys)):
      made = made._pad(side, count - self.counts['qk'.index(side)])
    return made

  def _pad(self, side: str, more: int) -> Inputs:
    if more == 0:
      return self
    ahead = jnp.arange(1, more + 1, dtype=jnp.int32)[None]

    def deep(x):
      return jnp.pad(x, [(0, 0), (0, 0), (0, more), (0, 0)])

    def longer(name, x):
      x = jnp.asarray(x)
      if 'length' in name and x.shape[1] == 1:
        return x
      if 'order' in name:
        new = jnp.full((1, more), NEVER if side == 'k' else -1, jnp.int32)
      else:
        new = x[:, -1:] + (ahead if 'pos' in name else 0 * ahead)
      new = jnp.broadcast_to(new, (x.shape[0], more))
      return jnp.concatenate([x, new], axis=1)

    return self.map_side(side, longer, deep)

  def map_side(self, side: str, flat: Any, deep: Any) -> Inputs:
    """Changes the arrays of one side: [b, t] by `flat`, which is told their
    names, and those with heads by `deep`."""
    at = 'qk'.index(side)

    def pair(x):
      return None if x is None else (
        (deep(x[0]), x[1]) if at == 0 else (x[0], deep(x[1]))
      )  # fmt: skip

    def named(x: Any) -> Any:
      names = [
        f.name
        for f in dataclasses.fields(x)
        if f.name.startswith(f'{side}_') and getattr(x, f.name) is not None
      ]
      return dataclasses.replace(
        x, **{n: flat(n, getattr(x, n)) for n in names}
      )

    return Inputs(
      turned=tuple(pair(x) for x in self.turned),  # pyright: ignore[reportArgumentType]
      plain=pair(self.plain),
      v_bksh=deep(self.v_bksh) if side == 'k' else self.v_bksh,
      places=named(self.places),
      real=named(self.real),
      tokens=named(self.tokens),
    )

  def unit(self, at: Any, size: int = 1) -> Inputs:
    """Some of one row's key heads, with their query heads.

    Args:
      at: which of rows x key heads / size, may be traced.
      size: key heads, a divisor of their number.
    """
    b, groups = self.v_bksh.shape[:2]
    pieces = groups // size
    row, piece = at // pieces, at % pieces

    def deep(x):
      heads = x.shape[1] // pieces
      x = x.reshape(b * pieces, heads, *x.shape[2:])
      return jax.lax.dynamic_index_in_dim(x, at, keepdims=True)

    def flat(_, x):
      if x.shape[0] == 1:
        return x
      return jax.lax.dynamic_index_in_dim(jnp.asarray(x), row, keepdims=True)

    made = self.map_side('q', flat, deep).map_side('k', flat, deep)
    heads = jnp.asarray(self.places.heads)
    count = heads.shape[0] // pieces
    heads = jax.lax.dynamic_slice_in_dim(heads, piece * count, count)
    return dataclasses.replace(
      made,
      places=dataclasses.replace(made.places, heads=heads),
      real=dataclasses.replace(made.real, heads=heads),
    )


def reads_content(position: Position) -> bool:
  """Whether a bias of the method reads q and k as they came."""
  return any(
    overrides(part, 'bias') and part.reads == 'content'
    for part in parts(position)
  )


def prepare(
  position: Position,
  params: Params,
  q_btnh: jax.Array,
  k_bskh: jax.Array,
  v_bskh: jax.Array,
  places: Places,
  real: Places,
  tokens: Tokens,
) -> Inputs:
  """Rotates whole sequences once per view, before any tile is cut."""

  def pair(q, k):
    return jnp.swapaxes(q, 1, 2), jnp.swapaxes(k, 1, 2)

  turned = tuple(
    pair(*position.rotate(params, q_btnh, k_bskh, view.places))
    for view in position.views(places)
  )
  plain = pair(q_btnh, k_bskh) if reads_content(position) else None
  v_bksh = jnp.swapaxes(v_bskh, 1, 2)
  return Inputs(turned, plain, v_bksh, places, real, tokens)
