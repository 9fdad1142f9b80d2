"""Moves weights between named tensors and the devices, a tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rope_jax import mesh as meshes
from rope_jax.interop.safetensor_files import first_of
from rope_jax.interop.tensors import Piece, Shape, Source, by_leaf
from rope_jax.model import Weights

Spans = tuple[tuple[int, int], ...]  # First and end, of each axis.
# Beside the weights, older files have tables that the code makes anew.
_BUFFERS = (
  'rotary_emb.inv_freq',
  'attention.bias',
  'attention.masked_bias',
)


def check_tensors(
  source: Source, wanted: Sequence[Piece], tied: str | None
) -> None:
  """Checks, before any is read, that a source has a model's tensors.

  Args:
    source: the tensors at hand.
    wanted: what the model is made of.
    tied: the output projection of a model whose embeddings serve as it, which
      may be there if it is equal to them.

  Raises:
    ValueError: tensors that are missing, unexpected or of another shape; one
      message for all.
  """
  have, want = source.shapes(), {piece.name: piece.shape for piece in wanted}
  missing = [name for name in want if name not in have]
  left = [
    name
    for name in have
    if name not in want and name != tied and not name.endswith(_BUFFERS)
  ]
  wrong = [
    f'{name} is {list(have[name])} and must be {list(shape)}'
    for name, shape in want.items()
    if name in have and tuple(have[name]) != shape
  ]
  said = [
    f'{len(names)} {what}: {first_of(names)}'
    for what, names in (
      ('of another shape than config.json gives them', wrong),
      ('missing', missing),
      ('not expected', left),
    )
    if names
  ]
  if said:
    raise ValueError(
      f'{source.where}: the tensors are not those of its config.json. '
      f'{"; ".join(said)}. They must be of one model; take both from one place.'
    )
  if tied is not None and tied in have:
    embed = next(p.name for p in wanted if p.leaf == ('embed',))
    if not np.array_equal(source.read(embed), source.read(tied)):
      raise ValueError(
        f'{source.where}: tie_word_embeddings says that the output projection '
        f'is {embed}, but {tied} is there and differs. Write '
        '"tie_word_embeddings": false if it is meant.'
      )


def place(
  source: Source,
  wanted: Sequence[Piece],
  shapes: Any,
  dtype: Any,
  mesh: jax.sharding.Mesh | None,
) -> Weights:
  """Reads weights onto the devices, each leaf as it will be sharded.

  Beside what this process's devices hold, one tensor is in memory at a time.

  Args:
    source: the tensors, checked.
    wanted: the pieces of every leaf.
    shapes: the tree of weights, of anything with a shape.
    dtype: of all leaves.
    mesh: None is the first device.
  """
  if mesh is None:
    single = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shardings = jax.tree.map(lambda _: single, shapes)
  else:
    shardings = meshes.weight_shardings(mesh, shapes)
  leaves = by_leaf(wanted)

  def one(path, leaf, sharding):
    names = tuple(entry.key for entry in path)
    return _read(source, leaves[names], leaf.shape, dtype, sharding)

  return jax.tree_util.tree_map_with_path(one, shapes, shardings)


def _read(
  source: Source,
  pieces: Sequence[Piece],
  shape: Shape,
  dtype: Any,
  sharding: jax.sharding.Sharding,
) -> jax.Array:
  """A leaf, whose parts on this process's devices are filled piece by piece."""
  indices = sharding.addressable_devices_indices_map(shape)
  spans = {device: _spans(index, shape) for device, index in indices.items()}
  parts = {span: _aligned(_size(span), dtype) for span in spans.values()}
  name, tensor = '', np.zeros(())
  for piece in pieces:
    ends = map(sum, zip(piece.start, piece.size, strict=True))
    box = tuple(zip(piece.start, ends, strict=True))
    for span, part in parts.items():
      both = _meet(box, span)
      if any(a >= b for a, b in both):
        continue
      if name != piece.name:
        name, tensor = piece.name, source.read(piece.name)
      part[_cut(both, span)] = piece.to_box(tensor)[_cut(both, box)]
  arrays = [jax.device_put(parts[span], at) for at, span in spans.items()]
  return jax.make_array_from_single_device_arrays(shape, sharding, arrays)


def _spans(index: Any, shape: Shape) -> Spans:
  return tuple(
    part.indices(n)[:2] for part, n in zip(index, shape, strict=True)
  )


def _meet(one: Spans, other: Spans) -> Spans:
  return tuple(
    (max(a, c), min(b, d)) for (a, b), (c, d) in zip(one, other, strict=True)
  )


def _size(span: Spans) -> Shape:
  return tuple(b - a for a, b in span)


def _cut(both: Spans, within: Spans) -> tuple[slice, ...]:
  """Where a span is in an array that begins where another does."""
  return tuple(
    slice(a - first, b - first)
    for (a, b), (first, _) in zip(both, within, strict=True)
  )


def _aligned(shape: Shape, dtype: Any) -> np.ndarray:
  """Memory that a CPU device can hold as it is, without a copy."""
  size = int(np.prod(shape)) * np.dtype(dtype).itemsize
  raw = np.empty(size + 64, np.uint8)
  first = -raw.ctypes.data % 64
  return raw[first : first + size].view(dtype).reshape(shape)


def named(
  weights: Mapping[str, Any], wanted: Sequence[Piece]
) -> Iterator[np.ndarray]:
  """The tensors of a model's weights, in the order of its pieces.

  One leaf is in the host's memory at a time.
  """
  for path, pieces in by_leaf(wanted).items():
    leaf: Any = weights
    for key in path:
      leaf = leaf[key]
    host = _fetch(leaf)
    tensor, last = np.zeros(()), ''
    for piece in pieces:
      if piece.name != last:
        if last:
          yield tensor
        tensor, last = np.empty(piece.shape, host.dtype), piece.name
      piece.to_rows(host, tensor)
    yield tensor


def _fetch(leaf: jax.Array) -> np.ndarray:
  """A leaf on the host, which is not kept with the leaf."""
  if len(leaf.sharding.device_set) == 1:
    return np.asarray(leaf)
  made = np.empty(leaf.shape, leaf.dtype)
  for shard in leaf.addressable_shards:
    if shard.replica_id == 0:
      made[shard.index] = np.asarray(shard.data)
  return made
