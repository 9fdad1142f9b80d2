"""Dynamic YaRN: YaRN by the length of each sequence."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import rope, yarn


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicYarn(rope.Rope):
  """YaRN whose factor follows the context length.

  f'_k = (1 - g_k) f_k / s(l) + g_k f_k,   amplitude = 0.1 ln(s(l)) + 1,
  s(l) = max(1, l / train_len)

  with YaRN's ramp g_k, which does not depend on the length. The length l is
  that of the sequence a token belongs to, as in `dynamic_ntk`: all tokens of a
  full forward pass rotate as at the full length.

  `frequencies` is float64. Inside a compiled program the length is data, and
  the part that it adds is float32: the phase is wrong by less than
  4e-7 x position x |f'(l) - f|.

  Args:
    train_len: tokens the model was trained at, > 0.
    ramp: 'code' or 'paper', see `yarn`.
    beta_fast: rotations in train_len from which a pair is kept.
    beta_slow: rotations up to which a pair is fully interpolated.
    truncate: with ramp 'code', round the ramp's ends outwards to whole pairs.

  Example:
    >>> method = DynamicYarn(theta=1e4, train_len=4096)
    >>> for length in (4096, 65536):
    ...   frequency, amplitude = method.frequencies(128, length)
    ...   print(f'{frequency[63]:.5e} {amplitude:.7f}')
    1.15478e-04 1.0000000
    7.21739e-06 1.2772589

  Source: Peng et al. 2023, arXiv:2309.00071, section 3.3 with definition 2;
    jquesnelle/yarn, `LlamaDynamicYaRNScaledRotaryEmbedding`.

  Differs: the original keeps the longest length that it has ever seen, for all
    sequences.
  """

  by_length: ClassVar[bool] = True

  train_len: int
  ramp: str = 'code'
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  truncate: bool = True

  def __post_init__(self):
    super().__post_init__()
    try:
      self._at(1.0)
    except ValueError as error:
      raise ValueError(str(error).replace('Yarn:', 'DynamicYarn:', 1)) from None

  def _at(self, factor: float) -> yarn.Yarn:
    return yarn.Yarn(
      theta=self.theta,
      factor=factor,
      train_len=self.train_len,
      ramp=self.ramp,
      beta_fast=self.beta_fast,
      beta_slow=self.beta_slow,
      truncate=self.truncate,
    )

  def _scaled(self, rotary_dim, context_len):
    length = self.train_len if context_len is None else context_len
    method = self._at(max(1.0, length / self.train_len))
    return method._scaled(rotary_dim, None)

  def _over(self, length_bt):
    """Tokens beyond train_len: float32 [b, t, 1], exact below 2^24."""
    length_bt1 = jnp.asarray(length_bt)[:, :, None]
    return jnp.maximum(length_bt1 - self.train_len, 0).astype(jnp.float32)

  def drift(self, rotary_dim, length_bt):
    over_bt1 = self._over(length_bt)
    slowed_f = self._series(rotary_dim) * (1 - self._at(1.0)._kept(rotary_dim))
    slowed_11f = slowed_f.astype(np.float32)[None, None, :]
    return -slowed_11f * (over_bt1 / (over_bt1 + self.train_len))  # 1/s - 1.

  def gain(self, length_bt):
    return 0.1 * jnp.log1p(self._over(length_bt) / self.train_len) + 1.0
