"""Rotation of pairs: where the cosines and sines of phases meet q and k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _circle, base

Waves = tuple[jax.Array, jax.Array]

LARGE = 2**14  # Numbers in an array.


def waves(phase_btf: jax.Array, amplitude: Any = 1.0) -> Waves:
  """(cos, sin) x amplitude of phases, made once: float32 [b, t, f] each.

  Args:
    phase_btf: radians.
    amplitude: a number, or float32 [b, t, 1].
  """

  def make(amplitude, phase_btf):
    cos_btf, sin_btf = _circle.cos_sin(phase_btf)
    return cos_btf * amplitude, sin_btf * amplitude

  return _apart(make, jnp.asarray(amplitude, jnp.float32), phase_btf)


def turn(
  x_btnh: jax.Array, waves_btf: Waves, pairing: str, width: int
) -> jax.Array:
  """Rotates the first f pairs of each head; the rest passes through.

  Args:
    x_btnh: any float type; computed in float32 and returned in its own.
    waves_btf: from `waves`.
    pairing: 'half' or 'interleaved', see `Rope`.
    width: leading coordinates that pairs are formed in, >= 2f: with 'half' the
      partner of coordinate k is k + width / 2.
  """
  cos_btf, sin_btf = waves_btf
  count = width // 2
  if cos_btf.shape[-1] < count:  # Pairs that stand still.
    still = [(0, 0), (0, 0), (0, count - cos_btf.shape[-1])]
    cos_btf = jnp.pad(cos_btf, still, constant_values=1.0)
    sin_btf = jnp.pad(sin_btf, still)
  # The two of a pair lie along an axis of their own, which is turned over to
  # give each its partner. Slices joined again take XLA for CPUs twice as long,
  # and their gradients are padded and added.
  axis = -2 if pairing == 'half' else -1
  sign = np.expand_dims(
    np.array([-1, 1], np.float32), -1 if pairing == 'half' else 0
  )
  sign = sign[None, None, None]
  whole = 2 * count == x_btnh.shape[-1]
  head, rest = (x_btnh, None) if whole else jax.lax.split(
    x_btnh, (2 * count, x_btnh.shape[-1] - 2 * count), axis=3
  )  # fmt: skip
  pairs = head.reshape(
    *head.shape[:3], *((2, count) if pairing == 'half' else (count, 2))
  )

  def make(pairs, cos_btf, sin_btf):
    cos, sin = (
      jnp.expand_dims(x[:, :, None], axis) for x in (cos_btf, sin_btf)
    )
    wide = pairs.astype(jnp.float32)
    turned = wide * cos + jnp.flip(wide, axis) * (sin * sign)
    return turned.astype(x_btnh.dtype)

  turned = _apart(make, pairs, cos_btf, sin_btf).reshape(head.shape)
  return turned if rest is None else jnp.concatenate([turned, rest], axis=-1)


def turn_both(
  waves_of: Callable[[base.Array, base.Array], Waves],
  q_btnh: jax.Array,
  k_bskh: jax.Array,
  places: base.Places,
  pairing: str,
  width: int,
) -> tuple[jax.Array, jax.Array]:
  """Queries and keys under `turn`, by (positions, lengths) -> waves.

  Where both are at the same places, their waves are made once.
  """
  q_at = places.q_pos_bt, places.q_length_bt
  k_at = places.k_pos_bs, places.k_length_bs
  q_waves = k_waves = waves_of(*q_at)
  if k_at[0] is not q_at[0] or k_at[1] is not q_at[1]:
    k_waves = waves_of(*k_at)
  return (
    turn(q_btnh, q_waves, pairing, width),
    turn(k_bskh, k_waves, pairing, width),
  )


def _apart(make: Callable[..., Any], *arrays: jax.Array) -> Any:
  """`make(*arrays)`, on CPU in a computation of its own if they are large.

  There XLA would join it with what reads it: make cosines again for every head
  and row, and rotations in the order of axes of the next operation, which it
  cannot vectorise. A branch is what it leaves alone, even one of two that are
  the same.
  """
  if max(x.size for x in arrays) < LARGE:
    return make(*arrays)

  def branch(*arrays):
    return jax.lax.cond(arrays[-1].ravel()[0] < 0, make, make, *arrays)

  return jax.lax.platform_dependent(*arrays, cpu=branch, default=make)
