"""The one abstraction: `Position`, its hooks, `Places`, `View`, `compose`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
Params = Any  # A pytree; {} when a method learns nothing.


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Places:
  """Where the queries and keys at hand stand.

  Hooks may be called on any tile of the score matrix and on any subset of
  the heads, so everything they may ask about is here and is an array.

  Attributes:
    q_pos_bt: int32 positions of the queries, in tokens.
    k_pos_bs: int32 positions of the keys, in tokens.
    q_length_bt: int32 [b, t] or [b, 1], tokens in the context of the sequence
      that each query belongs to. What dynamic NTK, LongRoPE and SSMax read.
    k_length_bs: the same for each key, [b, s] or [b, 1].
    heads: int32 [n], the indices of the query heads at hand.
    total_heads: how many query heads the layer has.
  """

  q_pos_bt: Array
  k_pos_bs: Array
  q_length_bt: Array
  k_length_bs: Array
  heads: Array
  total_heads: int = dataclasses.field(metadata={'static': True})

  def distance(self) -> jax.Array:
    """Query position minus key position: int32 [b, t, s]."""
    q_bt, k_bs = jnp.asarray(self.q_pos_bt), jnp.asarray(self.k_pos_bs)
    return q_bt[:, :, None] - k_bs[:, None, :]


# On original positions (q_pos_bt, k_pos_bs) of a tile: bool [b, t, s].
Region = Callable[[Array, Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class View:
  """Which positions the tokens pretend to have in one region of the scores.

  Attributes:
    places: the pretended places, of the same shapes as the real ones.
    region: where this view's scores are the ones used; None is everywhere.
      The regions of a method's views must not overlap.
  """

  places: Places
  region: Region | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
  """A positional method. Its fields are hyperparameters, its methods hooks.

  Every hook does nothing by default, so `Position()` is NoPE. Instances are
  frozen, hashable and equal by value, which makes them static jit arguments.
  A method is one file `rope_jax/positions/<name>.py` with one public class.

  Class attributes:
    relative: whether scores stay the same when every position is shifted.
    shared: whether all layers use one set of the method's parameters (T5)
      rather than a set each.
    rotary: whether it turns q and k by angles; two such do not compose.
  """

  relative: ClassVar[bool] = True
  rotary: ClassVar[bool] = False
  shared: ClassVar[bool] = False

  def init(
    self, key: jax.Array, *, heads: int, head_dim: int, model_dim: int
  ) -> Params:
    """Returns the method's parameters, float32; their shapes hold no length."""
    del key, heads, head_dim, model_dim
    return {}

  def embed(self, params: Params, x_btd: jax.Array, pos_bt: Array) -> jax.Array:
    """Changes the input of the first layer; the token embeddings have unit
    variance."""
    del params, pos_bt
    return x_btd

  def rotate(
    self, params: Params, q_btnh: jax.Array, k_bskh: jax.Array, places: Places
  ) -> tuple[jax.Array, jax.Array]:
    """Rotates or scales queries and keys, each by its own place alone."""
    del params, places
    return q_btnh, k_bskh

  def bias(
    self, params: Params, q_btnh: jax.Array, k_bskh: jax.Array, places: Places
  ) -> jax.Array | None:
    """Returns float32 [b or 1, n, t, s] added to the scaled scores, or None."""
    del params, q_btnh, k_bskh, places
    return None

  def values(
    self, params: Params, weights_bnts: jax.Array, places: Places
  ) -> jax.Array | None:
    """Returns [b, t, n, h], linear in the weights, added to the output."""
    del params, weights_bnts, places
    return None

  def views(self, places: Places) -> tuple[View, ...]:
    """Returns which position each token pretends to have in which region."""
    return (View(places),)

  def train_positions(self, key: jax.Array, pos_bt: Array) -> Array:
    """Returns the int32 positions that training shows in place of `pos_bt`."""
    del key
    return pos_bt

  def check(self, *, heads: int, head_dim: int, model_dim: int) -> None:
    """Raises ValueError if the method cannot serve a model of this shape."""
    del heads, head_dim, model_dim

  @property
  def reach(self) -> int | None:
    """Positions the method is defined for: [0, reach), or None for any."""
    return None


