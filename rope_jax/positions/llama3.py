"""Llama 3.1's scaling: slows pairs by their wavelength, in three bands."""

import dataclasses
import math

import numpy as np

from rope_jax.positions import base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Llama3(rope.Rope):
  """The scaling of Llama 3.1: fast pairs stay, slow ones are interpolated.

  f'_k = (1 - w_k) f_k / factor + w_k f_k,
  w_k = clip((r_k - low_freq_factor) / (high_freq_factor - low_freq_factor))

  where r_k = train_len f_k / 2 pi is how often the pair turns in train_len and
  clip is to [0, 1]. With equal factors the band between them is empty: a pair
  is kept from low_freq_factor rotations on.

  Args:
    factor: what slow pairs are slowed by, >= 1: 8 in Llama 3.1 (8B to 405B),
      32 in Llama 3.2 (1B, 3B).
    low_freq_factor: rotations in train_len up to which a pair is fully slowed,
      > 0; Meta's is 1.
    high_freq_factor: rotations from which a pair is kept, >= low_freq_factor;
      Meta's is 4.
    train_len: tokens the model was trained at before, > 0; 8192 in Llama 3.

  Example:
    >>> method = Llama3(theta=5e5, factor=8.0, low_freq_factor=1.0,
    ...                 high_freq_factor=4.0, train_len=8192)
    >>> ratio = rope.series(5e5, 128) / method.frequencies(128)[0]
    >>> ratio[[0, 28, 30, 35, 63]].round(3).tolist()
    [1.0, 1.0, 1.553, 8.0, 8.0]

  Source: Llama team 2024, arXiv:2407.21783; meta-llama/llama-models,
    `apply_scaling` of `models/llama3/model.py`.

  Differs: the original divides 0 by 0 where both factors are equal (Llama 4
    Scout's are) and a wavelength is exactly train_len / factor.
  """

  factor: float
  low_freq_factor: float
  high_freq_factor: float
  train_len: int

  def __post_init__(self):
    super().__post_init__()
    low = self.low_freq_factor
    base.require(self, 'factor', 1 <= self.factor < math.inf, 'a number >= 1')
    base.require(
      self, 'low_freq_factor', 0 < low < math.inf, 'a number of rotations > 0'
    )
    base.require(
      self,
      'high_freq_factor',
      low <= self.high_freq_factor < math.inf,
      f'a number of rotations >= low_freq_factor={low:g}',
    )
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')

  def _scaled(self, rotary_dim, context_len):
    frequency = self._series(rotary_dim)
    rotations = self.train_len * frequency / (2 * math.pi)
    low, high = self.low_freq_factor, self.high_freq_factor
    if low == high:
      kept = (rotations >= low).astype(np.float64)
    else:
      kept = np.clip((rotations - low) / (high - low), 0, 1)
    return frequency / self.factor * (1 - kept) + frequency * kept, 1.0
