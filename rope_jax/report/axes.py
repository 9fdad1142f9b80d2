"""Arithmetic of the printed axes: the scale, its ticks, the labels' places."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

# The part of the height that is left to losses far above the rest.
_ABOVE = 0.4


@dataclasses.dataclass(frozen=True)
class Scale:
  """A vertical axis, linear up to a knee and logarithmic above it.

  One method that explodes would press all the others into one line. Above
  the knee the axis is compressed, so that everything stays on it and the
  region that matters stays readable.

    up(y) = y                                  y <= knee
    up(y) = knee + width log(1 + (y - knee) / width)

  Args:
    low: bottom of the axis, in the unit of the data.
    high: top of the axis, in the unit of the data.
    knee: where the compression begins; infinite for none.
    width: in the unit of the data, how fast it sets in.
  """

  low: float
  high: float
  knee: float = math.inf
  width: float = 1.0

  @property
  def compressed(self) -> bool:
    return math.isfinite(self.knee)

  def up(self, y):
    """Maps a value or an array to its height."""
    y = np.asarray(y, float)
    if not self.compressed:
      return y
    above = np.log1p(np.maximum(y - self.knee, 0) / self.width)
    return np.minimum(y, self.knee) + self.width * above

  def ticks(self, count: int = 5) -> list[float]:
    """Round values that stand apart, `count` or so below the knee."""
    top = min(self.high, self.knee)
    step = nice((top - self.low) / count)
    first = math.ceil(self.low / step - 1e-9)
    last = math.floor(top / step + 1e-9)
    found = [round(i * step, 10) for i in range(first, last + 1)]
    if self.compressed:
      gap = 0.075 * (float(self.up(self.high)) - self.low)
      # From the top, so that the largest losses can be read.
      for tick in reversed(_decades(self.knee, self.high)):
        if all(abs(self.up(tick) - self.up(t)) > gap for t in found):
          found.append(tick)
    return sorted(found)


def scale(
  curves: Sequence[Sequence[float]], errors: Sequence[Sequence[float]] = ()
) -> Scale:
  """Chooses the axis of some curves.

  Args:
    curves: for each curve its values; only finite ones count.
    errors: half-widths of their bands, of the same shape, or nothing.

  Returns:
    A linear scale, or a compressed one when a few curves reach far above the
    spread of the typical curve.
  """
  finite = [[y for y in curve if math.isfinite(y)] for curve in curves]
  finite = [curve for curve in finite if curve]
  if not finite:
    return Scale(0.0, 1.0)
  tops = sorted(max(curve) for curve in finite)
  low, high = min(min(curve) for curve in finite), tops[-1]
  typical = tops[(len(tops) - 1) // 2]
  spread = max(typical - low, 0.06 * abs(low), 1e-3)
  # A band counts, unless it is as wide as everything else together.
  for curve, half in zip(curves, errors, strict=bool(errors)):
    for y, e in zip(curve, half, strict=True):
      if math.isfinite(y) and math.isfinite(e) and e < spread:
        low, high = min(low, y - e), max(high, y + e)
  knee = low + 2.4 * spread
  if high < low + 4 * spread:
    pad = 0.05 * max(high - low, 0.02 * abs(low), 1e-3)
    return Scale(low - pad, high + pad)
  low -= 0.05 * (knee - low)
  # The compressed part gets its share of the height: solve for the width.
  room = (knee - low) * _ABOVE / (1 - _ABOVE)
  width = knee - low
  while width * math.log1p((high - knee) / width) > room:
    width *= 0.9
  # A little above the highest, on paper and not in the unit of the data.
  high = knee + (high - knee + width) * math.exp(0.06 * room / width) - width
  return Scale(low, high, knee, width)


def spread_out(
  heights: Sequence[float], gap: float, low: float, high: float
) -> list[float]:
  """Moves labels apart, as little as can be, keeping their order.

  Least squares under the constraint that neighbours are `gap` apart: pooled
  adjacent violators on the heights less the gaps.

  Args:
    heights: wanted heights, any order.
    gap: smallest distance between two labels, in their unit.
    low: lowest height allowed.
    high: highest height allowed.

  Returns:
    The heights, in the order they came.
  """
  order = sorted(range(len(heights)), key=lambda i: heights[i])
  blocks: list[list[float]] = []  # [sum, count]
  for rank, i in enumerate(order):
    blocks.append([heights[i] - rank * gap, 1])
    while (
      len(blocks) > 1
      and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]
    ):
      total, count = blocks.pop()
      blocks[-1][0] += total
      blocks[-1][1] += count
  flat = [s / c for s, c in blocks for _ in range(int(c))]
  top = max(low, high - (len(heights) - 1) * gap)
  placed = [0.0] * len(heights)
  for rank, i in enumerate(order):
    placed[i] = min(max(flat[rank], low), top) + rank * gap
  return placed


def length_label(length: int) -> str:
  """A length for an axis: '2048', and '16k' from 8192 on."""
  if length >= 8192 and length % 1024 == 0:
    return f'{length // 1024}k'
  return str(length)


def nice(step: float) -> float:
  """The next of 1, 2, 2.5, 5 times a power of ten above a step."""
  power = 10.0 ** math.floor(math.log10(step))
  return next(
    f * power for f in (1, 2, 2.5, 5, 10) if f * power >= step - 1e-12
  )


def _decades(low: float, high: float) -> list[float]:
  """2, 2.5, 3, 4, ..., 8, 10, 15, 20, ... between two values."""
  found = []
  power = 10.0 ** math.floor(math.log10(low)) if low > 0 else 1.0
  while power <= high:
    found += [f * power for f in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8)]
    power *= 10
  return [y for y in found if low < y <= high]
