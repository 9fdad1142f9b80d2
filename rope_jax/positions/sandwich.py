"""Sandwich: what sinusoidal codes of two positions have in common."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _curve, _phases, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sandwich(_curve.Curve):
  """The inner product of sinusoidal embeddings, and nothing else of them.

  bias_h(i, j) = c_h (sum_k cos((i - j) theta^(-2k/width)) - width/2),
  k = 1 ... width/2,   c_h = H / (8h) for head h = 1 ... H

  Zero where i = j, and below it elsewhere: nearly a logarithm of the distance,
  without parameters. The cosine of a difference is a sum of products, so the
  whole is one product over `width` numbers of a query and of a key, with
  phases exact at any position; heads differ by their factor alone.

  Args:
    width: of the sinusoidal code, even, >= 2. The paper finds 128 best,
      whatever the width of the model.
    theta: base of its frequencies, > 1.

  Example:
    >>> Sandwich()
    Sandwich(width=128, theta=10000.0)

  Source: Chi et al. 2023, arXiv:2212.10356; NVIDIA/NeMo,
    `sandwich_relative_position.py`, for the factor of a head.

  Differs: NeMo leaves out the cosine, sums one frequency less and divides by
    8h / H; this follows the paper's sum, with that factor, which could not be
    checked against the authors' own code.
  """

  width: int = 128
  theta: float = 1e4

  def __post_init__(self):
    base.require(
      self, 'width', self.width >= 2 and self.width % 2 == 0, 'even and >= 2'
    )
    base.require(
      self, 'theta', 1 < self.theta < math.inf, 'a base above 1, such as 1e4'
    )

  def factors(self, heads: int) -> np.ndarray:
    """c_h of each head: float64 [heads].

    >>> Sandwich().factors(4).round(4).tolist()
    [0.5, 0.25, 0.1667, 0.125]
    """
    return heads / (8.0 * np.arange(1, heads + 1))

  def coefficients(self, params, heads, total, head_dim):
    del params, head_dim
    return jnp.asarray(self.factors(total).astype(np.float32))[heads][:, None]

  def codes(self, pos_bt):
    pairs = self.width // 2
    frequency_f = self.theta ** (-np.arange(1, pairs + 1) / pairs)
    phase_btf = _phases.phase(pos_bt, frequency_f)
    return jnp.concatenate([jnp.cos(phase_btf), jnp.sin(phase_btf)], axis=-1)

  def curve(self, c, distance, q_pos, product):
    del distance, q_pos
    assert product is not None
    return c[0] * (product - self.width / 2)