def overrides(position: Position, hook: str) -> bool:
  """Whether the method does anything in `hook`.

  >>> overrides(Position(), 'bias')
  False
  """
  if isinstance(position, Compose):
    return any(overrides(part, hook) for part in position.parts)
  return getattr(type(position), hook) is not getattr(Position, hook)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compose(Position):
  """Several methods at once; see `compose`."""

  parts: tuple[Position, ...]

  def __post_init__(self):
    for hook, why in (
      ('views', 'two sets of pretended positions have no common meaning'),
      ('train_positions', 'the second would discard what the first drew'),
    ):
      found = [type(p).__name__ for p in self.parts if overrides(p, hook)]
      if len(found) > 1:
        raise ValueError(
          f'compose: {" and ".join(found)} both define `{hook}`; {why}. '
          'Keep one of them.'
        )
    turning = [type(p).__name__ for p in self.parts if p.rotary]
    if len(turning) > 1:
      raise ValueError(
        f'compose: {" and ".join(turning)} would each rotate q and k, which '
        'adds their angles and is neither of them. Keep one rotary method.'
      )

  @property
  def relative(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return all(part.relative for part in self.parts)

  @property
  def rotary(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return any(part.rotary for part in self.parts)

  @property
  def shared(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return any(part.shared for part in self.parts)

  def init(self, key, **shape):
    keys = jax.random.split(key, len(self.parts))
    return tuple(
      part.init(k, **shape) for part, k in zip(self.parts, keys, strict=True)
    )

  def _zip(self, params):
    return zip(self.parts, params or ({},) * len(self.parts), strict=True)

  def embed(self, params, x_btd, pos_bt):
    for part, p in self._zip(params):
      x_btd = part.embed(p, x_btd, pos_bt)
    return x_btd

  def rotate(self, params, q_btnh, k_bskh, places):
    for part, p in self._zip(params):
      q_btnh, k_bskh = part.rotate(p, q_btnh, k_bskh, places)
    return q_btnh, k_bskh

  def bias(self, params, q_btnh, k_bskh, places):
    return _sum(p.bias(w, q_btnh, k_bskh, places) for p, w in self._zip(params))

  def values(self, params, weights_bnts, places):
    return _sum(p.values(w, weights_bnts, places) for p, w in self._zip(params))

  def views(self, places):
    for part in self.parts:
      if overrides(part, 'views'):
        return part.views(places)
    return (View(places),)

  def train_positions(self, key, pos_bt):
    for part in self.parts:
      pos_bt = part.train_positions(key, pos_bt)
    return pos_bt

  def check(self, **shape):
    for part in self.parts:
      part.check(**shape)

  @property
  def reach(self):
    known = [p.reach for p in self.parts if p.reach is not None]
    return min(known) if known else None


def _sum(terms) -> jax.Array | None:
  total = None
  for term in terms:
    if term is not None:
      total = term if total is None else total + term
  return total


def compose(*parts: Position) -> Position:
  """Chains methods: each hook of the first, then of the second, and so on.

  Args:
    *parts: the methods. Biases and value terms add up. At most one part may
      be rotary, define `views`, or define `train_positions`.

  Returns:
    A Position; a single part is returned as it is, no part is NoPE.

  Raises:
    ValueError: two parts want what only one can have.

  Example:
    >>> compose() == Position()
    True
  """
  flat = []
  for part in parts:
    flat.extend(part.parts if isinstance(part, Compose) else (part,))
  return (
    flat[0]
    if len(flat) == 1
    else (Compose(parts=tuple(flat)) if flat else Position())
  )


def require(method: object, field: str, holds: bool, allowed: str) -> None:
  """Raises ValueError naming the method, field, value and what is allowed."""
  if not holds:
    raise ValueError(
      f'{type(method).__name__}: {field}={getattr(method, field)!r} is out of '
      f'range; {field} must be {allowed}.'
    )
