"""curves.csv: the study's numbers, written so that they read back exactly."""

from __future__ import annotations

import csv
import io
import math
import os
import pathlib
import tempfile
from collections.abc import Iterable
from typing import Any

from rope_jax.report.inputs import COLUMNS, POOLED, Row

_INTS = ('train_len', 'eval_len', 'tokens', 'documents')
_FLOATS = ('nll', 'stderr', 'perplexity', 'bits_per_byte')


def curves_text(rows: Iterable[Row]) -> str:
  """The text of curves.csv: a header, then a line for each row."""
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  writer.writerow(COLUMNS)
  for row in rows:
    writer.writerow([_text(column, row[column]) for column in COLUMNS])
  return out.getvalue()


def write_curves(path: str | os.PathLike, rows: Iterable[Row]) -> pathlib.Path:
  """Writes curves.csv atomically; returns its path."""
  return write_atomically(path, curves_text(rows).encode())


def read_curves(path: str | os.PathLike) -> list[dict[str, Any]]:
  """Reads curves.csv back into the rows it was written from.

  Args:
    path: of the file.

  Returns:
    One dict for each row: lengths and counts int, losses float, `seed` an
    int or 'all'.

  Raises:
    ValueError: the header is not that of curves.csv.
  """
  with open(path, newline='', encoding='utf-8') as file:
    reader = csv.DictReader(file)
    if tuple(reader.fieldnames or ()) != COLUMNS:
      raise ValueError(
        f'{path} has the columns {reader.fieldnames}; curves.csv has '
        f'{list(COLUMNS)}. Was it written by this version?'
      )
    return [{c: _value(c, row[c]) for c in COLUMNS} for row in reader]


def write_atomically(path: str | os.PathLike, content: bytes) -> pathlib.Path:
  """Writes a file so that a reader sees the old one or the new one, whole."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, temp = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
  try:
    with os.fdopen(handle, 'wb') as file:
      file.write(content)
    os.chmod(temp, 0o644)
    os.replace(temp, path)
  except BaseException:
    os.unlink(temp)
    raise
  return path


def _text(column: str, value) -> str:
  if column in _FLOATS:
    # repr is the shortest decimal that reads back as the same float.
    return repr(math.nan if value is None else float(value))
  if column in _INTS:
    return str(int(value))
  if column == 'seed' and value != POOLED:
    return str(int(value))
  return str(value)


def _value(column: str, text: str):
  if column in _FLOATS:
    return float(text) if text else math.nan
  if column in _INTS:
    return int(text)
  if column == 'seed' and text != POOLED:
    return int(text)
  return text
