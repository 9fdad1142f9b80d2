"""A line of the printed figure: a curve with its band, or points with bars."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rope_jax.report.panels import Line


def curve(axes, line: Line, scale, order: float) -> None:
  """Draws a line over length; a diverged length breaks it."""
  style: Any = line.style
  x, y, error = _points(line)
  axes.fill_between(
    x,
    scale.up(y - error),
    scale.up(y + error),
    color=style.color,
    alpha=0.18,
    lw=0,
    zorder=2,
  )
  axes.plot(
    x,
    scale.up(y),
    color=style.color,
    lw=1.4,
    ls=style.linestyle,
    marker=style.marker,
    ms=3.4,
    mec='white',
    mew=0.4,
    zorder=order,
    solid_capstyle='round',
  )
  alone = np.isfinite(y) & ~_beside(np.isfinite(y))
  _bars(axes, line, scale, x, alone)
  _lost(axes, line, scale, order, 0.0)


def dots(axes, line: Line, scale, order: float, aside: float) -> None:
  """Draws a point for each length, `aside` octaves to the right of it."""
  style: Any = line.style
  x, y, _ = _points(line)
  axes.plot(
    x + aside,
    scale.up(y),
    color=style.color,
    ls='none',
    marker=style.marker,
    ms=4,
    mec='white',
    mew=0.4,
    zorder=order,
  )
  _bars(axes, line, scale, x + aside, np.isfinite(y))
  _lost(axes, line, scale, order, aside)


def _points(line: Line):
  """(log2 of the lengths, values, two standard errors), arrays [n]."""
  run = sorted(line.values)
  error = np.array([2 * line.values[n].stderr for n in run])
  return (
    np.log2(run),
    np.array([line.values[n].value for n in run]),
    np.where(np.isfinite(error), error, 0.0),
  )


def _bars(axes, line: Line, scale, x, which) -> None:
  _, y, error = _points(line)
  axes.vlines(
    x[which],
    scale.up((y - error)[which]),
    scale.up((y + error)[which]),
    color=line.style.color,
    lw=1,
    zorder=2,
  )


def _lost(axes, line: Line, scale, order: float, aside: float) -> None:
  """Crosses at the top where a line diverged."""
  for n in sorted(line.values):
    if line.values[n].diverged:
      axes.plot(
        [math.log2(n) + aside],
        [float(scale.up(scale.high))],
        color=line.style.color,
        marker='x',
        ms=4.5,
        mew=1.2,
        clip_on=False,
        zorder=order,
      )


def _beside(there):
  """Where a neighbour is there."""
  padded = np.concatenate([[False], there, [False]])
  return padded[:-2] | padded[2:]
