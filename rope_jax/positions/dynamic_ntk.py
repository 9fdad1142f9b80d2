"""Dynamic NTK: NTK-aware scaling by the length of each sequence."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import base, rope

_FLOATS = {np: np.float64, jnp: np.float32}
VARIANTS = ('paper', 'hf', 'qwen')


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicNtk(rope.Rope):
  """NTK-aware scaling whose factor follows the context length.

  theta'(l) = theta x s(l)^(r / (r - 2)),   r = rotary width,
  'paper': s(l) = max(1, l / train_len)
  'hf':    s(l) = max(1, factor l / train_len - (factor - 1))
  'qwen':  s(l) = max(1, 2^ceil(log2(l / train_len) + 1) - 1)

  The length l is that of the sequence a token belongs to, so the sequences of
  a batch, or packed in a row, do not affect each other. All tokens of a full
  forward pass rotate as at the full length; a decoding step at length l equals
  the last token of a full forward pass over those l tokens.

  Qwen's s(l) is 1 up to train_len, 3 up to 2 train_len, 7 up to 4 train_len
  and so on. The steps are found by comparing integers, so that a length of
  exactly 2^m train_len is always on the lower side of its step.

  `frequencies` is float64. Inside a compiled program the length is data, and
  the part that it adds is float32: the phase is wrong by less than
  4e-7 x position x |f'(l) - f|.

  Args:
    train_len: tokens the model was trained at, > 0.
    variant: 'paper', 'hf' or 'qwen'.
    factor: for 'hf' only, >= 1; there it has no default. 1 is the paper's.

  Example:
    >>> method = DynamicNtk(theta=1e4, train_len=2048)
    >>> short, long = (method.frequencies(128, l)[0] for l in (2048, 4096))
    >>> (short / long)[[0, 63]].tolist()
    [1.0, 2.0]

  Source: Peng et al. 2023, arXiv:2309.00071, section 3.3; 'hf':
    huggingface/transformers, `_compute_dynamic_ntk_parameters`; 'qwen':
    QwenLM/Qwen, `get_ntk_alpha` of `modeling_qwen.py`.

  Differs: libraries take one length for the whole batch, some keep the longest
    ever seen, and some take the longest the model may see (a static NTK).
  """

  by_length: ClassVar[bool] = True

  train_len: int
  variant: str = 'paper'
  factor: float | None = None

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')
    base.require(
      self, 'variant', self.variant in VARIANTS, f'one of {VARIANTS}'
    )
    if self.variant == 'hf':
      base.require(
        self,
        'factor',
        self.factor is not None and 1 <= self.factor < math.inf,
        "a number >= 1 with variant='hf'",
      )
    else:
      base.require(
        self, 'factor', self.factor is None, "None unless variant='hf'"
      )

  def _excess(self, length_bt1, numpy):
    """s(l) - 1 for int lengths [..., 1], in the array library given."""
    over = (length_bt1 - self.train_len).astype(_FLOATS[numpy])
    if self.variant != 'qwen':
      factor = 1.0 if self.factor is None else self.factor
      return numpy.maximum(factor * (over / self.train_len), 0.0)
    # 2 + 4 + ... + 2^c for a length above train_len x 1, 2, ... 2^(c - 1).
    steps = range((2**31 // self.train_len).bit_length())
    limits = np.array([self.train_len << step for step in steps])
    limits = np.minimum(limits, 2**31 - 1).astype(np.int32)
    sizes = np.array([2.0 * 2**step for step in steps], _FLOATS[numpy])
    shape = (1,) * (length_bt1.ndim - 1) + (-1,)
    above = length_bt1 > limits.reshape(shape)
    found = numpy.where(above, sizes.reshape(shape), 0.0)
    return numpy.sum(found, axis=-1, keepdims=True)

  def _scaled(self, rotary_dim, context_len):
    length = self.train_len if context_len is None else context_len
    stretch = 1.0 + float(self._excess(np.array([length]), np)[0])
    theta = rope.ntk_theta(self.theta, stretch, rotary_dim)
    return rope.series(theta, rotary_dim), 1.0

  def drift(self, rotary_dim, length_bt):
    length_bt1 = jnp.asarray(length_bt)[:, :, None]
    log_stretch = jnp.log1p(self._excess(length_bt1, jnp))
    power_f = np.arange(0, rotary_dim, 2) / (rotary_dim - 2)
    power_11f = power_f.astype(np.float32)[None, None, :]
    frequency_11f = self._series(rotary_dim).astype(np.float32)[None, None, :]
    return frequency_11f * jnp.expm1(-power_11f * log_stretch)
