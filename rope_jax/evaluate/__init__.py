"""Evaluation: one loss per document, position and context; then protocols."""

from rope_jax.evaluate.cells import documents, measure, span
from rope_jax.evaluate.nll import token_nll, windows_nll
from rope_jax.evaluate.reduce import (
  ByPosition,
  Figure,
  Sums,
  by_position,
  figure,
  sums,
)
from rope_jax.evaluate.store import Cell, Store
from rope_jax.evaluate.streamed import Reader
from rope_jax.evaluate.variants import Skipped, layout_under

__all__ = [
  'ByPosition',
  'Cell',
  'Figure',
  'Reader',
  'Skipped',
  'Store',
  'Sums',
  'by_position',
  'documents',
  'figure',
  'layout_under',
  'measure',
  'span',
  'sums',
  'token_nll',
  'windows_nll',
]
