"""Sinusoidal absolute encoding, added to the token embeddings."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, base

VARIANTS = ('paper', 't2t')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sinusoidal(base.Position):
  """Sines and cosines of the position, at a geometric series of wavelengths.

  'paper': x_p += (sin(p f_0), cos(p f_0), sin(p f_1), ...), f_k = theta^(-2k/d)
  't2t':   x_p += (sin(p f_0), sin(p f_1), ..., cos(p f_0), ...),
           f_k = theta^(-k / (d/2 - 1))

  Embeddings have unit variance when this is added. The last column of an odd
  width stays zero.

  Args:
    theta: the longest wavelength is about 2 pi theta, > 1.
    variant: 'paper' or 't2t', which reads its series to the very end.

  Example:
    >>> method = Sinusoidal(theta=100.0)
    >>> zero = jnp.zeros((1, 2, 3))
    >>> method.embed({}, zero, jnp.arange(2)[None]).round(4)
    Array([[[0.    , 1.    , 0.    ],
            [0.8415, 0.5403, 0.    ]]], dtype=float32)

  Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; 't2t':
    tensorflow/tensor2tensor, `common_attention.get_timing_signal_1d`.
  """

  relative: ClassVar[bool] = False

  theta: float = 1e4
  variant: str = 'paper'

  def __post_init__(self):
    base.require(
      self, 'theta', 1 < self.theta < math.inf, 'a base above 1, such as 1e4'
    )
    base.require(
      self, 'variant', self.variant in VARIANTS, f'one of {VARIANTS}'
    )

  def embed(self, params, x_btd, pos_bt):
    del params
    width = x_btd.shape[-1]
    pairs = width // 2
    steps = width / 2 if self.variant == 'paper' else max(pairs - 1, 1)
    frequency_f = self.theta ** (-np.arange(pairs) / steps)
    phase_btf = _phases.phase(pos_bt, frequency_f)
    waves = (jnp.sin(phase_btf), jnp.cos(phase_btf))
    if self.variant == 'paper':
      table = jnp.stack(waves, axis=-1).reshape(*x_btd.shape[:2], 2 * pairs)
    else:
      table = jnp.concatenate(waves, axis=-1)
    table = jnp.pad(table, ((0, 0), (0, 0), (0, width - 2 * pairs)))
    return x_btd + table.astype(x_btd.dtype)
