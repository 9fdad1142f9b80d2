"""A picture of the windows of bases, a row for each length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rope_jax.spectrum import figure_parts, violation
from rope_jax.spectrum.windows import Windows

_FEASIBLE, _SINGLE, _MARK = '#0072b2', '#56b4e9', '#d55e00'


def windows_figure(found: Sequence[Windows], theta: float | None = None) -> Any:
  """Feasible bases as bars, with the published ones where the width is theirs.

  Args:
    found: windows of one width, one or more lengths.
    theta: a base to mark.

  Returns:
    A matplotlib Figure.

  Raises:
    ValueError: no windows, or of several widths.
  """
  widths = {each.head_dim for each in found}
  if len(widths) != 1:
    raise ValueError(
      f'windows of head_dim {sorted(widths)}: a picture is of one width.'
    )
  (width,) = widths
  height = 1.5 + 0.42 * len(found)
  picture = figure_parts.empty((8.6, height))
  box = 0.125, 0.6 / height, 0.85, 1 - 1.4 / height
  axes = picture.add_axes(box)
  least = min(each.first for each in found) / 3
  most = max(each.robust for each in found) * 30
  for row, each in enumerate(found):
    edges = np.minimum(each.inner, most)
    for low, high in edges[:-1]:
      axes.barh(row, high - low, left=low, height=0.62, color=_SINGLE,
                edgecolor=_SINGLE, linewidth=0.4)  # fmt: skip
    low, high = edges[-1]
    axes.barh(row, high - low, left=low, height=0.62, color=_FEASIBLE)
  if width == 128:
    _published(axes, found)
  if theta is not None:
    axes.axvline(theta, color='#555555', lw=1.2, dashes=(4, 3))
    axes.annotate(f'theta {theta:g}', (theta, 1.01), ha='center',
                  xycoords=('data', 'axes fraction'), fontsize=8.5)  # fmt: skip
  axes.set_xscale('log')
  axes.set_xlim(least, most)
  axes.set_yticks(range(len(found)), [f'{each.length:,}' for each in found])
  axes.set_ylim(-0.6, len(found) - 0.4)
  axes.set_xlabel('base theta')
  axes.set_ylabel('length (tokens)')
  for side in ('top', 'right'):
    axes.spines[side].set_visible(False)
  picture.text(
    0.125, 1 - 0.4 / height,
    f'Bases whose sum of cosines is >= 0 at every distance, head_dim {width}: '
    'windows (light), all (dark)',
    fontsize=10,
  )  # fmt: skip
  return picture


def _published(axes, found) -> None:
  """Dots where the paper's bases hold, crosses where they fail."""
  rows = {row.length: row for row in violation.published()}
  kinds = {True: ('o', 'published base, holds'), False: ('X', 'fails')}
  for holds, (marker, label) in kinds.items():
    points = [
      (rows[each.length].paper, at)
      for at, each in enumerate(found)
      if each.length in rows
      and (rows[each.length].paper_violation is None) == holds
    ]
    if points:
      x, y = zip(*points, strict=True)
      axes.scatter(x, y, marker=marker, s=42, color=_MARK, label=label,
                   edgecolor='white', linewidth=0.8, zorder=4)  # fmt: skip
  axes.legend(loc='upper left', frameon=False, fontsize=8.5)
