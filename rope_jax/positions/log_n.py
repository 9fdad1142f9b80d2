"""Log-n: sharpens the softmax of queries beyond the trained length."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _temperature, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogN(base.Position):
  """Multiplies the scores of a query by the logarithm of its number of keys.

  scale(i) = max(1, ln(n) / ln(train_len)),   n = i + 1

  which keeps the entropy of attention about where it was in training. It
  changes nothing within train_len tokens. All scores of a query are
  multiplied, biases included; the position is the real one, whatever positions
  a re-mapping pretends.

  Args:
    train_len: tokens the model was trained at, > 1.

  Example:
    >>> LogN(train_len=512)
    LogN(train_len=512)

  Source: Su 2021, kexue.fm/archives/8823; bojone/rerope, `rerope_patch.py`.
  """

  relative: ClassVar[bool] = False

  train_len: int

  def __post_init__(self):
    base.require(
      self, 'train_len', self.train_len > 1, 'a number of tokens > 1'
    )

  def scale(self, params, places):
    del params
    share = np.float32(1 / math.log(self.train_len))
    scale_bt = jnp.log(_temperature.visible(places)) * share
    return _temperature.of_all_heads(jnp.maximum(scale_bt, 1.0), places)
