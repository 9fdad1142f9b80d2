"""The store: one loss per document, position and context length, on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Cell:
  """The losses of one variant at one window length.

  Attributes:
    document: int32 [w], which document each window is of.
    start: int32 [w], the token it starts at.
    nll: float32 [w, l], nats; entry i is for token start + i + 1.
    meta: what made it: variant, length, spec, step, documents' fingerprint.
  """

  document: np.ndarray
  start: np.ndarray
  nll: np.ndarray
  meta: dict[str, Any]


class Store:
  """The cells of one trained model, a file each, in `workdir/nll`."""

  def __init__(self, folder: str | os.PathLike):
    self.folder = pathlib.Path(folder)

  def _path(self, variant: str, length: int) -> pathlib.Path:
    safe = re.sub(r'[^A-Za-z0-9_.=-]', '_', variant)
    digest = hashlib.sha256(variant.encode()).hexdigest()[:8]
    name = safe if safe == variant else f'{safe}-{digest}'
    return self.folder / f'{name}-{length}.npz'

  def write(self, cell: Cell) -> None:
    """Writes a cell whole or not at all."""
    self.folder.mkdir(parents=True, exist_ok=True)
    path = self._path(cell.meta['variant'], cell.meta['length'])
    buffer = io.BytesIO()
    np.savez(
      buffer,
      document=cell.document.astype(np.int32),
      start=cell.start.astype(np.int32),
      nll=cell.nll.astype(np.float32),
      meta=np.array(json.dumps(cell.meta, sort_keys=True)),
    )
    part = path.with_name(f'.{path.name}.{os.getpid()}')
    part.write_bytes(buffer.getvalue())
    os.replace(part, path)

  def read(self, variant: str, length: int) -> Cell | None:
    """The cell, or None where there is none (or it cannot be read)."""
    path = self._path(variant, length)
    try:
      with np.load(io.BytesIO(path.read_bytes())) as found:
        meta = json.loads(str(found['meta']))
        return Cell(found['document'], found['start'], found['nll'], meta)
    except FileNotFoundError:
      return None
    except Exception:  # A file cut short is measured again.
      return None
