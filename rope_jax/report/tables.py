"""The results as tables: one grid for a protocol, and table.md."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from rope_jax.report import ranking, rules
from rope_jax.report.inputs import (
  UNITS,
  StudyData,
  Value,
  cells,
  times,
)
from rope_jax.report.protocols import CAUTION, WARNING, describe, moves
from rope_jax.report.ties import ties

MISSING = '–'
BOLD = 'Bold: lowest of its column; none where all are the same.'


@dataclasses.dataclass(frozen=True)
class Cell:
  """One cell of a grid: its text, its number for sorting, and its rank."""

  text: str
  number: float = math.nan
  best: bool = False


@dataclasses.dataclass(frozen=True)
class Grid:
  """The table of one protocol.

  Args:
    protocol: its name.
    unit: of the cells, in words.
    lengths: the columns, tokens.
    change: heading of the last column: what, and between what.
    rows: (method, variant, cells), a cell for each length and the change.
  """

  protocol: str
  unit: str
  lengths: tuple[int, ...]
  change: tuple[str, str]
  rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def grid(data: StudyData, protocol: str) -> Grid:
  """Lays out the pooled cells of one protocol.

  The change is from the method as trained at the trained length to the row at
  the longest length, so that the variants of a method are held against the
  same number; where each length scores other tokens, it is from the method as
  trained to the row, both at the longest length.
  """
  found = cells(data, protocol, data.unit)
  lengths, longest = data.lengths, data.lengths[-1]
  best = {length: lowest(found, length) for length in lengths}
  still = moves(protocol)  # The change is within one length.
  rows = []
  for method, variant in data.series:
    line = []
    for length in lengths:
      value = found.get((method, variant, length))
      line.append(_cell(value, best[length]))
    key = data.start(method)
    start = found.get((*key, longest if still else data.train_len))
    end = found.get((method, variant, longest))
    same = still and key == (method, variant)
    line.append(Cell(MISSING) if same else _change(start, end))
    rows.append((method, variant, tuple(line)))
  change = f'{data.train_len} as trained → {longest}'
  if still:
    change = f'to as trained at {longest}'
  return Grid(protocol, UNITS[data.unit], lengths, ('Δ', change), tuple(rows))


def lowest(found: Mapping[Any, Value], length: int) -> float | None:
  """What is bold in a column: the lowest, but where all are the same none."""
  column = [v.value for (*_, n), v in found.items() if n == length]
  finite = [value for value in column if math.isfinite(value)]
  if not finite or (len(column) > 1 and len(set(column)) == 1):
    return None
  return min(finite)


def table_md(data: StudyData) -> str:
  """The text of table.md: the findings, then a table for each protocol."""
  lines = [f'# {_escape(data.title)}', '']
  if data.alone:
    lines += [f'{_escape(subject(data))}.', '']
  sentences = rules.findings(data)
  if sentences:
    lines += [f'Findings, by `{data.protocol}`:', '']
    lines += [f'* {_escape(sentence)}' for sentence in sentences]
    lines += ['', *([CAUTION, ''] if moves(data.protocol) else [])]
  lines += _ranking(data)
  for protocol in data.protocols:
    lines += _section(data, grid(data, protocol))
  for note in notes(data):
    lines += [_escape(note), '']
  lines += [WARNING, '']
  for heading, items in (
    ('Caveats', data.caveats),
    ('Not measured', data.failures),
  ):
    if items:
      lines += [f'{heading}:', '']
      lines += [f'* {_escape(item)}' for item in items]
      lines.append('')
  return '\n'.join(lines)


def subject(data: StudyData) -> str:
  """Of what there is one: the model that is read under schemes."""
  return f'{data.methods[0]}, trained at {data.train_len} tokens'


def notes(data: StudyData) -> list[str]:
  """How to read the tables, in sentences."""
  seeds = len(data.seeds)
  if seeds > 1:
    spread = f'over documents and {seeds} seeds'
  else:
    spread = 'over documents; there is one seed, so not over trainings'
  signs = f'{BOLD} diverged: the loss is not finite. {MISSING}: not measured. '
  if not data.certain:
    return [f'{signs}{rules.UNCERTAIN}', *ties(data)]
  return [
    f'± is one standard error, {spread}. {signs}A difference below two '
    'standard errors is called not distinguishable'
    + (
      '; differences are paired by document.'
      if data.influence
      else ', the errors added as if independent.'
    ),
    *ties(data),
  ]


def heading(data: StudyData, length: int) -> str:
  """The heading of a length's column: the length and its multiple."""
  if length == data.train_len:
    return f'{length} (trained)'
  return f'{length} ({times(length, data.train_len)})'


def _ranking(data: StudyData) -> list[str]:
  found = ranking.ranking(data)
  if found is None:
    return []
  heads = [data.kind, *ranking.heads(data)]
  lines = [
    f'## Ranking by `{found.protocol}`',
    '',
    '| ' + ' | '.join(heads) + ' |',
    '| :-- |' + ' --: |' * (len(heads) - 1),
  ]
  for method, variant, places in found.rows:
    texts = [_escape(data.label(method, variant)), *ranking.line(places)]
    lines.append('| ' + ' | '.join(texts) + ' |')
  return [*lines, '', ranking.NOTE, '']


def _section(data: StudyData, table: Grid) -> list[str]:
  heads = [data.kind, *(heading(data, n) for n in table.lengths)]
  heads.append(', '.join(table.change))
  lines = [
    f'## {_escape(table.protocol)}, {table.unit}',
    '',
    describe(table.protocol),
    '',
    '| ' + ' | '.join(heads) + ' |',
    '| :-- |' + ' --: |' * (len(heads) - 1),
  ]
  for method, variant, row in table.rows:
    texts = [f'**{cell.text}**' if cell.best else cell.text for cell in row]
    name = _escape(data.label(method, variant))
    lines.append(f'| {name} | ' + ' | '.join(texts) + ' |')
  return [*lines, '', *([CAUTION, ''] if moves(table.protocol) else [])]


def _cell(value: Value | None, best: float | None) -> Cell:
  if value is None:
    return Cell(MISSING)
  if value.diverged:
    return Cell('diverged', math.inf)
  digits = _digits(value.value)
  text = f'{value.value:.{digits}f}'
  if math.isfinite(value.stderr):
    text += f' ± {value.stderr:.{digits}f}'
  return Cell(text, value.value, value.value == best)


def _change(start: Value | None, end: Value | None) -> Cell:
  if start is None or end is None or start.diverged:
    return Cell(MISSING)
  if end.diverged:
    return Cell('diverged', math.inf)
  gap = end.value - start.value
  digits = _digits(max(start.value, end.value))
  return Cell(f'{gap:+.{digits}f}'.replace('-', '−'), gap)


def _digits(value: float) -> int:
  return 3 if value < 100 else 1 if value < 1e4 else 0


def _escape(text: str) -> str:
  """Keeps names from being read as markdown or HTML."""
  text = text.replace('&', '&amp;').replace('<', '&lt;').replace('\n', ' ')
  return re.sub(r'([|*`\\[\]])', r'\\\1', text)
