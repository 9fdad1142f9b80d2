"""The classic study of RoPE's decay with distance: settings and facts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rope_jax.spectrum import decay, spectra
from rope_jax.spectrum.decay import Curve
from rope_jax.spectrum.spectra import Spectrum
from rope_jax.spectrum.text import aligned

# What counts as a rise, of the value at distance 0. Heads of 128 give the same
# end from 0.5 % to 5 %; those of 64, with wider gaps between pairs, from 2 %.
RISE = 0.03
KINDS = ('ones', 'normal', 'uniform')
_NONE = '–'
_HEADS = (
  ('', ''),
  ('distances', '(tokens)'),
  ('start', ''),
  ('decay ends', '(tokens)'),
  ('negative', '(tokens)'),
  ('slope near', '(/doubling)'),
  ('slope far', '(/doubling)'),
  ('lowest', ''),
  ('at', '(tokens)'),
)


class Setting(NamedTuple):
  """One curve of a study.

  Args:
    label: what tables and pictures call it.
    spectrum: what turns.
    length: tokens of the window.
    kind: 'ones', q = k = 1, or the draw of random ones: 'normal', 'uniform'.
    centre: tokens before the query, of 'ones' alone.
    draws: random queries and keys; of one there is no band.
  """

  label: str
  spectrum: Spectrum
  length: int
  kind: str = 'ones'
  centre: int = 0
  draws: int = 256

  def curve(self, seed: int = 0) -> Curve:
    """Computes it; `seed` is of the random ones."""
    if self.kind not in KINDS:
      raise ValueError(f'kind={self.kind!r} must be one of {KINDS}.')
    if self.kind == 'ones':
      found = decay.ones(self.spectrum, self.length, self.centre)
    else:
      found = decay.random(
        self.spectrum, self.length, self.draws, seed, self.kind
      )
    return dataclasses.replace(found, label=self.label)


@dataclasses.dataclass(frozen=True)
class Decay:
  """What a curve does with distance.

  Attributes:
    label: of the curve.
    length: distances looked at are below it, tokens.
    start: the value at distance 0.
    end_of_decay: where the mean over an octave is lowest before its first rise,
      tokens; None where it does not rise. See `facts`.
    first_negative: the first distance of a negative value, or None.
    slope_near: change per doubling of the distance, over [1, length / 64].
    slope_far: the same over [length / 8, length).
    lowest: the least value.
    lowest_at: where it is.
  """

  label: str
  length: int
  start: float
  end_of_decay: int | None
  first_negative: int | None
  slope_near: float
  slope_far: float
  lowest: float
  lowest_at: int


def settings(head_dim: int = 128) -> tuple[Setting, ...]:
  """The classic study: bases, windows, the query in the middle, random.

  Raises:
    ValueError: head_dim is not even and >= 2.

  Example:
    >>> [s.label for s in settings()][:3]
    ['1e4 over 4096', '1e4 over 65536', '5e6 over 65536']
  """
  small, large = (spectra.plain(b, head_dim) for b in (1e4, 5e6))
  return (
    Setting('1e4 over 4096', small, 4096),
    Setting('1e4 over 65536', small, 65536),
    Setting('5e6 over 65536', large, 65536),
    Setting('1e4, q in the middle', small, 4096, centre=2048),
    Setting('5e6, q in the middle', large, 65536, centre=32768),
    Setting('1e4, one q, k of U[0, 1)', small, 65536, 'uniform', draws=1),
    Setting('5e6, one q, k of U[0, 1)', large, 65536, 'uniform', draws=1),
    Setting('1e4, q, k of U[0, 1)', small, 65536, 'uniform'),
    Setting('5e6, q, k of U[0, 1)', large, 65536, 'uniform'),
    Setting('5e6, q, k of N(0, 1)', large, 65536, 'normal'),
  )


def octave(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
  """The mean of a curve over an octave around each distance.

  M(m) = 1 / (m sqrt 2 - m / sqrt 2) x integral of the curve from m / sqrt 2 to
  m sqrt 2. What oscillates faster than it decays is averaged out, at any
  distance alike. The curve is joined by straight lines and so is its integral.

  Returns:
    (distances, means): those m >= 1 of the curve whose octave lies in it.

  Raises:
    ValueError: the curve has no value at distance 0.
  """
  distance_m, value_m = _side(curve)
  steps = np.diff(distance_m) * (value_m[1:] + value_m[:-1]) / 2
  area_m = np.concatenate([[0.0], np.cumsum(steps)])
  root = math.sqrt(2)
  middle_m = distance_m[
    (distance_m >= 1) & (distance_m * root <= curve.distance_m[-1])
  ]
  low_m, high_m = (
    np.interp(middle_m * by, distance_m, area_m) for by in (1 / root, root)
  )
  return middle_m, (high_m - low_m) / (middle_m * (root - 1 / root))


def facts(what: Curve | Spectrum, length: int | None = None) -> Decay:
  """Where a curve stops to decay, where it is negative, how steep it is.

  The end of the decay: let M be the mean over an octave (`octave`) and
  M*(m) = min_{n <= m} M(n). The first m where M(m) - M*(m) exceeds 3 % of the
  value at distance 0 is a rise; the decay ends where M was lowest before it. A
  curve that does not begin above 0 has nothing to decay from: 0.

  Args:
    what: a curve, of which distances >= 0 count, the key before the query; or
      a spectrum, for its `ones`.
    length: looks at distances below it, tokens; None is the whole curve.

  Returns:
    A Decay. Slopes are least squares against log2 of the distance, NaN where
    there are less than two distances.

  Raises:
    ValueError: a spectrum without a length; a curve that has no value at
      distance 0, or is shorter than `length`.

  Example:
    >>> found = facts(spectra.plain(1e4, 128), 65536)
    >>> found.end_of_decay, found.first_negative, facts(
    ...   spectra.plain(5e6, 128), 65536).end_of_decay
    (14607, 1707, None)
  """
  if isinstance(what, Spectrum):
    if length is None:
      raise ValueError(
        f'length=None: spectrum {what.label!r} has no window of its own; give '
        'the number of tokens to look at.'
      )
    what = decay.ones(what, length)
  distance_m = what.distance_m
  if length is None:
    length = int(distance_m[-1]) + 1
  if not 1 <= length <= distance_m[-1] + 1:
    raise ValueError(
      f'length={length}: curve {what.label!r} ends at distance '
      f'{distance_m[-1]}; it must be in [1, {distance_m[-1] + 1}].'
    )
  distance_m, value_m = _side(what)
  distance_m = distance_m[distance_m < length]
  value_m = value_m[: distance_m.size]
  start = float(value_m[0])
  kept = Curve(what.label, what.kind, distance_m, value_m)
  below = np.flatnonzero(value_m < 0)
  lowest = int(value_m.argmin())
  return Decay(
    label=what.label,
    length=length,
    start=start,
    end_of_decay=_end(*octave(kept), RISE * start) if start > 0 else 0,
    first_negative=int(distance_m[below[0]]) if below.size else None,
    slope_near=_slope(distance_m, value_m, 1, length / 64),
    slope_far=_slope(distance_m, value_m, length / 8, length - 1),
    lowest=float(value_m[lowest]),
    lowest_at=int(distance_m[lowest]),
  )


def table(rows: Sequence[Decay]) -> str:
  """The facts as aligned text; distances in tokens, slopes per doubling.

  Example:
    >>> print(table([facts(spectra.plain(1e4, 128), 4096)]))
                 distances   start  decay ends  negative  ...
                  (tokens)            (tokens)  (tokens)  ...
    theta 10000  0 to 4095  128.00           –      1707  ...
  """
  cells = [
    (
      row.label,
      f'0 to {row.length - 1}',
      f'{row.start:.2f}',
      _NONE if row.end_of_decay is None else str(row.end_of_decay),
      _NONE if row.first_negative is None else str(row.first_negative),
      _NONE if math.isnan(row.slope_near) else f'{row.slope_near:+.2f}',
      _NONE if math.isnan(row.slope_far) else f'{row.slope_far:+.2f}',
      f'{row.lowest:.2f}',
      str(row.lowest_at),
    )
    for row in rows
  ]
  return aligned(_HEADS, cells)


def _side(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
  """The distances from 0 on, and the values there."""
  begin = int(np.searchsorted(curve.distance_m, 0))
  distance_m = curve.distance_m[begin:]
  if not distance_m.size or distance_m[0]:
    raise ValueError(
      f'curve {curve.label!r}, distances {curve.distance_m[0]} ... '
      f'{curve.distance_m[-1]}, has no value at distance 0, against which '
      'its facts are measured.'
    )
  return distance_m, curve.value_m[begin:]


def _end(distance_m: np.ndarray, mean_m: np.ndarray, rise: float) -> int | None:
  """Where the mean is lowest before it first lies `rise` above that."""
  least_m = np.minimum.accumulate(mean_m)
  risen = np.flatnonzero(mean_m - least_m > rise)
  if not risen.size:
    return None
  return int(distance_m[mean_m[: risen[0]].argmin()])


def _slope(distance_m, value_m, first: float, last: float) -> float:
  """Least squares against log2 of the distance, over [first, last]."""
  part = (distance_m >= max(first, 1)) & (distance_m <= last)
  if part.sum() < 2:
    return math.nan
  octave_m = np.log2(distance_m[part])
  octave_m -= octave_m.mean()
  return float(octave_m @ value_m[part] / (octave_m @ octave_m))
