"""Biases of a tile; those of the distance alone, once per distance of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from rope_jax.attention.inputs import Inputs
from rope_jax.positions import Compose, parts
from rope_jax.positions._curve import Curve
from rope_jax.positions.base import Params, Places, Position, overrides

_ROWS = 16  # Rows that are cut out of the numbers by distance one by one.


def bias(
  position: Position,
  params: Params,
  tile: Inputs,
  places: Places,
  in_blocks: bool,
) -> jax.Array | None:
  """The sum of the method's biases: float32 [b or 1, n, t, s], or None.

  In a tile of a larger whole, a bias that reads the distance alone is found for
  each of its t + s - 1 distances and laid out along diagonals, if the tile's
  positions count up by one; positions that do not are found pair by pair, as
  are curves that are light.
  """
  each = params if isinstance(position, Compose) and params else None
  total: Any = None
  for at, part in enumerate(parts(position)):
    if not overrides(part, 'bias'):
      continue
    own = each[at] if each is not None else (
      {} if isinstance(position, Compose) else params
    )  # fmt: skip
    if part.reads == 'content':
      assert tile.plain is not None
      q, k = (
        jnp.moveaxis(x, a, 1) for x, a in zip(tile.plain, (2, 3), strict=True)
      )
      found = _float32(part.bias(own, q, k, places))
    else:
      groups, head_dim = tile.v_bksh.shape[1:3]  # Of a tile: [b, k, h, s].
      t, s = places.q_pos_bt.shape[1], places.k_pos_bs.shape[1]
      light = isinstance(part, Curve) and part.light
      steady = in_blocks and part.reads == 'distance' and min(t, s) > 1
      if steady and not light:
        found = _steady(part, (groups, head_dim), own, places)
      else:
        found = _by_pair(part, (groups, head_dim), own, places)
    if found is not None:
      total = found if total is None else total + found
  return total


def _by_pair(part, shape, params, places) -> Any:
  """A bias that reads no content, given none."""
  groups, head_dim = shape
  b, t = places.q_pos_bt.shape
  s, n = places.k_pos_bs.shape[1], places.heads.shape[0]
  q = jnp.zeros((b, t, n, head_dim))
  k = jnp.zeros((b, s, groups, head_dim))
  return _float32(part.bias(params, q, k, places))


def _float32(x):
  return None if x is None else x.astype(jnp.float32)


def _by_distance(part, shape, params, places):
  """The same for positions that count up by one."""
  b, t = places.q_pos_bt.shape
  s = places.k_pos_bs.shape[1]
  first_b1 = jnp.asarray(places.q_pos_bt)[:, :1] - places.k_pos_bs[:, -1:]
  line = dataclasses.replace(
    places,
    q_pos_bt=first_b1 + jnp.arange(t + s - 1, dtype=jnp.int32)[None],
    k_pos_bs=jnp.zeros((b, 1), jnp.int32),
    q_length_bt=places.q_length_bt[:, :1],
    k_length_bs=places.k_length_bs[:, :1],
  )
  return _by_pair(part, shape, params, line)[..., 0]


def _is_steady(places: Places) -> jax.Array:
  def counts_up(pos):
    at = jnp.arange(pos.shape[1], dtype=jnp.int32)[None]
    return jnp.all(jnp.asarray(pos) - at == pos[:, :1])

  return counts_up(places.q_pos_bt) & counts_up(places.k_pos_bs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _steady(part, shape, params, places):
  """`_by_pair`, by distance where the positions allow it."""
  return _chosen(part, shape, params, places)


def _chosen(part, shape, params, places):
  t, s = places.q_pos_bt.shape[1], places.k_pos_bs.shape[1]
  return jax.lax.cond(
    _is_steady(places),
    lambda: along(_by_distance(part, shape, params, places), t, s),
    lambda: _by_pair(part, shape, params, places),
  )


def _steady_forward(part, shape, params, places):
  return _chosen(part, shape, params, places), (params, places)


def _steady_backward(part, shape, kept, d_bnts):
  params, places = kept

  def pull(make, d):
    return jax.vjp(lambda p: make(part, shape, p, places), params)[1](d)[0]

  found = jax.lax.cond(
    _is_steady(places),
    lambda: pull(_by_distance, across(d_bnts)),
    lambda: pull(_by_pair, d_bnts),
  )
  return found, None


_steady.defvjp(_steady_forward, _steady_backward)


def along(line: jax.Array, t: int, s: int) -> jax.Array:
  """Lays numbers by distance out along diagonals: [..., t, s].

  Args:
    line: [..., t + s - 1], of distances 1 - s ... t - 1.
    t: rows.
    s: columns; entry (i, j) is of distance i - j.

  >>> along(jnp.arange(4), 2, 3)
  Array([[2, 1, 0],
         [3, 2, 1]], dtype=int32)
  """
  # Entry (i, j) is reverse[t - 1 - i + j]: a few rows are cut out of it one by
  # one, and those cut all together for every further few. No gather.
  rows = min(_ROWS, t)
  reverse = line[..., ::-1]
  pad = -t % rows
  reverse = jnp.pad(reverse, [(0, 0)] * (line.ndim - 1) + [(pad, 0)])
  t += pad
  width = t + s - rows
  few = jnp.stack(
    [reverse[..., rows - 1 - c :][..., :width] for c in range(rows)], axis=-2
  )
  found = [few[..., first : first + s] for first in range(t - rows, -1, -rows)]
  found = jnp.concatenate(found, axis=-2)
  return found[..., : t - pad, :]


def across(entries: jax.Array) -> jax.Array:
  """The transpose of `along`: sums of diagonals, [..., t + s - 1].

  >>> across(jnp.array([[2, 1, 0], [3, 2, 1]]))
  Array([0, 2, 4, 3], dtype=int32)
  """
  *lead, t, s = entries.shape
  # Row t - 1 - i moves right by i: by a reshape to rows that are one shorter.
  flipped = entries[..., ::-1, :]
  count = t + s - 1
  flat = jnp.pad(flipped, [(0, 0)] * len(lead) + [(0, 0), (0, t)])
  flat = flat.reshape(*lead, t * (s + t))[..., : t * count]
  return flat.reshape(*lead, t, count).sum(axis=-2)[..., ::-1]
