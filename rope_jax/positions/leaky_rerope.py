"""Leaky ReRoPE: RoPE whose distances grow slowly beyond the window."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp

from rope_jax.positions import _remap, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeakyRerope(_remap.Remap):
  """RoPE with exact distances near by and interpolated ones far away.

  distance(i, j) = i - j                            where i - j < window,
  distance(i, j) = window + (i - j - window) / factor   elsewhere

  Needs no training. With a model trained at L tokens no distance exceeds those
  seen in training up to factor (L - 1 - window) + window + 1 tokens. As the
  far distances are fractions, it composes with rotary methods alone, not with
  biases; compose it with `log_n` for the factor on the queries that the
  reference has.

  Args:
    window: tokens before the query, itself included, that keep their distance,
      >= 1.
    factor: how many times more slowly distances grow beyond it, >= 1, such
      that window x (factor - 1) is whole; 1 is RoPE.

  Example:
    >>> method = LeakyRerope(theta=1e4, window=8, factor=2.5)
    >>> place = base.Places(*5 * [jnp.array([[21]])], total_heads=1)
    >>> far = method.views(place)[1].places
    >>> int(far.q_pos_bt[0, 0]), far.divisor
    (33, 2.5)

  Source: Su 2023, kexue.fm/archives/9708; bojone/rerope,
    `leaky_rerope_patch.py`.

  Differs: positions are whole numbers of 1 / factor, so that phases stay exact
    at any position; hence the condition on window x (factor - 1).
  """

  fractional: ClassVar[bool] = True

  window: int
  factor: float

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'window', self.window >= 1, 'a number of tokens >= 1')
    base.require(
      self,
      'factor',
      1 <= self.factor < math.inf and self._shift.is_integer(),
      f'a number >= 1 that makes window x (factor - 1) whole, here '
      f'{self.window} x {self.factor - 1:g}',
    )

  @property
  def _shift(self) -> float:
    # Rounds off the error of a product of decimals: 10 x (1.1 - 1).
    return float(round(self.window * (self.factor - 1), 9))

  def views(self, places):
    q_bt = jnp.asarray(places.q_pos_bt) + int(self._shift)
    far = _remap.at(places, q_bt, places.k_pos_bs, float(self.factor))
    return (
      base.View(places, _remap.nearer(self.window)),
      base.View(far, _remap.farther(self.window)),
    )
