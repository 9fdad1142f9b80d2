"""What the pictures of spectra are made of: axes, colours, names, marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rope_jax.report import axes as axis_rules
from rope_jax.report.style import COLOURS, DASHES
from rope_jax.spectrum.decay import Curve

if TYPE_CHECKING:
  from matplotlib.figure import Figure

SIZE = 7.5  # Of letters, points.
LETTER = 0.6 * SIZE / 72  # Width of a letter of a label, inches.
_FAINT = '#8a8a8a'


def empty(size: tuple[float, float]) -> Figure:
  """A white figure of a size in inches, that needs no window."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  figure = Figure(figsize=size, facecolor='white')
  FigureCanvasAgg(figure)
  return figure


def axes_at(figure: Figure, left, bottom, width, height):
  """Axes at a place in inches, from the lower left corner."""
  size = figure.get_size_inches()
  box = left / size[0], bottom / size[1], width / size[0], height / size[1]
  return figure.add_axes(box)


def mark(axes, train_len: int) -> None:
  """The trained length: a dashed line, its name above the axes."""
  axes.axvline(train_len, color=_FAINT, lw=0.8, dashes=(4, 2.5), zorder=1)
  share = axes.transAxes.inverted().transform(
    axes.transData.transform((train_len, 0))
  )[0]
  axes.annotate(
    f'trained at {train_len:,}',
    (train_len, 1.0),
    xycoords=('data', 'axes fraction'),
    xytext=(0, 2.5),
    textcoords='offset points',
    ha='left' if share < 0.25 else 'right' if share > 0.75 else 'center',
    fontsize=SIZE - 1,
    color='#555555',
  )


def look(i: int) -> tuple[str, Any]:
  """Colour and dash of the i-th curve; dashed where colours come round."""
  again = i // len(COLOURS)
  color = COLOURS[i % len(COLOURS)][0]
  if not again:
    return color, '-'
  dash = DASHES[(again - 1) % len(DASHES)]
  return color, (0, tuple(0.8 * float(x) for x in dash.split(',')))


def name_ends(axes, drawn: Sequence[Curve], height: float) -> None:
  """Writes each curve's name at its right end, apart from the others."""
  bottom, top = axes.get_ylim()
  gap = 1.25 * SIZE / 72 * (top - bottom) / height
  ends = [float(curve.value_m[-1]) for curve in drawn]
  places = axis_rules.spread_out(ends, gap, bottom, top)
  # Heights in data, widths in shares of the axes.
  across = axes.get_yaxis_transform()
  for i, (curve, end, place) in enumerate(
    zip(drawn, ends, places, strict=True)
  ):
    color, _ = look(i)
    axes.plot(
      [1.0, 1.02],
      [end, place],
      transform=across,
      color=color,
      lw=0.6,
      clip_on=False,
    )
    text = axes.text(
      1.027,
      place,
      curve.label,
      transform=across,
      color=color,
      va='center',
      fontsize=SIZE,
    )
    text.set_parse_math(False)
  axes.set_ylim(bottom, top)
