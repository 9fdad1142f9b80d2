"""Re-mapped RoPE: a few views of pretended positions, one per region."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from rope_jax.positions import base, rope
from rope_jax.positions._area import Area


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remap(rope.Rope):
  """A rotary method whose tokens pretend other positions than their own.

  A child defines `views`. Composed with another rotary method, it leaves the
  turning to that one: YaRN and ReRoPE together turn by YaRN's spectrum under
  ReRoPE's positions.
  """

  def join(self, other: base.Position) -> base.Position | None:
    if not other.rotary or base.overrides(other, 'views'):
      return None
    if not other.relative:  # LongRoPE with first > 0.
      raise ValueError(
        f'compose: {type(other).__name__} turns a token by where it stands '
        f'(first={getattr(other, "first", None)!r}), which '
        f'{type(self).__name__} pretends to be elsewhere; set first=0.'
      )
    for field in dataclasses.fields(rope.Rope):
      mine = getattr(self, field.name)
      theirs = getattr(other, field.name, field.default)
      if theirs is dataclasses.MISSING or mine in (theirs, field.default):
        continue
      ours, name = type(self).__name__, type(other).__name__
      raise ValueError(
        f'compose: {field.name}={mine!r} of {ours} and {field.name}={theirs!r} '
        f'of {name} differ; {name} turns q and k under the positions of '
        f'{ours}, so {field.name} must be {theirs!r} in both.'
      )
    return other


def at(
  places: base.Places,
  q_pos_bt: base.Array,
  k_pos_bs: base.Array,
  divisor: float = 1.0,
) -> base.Places:
  """The same places but for the positions that the tokens pretend."""
  return dataclasses.replace(
    places, q_pos_bt=q_pos_bt, k_pos_bs=k_pos_bs, divisor=divisor
  )


def nearer(window: int) -> base.Region:
  """Keys less than `window` tokens before the query, and those after it."""
  return Area(high=window)


def farther(window: int) -> base.Region:
  """Keys `window` tokens or more before the query."""
  return Area(low=window)


def constant(places: base.Places, far: int) -> base.Places:
  """Every key `far` tokens before every query."""
  q_bt, k_bs = jnp.asarray(places.q_pos_bt), jnp.asarray(places.k_pos_bs)
  return at(places, jnp.full_like(q_bt, far), jnp.zeros_like(k_bs))
