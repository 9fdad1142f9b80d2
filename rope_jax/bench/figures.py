"""What a suite of the bench says: figures with bars, as table and plot."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from matplotlib import ticker
from matplotlib.figure import Figure as Canvas

from rope_jax.bench.timing import Timing


@dataclasses.dataclass(frozen=True)
class Figure:
  """One measured number, and what it should be.

  Attributes:
    what: what was measured, with its shape.
    value: the number.
    unit: of it; 'x' for ratios.
    bar: the number to reach; None for one that is only reported.
    most: whether the bar is the most that the value may be, or the least.
    low, high: quartiles over rounds; None for what does not vary.
    note: absolute numbers behind it.
  """

  what: str
  value: float
  unit: str = 'x'
  bar: float | None = None
  most: bool = True
  low: float | None = None
  high: float | None = None
  note: str = ''

  @property
  def reached(self) -> bool | None:
    """Whether the value is on the right side of the bar; None without one."""
    if self.bar is None:
      return None
    return self.value <= self.bar if self.most else self.value >= self.bar


def from_pair(timings: list[Timing], what: str, bar: float) -> Figure:
  """Our time over the peer's, from a case whose first way is the peer's."""
  peer, ours = timings
  return Figure(
    what, ours.ratio, bar=bar, low=ours.low, high=ours.high,
    note=f'{_time(ours.seconds)} against {_time(peer.seconds)} of {peer.way}',
  )  # fmt: skip


def _time(seconds: float) -> str:
  return f'{1e3 * seconds:.0f} ms' if seconds < 1 else f'{seconds:.2f} s'


def _cells(figure: Figure) -> list[str]:
  spread = ''
  if figure.low is not None and figure.high is not None:
    spread = f'{figure.low:.2f} to {figure.high:.2f}'
  bar, verdict = '', ''
  if figure.bar is not None:
    bar = f'{"<=" if figure.most else ">="} {figure.bar:g}'
    verdict = 'yes' if figure.reached else 'no'
  unit = '' if figure.unit == 'x' else f' {figure.unit}'
  value = f'{figure.value:.2f}{unit}'
  return [figure.what, value, spread, bar, verdict, figure.note]


HEAD = ['what', 'value', 'quartiles', 'bar', 'reached', 'in numbers']


def table(figures: list[Figure]) -> str:
  """A table in Markdown."""
  rows = [HEAD, *(_cells(f) for f in figures)]
  widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
  lines = [
    '| ' + ' | '.join(c.ljust(w) for c, w in zip(row, widths, strict=True))
    + ' |'
    for row in rows
  ]  # fmt: skip
  lines.insert(1, '|' + '|'.join('-' * (w + 2) for w in widths) + '|')
  return '\n'.join(lines)


def plot(figures: list[Figure], title: str, path: pathlib.Path) -> None:
  """Ratios with their quartiles beside their bars, as a picture."""
  shown = [f for f in figures if f.unit == 'x' and f.bar is not None][::-1]
  canvas = Canvas(figsize=(9, 1.2 + 0.42 * len(shown)), layout='constrained')
  axes = canvas.subplots()
  for at, figure in enumerate(shown):
    colour = '#1b7f5c' if figure.reached else '#b3401f'
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    axes.plot([low, high], [at, at], color=colour, lw=5, alpha=0.35)
    axes.plot(figure.value, at, 'o', color=colour, ms=7)
    assert figure.bar is not None
    axes.vlines(figure.bar, at - 0.35, at + 0.35, color='#333', lw=2)
    axes.annotate(
      f'{figure.value:.2f}', (figure.value, at), xytext=(0, 8),
      textcoords='offset points', ha='center', fontsize=8,
    )  # fmt: skip
  axes.set_xscale('log')
  marks = ticker.FixedLocator([0.1, 0.2, 0.4, 0.7, 1.0, 1.4, 2.0])
  axes.xaxis.set_major_locator(marks)
  axes.xaxis.set_minor_locator(ticker.NullLocator())
  axes.xaxis.set_major_formatter(ticker.FormatStrFormatter('%g'))
  axes.set_yticks(range(len(shown)), [f.what for f in shown], fontsize=8)
  axes.set_ylim(-0.7, len(shown) - 0.2)
  axes.set_xlabel(
    'ratio (median and quartiles of paired rounds; the line is the bar)'
  )
  axes.set_title(title, fontsize=10, loc='left')
  axes.grid(axis='x', alpha=0.3)
  canvas.savefig(path, dpi=150)


def rows(figures: list[Figure]) -> list[dict[str, Any]]:
  """For JSON."""
  return [{**dataclasses.asdict(f), 'reached': f.reached} for f in figures]
