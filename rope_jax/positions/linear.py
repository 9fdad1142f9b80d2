"""Position interpolation (PI): every RoPE frequency divided by a factor."""

import dataclasses
import math

from rope_jax.positions import base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(rope.Rope):
  """Linear scaling of RoPE, the same as dividing every position.

  f'_k = f_k / factor

  Args:
    factor: requested length / train_len, >= 1.

  Example:
    >>> Linear(theta=1e4, factor=4.0).frequencies(4)[0]
    array([0.25  , 0.0025])

  Source: Chen et al. 2023, arXiv:2306.15595, eq. 4.
  """

  factor: float

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'factor', 1 <= self.factor < math.inf, 'a number >= 1')

  def _scaled(self, rotary_dim, context_len):
    return self._series(rotary_dim) / self.factor, 1.0
