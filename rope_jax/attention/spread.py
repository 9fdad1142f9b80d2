"""Attention of a few queries over keys that are spread over devices."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from rope_jax.attention import engine
from rope_jax.attention.blocks import Schedule
from rope_jax.attention.inputs import Inputs
from rope_jax.attention.rule import Rule
from rope_jax.attention.shares import SEQ, shared, ways_of
from rope_jax.positions.base import Params, Position


def check(mesh: Mesh | None, queries: int, keys: int) -> Mesh:
  """Returns the mesh, or raises ValueError if it cannot share the keys."""
  mesh, ways = ways_of(mesh, 'spread')
  if queries % ways or keys % ways:
    raise ValueError(
      f"attend: how='spread' shares {queries} queries and {keys} keys between "
      f'{ways} devices; make both multiples of it.'
    )
  return mesh


def spread(
  position: Position,
  rule: Rule,
  schedule: Schedule | None,
  params: Params,
  inputs: Inputs,
  mesh: Mesh,
) -> jax.Array:
  """Attention over keys that stay where they are: [b, n, t, h].

  Every device has all queries look at its own keys, and what they find is
  merged by the normalisers and handed out, a share of the queries to each
  device. For queries that are far fewer than the keys: those of a chunk, over a
  cache that is split over its tokens. Forward alone.

  Args:
    position, rule, schedule, params, inputs, mesh: as in `ring`.

  Source: Dao et al. 2023, "Flash-Decoding for long-context inference", for the
    split over keys.
  """
  run = functools.partial(_spread, position, rule, schedule)
  return shared(run, params, inputs, mesh, SEQ, gather=True)


def _spread(position, rule, schedule, params, inputs):
  inputs = jax.tree.map(jnp.asarray, inputs)
  out, lse = engine.forward(position, rule, schedule, params, inputs)
  share = jnp.exp(lse - jax.lax.pmax(lse, SEQ))
  total = jax.lax.psum(share, SEQ)
  out = out * (share / total)[..., None]
  out = jax.lax.psum_scatter(out, SEQ, scatter_dimension=2, tiled=True)
  return out.astype(inputs.turned[0][0].dtype)
