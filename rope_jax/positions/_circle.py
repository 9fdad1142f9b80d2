"""Cosine and sine together, of phases that are mostly less than a turn.

Compilers make each on its own, by a reduction that is safe up to 1e38. On
CPU that takes 20 ns a pair where this takes 3: a fifth of RoPE's time on four
rows of four heads.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# A quarter turn in parts of 8, 11 and 24 bits: a count of quarters below 2^13
# times one of the first two is exact.
_QUARTER = (1.5703125, 4.8351288e-04, 3.1391647e-07)
# Smallest largest error on [-pi/4, pi/4] of r + r^3 S(r^2) and
# 1 - r^2 / 2 + r^4 C(r^2): 2.0e-9 of r, and 1.0e-10.
_SINE = (-0.16666655242443085, 0.008332177996635437, -0.00019517235341481864)
_COSINE = (0.04166664555668831, -0.0013887366512790322, 2.4438379114144482e-05)


@jax.custom_jvp
def cos_sin(phase: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(cos, sin) of phases in radians, float32 of any shape.

  Wrong by less than 1.2e-7 for |phase| <= 4, and by less than 2.5e-7 for
  |phase| <= 10,000. NaN and infinities give NaN.

  Example:
    >>> cos_sin(jnp.float32(0.0))
    (Array(1., dtype=float32), Array(0., dtype=float32))
  """
  quarters = jnp.round(phase * np.float32(2 / np.pi))
  rest = phase
  for part in _QUARTER:
    rest = rest - quarters * np.float32(part)
  square = rest * rest
  sine = rest + rest * square * _polynomial(_SINE, square)
  cosine = 1 - 0.5 * square + square * square * _polynomial(_COSINE, square)
  turned = quarters.astype(jnp.int32)
  odd = (turned & 1) == 1
  cos = jnp.where(odd, sine, cosine)
  sin = jnp.where(odd, cosine, sine)
  return (
    jnp.where(((turned + 1) & 2) == 2, -cos, cos),
    jnp.where((turned & 2) == 2, -sin, sin),
  )


@cos_sin.defjvp
def _cos_sin_jvp(primals, tangents):
  cos, sin = cos_sin(*primals)
  (moved,) = tangents
  return (cos, sin), (-sin * moved, cos * moved)


def _polynomial(coefficients, x):
  total = np.float32(coefficients[-1])
  for coefficient in reversed(coefficients[:-1]):
    total = total * x + np.float32(coefficient)
  return total
