"""Heat maps: what methods do to each pair, and what pairs see, as colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rope_jax.report import figure as report_figure
from rope_jax.spectrum.figure_parts import LETTER, SIZE, axes_at, empty
from rope_jax.spectrum.pairs import Pairs

if TYPE_CHECKING:
  from matplotlib.figure import Figure

# What a panel shows: its title and the words beside its colours.
SHOWN = {
  'ratio': ('Frequency / unscaled frequency', 'ratio (log)'),
  'coverage': ('Coverage at the target', 'share of phases trained'),
  'turns_train': ('Turns within the trained length', 'turns (log)'),
  'turns_target': ('Turns within the target', 'turns (log)'),
}
_ROW, _WIDTH, _BAR = 0.24, 5.2, 0.12
_LOW = 0.85  # Inches: what the words beside the colours need.
_TOP, _GAP, _BOTTOM = 0.55, 0.36, 0.42


def heat_map(
  rows: Sequence[Pairs],
  title: str = '',
  *,
  shown: Sequence[str] = ('ratio', 'coverage'),
) -> Figure:
  """A row a method, a column a pair, a panel for each thing shown.

  Pairs that do not turn are grey. Turns and ratios are on logarithmic scales;
  turns have white at 1 turn, more in purple, fewer in orange.

  Args:
    rows: from `pairs`, all of one head_dim, train_len and target_len; their
      labels name the rows.
    title: above the picture; '' is the lengths.
    shown: which panels, from above: keys of `SHOWN`.

  Returns:
    A matplotlib Figure, for `figure.save`.

  Raises:
    ValueError: nothing to show; a panel that is none; rows that differ in
      pairs or lengths.
  """
  _check(rows, shown)
  letters = max(len(row.label) for row in rows)
  left, right = 0.25 + letters * LETTER, 0.85
  height = max(_ROW * len(rows), _LOW)
  step = height + _GAP
  size = left + _WIDTH + right, _TOP + step * len(shown) - _GAP + _BOTTOM
  train_len, target_len = rows[0].train_len, rows[0].target_len
  title = title or f'Trained at {train_len:,} tokens, target {target_len:,}'
  with report_figure.printed():
    figure = empty(size)
    for i, key in enumerate(shown):
      low = size[1] - _TOP - i * step - height
      axes = axes_at(figure, left, low, _WIDTH, height)
      bar_axes = axes_at(figure, left + _WIDTH + 0.12, low, _BAR, height)
      _panel(figure, axes, bar_axes, rows, key)
      if i == len(shown) - 1:
        axes.set_xlabel('pair (0 turns fastest)')
      else:
        axes.set_xticklabels([])
    text = figure.text(
      left / size[0],
      1 - 0.08 / size[1],
      title,
      fontsize=SIZE + 1,
      weight='bold',
      va='top',
    )
    text.set_parse_math(False)
  return figure


def _check(rows: Sequence[Pairs], shown: Sequence[str]) -> None:
  if not rows or not shown:
    what = 'shown' if rows else 'rows'
    raise ValueError(f'{what}: empty; give at least one.')
  for key in shown:
    if key not in SHOWN:
      raise ValueError(f'shown: {key!r} must be one of {tuple(SHOWN)}.')
  first = _kind(rows[0])
  for row in rows:
    if _kind(row) != first:
      raise ValueError(
        f'rows: {row.label!r} has (pairs, train_len, target_len)='
        f'{_kind(row)}, {rows[0].label!r} {first}; one picture compares '
        'methods at the same ones.'
      )


def _kind(row: Pairs) -> tuple[int, int, int]:
  return len(row.pair), row.train_len, row.target_len


def _panel(figure, axes, bar_axes, rows: Sequence[Pairs], key: str) -> None:
  import matplotlib

  values = np.stack([np.asarray(getattr(row, key), float) for row in rows])
  still = np.stack([np.asarray(row.frequency) == 0 for row in rows])
  shown = np.ma.masked_array(values, still | ~np.isfinite(values))
  norm, name = _scale(key, shown)
  colours = matplotlib.colormaps[name].with_extremes(bad='#c8c8c8')
  mesh = axes.pcolormesh(
    np.arange(values.shape[1] + 1) - 0.5,
    np.arange(len(rows) + 1) - 0.5,
    shown,
    norm=norm,
    cmap=colours,
    edgecolors='white',
    linewidth=0.3,
  )
  axes.invert_yaxis()
  axes.set_yticks(range(len(rows)), [row.label for row in rows])
  for label in axes.get_yticklabels():
    label.set_parse_math(False)
  pairs = values.shape[1]
  every = max(1, 2 ** int(np.ceil(np.log2(pairs / 8))))
  axes.set_xticks(sorted({*range(0, pairs, every), pairs - 1}))
  axes.tick_params(length=2, width=0.5, pad=2)
  axes.spines[:].set_visible(False)
  title, unit = SHOWN[key]
  axes.set_title(title, loc='left', fontsize=SIZE, pad=3)
  bar = figure.colorbar(mesh, cax=bar_axes)
  bar.outline.set_linewidth(0.4)
  bar.ax.tick_params(length=2, width=0.5, pad=2, labelsize=SIZE - 0.5)
  bar.set_label(unit, fontsize=SIZE - 0.5)
  _ticks(bar, norm)


def _scale(key: str, shown: Any) -> tuple[Any, str]:
  """The scale of a panel's colours, and the name of the colours."""
  from matplotlib import colors

  if key == 'coverage':
    return colors.Normalize(0, 1), 'cividis'
  low = float(shown.min()) if shown.count() else 1.0
  high = float(shown.max()) if shown.count() else 1.0
  if key == 'ratio':
    low, high = min(low, 0.5), max(high, 1.0)
    return colors.LogNorm(low, high), 'cividis'
  # As far on either side of one turn, so that white is one turn.
  reach = max(high, 1 / low, 10.0)
  return colors.LogNorm(1 / reach, reach), 'PuOr'


def _ticks(bar, norm) -> None:
  """Round numbers in plain figures beside the colours."""
  if norm.vmin == 0:
    ticks = [0, 0.25, 0.5, 0.75, 1]
  elif norm.vmax / norm.vmin > 200:
    low, high = np.log10(norm.vmin), np.log10(norm.vmax)
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    ticks = 10.0 ** powers[:: max(1, len(powers) // 4)]
  else:
    powers = np.arange(
      np.ceil(np.log2(norm.vmin) - 1e-9), np.floor(np.log2(norm.vmax)) + 1
    )
    ticks = 2.0 ** powers[:: -max(1, len(powers) // 4)]
  said = str if norm.vmin == 0 else _said
  bar.set_ticks(ticks, labels=[said(t) for t in ticks])
  bar.minorticks_off()


def _said(tick: float) -> str:
  """A tick as a fraction where it is one.

  >>> _said(0.125), _said(0.25), _said(16.0), _said(1e-4)
  ('1/8', '1/4', '16', '0.0001')
  """
  down = 1 / tick if 0 < tick < 1 else 0
  if down and down == round(down) and not np.log2(down) % 1:
    return f'1/{down:.0f}'
  return f'{tick:g}'
