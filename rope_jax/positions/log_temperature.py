"""A free law for the temperature: linear in the logarithm of the length."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _temperature, base

BY = ('position', 'length')


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogTemperature(base.Position):
  """Multiplies the scores of a query by a factor logarithmic in the context.

  scale(i) = 1 + slope ln(max(1, m / train_len))

  where m is the query's number of keys, i + 1, with by='position', and the
  length of its whole context with by='length'. All scores of a query are
  multiplied, biases included; the position is the real one, whatever positions
  a re-mapping pretends.

  With by='position', slope = 1 / ln(train_len) is `log_n`. With by='length', at
  s = length / train_len: slope = 0.412 is DroPE's factor for models trained
  from scratch, 0.103 that for SmolLM; slope = 1 / ln(train_len) is what the
  amplitude of LongRoPE for a factor of s does to scores; two of slope = 0.1,
  composed, are what YaRN's does, 1 + 0.1 ln(s) on q and on k.

  Args:
    slope: how much the factor grows per factor of e, >= 0.
    train_len: tokens the model was trained at, > 0.
    by: 'position' or 'length'.

  Example:
    >>> LogTemperature(slope=0.412, train_len=1024, by='length').relative
    True

  Source: Gelberg et al. 2025, arXiv:2512.12167, for DroPE's slopes;
    SakanaAI/DroPE.

  Differs: DroPE has one factor for a run, by the length it is meant for; here
    it follows each sequence's own length, and is 1 up to train_len.
  """

  slope: float
  train_len: int
  by: str = 'position'

  def __post_init__(self):
    base.require(self, 'slope', 0 <= self.slope < math.inf, 'a number >= 0')
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')
    base.require(self, 'by', self.by in BY, f'one of {BY}')

  @property
  def relative(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return self.by == 'length'

  @property
  def by_length(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return self.by == 'length'

  def scale(self, params, places):
    del params
    if self.by == 'position':
      tokens_bt = _temperature.visible(places)
    else:
      tokens_bt = jnp.asarray(places.q_length_bt).astype(jnp.float32)
    stretch_bt = jnp.maximum(tokens_bt / np.float32(self.train_len), 1.0)
    scale_bt = 1.0 + np.float32(self.slope) * jnp.log(stretch_bt)
    return _temperature.of_all_heads(scale_bt, places)
