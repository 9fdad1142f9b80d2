"""`compose`: several methods at once, each hook of one after the other."""

from __future__ import annotations

import dataclasses
import functools

import jax

from rope_jax.positions.base import Position, View, overrides
from rope_jax.positions.nope import Nope


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
    for part in self.parts:
      if part.fractional:
        found = [  # Rotary ones divide by `Places.divisor`, xPos's bias too.
          type(p).__name__
          for p in self.parts
          if not p.rotary and (overrides(p, 'bias') or overrides(p, 'values'))
        ]
        if found:
          raise ValueError(
            f'compose: {type(part).__name__} pretends fractional positions, '
            f'which {" and ".join(found)} cannot read. Compose it with rotary '
            'methods alone.'
          )
    _ = self.turning  # Raises what it has to say.

  @functools.cached_property
  def turning(self) -> Position | None:
    """The one method by which all rotary parts turn q and k; None without."""
    turning = None
    for part in self.parts:
      if not part.rotary:
        continue
      if turning is None:
        turning = part
        continue
      joined = turning.join(part) or part.join(turning)
      if joined is None:
        raise ValueError(
          f'compose: {type(turning).__name__} and {type(part).__name__} would '
          'each rotate q and k, which adds their angles and is neither of '
          'them. Keep one rotary method.'
        )
      turning = joined
    return turning

  def frequencies(self, head_dim, context_len=None):
    """The spectrum of the rotary part; see `Rope.frequencies`."""
    if not hasattr(self.turning, 'frequencies'):
      names = ', '.join(type(p).__name__ for p in self.parts)
      raise ValueError(f'compose: none of {names} turns by frequencies.')
    return self.turning.frequencies(head_dim, context_len)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]

  @property
  def relative(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return all(part.relative for part in self.parts)

  @property
  def rotary(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return any(part.rotary for part in self.parts)

  @property
  def by_length(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return any(part.by_length for part in self.parts)

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
    turned = False
    for part, p in self._zip(params):
      if not part.rotary:
        q_btnh, k_bskh = part.rotate(p, q_btnh, k_bskh, places)
      elif not turned and self.turning is not None:
        p = next((w for o, w in self._zip(params) if o is self.turning), {})
        q_btnh, k_bskh = self.turning.rotate(p, q_btnh, k_bskh, places)
        turned = True
    return q_btnh, k_bskh

  def bias(self, params, q_btnh, k_bskh, places):
    return _sum(p.bias(w, q_btnh, k_bskh, places) for p, w in self._zip(params))

  def scale(self, params, places):
    total = None
    for part, p in self._zip(params):
      factor = part.scale(p, places)
      if factor is not None:
        total = factor if total is None else total * factor
    return total

  def values(self, params, weights_bnts, places):
    return _sum(p.values(w, weights_bnts, places) for p, w in self._zip(params))

  def views(self, places):
    for part in self.parts:
      if overrides(part, 'views'):
        return part.views(places)
    return (View(places),)

  def shown(self, train_len):
    return max(part.shown(train_len) for part in self.parts)

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


def parts(position: Position) -> tuple[Position, ...]:
  """The methods that a composition chains; a single method is its own part.

  >>> parts(Nope())
  (Nope(),)
  """
  return position.parts if isinstance(position, Compose) else (position,)


def _sum(terms) -> jax.Array | None:
  total = None
  for term in terms:
    if term is not None:
      total = term if total is None else total + term
  return total


def compose(*parts: Position) -> Position:
  """Chains methods: each hook of the first, then of the second, and so on.

  Args:
    *parts: the methods. Biases and value terms add up, scales multiply. At
      most one part may define `views`, and one `train_positions`. Rotary parts
      must be able to `join`: a scaling with p-RoPE, any with a re-mapping.

  Returns:
    A Position; a single part is returned as it is, no part is NoPE.

  Raises:
    ValueError: two parts want what only one can have.

  Example:
    >>> compose()
    Nope()
  """
  flat = []
  for part in parts:
    flat.extend(part.parts if isinstance(part, Compose) else (part,))
  if len(flat) < 2:
    return flat[0] if flat else Nope()
  return Compose(parts=tuple(flat))
