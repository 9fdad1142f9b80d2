"""Llama 4's temperature: the softmax sharpens in steps of thousands."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _temperature, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Llama4Temperature(base.Position):
  """Multiplies the scores of a query by a factor that grows with position.

  scale(i) = 1 + attn_scale ln(floor((i + 1) / floor_scale) + 1)

  Llama 4 has it on its layers without positions: give it to those layers of a
  layout. All scores of a query are multiplied, biases included; the position
  is the real one, whatever positions a re-mapping pretends.

  Args:
    floor_scale: tokens a step, >= 1.
    attn_scale: how much the factor grows, >= 0.

  Example:
    >>> Llama4Temperature()
    Llama4Temperature(floor_scale=8192, attn_scale=0.1)

  Source: Meta 2025, Llama 4; meta-llama/llama-models, `llama4/model.py`.
  """

  relative: ClassVar[bool] = False

  floor_scale: int = 8192
  attn_scale: float = 0.1

  def __post_init__(self):
    base.require(
      self, 'floor_scale', self.floor_scale >= 1, 'a number of tokens >= 1'
    )
    base.require(
      self, 'attn_scale', 0 <= self.attn_scale < math.inf, 'a number >= 0'
    )

  def scale(self, params, places):
    del params
    given_bt = jnp.asarray(places.q_pos_bt, jnp.int32)
    pos_bt = jnp.maximum(given_bt, 0)
    # floor((i + 1) / floor_scale), with no i + 1 to leave int32.
    ends_bt = pos_bt % self.floor_scale == self.floor_scale - 1
    steps_bt = pos_bt // self.floor_scale + (ends_bt & (given_bt >= 0))
    scale_bt = 1.0 + np.float32(self.attn_scale) * jnp.log1p(
      steps_bt.astype(jnp.float32)
    )
    return _temperature.of_all_heads(scale_bt, places)
