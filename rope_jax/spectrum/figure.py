"""Pictures of decay for papers: curves, panels; SVG and PNG."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rope_jax.report import figure as report_figure
from rope_jax.report.csvfile import write_atomically
from rope_jax.spectrum import decay
from rope_jax.spectrum.decay import Curve
from rope_jax.spectrum.figure_parts import (
  LETTER,
  SIZE,
  axes_at,
  empty,
  look,
  mark,
  name_ends,
)

if TYPE_CHECKING:
  from matplotlib.figure import Figure

# What the vertical axis says of each kind of curve.
UNITS = {
  'ones': 'inner product, q = k = 1',
  'cosines': 'sum of cosines',
  'bound': 'mean of |S_j|',
  'normal': 'inner product, q, k ~ N(0, 1)',
  'uniform': 'inner product, q, k ~ U[0, 1)',
}
_LEFT, _TOP, _BOTTOM = 0.62, 0.46, 0.46
_WIDTH, _HEIGHT = 4.6, 2.5
_PANEL, _SHORT = 2.85, 1.75
_EXACT = 4096  # Points drawn one by one; of more, an envelope.
_BINS = 700


def decay_figure(
  curves: Sequence[Curve],
  title: str,
  *,
  log: bool = True,
  train_len: int | None = None,
) -> Figure:
  """Several curves in one picture, their names at their ends.

  A curve that has a band is drawn with it. One of more than 4096 distances is
  drawn as its mean and the band of its least and greatest values, so that
  nothing between two drawn points is lost.

  Args:
    curves: one or more; best of one kind.
    title: above the picture.
    log: whether the axis of distances is logarithmic; it then begins at 1. It
      is linear where a distance is negative.
    train_len: marked where given and within the distances, tokens.

  Returns:
    A matplotlib Figure, for `save`.

  Raises:
    ValueError: no curve; a curve without a distance above 0.
  """
  drawn = _drawn(curves, title, log)
  side = 0.2 + max(len(curve.label) for curve in curves) * LETTER
  height = max(_HEIGHT, len(curves) * 1.3 * SIZE / 72)
  size = _LEFT + _WIDTH + side, _TOP + height + _BOTTOM
  with report_figure.printed():
    figure = empty(size)
    axes = axes_at(figure, _LEFT, _BOTTOM, _WIDTH, height)
    _panel(axes, drawn, title, log, train_len)
    name_ends(axes, drawn, height)
  return figure


def decay_panels(
  panels: Sequence[tuple[str, Sequence[Curve]]],
  *,
  log: bool = False,
  train_len: int | None = None,
) -> Figure:
  """One panel a setting, each with its own axes; two beside each other.

  Args:
    panels: (title, curves) of each.
    log: as `decay_figure` has it; the classic study of decay has linear axes.
    train_len: marked in the panels that reach it, tokens.

  Raises:
    ValueError: no panel; a panel without curves, or with one that has no
      distance above 0.
  """
  if not panels:
    raise ValueError('panels: empty; give at least one (title, curves).')
  drawn = [_drawn(curves, title, log) for title, curves in panels]
  columns = min(len(panels), 2)
  rows = -(-len(panels) // columns)
  wide, high = _LEFT + _PANEL + 0.2, _TOP + _SHORT + _BOTTOM
  size = columns * wide, rows * high
  with report_figure.printed():
    figure = empty(size)
    for i, ((title, _), some) in enumerate(zip(panels, drawn, strict=True)):
      row, column = divmod(i, columns)
      left = column * wide + _LEFT
      bottom = size[1] - (row + 1) * high + _BOTTOM
      axes = axes_at(figure, left, bottom, _PANEL, _SHORT)
      _panel(axes, some, title, log, train_len)
      if len(some) > 1:
        legend = axes.legend(frameon=False, fontsize=SIZE - 0.5)
        for text in legend.get_texts():
          text.set_parse_math(False)
  return figure


def save(
  figure: Figure, folder: str | os.PathLike, name: str
) -> dict[str, pathlib.Path]:
  """Writes name.svg and name.png (150 dpi); the same bytes each time.

  Args:
    figure: from this module or `figure_heat`.
    folder: made if need be; files of the same name are replaced.
    name: of the files, without an ending.

  Returns:
    {'svg': path, 'png': path}.

  Raises:
    ValueError: a name that holds a folder, or none.
  """
  if name in ('', '.', '..') or pathlib.PurePath(name).name != name:
    raise ValueError(
      f"name={name!r} must be a file's name without folder or ending, such as "
      "'decay'."
    )
  with report_figure.printed():
    files = report_figure.saved(figure, 150)
  return {
    kind: write_atomically(pathlib.Path(folder) / f'{name}.{kind}', content)
    for kind, content in files.items()
  }


def _drawn(curves, title, log) -> list[Curve]:
  """The curves as they are drawn: from 1 on where the axis is logarithmic."""
  if not curves:
    raise ValueError(f'curves: {title!r} has none; give at least one Curve.')
  log = _logarithmic(curves, log)
  found = []
  for curve in curves:
    if log:
      curve = _from_one(curve)
    if curve.distance_m.size > _EXACT:
      spacing = 'log' if log else 'linear'
      curve = decay.envelope(curve, _BINS, spacing)
    found.append(curve)
  return found


def _thousands(x: float, _: Any) -> str:
  return f'{x:,.0f}'.replace('-', '\u2212')


def _logarithmic(curves, log) -> bool:
  return log and all(curve.distance_m[0] >= 0 for curve in curves)


def _from_one(curve: Curve) -> Curve:
  keep = curve.distance_m >= 1
  if not keep.any():
    raise ValueError(
      f'curve {curve.label!r} has no distance above 0, so a logarithmic axis '
      'cannot show it; give log=False.'
    )
  bands = (curve.low_m, curve.high_m)
  low_m, high_m = (None if x is None else x[keep] for x in bands)
  return Curve(
    curve.label,
    curve.kind,
    curve.distance_m[keep],
    curve.value_m[keep],
    low_m,
    high_m,
  )


def _panel(axes, drawn: list[Curve], title, log, train_len) -> None:
  from matplotlib.ticker import MaxNLocator

  log = _logarithmic(drawn, log)
  first = min(int(curve.distance_m[0]) for curve in drawn)
  last = max(int(curve.distance_m[-1]) for curve in drawn)
  axes.axhline(0, color='#555555', lw=0.7, zorder=1.5)
  for i, curve in enumerate(drawn):
    color, dash = look(i)
    band: Any = curve.low_m is not None and curve.high_m is not None
    if band:
      axes.fill_between(
        curve.distance_m,
        curve.low_m,
        curve.high_m,
        color=color,
        alpha=0.28,
        lw=0,
        zorder=2,
      )
    axes.plot(
      curve.distance_m,
      curve.value_m,
      color=color,
      lw=1.2 if band else 0.9,
      ls=dash,
      zorder=3 + 0.01 * i,
      label=curve.label,
    )
  if log:
    axes.set_xscale('log')
    axes.set_xlim(first, max(last, first + 1))
  else:
    axes.set_xlim(first, max(last, first + 1))
    axes.xaxis.set_major_locator(MaxNLocator(6 if first < 0 else 5))
    axes.xaxis.set_major_formatter(_thousands)
  axes.set_xlabel('distance (tokens)')
  kinds = dict.fromkeys(UNITS.get(curve.kind, curve.kind) for curve in drawn)
  axes.set_ylabel('\n'.join(kinds))
  axes.tick_params(length=2.5, width=0.6, pad=2)
  axes.tick_params(which='minor', length=1.5, width=0.4)
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(axis='y', color='#e4e4e4', linewidth=0.5)
  axes.set_axisbelow(True)
  head = axes.set_title(title, loc='left', fontsize=SIZE + 1, pad=14)
  head.set_weight('bold')
  for text in (head, axes.yaxis.label):
    text.set_parse_math(False)
  if train_len is not None and first < train_len <= last:
    mark(axes, train_len)
