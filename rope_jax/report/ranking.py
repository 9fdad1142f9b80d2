"""The ranking of a study's methods, with the ranks that cannot be excluded."""

from __future__ import annotations

import dataclasses
import math

from rope_jax.report import rules
from rope_jax.report.inputs import StudyData, Value, cells

LEAST = 3  # Series from which a ranking says more than the findings.


@dataclasses.dataclass(frozen=True)
class Place:
  """Where one series stands at one length.

  Attributes:
    value: its loss, in the study's unit.
    first: its best possible rank: one more than the number of series that are
      distinguishably lower.
    last: its worst possible rank: the number of series less those that are
      distinguishably higher.
    gap: how much above the lowest it is.
    error: the standard error of that, paired by document.
  """

  value: Value
  first: int
  last: int
  gap: float
  error: float

  @property
  def text(self) -> str:
    """'3', or '2–5' where ranks 2 to 5 cannot be told apart."""
    return (
      str(self.first)
      if self.first == self.last
      else f'{self.first}–{self.last}'
    )


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Every series of a study, the lowest at the longest length first.

  Attributes:
    protocol: whose losses.
    lengths: the columns, tokens.
    rows: (method, variant, a Place for each length, or None where it was not
      measured).
  """

  protocol: str
  lengths: tuple[int, ...]
  rows: tuple[tuple[str, str, tuple[Place | None, ...]], ...]


def ranking(data: StudyData) -> Ranking | None:
  """Ranks methods and variants at every length by the main protocol.

  Two series share ranks where their difference, paired by document where the
  study tells, is below two standard errors. A diverged one comes last.

  Args:
    data: the study.

  Returns:
    The ranking; None with fewer than three series, and where no error is
    known, so that all would share all ranks.
  """
  if len(data.series) < LEAST or not data.certain:
    return None
  found = cells(data, data.protocol, data.unit)
  columns = []
  for length in data.lengths:
    there = {(m, v): value for (m, v, n), value in found.items() if n == length}
    columns.append(_places(there))

  def order(series: tuple[str, str]) -> tuple[float, ...]:
    places = [column.get(series) for column in reversed(columns)]
    return tuple(
      math.inf if p is None or p.value.diverged else p.value.value
      for p in places
    )

  rows = tuple(
    (*series, tuple(column.get(series) for column in columns))
    for series in sorted(data.series, key=order)
  )
  return Ranking(data.protocol, data.lengths, rows)


def _places(there: dict[tuple[str, str], Value]) -> dict:
  finite = [v for v in there.values() if not v.diverged]
  lowest = min(finite, key=lambda v: v.value, default=None)
  places = {}
  for series, value in there.items():
    lower = higher = 0
    for other in there.values():
      if other is value or (other.diverged and value.diverged):
        continue
      if other.diverged or value.diverged:
        lower, higher = lower + value.diverged, higher + other.diverged
        continue
      gap, _, sure = rules.differ(value, other)
      lower, higher = lower + (sure and gap > 0), higher + (sure and gap < 0)
    gap, error = math.nan, math.nan
    if lowest is not None and not value.diverged:
      gap, error, _ = rules.differ(value, lowest)
    places[series] = Place(value, lower + 1, len(there) - higher, gap, error)
  return places


NOTE = (
  'A rank such as 2–5 means that the difference from those ranks is below two '
  'standard errors, each pair taken by itself: among many pairs some such '
  'differences are chance. Ordered by the loss at the longest length.'
)


def heads(data: StudyData) -> list[str]:
  """The columns after the method: a rank for each length, and the gap."""
  return [
    *(
      f'{n} (trained)' if n == data.train_len else str(n) for n in data.lengths
    ),
    f'above the lowest at {data.lengths[-1]}',
  ]


def line(places: tuple[Place | None, ...]) -> list[str]:
  """The cells of one row under `heads`."""
  texts = ['–' if p is None else p.text for p in places]
  last = places[-1]
  if last is None:
    gap = '–'
  elif last.value.diverged:
    gap = 'diverged'
  elif last.gap == 0:
    gap = 'lowest'
  else:
    gap = rules.show_change(last.gap, last.error)
  return [*texts, gap]
