"""The findings of a study: sentences derived from its rows by rule."""

from __future__ import annotations

import math

import numpy as np

from rope_jax.report.inputs import (
  AS_TRAINED,
  UNITS,
  StudyData,
  Value,
  cells,
  times,
)

# A difference is claimed above this many standard errors of it. It is paired
# by document where the study says how each document weighs in (`influence`);
# else the errors of the two sides are added as if independent.
SURE = 2.0
_NAMED = 5  # Names a sentence lists at most.
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
    Sentences as plain text: what each method does from the trained length to
    the longest one, which variant mends it and by how much, what that costs
    at the trained length, and which is best. Differences below two standard
    errors are called not distinguishable; where no error is known, nothing is
    said but the order.
  """
  table = _Table(data, protocol or data.protocol)
  if not data.certain:
    return [table.order(), UNCERTAIN]
  rising, holding = [], []
  for method in data.methods:
    line, rise = table.extrapolates(method)
    if line:
      (holding if rise is None else rising).append((rise, line))
  rising.sort(key=lambda pair: -pair[0])
  lines = [table.best()]
  lines += [line for _, line in rising]
  lines += [line for _, line in holding]
  lines += [table.price(method) for method in data.methods]
  return [line for line in lines if line]


def differ(a: Value, b: Value) -> tuple[float, float, bool]:
  """(a - b, its standard error, whether it can be told from zero)."""
  gap = a.value - b.value
  stderr = _combined((1.0, a), (-1.0, b))
  return gap, stderr, abs(gap) > SURE * stderr  # False where stderr is NaN.


def _combined(*terms: tuple[float, Value]) -> float:
  """The standard error of a sum of values times factors."""
  vectors = [v.influence for _, v in terms if v.influence is not None]
  if len(vectors) == len(terms) and len({len(v) for v in vectors}) == 1:
    total = sum(
      factor * vector
      for (factor, _), vector in zip(terms, vectors, strict=True)
    )
    return float(np.linalg.norm(total))
  return math.hypot(*(factor * value.stderr for factor, value in terms))


def mended(trained: Value, broken: Value, fixed: Value) -> tuple[float, float]:
  """The share of a rise that a variant takes back, and its standard error.

  share = (broken - fixed) / (broken - trained)

  Args:
    trained: as trained, at the trained length.
    broken: as trained, at the longer length.
    fixed: the variant, at the longer length.

  Returns:
    (share, standard error to first order).
  """
  rise = broken.value - trained.value
  share = (broken.value - fixed.value) / rise
  return share, _combined(
    ((fixed.value - trained.value) / rise**2, broken),
    (-1 / rise, fixed),
    (share / rise, trained),
  )


def show(value: Value) -> str:
  """'1.90 ± 0.02', with as many digits as the error bears."""
  if value.diverged:
    return 'diverged'
  digits = digits_of(value.stderr)
  if not math.isfinite(value.stderr):
    return f'{value.value:.{digits}f}'
  return f'{value.value:.{digits}f} ± {value.stderr:.{digits}f}'


def digits_of(stderr: float) -> int:
  """Decimals that show an error with two digits, between 2 and 4."""
  if not math.isfinite(stderr) or stderr <= 0:
    return 2
  return min(4, max(2, 1 - math.floor(math.log10(stderr))))


class _Table:
  """The cells of one protocol, and the sentences about them."""

  def __init__(self, data: StudyData, protocol: str):
    self.data = data
    self.unit = UNITS[data.unit]
    self.cells = cells(data, protocol, data.unit)

  def _at(self, length: int) -> str:
    x = times(length, self.data.train_len)
    return f'at {x} ({length} tokens)'

  def _longest(self, method: str) -> int | None:
    lengths = [n for m, v, n in self.cells if m == method and v == AS_TRAINED]
    return max(lengths, default=None)

  def _variants(self, method: str, length: int) -> list[tuple[Value, str]]:
    """Finite variants of a method at a length, the best first."""
    found = [
      (value, v)
      for (m, v, n), value in self.cells.items()
      if m == method and n == length and v != AS_TRAINED and not value.diverged
    ]
    return sorted(found, key=lambda pair: pair[0].value)

  def order(self) -> str:
    """What was measured at the longest length, the lowest first."""
    longest = self.data.lengths[-1]
    found = [
      (value.value, m if v == AS_TRAINED else f'{m} + {v}')
      for (m, v, n), value in self.cells.items()
      if n == longest and not value.diverged
    ]
    told = ', '.join(f'{name} {value:.3f}' for value, name in sorted(found))
    return f'In {self.unit} {self._at(longest)}: {told}.'

  def best(self) -> str:
    """What is lowest at the longest length, and what cannot be told from it."""
    longest = self.data.lengths[-1]
    found = [
      (value, f'{m}, as trained,' if v == AS_TRAINED else f'{m} + {v}')
      for (m, v, n), value in self.cells.items()
      if n == longest and not value.diverged
    ]
    if len(found) < 2:
      return ''
    found.sort(key=lambda pair: pair[0].value)
    (first, name), others = found[0], found[1:]
    verb = 'has' if name.endswith(',') else 'with'
    text = f'Lowest {self._at(longest)}: {name} {verb} {show(first)} '
    text += self.unit
    ties = [n.rstrip(',') for v, n in others if not differ(v, first)[2]]
    if ties:
      return f'{text}; not distinguishable from it: {_join(ties)}.'
    return f'{text}; everything else is distinguishably higher.'

  def extrapolates(self, method: str) -> tuple[str, float | None]:
    """The sentence on a method as trained, and its rise (None: no rise)."""
    train_len, longest = self.data.train_len, self._longest(method)
    start = self.cells.get((method, AS_TRAINED, train_len))
    if longest is None:
      return '', None
    end = self.cells[method, AS_TRAINED, longest]
    bad = [
      n
      for (m, v, n), value in sorted(self.cells.items())
      if m == method and v == AS_TRAINED and value.diverged
    ]
    if end.diverged or (start is not None and start.diverged):
      text = f'{method}, as trained, diverges {self._at(min(bad))}'
      return text + self._repair(method, longest, start, end), math.inf
    if start is None or longest <= train_len:
      known = f'{method}, as trained, was not evaluated '
      known += 'at' if start is None else 'beyond'
      return f'{known} its trained length of {train_len} tokens.', None
    gap, stderr, sure = differ(end, start)
    span = f'{show(start)} to {show(end)} {self.unit} {self._at(longest)}'
    if bad:
      span += f' (though it diverges {_join([f"at {n}" for n in bad])})'
    if not sure:
      return (
        f'{method}, as trained, holds: from {span}, a change that is not '
        f'distinguishable from zero '
        f'({show_change(gap, stderr)}).'
      ), None
    if gap < 0:
      return f'{method}, as trained, improves from {span}.', None
    text = f'{method}, as trained, rises from {span}'
    return text + self._repair(method, longest, start, end), gap

  def _repair(self, method, length, start, end) -> str:
    """How the sentence on a rise goes on: what the variants do about it."""
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
    best, name = found[0]
    if end.diverged:
      text = f'; {name} brings it to {show(best)}'
    elif not differ(end, best)[2]:
      return (
        '; no variant is distinguishably lower '
        f'(the lowest, {name}: {show(best)}).'
      )
    elif best.value > end.value:
      return f'; every variant is worse (the lowest, {name}: {show(best)}).'
    else:
      share, error = mended(start, end, best)
      about = f'{100 * share:.0f} ± {max(100 * error, 1):.0f} %'
      text = f'; {name} brings it back to {show(best)} '
      text += f'({about} of the rise mended)'
    ties = [v for value, v in found[1:] if not differ(value, best)[2]]
    if ties:
      text += f', not distinguishable from {_join(ties)}'
    worse = [
      v
      for value, v in found[1:]
      if not end.diverged and differ(value, end)[2] and value.value > end.value
    ]
    worse += [v for v in every if v not in [name for _, name in found]]
    if worse and not end.diverged:
      text += f'; worse than no variant at all: {_join(worse)}'
    return text + '.'

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
    text += f'{self.unit}: {_join(costs)}'
    if free:
      text += f'; not distinguishable from as trained: {_join(free)}'
    return text + '.'


def show_change(gap: float, stderr: float) -> str:
  """'+0.12 ± 0.02'."""
  digits = digits_of(stderr)
  text = f'{gap:+.{digits}f}'.replace('-', '−')
  if not math.isfinite(stderr):
    return f'{text}, its error unknown'
  return f'{text} ± {stderr:.{digits}f}'


def _join(names: list[str]) -> str:
  """'a, b and c', and of a long list the first ones and how many follow."""
  if len(names) > _NAMED:
    rest = len(names) - _NAMED + 1
    names = [*names[: _NAMED - 1], f'{rest} others']
  if len(names) < 2:
    return ''.join(names)
  return ', '.join(names[:-1]) + ' and ' + names[-1]
