"""ALiBi: a penalty on the score that grows linearly with the distance."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _curve


def slopes(heads: int) -> np.ndarray:
  """The slope of each head: float64 [heads], per token.

  2^(-8h / heads) for h = 1 ... heads when heads is a power of two; otherwise
  those of the power below, then every second slope of twice that power.

  >>> slopes(6).tolist()
  [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]
  """

  def geometric(count):
    return 2.0 ** (-8.0 * np.arange(1, count + 1) / count)

  power = 1 << (heads.bit_length() - 1)
  extra = geometric(2 * power)[0::2][: heads - power]
  return np.concatenate([geometric(power), extra])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alibi(_curve.Curve):
  """Attention with linear biases.

  bias_h(i, j) = -m_h |i - j|

  Any number of heads has its slopes m_h. Keys after the query, which a causal
  mask hides, are penalised like those before it.

  Example:
    >>> slopes(8)[:3]
    array([0.5  , 0.25 , 0.125])

  Source: Press et al. 2022, arXiv:2108.12409; ofirpress/attention_with_linear_
    biases, `fairseq/models/transformer.py`, `get_slopes`.

  Differs: the original adds m_h j, which the softmax cannot tell from
    -m_h (i - j) in exact arithmetic but which grows with j and loses the
    scores' low bits; here the distance is an int32 and the bias float32.
  """

  light: ClassVar[bool] = True

  def coefficients(self, params, heads, total, head_dim):
    del params, head_dim
    return jnp.asarray(slopes(total).astype(np.float32))[heads][:, None]

  def curve(self, c, distance, q_pos, product):
    del q_pos, product
    return -c[0] * jnp.abs(distance).astype(jnp.float32)
