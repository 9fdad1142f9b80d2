"""Writes what a study measured: csv, tables, a figure, one HTML page."""

from rope_jax.report.csvfile import COLUMNS, read_curves, write_curves
from rope_jax.report.inputs import StudyData
from rope_jax.report.rules import findings
from rope_jax.report.write import write_report

__all__ = [
  'COLUMNS',
  'StudyData',
  'findings',
  'read_curves',
  'write_curves',
  'write_report',
]
