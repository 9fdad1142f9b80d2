"""Scalable softmax: a learned strength times the log of the number of keys."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp

from rope_jax.positions import _temperature, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ssmax(base.Position):
  """SSMax: a softmax that does not flatten as the number of keys grows.

  scale_h(i) = s_h ln(n),   n = i + 1

  so that the weights are proportional to n^(s z) rather than e^z. The strength
  s_h is learned, one a head and layer. n counts the tokens of the query's own
  document up to itself, whatever a window hides. All scores z of a query are
  multiplied, biases included. The first query, which has one key, is
  multiplied by 0 and gives it all the weight.

  Args:
    start: what s_h begins at, a number > 0; the default is what training is
      reported to find. 1 / ln(train_len) leaves a trained model's last query
      as it is.

  Example:
    >>> import jax
    >>> key = jax.random.key(0)
    >>> Ssmax().init(key, heads=2, head_dim=8, model_dim=16)
    {'s': Array([0.43, 0.43], dtype=float32)}

  Source: Nakanishi 2025, arXiv:2501.19399, section 2.

  Differs: ports that take one n for a whole sequence, its length, are not the
    paper's; here it is each query's own number of keys.
  """

  relative: ClassVar[bool] = False

  start: float = 0.43

  def __post_init__(self):
    base.require(self, 'start', 0 < self.start < math.inf, 'a number > 0')

  def init(self, key, *, heads, head_dim, model_dim):
    del key, head_dim, model_dim
    return {'s': jnp.full((heads,), self.start, jnp.float32)}

  def scale(self, params, places):
    s_n = params['s'][places.heads].astype(jnp.float32)
    log_bt = jnp.log(_temperature.visible(places))
    return s_n[None, :, None] * log_bt[:, None, :]
