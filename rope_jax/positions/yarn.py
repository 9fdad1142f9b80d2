"""YaRN: slows slow pairs, keeps fast ones, and sharpens the softmax."""

import dataclasses
import math

import numpy as np

from rope_jax.positions import base, rope

RAMPS = ('code', 'paper')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Yarn(rope.Rope):
  """YaRN: NTK-by-parts frequencies and a temperature.

  f'_k = (1 - g_k) f_k / factor + g_k f_k,   amplitude = 0.1 ln(factor) + 1

  where g_k falls from 1 (the pair makes beta_fast or more rotations in
  train_len) to 0 (beta_slow or fewer): linearly in the pair's index with ramp
  'code', as every code base has it, linearly in its rotations with 'paper'.
  The two are up to 3.04 x apart for Llama-2 at factor 16.

  Args:
    factor: requested length / train_len, >= 1.
    train_len: tokens the model was trained at, > 0.
    ramp: 'code' or 'paper'.
    beta_fast: rotations in train_len from which a pair is kept.
    beta_slow: rotations up to which a pair is fully interpolated.
    truncate: with ramp 'code', round the ramp's ends outwards to whole pairs
      (gpt-oss does not).
    attention_factor: replaces the amplitude, mscale or not.
    mscale: with mscale_all_dim, amplitude = (0.1 mscale ln(factor) + 1) /
      (0.1 mscale_all_dim ln(factor) + 1) (DeepSeek).
    mscale_all_dim: see mscale; both or neither.

  Example:
    >>> method = Yarn(theta=1e4, factor=16.0, train_len=4096)
    >>> frequency, amplitude = method.frequencies(128)
    >>> round(amplitude, 7), round(rope.series(1e4, 128)[63] / frequency[63], 6)
    (1.2772589, np.float64(16.0))

  Source: Peng et al. 2023, arXiv:2309.00071, definition 2 and eq. 22; ramp
    'code': jquesnelle/yarn, `LlamaYaRNScaledRotaryEmbedding`, and
    huggingface/transformers, `_compute_yarn_parameters`.
  """

  factor: float
  train_len: int
  ramp: str = 'code'
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  truncate: bool = True
  attention_factor: float | None = None
  mscale: float | None = None
  mscale_all_dim: float | None = None

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'factor', 1 <= self.factor < math.inf, 'a number >= 1')
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')
    base.require(self, 'ramp', self.ramp in RAMPS, f'one of {RAMPS}')
    base.require(self, 'beta_slow', self.beta_slow > 0, 'a number > 0')
    base.require(
      self,
      'beta_fast',
      self.beta_fast > self.beta_slow,
      f'above beta_slow={self.beta_slow:g}',
    )
    base.require(
      self, 'beta_fast', self.beta_fast < math.inf, 'a number of rotations'
    )
    for field in ('attention_factor', 'mscale', 'mscale_all_dim'):
      value = getattr(self, field)
      base.require(
        self,
        field,
        value is None or 0 < value < math.inf,
        'a number > 0, or None',
      )
    base.require(
      self,
      'mscale_all_dim',
      (self.mscale is None) == (self.mscale_all_dim is None),
      f'given together with mscale (mscale={self.mscale!r})',
    )

  def _kept(self, rotary_dim: int) -> np.ndarray:
    """g_k, the share of its own frequency that each pair keeps: in [0, 1]."""
    if self.ramp == 'paper':
      rotations = self.train_len * self._series(rotary_dim) / (2 * math.pi)
      span = self.beta_fast - self.beta_slow
      return np.clip((rotations - self.beta_slow) / span, 0, 1)
    low, high = (
      rotary_dim
      * math.log(self.train_len / (rotations * 2 * math.pi))
      / (2 * math.log(self.theta))
      for rotations in (self.beta_fast, self.beta_slow)
    )
    if self.truncate:
      low, high = math.floor(low), math.ceil(high)
    # The code bases clip to width - 1, not to pairs - 1.
    low, high = max(low, 0), min(high, rotary_dim - 1)
    if high <= low:  # Theirs guards equality alone; below it the ramp inverts.
      high = low + 1e-3
    ramp = (np.arange(rotary_dim // 2) - low) / (high - low)
    return 1 - np.clip(ramp, 0, 1)

  def _amplitude(self) -> float:
    def grown(mscale):
      return 0.1 * mscale * math.log(self.factor) + 1

    if self.attention_factor is not None:
      return self.attention_factor
    if self.mscale is not None:
      return grown(self.mscale) / grown(self.mscale_all_dim)
    return grown(1.0)

  def _scaled(self, rotary_dim, context_len):
    frequency, kept = self._series(rotary_dim), self._kept(rotary_dim)
    scaled = frequency / self.factor * (1 - kept) + frequency * kept
    return scaled, self._amplitude()
