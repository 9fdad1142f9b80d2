"""Inner product of a rotated query and key against their distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Literal

import numpy as np

from rope_jax.spectrum import sums
from rope_jax.spectrum.spectra import Spectrum
from rope_jax.spectrum.sums import cosine_sum as cosine_sum
from rope_jax.spectrum.sums import rounding as rounding

DRAWS = ('normal', 'uniform')
_STEP = 1 << 10  # Distances in a row of a block of partial sums.
_CACHED = 1 << 14  # Distances of such a block: it fits a cache.


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
  """Values against distance.

  Attributes:
    label: what tables and pictures call it.
    kind: 'ones', 'bound', 'cosines', or the draw of `random`.
    distance_m: int64, ascending, tokens; below 0 the key comes after the query.
    value_m: float64 [m].
    low_m: float64 [m], where a band begins; None for a curve that has none.
    high_m: float64 [m], where it ends.

  Raises:
    ValueError: nothing given; shapes that differ; distances out of order.
  """

  label: str
  kind: str
  distance_m: np.ndarray
  value_m: np.ndarray
  low_m: np.ndarray | None = None
  high_m: np.ndarray | None = None

  def __post_init__(self):
    shape = self.distance_m.shape
    if len(shape) != 1 or not shape[0]:
      raise ValueError(
        f'Curve {self.label!r}: distance_m has shape {shape}; give at least '
        'one distance: [m].'
      )
    for field in ('value_m', 'low_m', 'high_m'):
      given = getattr(self, field)
      if given is not None and given.shape != shape:
        raise ValueError(
          f'Curve {self.label!r}: {field} has shape {given.shape}, distance_m '
          f'{shape}; give one number per distance.'
        )
    if (np.diff(self.distance_m) <= 0).any():
      raise ValueError(
        f'Curve {self.label!r}: distance_m must ascend, each distance once.'
      )


def cosines(
  spectrum: Spectrum, length: int, points: int | None = None
) -> Curve:
  """The sum of cosines as a curve.

  Args:
    spectrum: what turns.
    length: distances are 0 ... length - 1, tokens.
    points: None is every distance, 16 bytes each. A number is the envelope in
      so many bins, as `envelope` gives it, for lengths that no memory holds.

  Raises:
    ValueError: length out of range; fewer than 2 points.
  """
  blocks = sums.cosine_blocks(spectrum, length)
  if points is not None:
    _check_points(points)
    start_b = _starts(length, points)
    made = ((first, v, v, v) for first, v in blocks)
    values = _binned(made, start_b, length)
    ends_b = np.append(start_b[1:], length)
    middle_b = (start_b + ends_b - 1) // 2
    return Curve(spectrum.label, 'cosines', middle_b, *values)
  value_m = np.empty(length)
  for first, value in blocks:
    value_m[first : first + value.size] = value
  return Curve(spectrum.label, 'cosines', np.arange(length), value_m)


def ones(spectrum: Spectrum, length: int, centre: int = 0) -> Curve:
  """The inner product of q = k = (1, ..., 1), at every distance of a window.

  <R(i) q, R(j) k> = 2 sum_k a_k^2 cos((i - j) f_k)

  Args:
    spectrum: what turns.
    length: tokens of the window.
    centre: how many of them come before the query's; 0 is the window's first
      and length // 2 the middle. An even function of the distance either way.

  Returns:
    A Curve at the distances -centre ... length - 1 - centre.

  Raises:
    ValueError: length out of range; a centre outside of the window.
  """
  sums.check_length(length)
  if not 0 <= centre < length:
    raise ValueError(
      f'centre={centre}: the query stands in the window, so this must be in '
      f'[0, {length}), such as {length // 2} for the middle.'
    )
  side = cosines(spectrum, max(centre + 1, length - centre)).value_m
  side *= 2
  distance_m = np.arange(-centre, length - centre)
  value_m = side if not centre else side[np.abs(distance_m)]
  return Curve(spectrum.label, 'ones', distance_m, value_m)


def bound(spectrum: Spectrum, length: int) -> Curve:
  """RoFormer's relative upper bound: the mean size of the partial sums.

  1/f sum_{j=1}^{f} |S_j|,   S_j = sum_{k<j} a_k^2 exp(i m f_k)

  By Abel's summation an inner product is at most f times this mean times the
  largest change of q k from a pair to the next.

  Args:
    spectrum: what turns; the order of the pairs matters.
    length: distances are 0 ... length - 1, tokens.

  Returns:
    A Curve at every distance; values are wrong by less than `rounding` says.

  Raises:
    ValueError: length out of range.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> bound(spectra.plain(1e4, 128), 101).value_m[[0, 10, 100]].round(4)
    array([32.5   , 17.9541, 10.2273])

  Source: Su et al. 2021, arXiv:2104.09864, section 3.4.3, figure 2.
  """
  sums.check_length(length)
  turns_f, square_f = sums.turns(spectrum), spectrum.square_f
  step = min(_STEP, length)
  fine_fj = sums.phases(np.arange(step), turns_f).T
  fine_fcj = np.stack([np.cos(fine_fj), np.sin(fine_fj)], 1)
  value_m = np.empty(length)
  for first in range(0, length, _CACHED):
    count = min(_CACHED, length - first)
    rows_fr = sums.phases(np.arange(first, first + count, step), turns_f).T
    cos_fr = np.cos(rows_fr) * square_f[:, None]
    sin_fr = np.sin(rows_fr) * square_f[:, None]
    # Real part and imaginary part, each a product of [rows, 2] by [2, step].
    rows_fprc = np.stack(
      [np.stack([cos_fr, -sin_fr], -1), np.stack([sin_fr, cos_fr], -1)], 1
    )
    partial_prj = np.zeros((2, rows_fr.shape[1], step))
    term_prj = np.empty_like(partial_prj)
    total_rj = np.zeros(partial_prj.shape[1:])
    for rows_prc, fine_cj in zip(rows_fprc, fine_fcj, strict=True):
      np.matmul(rows_prc, fine_cj, out=term_prj)
      partial_prj += term_prj
      np.multiply(partial_prj, partial_prj, out=term_prj)
      size_rj = term_prj[0]
      size_rj += term_prj[1]
      total_rj += np.sqrt(size_rj, out=size_rj)
    value_m[first : first + count] = total_rj.ravel()[:count]
  value_m /= square_f.size
  return Curve(spectrum.label, 'bound', np.arange(length), value_m)


def random(
  spectrum: Spectrum,
  length: int,
  draws: int = 256,
  seed: int = 0,
  draw: str = 'normal',
  points: int = 2048,
) -> Curve:
  """Inner products of random queries and keys.

  sum_k a_k^2 ((q_0 k_0 + q_1 k_1) cos(m f_k) + (q_0 k_1 - q_1 k_0) sin(m f_k))

  for the two coordinates 0 and 1 of each pair. Over coordinates of N(0, 1) a
  turned query has the distribution of an unturned one, so that nothing depends
  on the distance: the mean is 0 and the variance 2 sum_k a_k^4 everywhere. Over
  U[0, 1) the mean is a quarter of `ones`, 1/2 sum_k a_k^2 cos(m f_k), and the
  variance 7/72 sum_k a_k^4 everywhere.

  Args:
    spectrum: what turns.
    length: distances are in 0 ... length - 1, tokens.
    draws: pairs of a query and a key, each looked at over all distances.
    seed: of the draws.
    draw: 'normal', N(0, 1), or 'uniform', U[0, 1), each coordinate by itself.
    points: distances, as `spread` has them.

  Returns:
    A Curve: the mean over the draws and the quantiles of 5 % and 95 %; of one
    draw its values, without quantiles.

  Raises:
    ValueError: an argument out of range.
  """
  sums.check_length(length)
  if draws < 1:
    raise ValueError(f'draws={draws} must be at least 1 query and key.')
  if draw not in DRAWS:
    raise ValueError(f'draw={draw!r} must be one of {DRAWS}.')
  distance_m = spread(length, points)
  make = np.random.default_rng(seed)
  size = (4, draws, spectrum.frequency_f.size)
  drawn = make.standard_normal(size) if draw == 'normal' else make.random(size)
  q0, q1, k0, k1 = drawn * np.sqrt(spectrum.square_f)
  phase_fm = sums.phases(distance_m, sums.turns(spectrum)).T
  score_dm = (q0 * k0 + q1 * k1) @ np.cos(phase_fm)
  score_dm += (q0 * k1 - q1 * k0) @ np.sin(phase_fm)
  low_m = high_m = None
  if draws > 1:
    low_m, high_m = np.quantile(score_dm, (0.05, 0.95), axis=0)
  return Curve(
    spectrum.label, draw, distance_m, score_dm.mean(0), low_m, high_m
  )


def spread(length: int, points: int) -> np.ndarray:
  """Distances 0 ... length - 1: all small ones, then evenly in the logarithm.

  Returns:
    int64, ascending, from 0 to length - 1, `points` of them; all where there
    are no more.

  Raises:
    ValueError: length out of range; fewer than 2 points.

  Example:
    >>> spread(1000, 12)
    array([  0,   1,   2,   4,   8,  16,  32,  63, 126, 251, 501, 999])
  """
  sums.check_length(length)
  _check_points(points)
  if length <= points:
    return np.arange(length)
  # From the first distance `dense` on, steps of a fixed ratio exceed 1 token.
  dense_c = np.arange(1, points)
  ratio_c = np.log((length - 1) / dense_c) / np.maximum(points - 1 - dense_c, 1)
  dense = int(dense_c[np.argmax(ratio_c >= np.log1p(1 / dense_c))])
  if dense == points - 1:
    return np.append(np.arange(dense), length - 1)
  far = np.rint(np.geomspace(dense, length - 1, points - dense))
  return np.concatenate([np.arange(dense), far.astype(np.int64)])


def envelope(
  curve: Curve, points: int, spacing: Literal['log', 'linear'] | None = None
) -> Curve:
  """The least and the greatest value of each bin, so that nothing is aliased.

  Args:
    curve: what to draw. Of one with a band, the band's ends are enveloped.
    points: bins, >= 2.
    spacing: 'log': bins of one distance, then of equal ratio; 'linear': of
      equal width. None is 'log' where no distance is negative.

  Returns:
    A Curve of at most `points` bins: the middle one of each bin's distances,
    the mean of its values, the least and the greatest one.

  Raises:
    ValueError: fewer than 2 points; negative distances on a logarithmic axis.
  """
  distance_m = curve.distance_m
  first, last = int(distance_m[0]), int(distance_m[-1])
  _check_points(points)
  spacing = spacing or ('log' if first >= 0 else 'linear')
  if spacing not in ('log', 'linear'):
    raise ValueError(f"spacing={spacing!r} must be 'log' or 'linear'.")
  if spacing == 'log' and first < 0:
    raise ValueError(
      f"spacing='log' has no place for distance {first}; use 'linear'."
    )
  if spacing == 'log':
    edge_b = _starts(last + 1, points)
  else:
    edge_b = first + (last + 1 - first) * np.arange(points) // points
  start_b = np.unique(np.searchsorted(distance_m, edge_b))
  value_m = curve.value_m
  low_m = value_m if curve.low_m is None else curve.low_m
  high_m = value_m if curve.high_m is None else curve.high_m
  count = distance_m.size
  values = _binned([(0, value_m, low_m, high_m)], start_b, count)
  middle_b = (start_b + np.append(start_b[1:], count) - 1) // 2
  return Curve(curve.label, curve.kind, distance_m[middle_b], *values)


def _check_points(points: int) -> None:
  if points < 2:
    raise ValueError(f'points={points} must be at least 2.')


def _starts(length: int, points: int) -> np.ndarray:
  """Where bins of equal ratio begin, the last of which ends with `length`."""
  if length <= points:
    return spread(length, points)
  return spread(length, points + 1)[:-1]


def _binned(
  blocks: Iterable[tuple[int, np.ndarray, np.ndarray, np.ndarray]],
  start_b: np.ndarray,
  count: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Mean, least and greatest of each bin, of values that come in blocks.

  Args:
    blocks: (index of the first value, values, their lows, their highs).
    start_b: the index at which each bin begins, ascending from 0.
    count: values in all.
  """
  total_b = np.zeros(start_b.size)
  low_b = np.full(start_b.size, np.inf)
  high_b = np.full(start_b.size, -np.inf)
  for first, value_m, low_m, high_m in blocks:
    begin = int(np.searchsorted(start_b, first, 'right')) - 1
    end = int(np.searchsorted(start_b, first + value_m.size))
    part = slice(begin, end)
    cuts = np.maximum(start_b[part] - first, 0)
    total_b[part] += np.add.reduceat(value_m, cuts)
    low_b[part] = np.minimum(low_b[part], np.minimum.reduceat(low_m, cuts))
    high_b[part] = np.maximum(high_b[part], np.maximum.reduceat(high_m, cuts))
  return total_b / np.diff(start_b, append=count), low_b, high_b
