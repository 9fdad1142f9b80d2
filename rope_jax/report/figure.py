"""curves.svg and curves.png: loss against length, drawn for print."""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np

from rope_jax.report import axes as axis_rules
from rope_jax.report.curves import curve, dots
from rope_jax.report.inputs import UNITS, StudyData, cells
from rope_jax.report.panels import Line, label, panels
from rope_jax.report.protocols import CAUTION, moves

# Inches and points; the page of a paper is about seven inches wide.
_PANEL, _HEIGHT = 2.35, 2.3
_LEFT, _TOP, _BOTTOM, _GAP = 0.5, 0.42, 0.62, 0.12
_SIZE = 7.5
_LETTER = 0.6 * _SIZE / 72  # Width of a letter of a label.
_NARROW = 6  # Below it, a note has a line for each sentence.
_INK, _FAINT = '#222222', '#8a8a8a'

_RC: Any = {
  'svg.hashsalt': 'rope_jax',
  'svg.fonttype': 'path',
  'font.family': 'DejaVu Sans',
  'font.size': _SIZE,
  'axes.linewidth': 0.6,
  'text.color': _INK,
  'axes.labelcolor': _INK,
  'axes.edgecolor': '#666666',
  'xtick.color': _INK,
  'ytick.color': _INK,
}


def figure_files(data: StudyData) -> dict[str, bytes]:
  """Draws the figure of a study.

  Small multiples with one vertical axis: the methods as trained, then the
  variants of each method that has any. Lines end in their names; bands are
  two standard errors either side. Where each length scores other tokens, there
  are points with bars and no lines.

  Args:
    data: the study.

  Returns:
    {'svg': bytes, 'png': bytes at 200 dpi}, the same for the same data.
  """
  with printed():
    return saved(_draw(data), 200)


@contextlib.contextmanager
def printed() -> Iterator[None]:
  """The fonts, sizes and inks of print, whatever the user's own settings."""
  import matplotlib

  with matplotlib.rc_context():
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_RC)
    yield


def saved(figure, dpi: int) -> dict[str, bytes]:
  """{'svg': bytes, 'png': bytes}, the same for the same figure."""
  files = {}
  for kind, metadata in (('svg', {'Date': None}), ('png', {})):
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=dpi, metadata=metadata)
    files[kind] = out.getvalue()
  return files


def _draw(data: StudyData):
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  unit = 'nll' if data.unit == 'perplexity' else data.unit
  multiples = panels(data, cells(data, data.protocol, unit))
  drawn = [[*line.values.values()] for _, lines in multiples for line in lines]
  scale = axis_rules.scale(
    [[v.value for v in curve] for curve in drawn],
    [[2 * v.stderr for v in curve] for curve in drawn],
  )
  letters = max(
    len(label(data, s, scale)) for _, lines in multiples for s in lines
  )
  side = 0.16 + letters * _LETTER
  columns = (
    len(multiples) if len(multiples) <= 3 else 2 if len(multiples) == 4 else 3
  )
  count = math.ceil(len(multiples) / columns)
  most = max(len(lines) for _, lines in multiples)
  height = max(_HEIGHT, most * 1.25 * _SIZE / 72)
  step_x = _PANEL + side + _GAP
  step_y = _TOP + height + 0.42
  size = _LEFT + 0.06 + columns * step_x, count * step_y + _BOTTOM - 0.36
  note = _note(data, scale, size[0])
  rows = max(len(note), 3 if size[0] < _NARROW else 1)
  size = size[0], size[1] + 0.125 * (rows - 1)
  figure = Figure(figsize=size, facecolor='white')
  FigureCanvasAgg(figure)
  for i, (title, lines) in enumerate(multiples):
    column, row = i % columns, i // columns
    left = _LEFT + 0.06 + column * step_x
    bottom = size[1] - row * step_y - _TOP - height
    box = left / size[0], bottom / size[1], _PANEL / size[0], height / size[1]
    axes = figure.add_axes(box)
    axes.set_title(title, loc='left', fontsize=_SIZE + 1, pad=14, weight='bold')
    _plot(axes, data, lines, scale)
    if column == 0:
      _say(axes.set_ylabel(UNITS[unit]))
    else:
      axes.set_yticklabels([])
    if i + columns >= len(multiples):
      axes.set_xlabel('context length (tokens, log scale)')
    _names(axes, data, lines, scale, height)
    axes.title.set_parse_math(False)
  x, y = _LEFT / size[0], 0.07 / size[1]
  small = _SIZE - 1
  text = '\n'.join(note)
  _say(figure.text(x, y, text, fontsize=small, color='#555555', va='bottom'))
  return figure


