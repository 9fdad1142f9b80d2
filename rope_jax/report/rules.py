"""The findings of a study: sentences derived from its rows by rule."""

from __future__ import annotations

import math

from rope_jax.report.compare import (
  differ,
  join,
  mended,
  show,
  show_change,
)
from rope_jax.report.inputs import (
  AS_TRAINED,
  POOLED,
  UNITS,
  StudyData,
  Value,
  cells,
  times,
)
from rope_jax.report.protocols import moves

UNCERTAIN = (
  'One document was measured, so there is no standard error: whether any of '
  'these differences is more than chance cannot be told.'
)


def findings(data: StudyData, protocol: str | None = None) -> list[str]:
  """Derives the findings, the most telling first.

  Args:
    data: the study.
    protocol: whose numbers to read; None for the study's main protocol.

  Returns:
    Sentences as plain text: which is best, what each method does from the
    trained length to the longest one, where its rise begins, which variant
    mends it and by how much, and what that costs at the trained length.
    Differences below two standard errors are called not distinguishable; where
    no error is known, nothing is said but the order. Where the protocol scores
    other tokens at each length, series are held against each other within a
    length alone.
  """
  table = _Table(data, protocol or data.protocol)
  if not data.certain:
    told = [table.order(), *map(table.values, data.methods), UNCERTAIN]
    return [line for line in told if line]
  rising, holding = [], []
  for method in data.methods:
    line, rise = table.extrapolates(method)
    if line:
      (holding if rise is None else rising).append((rise, line))
  rising.sort(key=lambda pair: -pair[0])
  lines = [table.best(length) for length in table.aims()]
  lines += [line for _, line in rising]
  lines += [line for _, line in holding]
  lines += [table.price(method) for method in data.methods]
  return [line for line in lines if line]


