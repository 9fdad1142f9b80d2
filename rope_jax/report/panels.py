"""Which lines stand in which panel of the figure, and what they are called."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from rope_jax.report.axes import Scale, length_label
from rope_jax.report.inputs import AS_TRAINED, StudyData, Value
from rope_jax.report.style import Style, families, styles

_LONGEST = 26  # Letters of a label.
_MOST = 8  # Lines of a panel that can still be followed.
_PAIRED = 5  # The same where they come before and after training.


@dataclasses.dataclass(frozen=True)
class Line:
  """A curve of a panel."""

  name: str
  values: dict[int, Value]
  style: Style

  def finite(self) -> list[int]:
    return sorted(n for n, v in self.values.items() if not v.diverged)


def panels(
  data: StudyData, found: Mapping[Any, Value]
) -> list[tuple[str, list[Line]]]:
  """Sorts the curves into small multiples.

  Args:
    data: the study.
    found: (method, variant, length) to value.

  Returns:
    (title, lines): the methods as trained, then the variants of each method
    that has any, each beside the method as trained; a panel for each scheme
    where the schemes come with several factors. More lines than eight are
    spread over panels, the lowest at the longest length first. Of an extension
    by training, each scheme zero-shot and fine-tuned, beside the base.
  """
  look = styles(data)
  lines = {}
  for method, variant in data.series:
    values = {
      n: value
      for (m, v, n), value in found.items()
      if (m, v) == (method, variant)
    }
    if values:
      name = method if variant == AS_TRAINED else variant
      if data.tuned:
        name = data.label(method, variant)
      lines[method, variant] = Line(name, values, look[method, variant])
  if data.tuned:
    return _trainings(data, lines)
  trained = [line for (_, v), line in lines.items() if v == AS_TRAINED]
  multiples = _spread('Methods as trained', [], trained)
  kin = families(data.variants)
  for method in data.methods:
    mine = {v: line for (m, v), line in lines.items() if m == method}
    start = mine.pop(AS_TRAINED, None)
    first = [dataclasses.replace(start, name='as trained')] if start else []
    for scheme, names in kin.items():
      some = [mine.pop(v) for v in names if v in mine]
      if some:
        multiples.append((f'{method} + {scheme}', [*first, *some]))
    if mine:
      multiples += _spread(f'Variants of {method}', first, list(mine.values()))
  if len(data.methods) == 1 and len(multiples) > 1:
    multiples = multiples[1:]  # Its line is in every other panel.
  return [(title, mine) for title, mine in multiples if mine]


def _trainings(
  data: StudyData, lines: Mapping[tuple[str, str], Line]
) -> list[tuple[str, list[Line]]]:
  """A few schemes a panel, each before and after training, and the base."""
  base = data.methods[0]
  first = [lines[base, AS_TRAINED]] if (base, AS_TRAINED) in lines else []
  groups: dict[str, list[Line]] = {}
  names = {}
  for method, (scheme, variant) in data.tuned.items():
    names.setdefault(variant, scheme if variant == AS_TRAINED else variant)
    group = groups.setdefault(variant, [])
    if not group and variant != AS_TRAINED and (base, variant) in lines:
      group.append(lines[base, variant])
    if (method, AS_TRAINED) in lines:
      group.append(lines[method, AS_TRAINED])
  found: list[tuple[str, list[Line]]] = []
  for variant, group in groups.items():
    if found and len(found[-1][1]) - len(first) + len(group) <= _PAIRED:
      title, mine = found.pop()
      found.append((f'{title}, {names[variant]}', [*mine, *group]))
    elif group:
      found.append((names[variant], [*first, *group]))
  left = [
    lines[base, v]
    for v in data.variants
    if v not in groups and (base, v) in lines
  ]
  return found + (_spread('Zero-shot alone', first, left) if left else [])


def _spread(
  title: str, first: list[Line], others: list[Line]
) -> list[tuple[str, list[Line]]]:
  """One panel, or several of about equally many lines in order of their loss;
  `first` is in each."""
  room = _MOST - len(first)
  if len(others) <= room:
    return [(title, [*first, *others])]

  def loss(line: Line) -> tuple[int, float]:
    last = max(line.values)
    value = line.values[last]
    return -last, math.inf if value.diverged else value.value

  others = sorted(others, key=loss)
  count = -(-len(others) // room)
  size = -(-len(others) // count)
  return [
    (f'{title}, {at + 1} of {count}', [*first, *others[at * size :][:size]])
    for at in range(count)
  ]


def label(data: StudyData, line: Line, scale: Scale) -> str:
  """The name at a line's end, with what the axis cannot show of it."""
  name = line.name
  if len(name) > _LONGEST:
    name = name[: _LONGEST - 1] + '…'
  last = max(line.values)
  if line.values[last].diverged:
    return f'{name} (diverged)'
  if last < data.lengths[-1]:
    return f'{name} (ends at {length_label(last)})'
  if line.values[last].value > scale.knee:
    return f'{name} {line.values[last].value:.2f}'
  return name
