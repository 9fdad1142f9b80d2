"""The one abstraction: `Position`, its hooks, `Places` and `View`."""

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
    divisor: what the rotary methods divide positions by, so that a view may
      give its tokens fractional ones (leaky ReRoPE); whole numbers otherwise.
  """

  q_pos_bt: Array
  k_pos_bs: Array
  q_length_bt: Array
  k_length_bs: Array
  heads: Array
  total_heads: int = dataclasses.field(metadata={'static': True})
  divisor: float = dataclasses.field(default=1.0, metadata={'static': True})

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
      The regions of a method's views must not overlap. Keys in none of them
      are not seen.
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
    rotary: whether it turns q and k by angles; two such compose only where
      one can `join` the other.
    by_length: whether anything it does reads the length of a token's context
      (`Places.q_length_bt`) beside positions: if not, one causal pass over a
      long text gives what every shorter beginning of it would.
    fractional: whether its views divide positions (`Places.divisor`).
    reads: what `bias` reads beside the parameters. 'distance': query position
      minus key position alone; 'positions': the places alone; 'content': q and
      k too. Blocks of attention are cheaper the less it is; 'content' is always
      right.
  """

  relative: ClassVar[bool] = True
  rotary: ClassVar[bool] = False
  by_length: ClassVar[bool] = False
  fractional: ClassVar[bool] = False
  shared: ClassVar[bool] = False
  reads: ClassVar[str] = 'content'

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

  def scale(self, params: Params, places: Places) -> jax.Array | None:
    """Returns float32 [b or 1, n, t], the factor (inverse temperature) on all
    scores of a query, biases included, or None. `places` are the real ones,
    whatever positions the views pretend."""
    del params, places
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
    """Returns the int32 positions that training shows in place of `pos_bt`:
    what rotations, biases and embeddings see, not windows or temperatures."""
    del key
    return pos_bt

  def shown(self, train_len: int) -> int:
    """One more than the largest position that `train_positions` may show for
    rows of train_len tokens."""
    return train_len

  def join(self, other: Position) -> Position | None:
    """For two rotary methods: the one that turns as both together, or None.

    Asked by `compose`, of each about the other. A method with `views` leaves
    the turning to the other; p-RoPE says which of the other's pairs turn.

    Raises:
      ValueError: the two could be joined, but a field they share differs.
    """
    del other
    return None

  def check(self, *, heads: int, head_dim: int, model_dim: int) -> None:
    """Raises ValueError if the method cannot serve a model of this shape."""
    del heads, head_dim, model_dim

  @property
  def reach(self) -> int | None:
    """Positions the method is defined for: [0, reach), or None for any."""
    return None


# What a method may do once it is built; beside these, `init` and `check`.
HOOKS = (
  'embed',
  'rotate',
  'bias',
  'scale',
  'values',
  'views',
  'train_positions',
)


def overrides(position: Position, hook: str) -> bool:
  """Whether the method does anything in `hook`.

  >>> overrides(Position(), 'bias')
  False
  """
  parts = getattr(position, 'parts', None)
  if parts is not None:  # Compose.
    return any(overrides(part, hook) for part in parts)
  return getattr(type(position), hook) is not getattr(Position, hook)


def require(method: object, field: str, holds: bool, allowed: str) -> None:
  """Raises ValueError naming the method, field, value and what is allowed."""
  if not holds:
    raise ValueError(
      f'{type(method).__name__}: {field}={getattr(method, field)!r} is out of '
      f'range; {field} must be {allowed}.'
    )