class _Table:
  """The cells of one protocol, and the sentences about them."""

  def __init__(self, data: StudyData, protocol: str):
    self.data = data
    self.moves = moves(protocol)
    self.unit = UNITS[data.unit]
    self.cells = cells(data, protocol, data.unit)

  def aims(self) -> list[int]:
    """The lengths at which it counts who is best: those that schemes were
    trained on for, and the longest."""
    longest, most = self.data.lengths[-1], self.data.train_len
    asked = {
      int(row['train_len'])
      for row in self.data.rows
      if row['seed'] == POOLED and row['method'] in self.data.tuned
    }
    between = {n for n in asked if most < n < longest}
    return [*sorted(between & set(self.data.lengths)), longest]

  def _at(self, length: int) -> str:
    x = times(length, self.data.train_len)
    return f'at {x} ({length} tokens)'

  def _name(self, method: str, variant: str) -> str:
    if variant == AS_TRAINED and not self.data.alone:
      return f'{method}, as trained'
    return self.data.label(method, variant)

  def _subject(self, method: str) -> str:
    if method in self.data.tuned:
      return self.data.label(method, AS_TRAINED)
    return f'{method}, as trained,'

  def _longest(self, method: str) -> int | None:
    lengths = [n for m, v, n in self.cells if m == method and v == AS_TRAINED]
    return max(lengths, default=None)

  def _ordered(self, length: int) -> list[tuple[Value, tuple[str, str]]]:
    """All that is finite at a length, the lowest first."""
    found = [
      (value, (m, v))
      for (m, v, n), value in self.cells.items()
      if n == length and not value.diverged
    ]
    return sorted(found, key=lambda pair: pair[0].value)

  def _variants(self, method: str, length: int) -> list[tuple[Value, str]]:
    """Finite variants of a method at a length, the best first."""
    return [
      (value, v)
      for value, (m, v) in self._ordered(length)
      if m == method and v != AS_TRAINED
    ]

  def order(self) -> str:
    """What was measured at the longest length, the lowest first."""
    longest = self.data.lengths[-1]
    groups: dict[float, list[str]] = {}
    for value, key in self._ordered(longest):
      groups.setdefault(value.value, []).append(self.data.label(*key))
    told = ', '.join(
      f'{join(names)} {value:.3f}' for value, names in groups.items()
    )
    return f'In {self.unit} {self._at(longest)}: {told}.'

  def values(self, method: str) -> str:
    """A method as trained from its length on, where no error is known."""
    found = [
      (n, value)
      for (m, v, n), value in sorted(self.cells.items())
      if (m, v) == (method, AS_TRAINED) and n >= self.data.train_len
    ]
    if self.moves or len(found) < 2:
      return ''
    told = ', '.join(
      f'{"diverged" if value.diverged else f"{value.value:.3f}"} at {n}'
      for n, value in found
    )
    return f'{self._subject(method)} by length: {told} tokens.'

  def best(self, length: int) -> str:
    """What is lowest at a length, and what cannot be told from it."""
    found = self._ordered(length)
    if len(found) < 2:
      return ''
    first = found[0][0]
    names = [self._name(*k) for v, k in found if v.value == first.value]
    others = found[len(names) :]
    same = ' (the same losses)' if len(names) > 1 else ''
    text = f'{join(names)}, {show(first)} {self.unit}{same}'
    if not others:
      at = self._at(length)
      return f'{at[0].upper()}{at[1:]} nothing differs: {text}.'
    text = f'Lowest {self._at(length)}: {text}'
    ties = [self._name(*key) for v, key in others if not differ(v, first)[2]]
    if ties:
      return f'{text}; not distinguishable from it: {join(ties)}.'
    return f'{text}; everything else is distinguishably higher.'

  def extrapolates(self, method: str) -> tuple[str, float | None]:
    """The sentence on a method as trained, and its rise (None: no rise)."""
    train_len, longest = self.data.train_len, self._longest(method)
    start = self.cells.get((method, AS_TRAINED, train_len))
    if longest is None:
      return '', None
    who = self._subject(method)
    end = self.cells[method, AS_TRAINED, longest]
    if self.moves:
      repair = self._repair(method, longest, None, end)
      has = 'diverges' if end.diverged else f'has {show(end)} {self.unit}'
      text = f'{who} {has} {self._at(longest)}{repair}'
      return (text if len(repair) > 1 else ''), None
    bad = [
      n
      for (m, v, n), value in sorted(self.cells.items())
      if m == method and v == AS_TRAINED and value.diverged
    ]
    if end.diverged or (start is not None and start.diverged):
      text = f'{who} diverges {self._at(min(bad))}'
      return text + self._repair(method, longest, start, end), math.inf
    if start is None or longest <= train_len:
      known = f'{who} was not evaluated '
      known += 'at' if start is None else 'beyond'
      return f'{known} its trained length of {train_len} tokens.', None
    gap, stderr, sure = differ(end, start)
    span = f'{show(start)} to {show(end)} {self.unit} {self._at(longest)}'
    if bad:
      span += f' (though it diverges {join([f"at {n}" for n in bad])})'
    if not sure:
      text = f'{who} holds: from {span}, a change that is not distinguishable '
      return f'{text}from zero ({show_change(gap, stderr)}).', None
    if gap < 0:
      return f'{who} improves from {span}.', None
    text = f'{who} rises from {span}{self._begins(method, start)}'
    return text + self._repair(method, longest, start, end), gap

  def _begins(self, method: str, start: Value) -> str:
    """Where a rise begins, if several lengths beyond were measured."""
    beyond = [
      (n, value)
      for (m, v, n), value in sorted(self.cells.items())
      if (m, v) == (method, AS_TRAINED) and n > self.data.train_len
    ]
    if len(beyond) < 2:
      return ''
    for n, value in beyond:
      gap, _, sure = differ(value, start)
      if value.diverged or (sure and gap > 0):
        return f', first distinguishably higher {self._at(n)}'
    return ''

  def _repair(
    self, method: str, length: int, start: Value | None, end: Value
  ) -> str:
    """How the sentence on a rise goes on: what the variants do about it.

    Without a start nothing is said of a rise, only of this length.
    """
    if method in self.data.tuned:
      return self._trained(method, length)
    every = [
      v
      for m, v, n in self.cells
      if m == method and n == length and v != AS_TRAINED
    ]
    if not every:
      return '.'
    found = self._variants(method, length)
    if not found:
      return '; every variant diverges too.'
    best = found[0][0]
    lowest = [v for value, v in found if value.value == best.value]
    others, name = found[len(lowest) :], join(lowest)
    s = 's' if len(lowest) == 1 else ''
    if end.diverged:
      text = f'; {name} bring{s} it to {show(best)}'
    elif not differ(end, best)[2]:
      return (
        '; no variant is distinguishably lower '
        f'(the lowest, {name}: {show(best)}).'
      )
    elif best.value > end.value:
      return f'; every variant is worse (the lowest, {name}: {show(best)}).'
    elif start is None:
      gap, error, _ = differ(best, end)
      text = f'; {name} {"has" if s else "have"} {show(best)} '
      text += f'({show_change(gap, error)})'
    else:
      share, error = mended(start, end, best)
      about = f'{100 * share:.0f} ± {max(100 * error, 1):.0f} %'
      text = f'; {name} bring{s} it back to {show(best)} '
      text += f'({about} of the rise mended)'
    ties = [v for value, v in others if not differ(value, best)[2]]
    if ties:
      text += f', not distinguishable from {join(ties)}'
    worse = [
      v
      for value, v in others
      if not end.diverged and differ(value, end)[2] and value.value > end.value
    ]
    worse += [v for v in every if v not in [name for _, name in found]]
    if worse and not end.diverged:
      text += f'; worse than no variant at all: {join(worse)}'
    return text + '.'

  def _trained(self, method: str, length: int) -> str:
    """What training changed: where it trained for, else where it ends."""
    base, variant = self.data.start(method)[0], self.data.tuned[method][1]
    aim = self.aims()[0]
    after = self.cells.get((method, AS_TRAINED, aim))
    before = self.cells.get((base, variant, aim))
    if aim < length and before and after:
      return f'; {self._at(aim)} {show(after)}, zero-shot {show(before)}.'
    before = self.cells.get((base, variant, length))
    return f'; zero-shot it has {show(before)} there.' if before else '.'

  def price(self, method: str) -> str:
    """What the variants of a method cost at the trained length."""
    train_len = self.data.train_len
    start = self.cells.get((method, AS_TRAINED, train_len))
    if start is None or start.diverged:
      return ''
    found = self._variants(method, train_len)
    moved = [(differ(v, start), name) for v, name in found]
    costs = [
      f'{name} {show_change(gap, stderr)}'
      for (gap, stderr, sure), name in reversed(moved)  # The dearest first.
      if sure and gap > 0
    ]
    if not costs:
      return ''
    free = [name for (_, _, sure), name in moved if not sure]
    text = f'What the variants of {method} cost at the trained length, in '
    text += f'{self.unit}: {join(costs)}'
    if free:
      text += f'; not distinguishable from as trained: {join(free)}'
    return text + '.'
