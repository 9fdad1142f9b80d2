"""The mesh of devices, and which part of each array a device holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXES = ('data', 'fsdp', 'tensor', 'seq')
# The axis of each weight that tensor parallelism splits: key heads, the inner
# width of the MLP, the vocabulary. Axis 0 of a block's weight is the layer.
_TENSOR = {
  'wqkv': 2,
  'bqkv': 1,
  'wo': 1,
  'w_gate_up': 3,
  'b_gate_up': 2,
  'w_up': 2,
  'b_up': 1,
  'w_down': 1,
  'embed': 0,
  'unembed': 1,
}


def make_mesh(
  sizes: Any, rows: int, devices: Sequence[Any] | None = None
) -> Mesh:
  """The mesh with axes data, fsdp, tensor and seq.

  On CPU, where every core is a device, data=-1 takes the largest number of
  devices that divides the rows, and a mesh may leave devices out.

  Args:
    sizes: mapping of each axis to its size, >= 1; at most one may be -1,
      which takes the devices that are left. An axis that is absent is 1.
    rows: rows of a batch that are worked on at once; data x fsdp divides it.
    devices: None is all of them, over all processes.

  Returns:
    A mesh with Auto axes.

  Raises:
    ValueError: sizes that do not fit the devices or the rows.
  """
  devices = list(jax.devices() if devices is None else devices)
  shape = {axis: int(sizes.get(axis, 1)) for axis in AXES}
  open_axes = [axis for axis in AXES if shape[axis] == -1]
  told = ', '.join(f'{axis}={shape[axis]}' for axis in AXES)
  if len(open_axes) > 1 or any(n < 1 and n != -1 for n in shape.values()):
    raise ValueError(
      f'config.mesh has {told}; sizes are >= 1 and at most one is -1.'
    )
  on_cpu = devices[0].platform == 'cpu' and jax.process_count() == 1
  fixed = math.prod(n for n in shape.values() if n != -1)
  if open_axes:
    left = len(devices) // fixed
    if open_axes == ['data'] and on_cpu:
      share = rows // shape['fsdp'] if rows % shape['fsdp'] == 0 else 1
      left = next((n for n in range(left, 0, -1) if share % n == 0), 0)
    shape[open_axes[0]] = left
  used = math.prod(shape.values())
  if used < 1 or used > len(devices) or (used < len(devices) and not on_cpu):
    raise ValueError(
      f'config.mesh has {told}, but there are {len(devices)} devices of '
      f'{devices[0].device_kind}; make the product of the sizes their number, '
      'or leave one axis at -1.'
    )
  ways = shape['data'] * shape['fsdp']
  if rows % ways:
    raise ValueError(
      f'config.train.batch / config.train.accumulate = {rows} rows do not '
      f'divide over mesh.data x mesh.fsdp = {ways}; make them a multiple of it.'
    )
  return jax.make_mesh(
    tuple(shape.values()),
    AXES,
    axis_types=(AxisType.Auto,) * len(AXES),
    devices=devices[:used],
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows [b, t] split over data and fsdp, their tokens over seq, as far as the
  mesh has these axes."""
  tokens = ('seq',) if dict(mesh.shape).get('seq', 1) > 1 else ()
  return NamedSharding(mesh, P(rows_over(mesh), *tokens))


def rows_over(mesh: Mesh) -> tuple[str, ...]:
  """The axes of any mesh that rows are split over."""
  return tuple(a for a in ('data', 'fsdp') if a in mesh.axis_names)


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, P())


def check_heads(mesh: Mesh, heads: int, mlp_dim: int) -> None:
  """Raises ValueError if the tensor axis cannot split heads and MLP."""
  ways = mesh.shape['tensor']
  for name, size in (('heads', heads), ('mlp_dim', mlp_dim)):
    if size % ways:
      raise ValueError(
        f'config.mesh.tensor={ways} does not divide model.{name}={size}; '
        'change one of them.'
      )


def weight_shardings(mesh: Mesh, weights: Any) -> Any:
  """Where each weight lives, by its name.

  tensor splits heads, the MLP's inner width and the vocabulary, where it
  divides them; fsdp splits the largest other axis that it divides, never that
  of the layers. Norms and the positional methods' parameters are everywhere,
  and low-rank factors are split by tensor alone.

  Args:
    mesh: from `make_mesh`.
    weights: the tree of `init_weights`, or of its shapes.

  Returns:
    The same tree of NamedShardings.
  """

  def sharding(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
    return NamedSharding(mesh, _spec(mesh, path, leaf.shape))

  return jax.tree_util.tree_map_with_path(sharding, weights)


def _spec(mesh: Mesh, path: tuple[Any, ...], shape: tuple[int, ...]) -> P:
  names = [entry.key for entry in path]
  if names[0] == 'position' or 'norm' in names[-1]:
    return P()
  axes: list[str | None] = [None] * len(shape)
  tensor = _TENSOR.get(names[-1])
  low_rank = names[0] in ('lora_a', 'lora_b')
  # Of a matrix's factors the first has the axes that are read, the other those
  # that are written, and either in the places that they have in the matrix.
  if low_rank and (names[0] == 'lora_a') != (names[-1] in ('wo', 'w_down')):
    return P()
  if tensor is not None and shape[tensor] % mesh.shape['tensor'] == 0:
    axes[tensor] = 'tensor'
  if low_rank:
    return P(*axes)
  first = 1 if names[0] == 'blocks' else 0
  free = [
    axis
    for axis in range(first, len(shape))
    if axes[axis] is None and shape[axis] % mesh.shape['fsdp'] == 0
  ]
  if free:
    axes[max(free, key=lambda axis: shape[axis])] = 'fsdp'
  return P(*axes)
