"""What a GGUF file says before its tensors: metadata, and where each lies."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# Value types of the format, as `struct` writes them.
_NUMBERS = {
  0: 'B',
  1: 'b',
  2: 'H',
  3: 'h',
  4: 'I',
  5: 'i',
  6: 'f',
  7: '?',
  10: 'Q',
  11: 'q',
  12: 'd',
}
_OLDER = (b'lmgg', b'fmgg', b'tjgg', b'algg')  # GGML, GGMF, GGJT, GGLA.


@dataclasses.dataclass(frozen=True)
class Stored:
  """A tensor as it lies in the file.

  Attributes:
    kind: how its numbers are packed, e.g. 'F32' or 'Q4_1'.
    shape: rows first, as numpy and Hugging Face have it.
    start, size: its bytes in the file.
  """

  kind: str
  shape: tuple[int, ...]
  start: int
  size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Header:
  """A GGUF file that is open for reading.

  Attributes:
    where: the file, for messages.
    metadata: key -> number, text, or list of them.
    tensors: name -> where it lies.
    data: uint8, the whole file, mapped into memory.
  """

  where: str
  metadata: Mapping[str, Any]
  tensors: Mapping[str, Stored]
  data: np.ndarray

  def load(self, name: str) -> np.ndarray:
    """A tensor's numbers: float32, or float16 where so stored."""
    import gguf

    stored = self.tensors[name]
    raw = self.data[stored.start : stored.start + stored.size]
    if stored.kind in ('F32', 'F16'):
      dtype = np.float32 if stored.kind == 'F32' else np.float16
      return np.array(raw).view(dtype).reshape(stored.shape)
    kind = gguf.GGMLQuantizationType[stored.kind]
    rows = math.prod(stored.shape[:-1])
    try:
      made = gguf.dequantize(np.asarray(raw).reshape(rows, -1), kind)
    except NotImplementedError as error:
      raise ValueError(
        f'{self.where}: {name} is packed as {stored.kind}, which the package '
        'gguf cannot unpack; use a file of another quantization, such as Q8_0.'
      ) from error
    return made.reshape(stored.shape)


class _Broken(Exception):
  """The file is not what the format says."""


class _Bytes:
  """Reads forwards and never past the end."""

  def __init__(self, data: np.ndarray):
    self._data, self._end, self.at = data.data, len(data), 0

  def take(self, size: int) -> int:
    """Where the next `size` bytes start."""
    start = self.at
    if size > self._end - start:
      raise _Broken(
        f'{size:,} bytes are wanted at byte {start:,}, but it has '
        f'{self._end:,} in all'
      )
    self.at = start + size
    return start

  def numbers(self, form: str) -> tuple:
    return struct.unpack_from(
      f'<{form}', self._data, self.take(struct.calcsize(f'<{form}'))
    )

  def text(self) -> str:
    (size,) = self.numbers('Q')
    start = self.take(size)
    try:
      return str(self._data[start : start + size], 'utf-8')
    except UnicodeDecodeError as error:
      raise _Broken(f'the text at byte {start:,} is not UTF-8') from error

  def value(self, kind: int) -> Any:
    if kind == _STRING:
      return self.text()
    if kind in _NUMBERS:
      return self.numbers(_NUMBERS[kind])[0]
    if kind != _ARRAY:
      raise _Broken(f'a value before byte {self.at:,} is of type {kind}')
    inner, count = self.numbers('IQ')
    if inner in _NUMBERS:
      form = np.dtype(_NUMBERS[inner]).newbyteorder('<')
      start = self.take(count * form.itemsize)
      return np.frombuffer(self._data, form, count, start).tolist()
    if inner != _STRING:
      raise _Broken(f'a list before byte {self.at:,} is of type {inner}')
    if 8 * count > self._end - self.at:
      raise _Broken(f'a list of {count:,} texts at byte {self.at:,} is cut off')
    return [self.text() for _ in range(count)]


