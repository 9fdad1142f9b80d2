"""The files that the lab writes: curves and rows as CSV, pictures."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rope_jax.report import csvfile
from rope_jax.spectrum import decay, figure
from rope_jax.spectrum.decay import Curve

_BINS = 4096  # Of a curve in decay.csv.


def write_curves(path: pathlib.Path, curves: Iterable[Curve]) -> pathlib.Path:
  """Curves as CSV: each distance, or the least and greatest of bins of them."""
  rows = []
  for curve in curves:
    if curve.distance_m.size > _BINS:
      curve = decay.envelope(curve, _BINS)
    for at, distance in enumerate(curve.distance_m):
      row = {
        'label': curve.label,
        'kind': curve.kind,
        'distance': int(distance),
        'value': f'{curve.value_m[at]:.9g}',
      }
      for name, band in (('low', curve.low_m), ('high', curve.high_m)):
        row[name] = '' if band is None else f'{band[at]:.9g}'
      rows.append(row)
  return write_rows(path, list(rows[0]), rows)


def write_rows(
  path: pathlib.Path,
  columns: Sequence[str],
  rows: Iterable[Mapping[str, Any]],
) -> pathlib.Path:
  """Rows as CSV, whole or not at all."""
  text = io.StringIO()
  lines = csv.DictWriter(text, columns, lineterminator='\n')
  lines.writeheader()
  lines.writerows(rows)
  return csvfile.write_atomically(path, text.getvalue().encode())


def save_all(drawn: Mapping[str, Any], out: str) -> list[pathlib.Path]:
  """Pictures by name, each as SVG and PNG."""
  made: list[pathlib.Path] = []
  for name, picture in drawn.items():
    made += figure.save(picture, out, name).values()
  return made
