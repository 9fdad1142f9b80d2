"""From stored losses to figures: means, standard errors, by position."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from rope_jax.evaluate import protocols
from rope_jax.evaluate.store import Cell


@dataclasses.dataclass(frozen=True)
class Sums:
  """What one protocol counts, by document.

  Attributes:
    nll: float64 [d], nats.
    tokens: int64 [d], targets.
    bytes: int64 [d], UTF-8 bytes that those targets stand for.
  """

  nll: np.ndarray
  tokens: np.ndarray
  bytes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Figure:
  """A mean with its uncertainty.

  Attributes:
    nll: nats per token, over all targets.
    stderr: its standard error; documents are the sampling unit, and seeds too
      where there are several.
    perplexity: exp(nll).
    bits_per_byte: total bits / total bytes.
    tokens: targets counted, of one seed.
    documents: how many.
    influence: float64, one entry a document and, with several seeds, a seed:
      the vector whose norm is stderr. The norm of the difference of two is the
      standard error of the difference, paired by document (and seed). Empty
      where there is one document.
  """

  nll: float
  stderr: float
  perplexity: float
  bits_per_byte: float
  tokens: int
  documents: int
  influence: np.ndarray


def sums(
  cell: Cell,
  protocol: str,
  *,
  span: int,
  longest: int,
  byte_lengths: np.ndarray,
) -> Sums:
  """Adds up the entries that a protocol counts, document by document.

  Args:
    cell: stored losses.
    protocol: 'whole', 'last(k)' or 'slide(stride)'.
    span: tokens of each document that are read.
    longest: the longest window length of the evaluation.
    byte_lengths: int [d, span + 1], bytes of each token of each document.

  Raises:
    ValueError: a window that the protocol needs is not in the cell.
  """
  length = cell.nll.shape[1]
  counted = protocols.parse(protocol).counted(length, span, longest)
  count = len(byte_lengths)
  nll = np.zeros(count)
  tokens, byte_count = np.zeros(count, np.int64), np.zeros(count, np.int64)
  rows = {
    (int(d), int(s)): row
    for row, (d, s) in enumerate(zip(cell.document, cell.start, strict=True))
  }
  for document in range(count):
    for start, first in zip(counted.start, counted.first, strict=True):
      row = rows.get((document, int(start)))
      if row is None:
        raise ValueError(
          f'{protocol} at {length} tokens needs the window of document '
          f'{document} at {start}, which is not stored; evaluate again with '
          'this protocol in config.eval.protocols.'
        )
      nll[document] += cell.nll[row, first:].sum(dtype=np.float64)
      tokens[document] += length - first
      targets = byte_lengths[document, start + first + 1 : start + length + 1]
      byte_count[document] += targets.sum()
  return Sums(nll, tokens, byte_count)


def figure(runs: Sequence[Sums]) -> Figure:
  """One figure of one or several seeds.

  The mean is total nats / total targets. Its variance is that of a ratio
  estimator over documents, each document's losses averaged over the seeds;
  with several seeds, the variance of the seeds' means / seeds is added.

  Args:
    runs: the sums of each seed, over the same targets.
  """
  tokens, byte_count = runs[0].tokens, runs[0].bytes
  nll_d = np.mean([run.nll for run in runs], axis=0)
  total, documents = int(tokens.sum()), len(tokens)
  mean = nll_d.sum() / total
  influence = np.zeros(0)
  if documents > 1:
    share_d = (nll_d - mean * tokens) / total
    influence = share_d * math.sqrt(documents / (documents - 1))
  seeds = len(runs)
  if seeds > 1 and documents > 1:
    mean_s = np.array([run.nll.sum() / total for run in runs])
    apart_s = (mean_s - mean) / math.sqrt(seeds * (seeds - 1))
    influence = np.concatenate([influence, apart_s])
  bits = nll_d.sum() / math.log(2) / max(int(byte_count.sum()), 1)
  with np.errstate(over='ignore'):
    perplexity = float(np.exp(mean))
  return Figure(
    nll=float(mean),
    stderr=float(np.linalg.norm(influence)) if documents > 1 else math.nan,
    perplexity=perplexity,
    bits_per_byte=float(bits),
    tokens=total,
    documents=documents,
    influence=influence,
  )


@dataclasses.dataclass(frozen=True)
class ByPosition:
  """Mean loss by place in the window.

  Attributes:
    position: float64 [k], tokens of context, the centre of each bin.
    nll: float64 [k], nats per token.
    stderr: float64 [k], by document.
  """

  position: np.ndarray
  nll: np.ndarray
  stderr: np.ndarray


def by_position(cells: Sequence[Cell], bins: int = 48) -> ByPosition:
  """Losses of non-overlapping windows by position, averaged over the seeds.

  Args:
    cells: one cell a seed, all of one variant and length.
    bins: at most so many bins, whose widths grow geometrically.
  """
  length = cells[0].nll.shape[1]
  rising = np.geomspace(1, length, min(bins, length)).round().astype(int)
  edges = np.unique(np.concatenate([[0], rising]))
  tables = []
  for cell in cells:
    whole = cell.start % length == 0
    document, nll = cell.document[whole], cell.nll[whole].astype(np.float64)
    binned = np.add.reduceat(nll, edges[:-1], axis=1) / np.diff(edges)
    tables.append(
      np.stack([binned[document == d].mean(0) for d in np.unique(document)])
    )
  table_dk = np.mean(tables, axis=0)
  count = len(table_dk)
  spread = (
    table_dk.std(0, ddof=1) if count > 1 else np.full(len(edges) - 1, np.nan)
  )
  centre = (edges[:-1] + edges[1:] - 1) / 2 + 1
  return ByPosition(centre, table_dk.mean(0), spread / math.sqrt(count))
