"""Attention over a mesh: each device works on its rows, heads and tokens."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rope_jax import mesh as meshes
from rope_jax.attention.inputs import Inputs
from rope_jax.positions.base import Params

SEQ = 'seq'  # The axis that shares out the tokens of a row.


def ways_of(mesh: Mesh | None, how: str) -> tuple[Mesh, int]:
  """A mesh and how many devices share a row's tokens, or a ValueError if it has
  no such axis."""
  if mesh is None or SEQ not in mesh.axis_names:
    have = None if mesh is None else mesh.axis_names
    raise ValueError(
      f'attend: how={how!r} needs a mesh with an axis {SEQ!r}; mesh has {have}.'
    )
  return mesh, mesh.shape[SEQ]


def shared(
  run: Callable[[Params, Inputs], jax.Array],
  params: Params,
  inputs: Inputs,
  mesh: Mesh | None,
  tokens: str | None = None,
  *,
  gather: bool = False,
) -> jax.Array:
  """`run(params, inputs)` by each device for its share: [b, n, t, h].

  Rows of the batch are split over 'data' and 'fsdp' and key heads over
  'tensor', where the mesh has these axes and they divide. Without this, loops
  and kernels inside a jitted program are run for everything on every device.

  Args:
    run: works on any rows and heads.
    params: the method's parameters, the same on every device.
    inputs: whole arrays.
    mesh: None is one device.
    tokens: the axis that splits queries and keys; None leaves them whole.
    gather: whether every device is given all queries all the same, of which it
      returns its share.
  """
  if mesh is None:
    return run(params, inputs)
  b, groups, keys, _ = inputs.v_bksh.shape
  sizes = dict(mesh.shape)
  rows = tuple(a for a in meshes.rows_over(mesh) if sizes[a] > 1)
  rows = rows if b % math.prod(sizes[a] for a in rows) == 0 else ()
  tensor = sizes.get('tensor', 1)
  heads = 'tensor' if tensor > 1 and groups % tensor == 0 else None
  if not rows and heads is None and tokens is None:
    return run(params, inputs)

  def side(axis, count):
    def deep(x):
      del x
      return P(rows, heads, axis)

    def flat(_, x):
      first = rows if x.shape[0] == b and b > 1 else None
      return P(first, axis if x.shape[1] == count and count > 1 else None)

    return flat, deep

  whole = jax.tree.map(jnp.asarray, inputs)
  queries = side(None if gather else tokens, whole.counts[0])
  specs = whole.map_side('q', *queries).map_side('k', *side(tokens, keys))
  specs = jax.tree.map(lambda x: x if isinstance(x, P) else P(heads), specs)
  return jax.shard_map(
    run,
    mesh=mesh,
    in_specs=(P(), specs),
    out_specs=P(rows, heads, tokens),
    check_vma=False,
  )(params, whole)
