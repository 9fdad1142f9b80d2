"""Attention over a sequence that is spread over devices: a ring of keys."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rope_jax.attention import engine, trees
from rope_jax.attention.blocks import Schedule
from rope_jax.attention.inputs import Inputs
from rope_jax.attention.rule import Rule
from rope_jax.attention.scores import FLOOR
from rope_jax.attention.shares import SEQ as AXIS
from rope_jax.attention.shares import shared, ways_of
from rope_jax.positions.base import Params, Position


def zigzag(tokens: int, ways: int) -> np.ndarray:
  """The order that gives every device as much to do under a causal mask.

  Of 2 x ways chunks, device d holds chunk d and chunk 2 x ways - 1 - d: one
  whose queries see little and one whose queries see much.

  Args:
    tokens: of a row; a multiple of 2 x ways.
    ways: devices that share a row.

  Returns:
    int32 [tokens]: which token of the row stands at each place.

  Raises:
    ValueError: tokens that do not divide.

  Example:
    >>> zigzag(8, 2).tolist()
    [0, 1, 6, 7, 2, 3, 4, 5]

  Source: zhuzilin/ring-flash-attention, `zigzag_ring_flash_attn.py`, for the
    placement.
  """
  if tokens % (2 * ways):
    raise ValueError(
      f'{tokens} tokens do not divide into 2 x {ways} chunks, two for each '
      f'device of the axis {AXIS!r}; make the length a multiple of {2 * ways}.'
    )
  chunks = np.arange(tokens, dtype=np.int32).reshape(2 * ways, -1)
  order = [c for d in range(ways) for c in (d, 2 * ways - 1 - d)]
  return chunks[order].reshape(-1)


def check(mesh: Mesh | None, queries: int, keys: int) -> Mesh:
  """Returns the mesh, or raises ValueError if it cannot share the rows."""
  mesh, ways = ways_of(mesh, 'ring')
  if queries != keys or queries % ways:
    raise ValueError(
      f"attend: how='ring' shares {queries} queries and {keys} keys between "
      f'{ways} devices; give as many of both, a multiple of {2 * ways} under a '
      f'causal mask, else of {ways}.'
    )
  return mesh


def ring(
  position: Position,
  rule: Rule,
  schedule: Schedule | None,
  params: Params,
  inputs: Inputs,
  mesh: Mesh,
  balanced: bool,
) -> jax.Array:
  """Attention with rows shared out over the axis 'seq': [b, n, t, h].

  Every device keeps its queries. Keys, values and all that is known of keys go
  round, and each device merges what it finds by the normalisers; backwards they
  go round again with their gradients. Rows and heads are split as in `shared`.

  Args:
    position: the method.
    rule: the mask's; by the order in `inputs`, whatever the placement.
    schedule: tiles on one device; None is the platform's best.
    params: the method's parameters, the same on every device.
    inputs: whole arrays, to be sharded.
    mesh: has an axis 'seq'.
    balanced: whether to share the tokens out in the order of `zigzag`. Not
      for rows that are placed in it as they come.

  Source: Liu et al. 2023, arXiv:2310.01889.
  """
  if balanced:
    order = zigzag(inputs.counts[1], mesh.shape[AXIS])
    out = ring(
      position, rule, schedule, params, _placed(inputs, order), mesh, False
    )
    return out[:, :, np.argsort(order)]
  run = functools.partial(_ring, position, rule, schedule)
  return shared(run, params, inputs, mesh, AXIS)


def _placed(inputs: Inputs, order: np.ndarray) -> Inputs:
  """The same tokens in another order, in which they keep their own."""

  def flat(_, x):
    return x if x.shape[1] == 1 else jnp.asarray(x)[:, order]

  for side in 'qk':
    inputs = inputs.map_side(side, flat, lambda x: x[:, :, order])
  return inputs


def _send(x: Any) -> Any:
  """To the next device of the ring."""
  ways = jax.lax.axis_size(AXIS)
  turn = [(d, (d + 1) % ways) for d in range(ways)]
  return jax.tree.map(lambda y: jax.lax.ppermute(jnp.asarray(y), AXIS, turn), x)


def _send_keys(inputs: Inputs) -> Inputs:
  return inputs.map_side('k', lambda _, x: _send(x), _send)


def _ring_run(position, rule, schedule, params, inputs):
  return _ring_forward(position, rule, schedule, params, inputs)[0]


def _ring_forward(position, rule, schedule, params, inputs):
  def step(carry, _):
    here, out, lse = carry
    following = _send_keys(here)  # Under way while this device works.
    more, more_lse = engine.forward(position, rule, schedule, params, here)
    total = jnp.logaddexp(lse, more_lse)
    out = (
      out * jnp.exp(lse - total)[..., None]
      + more * jnp.exp(more_lse - total)[..., None]
    )
    return (following, out, total), None

  inputs = jax.tree.map(jnp.asarray, inputs)
  q = inputs.turned[0][0]
  start = (
    inputs,
    jnp.zeros(q.shape, jnp.float32),
    jnp.full(q.shape[:3], FLOOR, jnp.float32),
  )
  (_, out, lse), _ = jax.lax.scan(step, start, length=jax.lax.axis_size(AXIS))
  out = out.astype(q.dtype)
  return out, (params, inputs, out, lse)


def _ring_backward(position, rule, schedule, kept, d_out):
  params, inputs, out, lse = kept
  is_query = trees.is_query(inputs)

  def step(carry, _):
    here, total, d_floats = carry
    following = _send_keys(here)
    d_params, more = engine.gradients(
      position, rule, schedule, params, here, lse, out, d_out
    )
    total = jax.tree.map(jnp.add, total, d_params)
    d_floats = [
      d if query else _send(d)  # With the keys that they belong to.
      for d, query in zip(
        (
          a + m.astype(jnp.float32) for a, m in zip(d_floats, more, strict=True)
        ),
        is_query,
        strict=True,
      )
    ]
    return (following, total, d_floats), None

  learned = trees.learned_of(params)[0]
  floats = trees.floats_of(inputs)
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, jnp.float32), (learned, floats)
  )
  (_, d_params, d_floats), _ = jax.lax.scan(
    step, (inputs, *zeros), length=jax.lax.axis_size(AXIS)
  )
  d_floats = [d.astype(x.dtype) for d, x in zip(d_floats, floats, strict=True)]
  return trees.cotangents(params, inputs, d_params, d_floats)


_ring = jax.custom_vjp(_ring_run, nondiff_argnums=(0, 1, 2))
_ring.defvjp(_ring_forward, _ring_backward)
