"""Which bases keep the sum of cosines from going negative: proved, not sampled.

For a head of d coordinates, f_m(x) = sum_k cos(m exp(-u_k x)), u_k = 2k / d, is
the sum at distance m for the base exp(x). An interval of x is settled by bounds
that hold on all of it: it is infeasible if some f_m is negative throughout, and
feasible if every f_m, m < length, is at least 0 throughout. What is neither is
cut in two, down to a stated width.

First for all m at once, by a Lipschitz bound: |f_m'| <= m sum u_k theta_k, with
theta_k = exp(-u_k x) at the interval's lower end. The sums of all m are one
matrix product (the angle addition theorem) in float32, whose rounding errors
are bounded and added. The few distances that this leaves open are looked at one
by one in float64, with their derivative and
|f_m''| <= sum (m u_k theta_k)^2 + m u_k^2 theta_k.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

TOLERANCE = 1e-10  # In the logarithm of the base.
_FIRST = 64  # Distances looked at first: they settle most small bases.
_SHARE = 0.01  # Of the distances may stay open before an interval is cut.
_NUMBERS = 2**18  # Sums at a time.
_PAIRS = 2**14  # Single distances at a time.
_TOGETHER = 64  # Times as many are looked at before they are cut.
_WAITING = 2**20  # Intervals and open distances that go on together.
_SINGLE, _DOUBLE = 2.0**-24, 2.0**-53


@dataclasses.dataclass(frozen=True, eq=False)
class Intervals:
  """Intervals of x, and the distances that are open in each.

  Attributes:
    low, high: float64 [n].
    at, distance: int64, the open pairs of (interval, distance).
  """

  low: np.ndarray
  high: np.ndarray
  at: np.ndarray
  distance: np.ndarray

  @property
  def middle(self) -> np.ndarray:
    return 0.5 * (self.low + self.high)

  @property
  def radius(self) -> np.ndarray:
    # A little more than half: the middle is rounded.
    return 0.5 * (self.high - self.low) + 4 * _DOUBLE * self.high

  def only(self, wanted: np.ndarray) -> Intervals:
    """Those of a mask, with what is open in them."""
    place = np.cumsum(wanted) - 1
    kept = wanted[self.at]
    return Intervals(
      self.low[wanted],
      self.high[wanted],
      place[self.at[kept]],
      self.distance[kept],
    )

  def halves(self) -> Intervals:
    middle, more = self.middle, self.low.size
    return Intervals(
      np.concatenate([self.low, middle]),
      np.concatenate([middle, self.high]),
      np.concatenate([self.at, self.at + more]),
      np.tile(self.distance, 2),
    )

  def part(self, start: int, stop: int) -> Intervals:
    """Those of a range."""
    place = np.arange(self.low.size)
    return self.only((start <= place) & (place < stop))

  @classmethod
  def joined(cls, parts: list[Intervals]) -> Intervals:
    before = np.cumsum([0] + [p.low.size for p in parts[:-1]])
    return cls(
      np.concatenate([p.low for p in parts]),
      np.concatenate([p.high for p in parts]),
      np.concatenate([p.at + n for p, n in zip(parts, before, strict=True)]),
      np.concatenate([p.distance for p in parts]),
    )


class Prover:
  """Settles intervals of ln theta for one head width and length.

  Args:
    head_dim: even, >= 6.
    length: distances 0 ... length - 1 count.
    tolerance: width in ln theta at which an interval stays undecided.
  """

  def __init__(self, head_dim: int, length: int, tolerance: float = TOLERANCE):
    self.length, self.tolerance = length, tolerance
    self.pairs = head_dim // 2
    self.u_f = 2 * np.arange(self.pairs) / head_dim

  def tail(self) -> float:
    """An x from which on every base is feasible.

    Each cosine is at least the least one of any distance below the length,
    which grows with x: once their sum is >= 0 it stays so.
    """

    def least(x: float) -> float:
      phase_f = (self.length - 1) * np.exp(-self.u_f * x) * (1 + 1e-12)
      cos_f = np.cos(np.minimum(phase_f, np.pi))
      return float(cos_f.sum()) - 1e-9

    low, high = 0.0, 1.0
    while least(high) < 0:
      low, high = high, 2 * high
    while high - low > 1e-3:
      middle = 0.5 * (low + high)
      low, high = (low, middle) if least(middle) >= 0 else (middle, high)
    return high

  def settle(
    self, low: np.ndarray, high: np.ndarray, start: int = 0
  ) -> tuple[np.ndarray, np.ndarray]:
    """Settles intervals of x.

    Args:
      low, high: float64 [n], of intervals that do not overlap.
      start: below the length; distances below it are known to be feasible.

    Returns:
      (feasible, undecided), float64 [m, 2] each.
    """
    none = np.zeros(0, np.int64)
    stop = min(max(2 * start, _FIRST), self.length)
    feasible, undecided = [np.zeros((0, 2))], [np.zeros((0, 2))]
    given = Intervals(low, high, none, none)
    for one, other in self._settled(given, start, stop):
      feasible.append(one)
      undecided.append(other)
    return np.concatenate(feasible), np.concatenate(undecided)

  def _settled(
    self, given: Intervals, start: int, stop: int
  ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What `settle` returns, piece by piece, so that little waits at a time."""
    for piece in self._screen(given, start, stop):
      if stop == self.length:
        yield self._refine(piece)
      else:
        yield from self._settled(piece, stop, min(2 * stop, self.length))

  def _theta(self, x: np.ndarray) -> np.ndarray:
    """Frequencies [n, f], each wrong by at most 2 u x + 2 roundings of itself,
    which is below 100 for all x of `tail`."""
    return np.exp(-np.multiply.outer(x, self.u_f))

  def _powers(
    self, angle_nf: np.ndarray, count: int, first_nf: np.ndarray | float = 1.0
  ) -> np.ndarray:
    """first exp(i j angle) for j < count, a power of two: complex64
    [n, count, f], products of at most 1 + log2(count) numbers."""
    made = np.empty((len(angle_nf), count, self.pairs), np.complex64)
    made[:, 0] = first_nf
    ready = 1
    while ready < count:
      step = np.exp(1j * ready * angle_nf).astype(np.complex64)[:, None]
      np.multiply(made[:, :ready], step, out=made[:, ready : 2 * ready])
      ready *= 2
    return made

  def _sums(self, x: np.ndarray, start: int, stop: int) -> np.ndarray:
    """f_m(x) for start <= m < stop and a few more, in rows of consecutive m:
    float32 [n, rows, side]."""
    count = stop - start
    side = 1 << max(3, round(math.log2(count) / 2))
    rows = -(-count // side)
    theta_nf = self._theta(x)
    coarse = self._powers(
      side * theta_nf,
      1 << (rows - 1).bit_length(),
      np.exp(1j * start * theta_nf),
    )
    # cos(a + b) = cos a cos b + sin a sin -b, summed over the pairs.
    fine = self._powers(-theta_nf, side)
    left, right = coarse[:, :rows].view(np.float32), fine.view(np.float32)
    return left @ right.transpose(0, 2, 1)

  def _error_of_sums(self) -> float:
    """How far `_sums` may be from sums at the same phases.

    Entries are products of up to 12 numbers of modulus 1, each rounded and each
    product wrong by at most 3 roundings; two entries make a term. The sum of 2f
    products is wrong by at most 2f + 1 roundings of the sum of their sizes,
    which is at most 1.5 f.
    """
    entries = 2 * 12 * (3 + 2) * _SINGLE * self.pairs
    return entries + (2 * self.pairs + 1) * _SINGLE * 1.5 * self.pairs

  def _drifts(self, x: np.ndarray) -> np.ndarray:
    """How fast f_m may be wrong by its phases, per unit of m: [n].

    A frequency is wrong by (2 u x + 2) roundings of itself, its products with
    whole numbers by 2 more; the first, 1, and its products are exact.
    """
    theta_nf = self._theta(x)
    roundings_nf = 2 * np.multiply.outer(x, self.u_f) + 4
    roundings_nf[:, 0] = 0
    return 1.01 * _DOUBLE * (roundings_nf * theta_nf).sum(axis=1)

  def _screen(
    self, given: Intervals, start: int, stop: int
  ) -> Iterator[Intervals]:
    """Leaves out what is infeasible by the distances [start, stop), and opens
    those of them that a Lipschitz bound does not settle."""
    most = max(4, int(_SHARE * (stop - start)))
    size = max(1, _NUMBERS // (stop - start))
    todo, done, waiting = [given], [], 0
    while todo:
      given = todo.pop()
      count = given.low.size
      if count > _TOGETHER * size:
        todo += [given.part(count // 2, count), given.part(0, count // 2)]
        continue
      lost = np.zeros(given.low.size, bool)
      cut = np.zeros(given.low.size, bool)
      at, distance = [given.at], [given.distance]
      for i in range(0, given.low.size, size):
        part = slice(i, i + size)
        low, radius = given.low[part], given.radius[part]
        slope = radius * (self._theta(low) @ self.u_f) + self._drifts(low)
        sums = self._sums(given.middle[part], start, stop)
        lost[part], rows, m = self._open(sums, slope, start, stop)
        cut[part] = np.bincount(rows, minlength=low.size) > most
        at.append(rows + i)
        distance.append(m)
      opened = dataclasses.replace(
        given, at=np.concatenate(at), distance=np.concatenate(distance)
      )
      done.append(self._closer(opened.only(~(lost | cut))))
      waiting += done[-1].low.size + done[-1].at.size
      if waiting > _WAITING:
        yield Intervals.joined(done)
        done, waiting = [], 0
      cut &= ~lost
      if cut.any():
        todo.append(given.only(cut).halves())
    if waiting:
      yield Intervals.joined(done)

  def _open(
    self, sums: np.ndarray, slope: np.ndarray, start: int, stop: int
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(infeasible [n], interval, m) of sums that move by slope x m at most;
    the last two name what is open in the other intervals."""
    n, rows, side = sums.shape
    error = 1.001 * self._error_of_sums()
    last = start + side * np.arange(1, rows + 1) - 1
    # Nothing that the bound at a row's last distance settles is open.
    most = 1.000001 * np.multiply.outer(slope, last) + error
    near = np.flatnonzero(sums < most.astype(np.float32)[:, :, None])
    at, m = np.divmod(near, rows * side)
    m += start
    found = sums.ravel()[near]
    reach = 1.000001 * slope[at] * m + error
    counts = m < stop
    lost = np.zeros(n, bool)
    lost[at[counts & (found < -reach)]] = True
    kept = counts & (found < reach) & ~lost[at]
    return lost, at[kept], m[kept]

  def _closer(self, given: Intervals) -> Intervals:
    """Looks at each open distance: leaves out intervals that one makes
    infeasible, and closes the distances that are not negative."""
    negative = np.zeros(given.at.size, bool)
    still = np.zeros(given.at.size, bool)
    theta_nf = self._theta(given.middle)
    top_nf = self._theta(given.low)
    square = ((top_nf * self.u_f) ** 2).sum(axis=1) * (1 + 1e-9)
    single = (top_nf * self.u_f**2).sum(axis=1) * (1 + 1e-9)
    steep = top_nf @ self.u_f
    radius, drift = given.radius, self._drifts(given.low)
    rounding = (16 + 2 * self.pairs) * _DOUBLE * self.pairs
    for i in range(0, given.at.size, _PAIRS):
      part = slice(i, i + _PAIRS)
      n, m = given.at[part], given.distance[part].astype(np.float64)
      phase = theta_nf[n] * m[:, None]
      value = np.cos(phase).sum(axis=1)
      slope = np.abs((np.sin(phase) * phase) @ self.u_f) * (1 + 1e-9)
      bend = m * (m * square[n] + single[n])
      # The slope is taken at phases that are a little wrong.
      slope += 200 * _DOUBLE * m * m * steep[n]
      slope += (self.pairs + 4) * _DOUBLE * m * self.u_f.sum()
      r = radius[n]
      reach = slope * r + 0.5 * bend * r * r + m * drift[n] + rounding
      negative[part] = value + reach < 0
      still[part] = value < reach
    lost = np.zeros(given.low.size, bool)
    lost[given.at[negative]] = True
    kept = dataclasses.replace(
      given, at=given.at[still], distance=given.distance[still]
    )
    return kept.only(~lost)

  def _refine(self, given: Intervals) -> tuple[np.ndarray, np.ndarray]:
    """Halves what is open until it is settled or as narrow as the tolerance."""
    feasible, undecided = [], []
    while True:
      still = np.zeros(given.low.size, bool)
      still[given.at] = True
      narrow = given.high - given.low <= self.tolerance
      for kept, wanted in ((feasible, ~still), (undecided, still & narrow)):
        kept.append(np.stack([given.low[wanted], given.high[wanted]], axis=1))
      given = given.only(still & ~narrow)
      if not given.low.size:
        return np.concatenate(feasible), np.concatenate(undecided)
      given = self._closer(given.halves())