def open_header(path: str | os.PathLike[str]) -> Header:
  """Reads the head of a GGUF file; tensors are read when they are asked for.

  Args:
    path: the file, which is only ever read.

  Returns:
    The Header.

  Raises:
    ValueError: no GGUF file, one of another version or byte order, one of
      several pieces, or one that is cut off or contradicts itself.

  Source: ggml-org/ggml, `docs/gguf.md`.
  """
  path = pathlib.Path(path)
  where = str(path)
  if not path.is_file():
    raise ValueError(f'{where} is no file; give the path of a .gguf file.')
  if not path.stat().st_size:
    raise ValueError(f'{where} is empty; download or copy it anew.')
  data = np.memmap(path, np.uint8, mode='r')
  cursor = _Bytes(data)
  try:
    count, pairs = _counts(cursor, where)
    metadata = _metadata(cursor, pairs)
    tensors = _tensors(cursor, count, metadata, len(data))
  except _Broken as error:
    raise ValueError(
      f'{where} is cut off or corrupt: {error}. Download or copy it anew.'
    ) from error
  pieces = metadata.get('split.count', 0)
  if pieces > 1:
    raise ValueError(
      f'{where} is one of {pieces} pieces of a model; join them first, with '
      '`llama-gguf-split --merge` of llama.cpp.'
    )
  return Header(where, metadata, tensors, data)


def _counts(cursor: _Bytes, where: str) -> tuple[int, int]:
  """How many tensors and pairs of metadata there are."""
  magic = bytes(cursor.numbers('4s')[0])
  if magic in _OLDER:
    raise ValueError(
      f'{where} is in a format older than GGUF; convert the original model '
      'anew, with `convert_hf_to_gguf.py` of llama.cpp.'
    )
  if magic != b'GGUF':
    raise ValueError(
      f'{where} does not start with GGUF but with {magic!r}; give a .gguf '
      'file, or the folder of a Hugging Face model.'
    )
  (version,) = cursor.numbers('I')
  if version & 0xFFFF == 0:
    raise ValueError(
      f'{where} is big-endian; turn it round with `gguf-convert-endian FILE '
      'little` of the package gguf.'
    )
  if version not in VERSIONS:
    raise ValueError(
      f'{where} is GGUF of version {version}; versions '
      f'{" and ".join(map(str, VERSIONS))} are read. Convert the original '
      'model anew, with `convert_hf_to_gguf.py` of llama.cpp.'
    )
  return cursor.numbers('QQ')  # pyright: ignore[reportReturnType]


def _metadata(cursor: _Bytes, pairs: int) -> dict[str, Any]:
  found: dict[str, Any] = {}
  for _ in range(pairs):
    key = cursor.text()
    if key in found:
      raise _Broken(f'{key} is there twice')
    found[key] = cursor.value(cursor.numbers('I')[0])
  return found


def _tensors(
  cursor: _Bytes, count: int, metadata: Mapping[str, Any], end: int
) -> dict[str, Stored]:
  import gguf

  said = []
  for _ in range(count):
    name = cursor.text()
    (dims,) = cursor.numbers('I')
    if dims > 8:
      raise _Broken(f'{name} has {dims} axes')
    shape = tuple(reversed(cursor.numbers(f'{dims}Q')))
    kind, offset = cursor.numbers('IQ')
    said.append((name, shape, kind, offset))
  align = metadata.get('general.alignment', gguf.GGUF_DEFAULT_ALIGNMENT)
  if not isinstance(align, int) or align < 1 or align & (align - 1):
    raise _Broken(f'general.alignment={align!r} is no power of two')
  first = -(-cursor.at // align) * align
  found: dict[str, Stored] = {}
  for name, shape, number, offset in said:
    if name in found:
      raise _Broken(f'the tensor {name} is there twice')
    try:
      kind = gguf.GGMLQuantizationType(number)
    except ValueError as error:
      raise _Broken(f'{name} is packed as unknown type {number}') from error
    block, each = gguf.GGML_QUANT_SIZES[kind]
    if not shape or shape[-1] % block:
      raise _Broken(f'{name} of shape {shape} is no rows of {block} numbers')
    size = math.prod(shape) // block * each
    if first + offset + size > end:
      raise _Broken(
        f'{name} is bytes {first + offset:,} to {first + offset + size:,}, but '
        f'it has {end:,} in all'
      )
    found[name] = Stored(kind.name, shape, first + offset, size)
  return found