def _note(data: StudyData, scale, width: float) -> list[str]:
  """The lines under a figure of so many inches."""
  seeds = len(data.seeds)
  marks = 'Bars' if moves(data.protocol) else 'Bands'
  notes = [
    f'Protocol: {data.protocol}.',
    f'{marks}: ± 2 standard errors over documents '
    + (f'and {seeds} seeds.' if seeds > 1 else '(one seed).')
    if data.certain
    else 'One document: no standard errors.',
    'Shaded: axis compressed.' if scale.compressed else '',
    'Dashed: zero-shot.' if data.tuned else '',
  ]
  notes = [note for note in notes if note]
  if width >= _NARROW:
    notes = [' '.join(notes)]
  if moves(data.protocol):
    notes += textwrap.wrap(CAUTION, int((width - 2 * _LEFT) / _LETTER))
  return notes


def _plot(axes, data: StudyData, lines: list[Line], scale) -> None:
  bottom, top = float(scale.up(scale.low)), float(scale.up(scale.high))
  xs = [math.log2(n) for n in data.lengths]
  pad = 0.05 * max(xs[-1] - xs[0], 0.5)
  if moves(data.protocol):
    pad = max(pad, _aside(len(lines), lines))
  axes.set_xlim(xs[0] - pad, xs[-1] + pad)
  axes.set_ylim(bottom, top)
  ticks = scale.ticks()
  axes.set_yticks(
    [float(scale.up(t)) for t in ticks], [f'{t:g}' for t in ticks]
  )
  axes.set_xticks(xs, _length_labels(data))
  axes.tick_params(length=2.5, width=0.6, pad=2)
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(axis='y', color='#e4e4e4', linewidth=0.5)
  axes.set_axisbelow(True)
  if scale.compressed:
    axes.axhspan(float(scale.knee), top, color='#f4f4f2', zorder=0, lw=0)
  trained = math.log2(data.train_len)
  if axes.get_xlim()[0] <= trained <= axes.get_xlim()[1]:
    axes.axvline(trained, color=_FAINT, lw=0.8, dashes=(4, 2.5), zorder=1)
    share = (trained - axes.get_xlim()[0]) / np.ptp(axes.get_xlim())
    axes.annotate(
      f'trained at {data.train_len}',
      (trained, 1.0),
      xycoords=('data', 'axes fraction'),
      xytext=(0, 2.5),
      textcoords='offset points',
      ha='left' if share < 0.25 else 'right' if share > 0.75 else 'center',
      fontsize=_SIZE - 1,
      color='#555555',
    )
  apart = moves(data.protocol)
  for rank, line in enumerate(lines):
    order = 3 + 0.01 * rank
    if apart:
      dots(axes, line, scale, order, _aside(rank, lines))
    else:
      curve(axes, line, scale, order)


def _aside(rank: int, lines: list[Line]) -> float:
  """How far to the side a point stands, octaves: equal ones are seen then."""
  return 0.06 * (rank - (len(lines) - 1) / 2)


def _names(axes, data, lines: list[Line], scale, height: float) -> None:
  """Writes each line's name at its right end, apart from the others."""
  bottom, top = float(scale.up(scale.low)), float(scale.up(scale.high))
  per_inch = (top - bottom) / height
  ends = []
  for line in lines:
    last = max(line.values)
    finite = line.finite()
    if not finite or line.values[last].diverged:
      ends.append(top)
    else:
      ends.append(float(scale.up(line.values[finite[-1]].value)))
  gap = 1.2 * _SIZE / 72 * per_inch
  # Room for half a line beyond the axis at either end.
  placed = axis_rules.spread_out(ends, gap, bottom, top)
  right = axes.get_xlim()[1]
  width = right - axes.get_xlim()[0]
  apart = moves(data.protocol)
  for rank, (line, end, place) in enumerate(
    zip(lines, ends, placed, strict=True)
  ):
    color = line.style.color
    start = math.log2(max(line.values)) + apart * _aside(rank, lines)
    axes.plot(
      [start, right, right + 0.035 * width],
      [end, end, place],
      color=color,
      lw=0.5,
      ls='-' if max(line.values) == data.lengths[-1] else ':',
      alpha=0.6,
      clip_on=False,
      zorder=1.5,
    )
    _say(
      axes.text(
        right + 0.045 * width,
        place,
        label(data, line, scale),
        color=color,
        va='center',
        ha='left',
        fontsize=_SIZE,
      )
    )


def _length_labels(data: StudyData) -> list[str]:
  """Labels of the lengths, some left empty where they would touch."""
  lengths = data.lengths
  xs = [math.log2(n) for n in lengths]
  per = _PANEL / max(1.1 * (xs[-1] - xs[0]), 0.5)
  kept: list[int] = []
  # The trained and the longest length are named whatever happens.
  for i in sorted(
    range(len(xs)), key=lambda i: (lengths[i] != data.train_len, -xs[i])
  ):
    room = (len(axis_rules.length_label(lengths[i])) + 1.5) * _LETTER
    if all(abs(xs[i] - xs[k]) * per > room for k in kept):
      kept.append(i)
  return [
    axis_rules.length_label(n) if i in kept else ''
    for i, n in enumerate(lengths)
  ]


def _say(text) -> None:
  """Takes a text as it is: names may hold dollar signs."""
  text.set_parse_math(False)
