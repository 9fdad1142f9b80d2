"""Reads and writes safetensors files, one tensor in memory at a time."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from rope_jax.interop.tensors import Shape

WHOLE, INDEX = 'model.safetensors', 'model.safetensors.index.json'
# The kinds of weights that are read and written, by their name in the header.
DTYPES = {
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
}
_LARGEST_HEADER = 100_000_000  # Bytes; what the format allows.
_COPY = 'It is damaged, or its copying was cut short: copy it again.'


class SafetensorFolder:
  """The tensors of a folder: one file, or several that an index names.

  A `Source`. Files are read piece by piece and never mapped into memory, where
  they would count as a second copy of the model.

  Args:
    folder: with model.safetensors, or model.safetensors.index.json.

  Raises:
    ValueError: neither is there; a file is damaged; the index names files or
      tensors that are not there.
  """

  def __init__(self, folder: str | os.PathLike[str]):
    self.where = str(folder)
    path = pathlib.Path(folder)
    index = path / INDEX
    if (path / WHOLE).exists() or not index.exists():
      files, said = [path / WHOLE], {}
    else:
      said = _read_index(index)
      files = [path / name for name in sorted(set(said.values()))]
      lost = [file.name for file in files if not file.exists()]
      if lost:
        raise ValueError(
          f'{index} names {len(lost)} of {len(files)} files that are not '
          f'there: {first_of(lost)}. Copy them beside it.'
        )
    self._at: dict[str, tuple[pathlib.Path, str, Shape, int]] = {}
    for file in files:
      for name, entry in read_header(file).items():
        if name in self._at:
          raise ValueError(
            f'{self.where}: {name} is in {self._at[name][0].name} and in '
            f'{file.name}; which of them counts is not said.'
          )
        self._at[name] = (file, *entry)
    lost = [
      name
      for name, file in said.items()
      if name not in self._at or self._at[name][0].name != file
    ]
    if lost:
      raise ValueError(
        f'{index} names {len(lost)} tensors that are not in their files: '
        f'{first_of(lost)}. The index belongs to other files; copy the model '
        'again.'
      )

  def shapes(self) -> dict[str, Shape]:
    """The shape of each tensor, by name."""
    return {name: shape for name, (_, _, shape, _) in self._at.items()}

  def check_dtypes(self, names: Iterable[str]) -> None:
    """Raises ValueError for tensors that are no floating-point weights."""
    wrong = [f'{n} ({self._at[n][1]})' for n in names if not self._reads(n)]
    if wrong:
      raise ValueError(
        f'{self.where}: {len(wrong)} tensors are not of {", ".join(DTYPES)}: '
        f'{first_of(wrong)}. Quantized weights are read from .gguf files '
        'alone; dequantize the model first.'
      )

  def _reads(self, name: str) -> bool:
    return self._at[name][1] in DTYPES

  def read(self, name: str) -> np.ndarray:
    """One tensor, in memory of its own."""
    file, kind, shape, begin = self._at[name]
    made = np.empty(shape, DTYPES[kind])
    view = memoryview(made.reshape(-1).view(np.uint8))  # pyright: ignore[reportArgumentType]
    with open(file, 'rb') as stream:
      stream.seek(begin)
      _fill(stream, view, file)
    return made


def _fill(stream: BinaryIO, view: memoryview, file: pathlib.Path) -> None:
  done = 0
  while done < len(view):
    count = stream.readinto(view[done:])  # pyright: ignore[reportAttributeAccessIssue]
    if not count:
      raise ValueError(f'{file} ended while it was read. {_COPY}')
    done += count


def first_of(names: Sequence[str]) -> str:
  """The first eight of some names."""
  more = f' and {len(names) - 8} more' if len(names) > 8 else ''
  return ', '.join(names[:8]) + more


def _read_index(path: pathlib.Path) -> dict[str, str]:
  """The file of each tensor."""
  try:
    found = json.loads(path.read_text(encoding='utf-8'))['weight_map']
    names = dict(found).items()
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f'{path} is no index of safetensors: {error}.') from error
  for name, file in names:
    if not isinstance(file, str) or pathlib.PurePath(file).name != file:
      raise ValueError(
        f'{path}: the file of {name} is {file!r}; it must be the name of a '
        'file in the same folder.'
      )
  return found


def read_header(path: pathlib.Path) -> dict[str, tuple[str, Shape, int]]:
  """What is in a safetensors file: (kind, shape, first byte) by name.

  Raises:
    ValueError: the file is not whole, or no safetensors file.

  Source: huggingface/safetensors, README: eight bytes, the length n of the
    header; n bytes of JSON; the tensors' bytes, without gaps.
  """
  size = path.stat().st_size
  with open(path, 'rb') as stream:
    start = stream.read(8)
    if start == b'version ':
      raise ValueError(
        f'{path} is a pointer of Git LFS, not the weights: run git lfs pull '
        'where it was cloned.'
      )
    length = int.from_bytes(start, 'little')
    if len(start) < 8 or length > min(_LARGEST_HEADER, size - 8):
      raise ValueError(
        f'{path} is no whole safetensors file: {size} bytes, of which its '
        f'header would be {length}. {_COPY}'
      )
    text = stream.read(length)
  try:
    header = json.loads(text)
    entries = {
      name: _entry(entry)
      for name, entry in header.items()
      if name != '__metadata__'
    }
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path} is no safetensors file: its header cannot be read ({error}). '
      f'{_COPY}'
    ) from error
  _check_spans(path, entries, size - 8 - length)
  return {
    name: (kind, shape, 8 + length + begin)
    for name, (kind, shape, begin, _) in entries.items()
  }


def _entry(entry: Mapping[str, Any]) -> tuple[str, Shape, int, int]:
  shape = tuple(map(int, entry['shape']))
  begin, end = map(int, entry['data_offsets'])
  return str(entry['dtype']), shape, begin, end


def _check_spans(path, entries, size) -> None:
  """The tensors fill the file without gaps, each with the bytes it needs."""
  at = 0
  for name, (kind, shape, begin, end) in sorted(
    entries.items(), key=lambda item: item[1][2:]
  ):
    wanted = None
    if kind in DTYPES:
      wanted = math.prod(shape) * DTYPES[kind].itemsize
    if begin != at or end < begin or wanted not in (None, end - begin):
      raise ValueError(
        f'{path}: its header gives {name} ({kind}, {list(shape)}) the bytes '
        f'{begin} to {end}, which cannot be. {_COPY}'
      )
    at = end
  if at != size:
    raise ValueError(
      f'{path} is not whole: its header speaks of {at} bytes of tensors, and '
      f'it has {size}. {_COPY}'
    )


# The name, shape and dtype of a tensor to write.
Plan = tuple[str, Shape, np.dtype]


def write_folder(
  folder: pathlib.Path,
  plan: Sequence[Plan],
  tensors: Iterator[np.ndarray],
  max_shard_bytes: float,
) -> None:
  """Writes tensors as they come, into one file or several with an index.

  Args:
    folder: where to.
    plan: what each tensor will be, in order; dtypes of `DTYPES`.
    tensors: the tensors.
    max_shard_bytes: largest file, unless one tensor is larger.
  """
  shards: list[list[Plan]] = [[]]
  filled = 0
  for entry in plan:
    size = _bytes(entry)
    if filled and filled + size > max_shard_bytes:
      shards.append([])
      filled = 0
    shards[-1].append(entry)
    filled += size
  names, count = [WHOLE], len(shards)
  if count > 1:
    names = [
      f'model-{i:05d}-of-{count:05d}.safetensors' for i in range(1, count + 1)
    ]
    found = {
      'metadata': {'total_size': sum(map(_bytes, plan))},
      'weight_map': {
        entry[0]: name
        for name, shard in zip(names, shards, strict=True)
        for entry in shard
      },
    }
    text = json.dumps(found, indent=2, sort_keys=True) + '\n'
    (folder / INDEX).write_text(text, encoding='utf-8')
  for name, shard in zip(names, shards, strict=True):
    with open(folder / name, 'wb') as stream:
      _write_header(stream, shard)
      for entry in shard:
        stream.write(_raw(next(tensors), entry))


def _bytes(entry: Plan) -> int:
  return math.prod(entry[1]) * entry[2].itemsize


def _write_header(stream: BinaryIO, shard: Sequence[Plan]) -> None:
  kinds = {dtype: name for name, dtype in DTYPES.items()}
  header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  at = 0
  for name, shape, dtype in shard:
    end = at + _bytes((name, shape, dtype))
    header[name] = {
      'dtype': kinds[dtype],
      'shape': list(shape),
      'data_offsets': [at, end],
    }
    at = end
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % 8)  # So that the tensors are aligned.
  stream.write(len(text).to_bytes(8, 'little') + text)


def _raw(tensor: np.ndarray, entry: Plan) -> memoryview:
  name, shape, dtype = entry
  if tensor.shape != shape or tensor.dtype != dtype:
    raise AssertionError(
      f'{name}: {tensor.dtype}{tensor.shape}, planned {entry}'
    )
  flat = np.ascontiguousarray(tensor).reshape(-1)
  return memoryview(flat.view(np.uint8))  # pyright: ignore[reportArgumentType]
