"""SwiGLU's gate, which keeps nothing for its gradient but what it was given."""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def swiglu(both_btcm: jax.Array) -> jax.Array:
  """silu(gate) x up: [b, t, m] of (gate, up) along axis c.

  Source: Shazeer 2020, arXiv:2002.05202, eq. 6.

  >>> swiglu(jnp.array([[[[0.0, 30.0], [5.0, 2.0]]]])).tolist()
  [[[0.0, 60.0]]]
  """
  return _gated(both_btcm)


def _gated(both_btcm):
  gate, up = _split(both_btcm)
  return (jax.nn.silu(gate) * up)[:, :, 0]


def _split(both_btcm):
  return jax.lax.split(both_btcm, (1, 1), axis=2)


def _forward(both_btcm):
  return _gated(both_btcm), both_btcm


def _backward(both_btcm, d_btm):
  gate, up = _split(both_btcm)
  d = d_btm[:, :, None]
  open_ = jax.nn.sigmoid(gate)
  slope = open_ * (1 + gate * (1 - open_))
  return (jnp.concatenate([d * up * slope, d * gate * open_], axis=2),)


swiglu.defvjp(_forward, _backward)
