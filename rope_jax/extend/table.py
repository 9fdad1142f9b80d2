"""The table of the literature: scheme, zero-shot and fine-tuned, by length."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rope_jax.report import StudyData
from rope_jax.report.compare import differ, show, show_change
from rope_jax.report.inputs import AS_TRAINED, UNITS, Value, cells
from rope_jax.report.protocols import CAUTION, describe, moves
from rope_jax.report.tables import BOLD, heading, lowest
from rope_jax.report.ties import ties


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of the table.

  Attributes:
    scheme: what it is called.
    method, variant: what the report calls it.
    train: the `train` section of its training; None is zero-shot.
  """

  scheme: str
  method: str
  variant: str
  train: Any = None

  @property
  def how(self) -> str:
    """'zero-shot', or how it was fine-tuned."""
    if self.train is None:
      return 'zero-shot'
    train = self.train
    weights = '' if train.weights == 'all' else f', {train.weights}'
    return f'fine-tuned, {train.steps} x {train.train_len}{weights}'


def extension_md(
  data: StudyData, lines: Sequence[Line], same: Mapping[str, str]
) -> str:
  """The text of extension.md.

  Args:
    data: the report; its first line's method as trained at data.train_len is
      what the others are held against.
    lines: the rows, in their order.
    same: schemes that are another one's (or the base's, 'none') zero-shot, to
      that one.

  Returns:
    For each protocol a table of the losses at every length, and the change at
    the trained length against the base, paired by document; then what can be
    told from zero.
  """
  made = [f'# {data.title}', '']
  ordered = sorted(data.protocols, key=lambda name: name != data.protocol)
  for protocol in ordered:
    made += _section(data, lines, protocol)
  made += [
    f'± is one standard error; changes at {data.train_len} are paired by '
    f'document, and fine-tuned rows show steps x tokens of a row. {BOLD}',
    '',
  ]
  for text in ties(data):
    made += [text, '']
  if same:
    said = [
      f'{scheme} is {"the base as trained" if o == AS_TRAINED else o}'
      for scheme, o in sorted(same.items())
    ]
    made += [f'Read zero-shot, {", ".join(said)}.', '']
  return '\n'.join(made)


def _section(
  data: StudyData, lines: Sequence[Line], protocol: str
) -> list[str]:
  found = cells(data, protocol, data.unit)
  base = found.get((lines[0].method, lines[0].variant, data.train_len))
  heads = ['scheme', 'weights', *(heading(data, n) for n in data.lengths)]
  heads.append(f'Δ at {data.train_len}')
  made = [
    f'## {UNITS[data.unit]} by {protocol}',
    '',
    describe(protocol),
    '',
    '| ' + ' | '.join(heads) + ' |',
    '| :-- | :-- |' + ' --: |' * (len(heads) - 2),
  ]
  best = {n: lowest(found, n) for n in data.lengths}
  changes = []
  for line in lines:
    row = {n: found.get((line.method, line.variant, n)) for n in data.lengths}
    texts = [_cell(row[n], best[n]) for n in data.lengths]
    here, change = row.get(data.train_len), '–'
    if base and here and here is not base and not here.diverged:
      gap, error, sure = differ(here, base)
      change = show_change(gap, error)
      changes.append((line, gap, sure))
    made.append(f'| {" | ".join([line.scheme, line.how, *texts, change])} |')
  under = [CAUTION, ''] if moves(protocol) else []
  return [*made, '', *under, *_verdict(data, changes)]


def _cell(value: Value | None, best: float | None) -> str:
  if value is None:
    return '–'
  if value.diverged:
    return 'diverged'
  return f'**{show(value)}**' if value.value == best else show(value)


def _verdict(
  data: StudyData, changes: Sequence[tuple[Line, float, bool]]
) -> list[str]:
  """What fine-tuning changed at the trained length, in a sentence."""
  tuned = [c for c in changes if c[0].train is not None]
  groups = (
    ('higher', [c for c in tuned if c[2] and c[1] > 0]),
    ('lower', [c for c in tuned if c[2] and c[1] < 0]),
    ('not distinguishable', [c for c in tuned if not c[2]]),
  )
  said = [
    f'{what}: {", ".join(line.scheme for line, *_ in group)}'
    for what, group in groups
    if group
  ]
  if not said:
    return []
  return [
    f'Fine-tuned, at the trained length of {data.train_len} tokens, against '
    f'the base: {"; ".join(said)}.',
    '',
  ]
