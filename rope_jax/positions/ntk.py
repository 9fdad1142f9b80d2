"""NTK-aware scaling: a larger base, so that fast pairs keep their frequency."""

import dataclasses
import math

from rope_jax.positions import base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ntk(rope.Rope):
  """NTK-aware RoPE scaling by a change of base.

  theta' = theta x factor^(r / (r - 2)),   r = rotary width

  The fastest pair is untouched and the slowest is slowed by exactly `factor`.
  A pair in between is slowed by less, so a model that is used without
  fine-tuning reaches somewhat less than factor x train_len.

  Args:
    factor: requested length / train_len, >= 1.

  Example:
    >>> Ntk(theta=1e4, factor=4.0).frequencies(4)[0]
    array([1.    , 0.0025])

  Source: bloc97 2023 (as in Peng et al. 2023, arXiv:2309.00071, definition 1;
    jquesnelle/yarn, `LlamaNTKScaledRotaryEmbedding`).
  """

  factor: float

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'factor', 1 <= self.factor < math.inf, 'a number >= 1')

  def _scaled(self, rotary_dim, context_len):
    theta = rope.ntk_theta(self.theta, self.factor, rotary_dim)
    return rope.series(theta, rotary_dim), 1.0
