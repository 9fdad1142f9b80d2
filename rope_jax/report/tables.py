"""The results as tables: one grid for a protocol, and table.md."""

from __future__ import annotations

import dataclasses
import math
import re

from rope_jax.report import ranking, rules
from rope_jax.report.inputs import (
  AS_TRAINED,
  UNITS,
  StudyData,
  Value,
  cells,
  times,
)
from rope_jax.report.protocols import WARNING, describe

MISSING = '–'


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
    change: heading of the last column.
    rows: (method, variant, cells), a cell for each length and the change.
  """

  protocol: str
  unit: str
  lengths: tuple[int, ...]
  change: str
  rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def grid(data: StudyData, protocol: str) -> Grid:
  """Lays out the pooled cells of one protocol.

  The change is measured in nats per token from the method as trained at the
  trained length to the row at the longest length, so that the variants of a
  method are held against the same number.
  """
  found = cells(data, protocol, data.unit)
  nats = cells(data, protocol, 'nll')
  lengths, longest = data.lengths, data.lengths[-1]
  best = {}
  for (_, _, length), value in found.items():
    if not value.diverged:
      best[length] = min(value.value, best.get(length, math.inf))
  rows = []
  for method, variant in data.series:
    line = []
    for length in lengths:
      value = found.get((method, variant, length))
      line.append(_cell(value, best.get(length)))
    start = nats.get((method, AS_TRAINED, data.train_len))
    end = nats.get((method, variant, longest))
    line.append(_change(start, end))
    rows.append((method, variant, tuple(line)))
  change = f'Δ nats, {data.train_len} as trained → {longest}'
  return Grid(protocol, UNITS[data.unit], lengths, change, tuple(rows))


def table_md(data: StudyData) -> str:
  """The text of table.md: the findings, then a table for each protocol."""
  lines = [f'# {_escape(data.title)}', '']
  sentences = rules.findings(data)
  if sentences:
    lines += [f'Findings, by `{data.protocol}`:', '']
    lines += [f'* {_escape(sentence)}' for sentence in sentences]
    lines.append('')
  lines += _ranking(data)
  for protocol in data.protocols:
    lines += _section(data, grid(data, protocol))
  lines += [*notes(data), '', WARNING, '']
  for heading, items in (
    ('Caveats', data.caveats),
    ('Not measured', data.failures),
  ):
    if items:
      lines += [f'{heading}:', '']
      lines += [f'* {_escape(item)}' for item in items]
      lines.append('')
  return '\n'.join(lines)


def notes(data: StudyData) -> list[str]:
  """How to read the tables, in sentences."""
  seeds = len(data.seeds)
  if seeds > 1:
    spread = f'over documents and {seeds} seeds'
  else:
    spread = 'over documents; there is one seed, so not over trainings'
  signs = (
    'Bold: lowest of its column. diverged: the loss is not finite. '
    f'{MISSING}: not measured. '
  )
  if not data.certain:
    return [f'{signs}{rules.UNCERTAIN}']
  return [
    f'± is one standard error, {spread}. {signs}A difference below two '
    'standard errors is called not distinguishable'
    + (
      '; differences are paired by document.'
      if data.influence
      else ', the errors added as if independent.'
    )
  ]


def heading(data: StudyData, length: int) -> str:
  """The heading of a length's column: the length and its multiple."""
  if length == data.train_len:
    return f'{length} (trained)'
  return f'{length} ({times(length, data.train_len)})'


def label(method: str, variant: str) -> str:
  """'rope' as trained, 'rope + ntk' with a variant."""
  return method if variant == AS_TRAINED else f'{method} + {variant}'


def _ranking(data: StudyData) -> list[str]:
  found = ranking.ranking(data)
  if found is None:
    return []
  heads = ['method', *ranking.heads(data)]
  lines = [
    f'## Ranking by `{found.protocol}`',
    '',
    '| ' + ' | '.join(heads) + ' |',
    '| :-- |' + ' --: |' * (len(heads) - 1),
  ]
  for method, variant, places in found.rows:
    texts = [_escape(label(method, variant)), *ranking.line(places)]
    lines.append('| ' + ' | '.join(texts) + ' |')
  return [*lines, '', ranking.NOTE, '']


def _section(data: StudyData, table: Grid) -> list[str]:
  heads = ['method', *(heading(data, n) for n in table.lengths), table.change]
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
    name = _escape(label(method, variant))
    lines.append(f'| {name} | ' + ' | '.join(texts) + ' |')
  return [*lines, '']


def _cell(value: Value | None, best: float | None) -> Cell:
  if value is None:
    return Cell(MISSING)
  if value.diverged:
    return Cell('diverged', math.inf)
  digits = 3 if value.value < 100 else 1 if value.value < 1e4 else 0
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
  return Cell(f'{gap:+.3f}'.replace('-', '−'), gap)


def _escape(text: str) -> str:
  """Keeps names from being read as markdown or HTML."""
  text = text.replace('&', '&amp;').replace('<', '&lt;').replace('\n', ' ')
  return re.sub(r'([|*`\\[\]])', r'\\\1', text)
