"""Reads stores and metrics into the rows of a report."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rope_jax import config as config_lib
from rope_jax import data, evaluate, metrics, workdir
from rope_jax.report.inputs import POOLED, StudyData

# The fields of a configuration that reading a model that is there depends on.
READ = (
  'name',
  'start',
  'data.name',
  'data.path',
  'data.dir',
  'data.text_key',
  'data.eval_split',
  'model.dtype',
  'model.scan',
  'model.attention',
  'mesh',
  'eval.lengths',
  'eval.documents',
  'eval.span',
  'eval.protocols',
  'eval.chunk',
  'eval.cache_dtype',
  'variants',
  'full',
  'quick',
)


@dataclasses.dataclass(frozen=True)
class Series:
  """What becomes one line of a report: a method under a variant.

  Attributes:
    method, variant: what the report calls it.
    train_len: tokens of the rows it was trained on.
    stores: where the losses of each seed are.
    stored: which variant of those stores.
  """

  method: str
  variant: str
  train_len: int
  stores: Mapping[int, evaluate.Store]
  stored: str


def gather(
  config: Any,
  series: Iterable[Series],
  training: Iterable[tuple[str, int, pathlib.Path]],
  chosen: Sequence[data.EvalDocument],
) -> dict[str, Any]:
  """The rows of a report, seeds pooled and apart.

  Args:
    config: its `eval` says lengths and protocols.
    series: the lines, in their order.
    training: (method, seed, metrics.jsonl) of each training.
    chosen: the documents that were measured on.

  Returns:
    What `report.StudyData` takes as rows, by_position, training and influence.
  """
  byte_lengths = np.stack([d.bytes_per_token for d in chosen])
  lengths = [int(length) for length in config.eval.lengths]
  sizes = {'span': evaluate.span(config), 'longest': max(lengths)}
  rows, positions, influence = [], [], {}
  for line in series:
    for length in lengths:
      read = {s: o.read(line.stored, length) for s, o in line.stores.items()}
      found = {s: cell for s, cell in read.items() if cell is not None}
      if not found:
        continue
      key = {
        'method': line.method,
        'variant': line.variant,
        'train_len': line.train_len,
        'eval_len': length,
      }
      for protocol in config.eval.protocols:
        sums = {
          s: evaluate.sums(c, protocol, byte_lengths=byte_lengths, **sizes)
          for s, c in found.items()
        }
        for seed, one in sums.items():
          rows.append(_row(key, protocol, evaluate.figure([one]), seed))
        pooled = evaluate.figure(list(sums.values()))
        rows.append(_row(key, protocol, pooled, POOLED))
        if len(pooled.influence):
          where = (line.method, line.variant, length, protocol)
          influence[where] = pooled.influence
      curve = evaluate.by_position(list(found.values()))
      positions.append(
        {
          'method': line.method,
          'variant': line.variant,
          'eval_len': length,
          'seed': POOLED,
          'position': curve.position,
          'nll': curve.nll,
          'stderr': curve.stderr,
        }
      )
  return {
    'rows': rows,
    'by_position': positions,
    'training': [
      {'method': method, 'seed': seed, **_curve(path)}
      for method, seed, path in training
    ],
    'influence': influence,
  }


def study_data(
  config: Any,
  gathered: Mapping[str, Any],
  *,
  note: str,
  command: str,
  train_len: int,
  caveats: list[str],
  failures: list[str],
  tuned: Mapping[str, tuple[str, str]] | None = None,
  fields: Sequence[str] = (),
) -> StudyData:
  """What a report is made of.

  Args:
    config: the experiment's configuration.
    gathered: what `gather` returned.
    note: the question: the docstring of the config, whose first line is the
      title.
    command: how to run it.
    train_len: tokens that the models were trained at.
    caveats: what a reader must know before quoting a number.
    failures: what could not be measured, and why.
    tuned: of an extension by training, see `report.StudyData`.
    fields: those of the configuration that the report shows, such as `READ`:
      what a run reads. () is all of them.

  Raises:
    KeyError: `fields` names one that there is not.
  """
  title, _, question = note.strip().partition('\n')
  return StudyData(
    title=title.rstrip('.') or str(config.name),
    question=question.strip(),
    train_len=train_len,
    command=command,
    config=_picked(config_lib.plain(config), fields),
    versions=workdir.versions(),
    caveats=caveats,
    failures=failures,
    tuned=tuned or {},
    **gathered,
  )


def _picked(config: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
  """The named fields of a nested configuration, or all of it."""
  if not fields:
    return dict(config)
  found: dict[str, Any] = {}
  for field in fields:
    *sections, name = field.split('.')
    there, here = config, found
    for section in sections:
      there, here = there[section], here.setdefault(section, {})
    here[name] = there[name]
  return found


def natural(name: str) -> list[tuple[int, int, str]]:
  """A sorting key that puts 'ntk-2' before 'ntk-16'."""
  parts = re.split(r'(\d+)', name)
  return [(0, int(p), '') if p.isdigit() else (1, 0, p) for p in parts]


def _row(
  key: Mapping[str, Any],
  protocol: str,
  figure: evaluate.Figure,
  seed: int | str,
) -> dict[str, Any]:
  return {
    **key,
    'protocol': protocol,
    'nll': figure.nll,
    'stderr': figure.stderr,
    'perplexity': figure.perplexity,
    'bits_per_byte': figure.bits_per_byte,
    'tokens': figure.tokens,
    'documents': figure.documents,
    'seed': seed,
  }


def _curve(path: pathlib.Path) -> dict[str, np.ndarray]:
  """A training curve out of metrics.jsonl."""
  rows = metrics.read(path)
  return {
    name: np.array([row[name] for row in rows], float)
    for name in ('step', 'tokens', 'loss', 'tokens_per_second')
  }
