"""`write_report`: every file of a report, each written whole or not at all."""

from __future__ import annotations

import os
import pathlib

from rope_jax.report.csvfile import curves_text, write_atomically
from rope_jax.report.figure import figure_files
from rope_jax.report.inputs import StudyData
from rope_jax.report.page import page
from rope_jax.report.tables import table_md


def write_report(
  out_dir: str | os.PathLike, data: StudyData
) -> dict[str, pathlib.Path]:
  """Writes the report of a study.

  Args:
    out_dir: folder, made if need be; files of the same names are replaced.
    data: the study.

  Returns:
    The paths: {'csv': curves.csv, 'table': table.md, 'svg': curves.svg,
    'png': curves.png, 'html': report.html}.
  """
  out = pathlib.Path(out_dir)
  # Everything is made before anything is replaced.
  figures = figure_files(data)
  files = {
    'csv': ('curves.csv', curves_text(data.rows).encode()),
    'table': ('table.md', table_md(data).encode()),
    'svg': ('curves.svg', figures['svg']),
    'png': ('curves.png', figures['png']),
    'html': ('report.html', page(data).encode()),
  }
  return {
    key: write_atomically(out / name, content)
    for key, (name, content) in files.items()
  }
