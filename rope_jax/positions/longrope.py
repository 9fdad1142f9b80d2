"""LongRoPE: a searched divisor for each pair, short list or long."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Longrope(rope.Rope):
  """LongRoPE: every pair slowed by a factor of its own, found by search.

  f'_k = f_k / short_k for l <= train_len,   f_k / long_k for l > train_len,
  amplitude = sqrt(1 + ln(factor) / ln(train_len))

  The length l is that of the sequence a token belongs to, as in `dynamic_ntk`:
  a sequence that grows past train_len turns all its tokens, cached keys too,
  by the long list. Tokens at positions below `first` turn unscaled (n-hat in
  the paper); scores then depend on where a sequence starts.

  Args:
    short_factor: what to divide each pair's frequency by up to train_len, > 0,
      one number per pair; any sequence of numbers.
    long_factor: the same beyond train_len.
    train_len: tokens the model was trained at before, >= 2.
    factor: target length / train_len, >= 1, for the amplitude; None leaves it
      at 1.
    attention_factor: replaces the amplitude.
    short_mscale: with long_mscale, the amplitudes of the two lists instead
      (Phi-3.5-MoE).
    long_mscale: see short_mscale; both or neither.
    first: how many first positions turn unscaled.

  Raises:
    ValueError: a field out of range; lists that are not one number per pair.

  Example:
    >>> method = Longrope(theta=1e4, short_factor=[1.0, 1.0],
    ...                   long_factor=[1.0, 8.0], train_len=4096, factor=32.0)
    >>> method.frequencies(4, 4096)[0], method.frequencies(4, 4097)[0]
    (array([1.  , 0.01]), array([1.     , 0.00125]))
    >>> round(method.frequencies(4)[1], 10)
    1.1902380714

  Source: Ding et al. 2024, arXiv:2402.13753, section 3;
    microsoft/LongRoPE, `rope/longrope.py`, and huggingface/transformers,
    `_compute_longrope_parameters`.

  Differs: the amplitude holds for short sequences too, as in transformers.
    Libraries choose one list for a batch, or by the longest length the model
    may see, and keep keys that were turned by the short list.
  """

  by_length: ClassVar[bool] = True

  short_factor: tuple[float, ...]
  long_factor: tuple[float, ...]
  train_len: int
  factor: float | None = None
  attention_factor: float | None = None
  short_mscale: float | None = None
  long_mscale: float | None = None
  first: int = 0

  def __post_init__(self):
    super().__post_init__()
    for field in ('short_factor', 'long_factor'):
      values = rope.as_floats(self, field)
      base.require(
        self, field, all(0 < x < math.inf for x in values), 'numbers > 0'
      )
    base.require(
      self,
      'long_factor',
      len(self.long_factor) == len(self.short_factor),
      f'as many numbers as short_factor has ({len(self.short_factor)})',
    )
    base.require(self, 'train_len', self.train_len > 1, 'a number >= 2')
    for field, least in (
      ('factor', 1.0),
      ('attention_factor', 0.0),
      ('short_mscale', 0.0),
      ('long_mscale', 0.0),
    ):
      value = getattr(self, field)
      base.require(
        self,
        field,
        value is None or (value >= least and 0 < value < math.inf),
        f'a number {">= 1" if least else "> 0"}, or None',
      )
    base.require(
      self,
      'long_mscale',
      (self.long_mscale is None) == (self.short_mscale is None),
      f'given together with short_mscale (short_mscale={self.short_mscale!r})',
    )
    base.require(
      self,
      'attention_factor',
      self.attention_factor is None or self.short_mscale is None,
      'None where short_mscale and long_mscale say the amplitudes',
    )
    base.require(self, 'first', self.first >= 0, 'a number of tokens >= 0')

  @property
  def relative(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return self.first == 0

  @property
  def spectral(self):
    return self.first == 0 and super().spectral

  def _amplitude(self, long: bool) -> float:
    if self.short_mscale is not None:
      assert self.long_mscale is not None
      return self.long_mscale if long else self.short_mscale
    if self.attention_factor is not None:
      return self.attention_factor
    share = math.log(self.factor or 1.0) / math.log(self.train_len)
    return math.sqrt(1 + share)

  def _scaled(self, rotary_dim, context_len):
    long = context_len is not None and context_len > self.train_len
    by = self.long_factor if long else self.short_factor
    if 2 * len(by) != rotary_dim:
      raise ValueError(
        f'Longrope: short_factor and long_factor have {len(by)} numbers, but '
        f'{rotary_dim} coordinates make {rotary_dim // 2} pairs; give one '
        'number per pair.'
      )
    return self._series(rotary_dim) / np.asarray(by), self._amplitude(long)

  def _phase(self, pos_bt, length_bt, head_dim, by):
    rotary_dim, pairs = self.rotary_dim(head_dim), self.pairs(head_dim)

    def exact(frequency_f):
      return _phases.phase(pos_bt, frequency_f[:pairs] / by)

    short_f, _ = self._scaled(rotary_dim, None)
    long_f, _ = self._scaled(rotary_dim, math.inf)
    long_bt1 = jnp.asarray(length_bt)[:, :, None] > self.train_len
    phase_btf = jnp.where(long_bt1, exact(long_f), exact(short_f))
    if not self.first:
      return phase_btf
    early_bt1 = jnp.asarray(pos_bt)[:, :, None] < self.first * by
    return jnp.where(early_bt1, exact(self._series(rotary_dim)), phase_btf)

  def gain(self, length_bt):
    if self.short_mscale == self.long_mscale:
      return None
    grown = np.float32(self._amplitude(True) / self._amplitude(False))
    long_bt1 = jnp.asarray(length_bt)[:, :, None] > self.train_len
    return jnp.where(long_bt1, grown, np.float32(1.0))
