"""KERPLE: kernels of the distance with a learned shape for each head."""

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions import _curve, base

VARIANTS = ('log', 'power')
_LEAST = 0.01  # Below this the source clamps; initial draws start here.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kerple(_curve.Curve):
  """Conditionally positive definite kernels as a bias.

  'log':   bias_h(i, j) = -p_h ln(1 + a_h |i - j|)
  'power': bias_h(i, j) = -a_h |i - j|^p_h, p_h <= 2

  with a_h, p_h > 0 learned by each head of each layer. The parameters kept are
  unbounded: a = softplus(raw), and p = softplus(raw) for 'log' or
  2 sigmoid(raw) for 'power'.

  Args:
    variant: 'log', the paper's best, or 'power'.

  Example:
    >>> shape = {'heads': 4, 'head_dim': 8, 'model_dim': 32}
    >>> params = Kerple().init(jax.random.key(0), **shape)
    >>> {name: x.shape for name, x in sorted(params.items())}
    {'a': (4,), 'p': (4,)}

  Source: Chi et al. 2022, arXiv:2205.09921, its logarithmic and power
    variants; chijames/KERPLE, `megatron/mpu/layers.py`.

  Differs: the source clamps a and p to at least 0.01 by overwriting them in
    the forward pass, which leaves their gradients as they were outside the
    range; here they cannot leave it. They start as in the source, a uniform
    below 1 and p uniform below 2, both from 0.01.
  """

  variant: str = 'log'

  def __post_init__(self):
    base.require(
      self, 'variant', self.variant in VARIANTS, f'one of {VARIANTS}'
    )

  def init(self, key, *, heads, head_dim, model_dim):
    del head_dim, model_dim
    a_key, p_key = jax.random.split(key)
    a = jax.random.uniform(a_key, (heads,), minval=_LEAST, maxval=1.0)
    p = jax.random.uniform(p_key, (heads,), minval=_LEAST, maxval=2 - _LEAST)
    return {'a': _raw(a), 'p': _raw(p) if self.variant == 'log' else _logit(p)}

  def shape(self, params: base.Params) -> tuple[jax.Array, jax.Array]:
    """a and p of every head, float32 [heads], out of the raw parameters."""
    a, p = jax.nn.softplus(params['a']), params['p']
    if self.variant == 'log':
      return a, jax.nn.softplus(p)
    return a, 2 * jax.nn.sigmoid(p)

  def coefficients(self, params, heads, total, head_dim):
    del total, head_dim
    a_n, p_n = self.shape(params)
    return jnp.stack([a_n[heads], p_n[heads]], axis=1)

  def curve(self, c, distance, q_pos, product):
    del q_pos, product
    (a, p), size = c, jnp.abs(distance).astype(jnp.float32)
    if self.variant == 'log':
      return -p * jnp.log1p(a * size)
    here = size == 0  # d^p has no finite derivative in p there.
    return jnp.where(
      here, 0.0, -a * jnp.exp(p * jnp.log(jnp.where(here, 1.0, size)))
    )


def _raw(value: jax.Array) -> jax.Array:
  """The inverse of softplus."""
  return jnp.log(jnp.expm1(value))


def _logit(value: jax.Array) -> jax.Array:
  """The inverse of 2 sigmoid."""
  return jnp.log(value / (2 - value))
