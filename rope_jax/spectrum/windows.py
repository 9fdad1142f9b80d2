"""Windows of bases that carry a context length, certified, kept in a table."""

from __future__ import annotations

import concurrent.futures
import csv
import dataclasses
import functools
import importlib.resources
import io
import math
import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import threadpoolctl

from rope_jax.report import csvfile
from rope_jax.spectrum.certify import TOLERANCE, Prover

COLUMNS = (
  'head_dim', 'length', 'low_outer', 'low', 'high', 'high_outer',
)  # fmt: skip
_PIECES = 96  # Of the range of ln theta, settled one by one.
_ROUND = 1e-13  # Relative: what turning x into a base may lose.


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
  """All bases theta > 1 whose sum of cosines stays at or above zero.

  sum_k cos(m theta^(-2k / head_dim)) >= 0 for all 0 <= m < length.

  Attributes:
    head_dim: width of a head.
    length: tokens.
    bounds: float64 [n, 4], ascending: (low_outer, low, high, high_outer). Every
      base in [low, high] is proved feasible; every base outside all
      [low_outer, high_outer] is proved not to be. What lies between is the
      bracket of an edge: up to twice the tolerance, and wider where float64
      cannot tell (a few 1e-10 of the base in the table that ships; 1e-4 for
      head_dim 8 at 100,000 tokens). The last high is inf. A row with
      low > high is a bracket in which there may be a window.

  Source: Men et al. 2024, arXiv:2405.14591, theorem 1 and table 2, which gives
    one base per length: the least found on a grid, which is no threshold.
  """

  head_dim: int
  length: int
  bounds: np.ndarray

  @property
  def inner(self) -> np.ndarray:
    """The windows proper: float64 [w, 2], every base in them feasible."""
    return self.bounds[self.bounds[:, 1] <= self.bounds[:, 2]][:, 1:3]

  @property
  def first(self) -> float:
    """The least base that is proved feasible."""
    return float(self.inner[0, 0])

  @property
  def robust(self) -> float:
    """The least base from which on all are proved feasible."""
    return float(self.inner[-1, 0])

  def holds(self, theta: float) -> bool | None:
    """Whether a base is feasible; None on the bracket of an edge.

    Args:
      theta: base, > 1.
    """
    check_theta(theta)
    inner = self.inner
    if ((inner[:, 0] <= theta) & (theta <= inner[:, 1])).any():
      return True
    outer = self.bounds
    near = (outer[:, 0] <= theta) & (theta <= outer[:, 3])
    return None if near.any() else False

  def next(self, theta: float) -> float:
    """The least base >= theta that is proved feasible."""
    check_theta(theta)
    reachable = self.inner[self.inner[:, 1] >= theta]
    return max(float(reachable[0, 0]), float(theta))


def check_theta(theta: float) -> None:
  """Raises ValueError unless theta is a base."""
  if not (isinstance(theta, int | float | np.number) and 1 < theta < math.inf):
    raise ValueError(
      f'theta={theta!r}: a base must be a finite number above 1, such as 1e4.'
    )


def certify(
  head_dim: int,
  length: int,
  *,
  known: Windows | None = None,
  tolerance: float = TOLERANCE,
  threads: int | None = None,
  report: Callable[[float], None] | None = None,
) -> Windows:
  """Finds all windows of feasible bases, and proves that there are no others.

  Args:
    head_dim: even, in [6, 1024].
    length: tokens, in [2, 2^22].
    known: windows of a shorter length, to begin with: half the work where it is
      half the length.
    tolerance: relative width of the bracket of an edge, in [1e-12, 1e-2].
    threads: at a time; None is one per core.
    report: called with the share of the range that is done, in [0, 1].

  Returns:
    Windows; for head_dim 128, 1,024 tokens take a second and 131,072 half a
    minute on two cores; twice the length takes three times as long, and
    1,048,576 tokens 2 GB.

  Raises:
    ValueError: an argument out of range; `known` of another width, or longer.

  Example:
    >>> found = certify(128, 1024)
    >>> print(f'{found.first:.2f} {found.robust:.2f} {len(found.inner)}')
    4293.44 6018.28 3
  """
  check(head_dim, length, tolerance)
  prover = Prover(head_dim, length, tolerance)
  end = prover.tail()
  feasible, undecided = [], []
  with (
    threadpoolctl.threadpool_limits(1, 'blas'),
    concurrent.futures.ThreadPoolExecutor(
      threads or os.cpu_count() or 1
    ) as pool,
  ):
    pieces = [
      pool.submit(prover.settle, *piece)
      for piece in _pieces(end, known, head_dim, length)
    ]
    for done, piece in enumerate(concurrent.futures.as_completed(pieces), 1):
      one, other = piece.result()
      feasible.append(one)
      undecided.append(other)
      if report is not None:
        report(done / len(pieces))
  bounds = _joined(np.concatenate(feasible), np.concatenate(undecided), end)
  return Windows(head_dim, length, bounds)


def _pieces(
  end: float, known: Windows | None, head_dim: int, length: int
) -> list[tuple[np.ndarray, np.ndarray, int]]:
  """What to settle, (low, high, start) of `Prover.settle`, longest first."""
  width = end / _PIECES
  if known is None:
    edges = np.linspace(0.0, end, _PIECES + 1)
    return [
      (edges[i : i + 1], edges[i + 1 : i + 2], 0)
      for i in reversed(range(_PIECES))
    ]
  if known.head_dim != head_dim or known.length >= length:
    raise ValueError(
      f'known: windows of head_dim {known.head_dim} and {known.length:,} '
      f'tokens say nothing of head_dim {head_dim} and {length:,}; give shorter '
      'ones of the same width.'
    )
  # The table's numbers lie inside what was proved by more than logs lose.
  x = np.minimum(np.log(known.bounds), end)
  proved = x[:, 1] <= x[:, 2]
  made, thin = [], []
  for low, high in x[proved, 1:3]:
    count = math.ceil((high - low) / width)
    edges = np.linspace(low, high, count + 1)
    into = made if count > 1 else thin
    into += [(edges[i : i + 1], edges[i + 1 : i + 2]) for i in range(count)]
  made += [
    tuple(np.concatenate(side) for side in zip(*thin[i : i + 64], strict=True))
    for i in range(0, len(thin), 64)
  ]
  brackets = np.concatenate(
    [x[proved, :2], x[proved, 2:], x[~proved][:, [0, 3]]]
  )
  brackets = np.unique(brackets[brackets[:, 0] < brackets[:, 1]], axis=0)
  return [(low, high, known.length) for low, high in reversed(made)] + [
    (brackets[:, 0], brackets[:, 1], 0)
  ]


def check(head_dim: int, length: int, tolerance: float = TOLERANCE) -> None:
  """Raises ValueError unless windows can be certified for these."""
  whole = isinstance(head_dim, int | np.integer)
  if not whole or not 6 <= head_dim <= 1024 or head_dim % 2:
    raise ValueError(
      f'head_dim={head_dim!r}: windows are certified for even widths of 6 to '
      '1024 (with fewer than three pairs the proof for all large bases fails).'
    )
  if not isinstance(length, int | np.integer) or not 2 <= length <= 2**22:
    raise ValueError(
      f'length={length!r}: windows are certified for 2 to {2**22:,} tokens, a '
      'whole number.'
    )
  if not 1e-12 <= tolerance <= 1e-2:
    raise ValueError(f'tolerance={tolerance!r} must be in [1e-12, 1e-2].')


def _joined(feasible, undecided, end) -> np.ndarray:
  """Rows of `Windows.bounds` from intervals of ln theta that tile a range."""
  marked = [(low, high, True) for low, high in feasible]
  marked += [(low, high, False) for low, high in undecided]
  runs: list[list] = []
  for low, high, good in sorted(marked):
    if runs and runs[-1][1] == low and runs[-1][2] == good:
      runs[-1][1] = high
    else:
      runs.append([low, high, good])
  rows = []
  for i, (low, high, good) in enumerate(runs):
    before = runs[i - 1] if i and runs[i - 1][1] == low else None
    after = (
      runs[i + 1] if i + 1 < len(runs) and runs[i + 1][0] == high else None
    )
    if good:
      rows.append((before[0] if before else low, low, high,
                   after[1] if after else high))  # fmt: skip
    elif before is None and after is None:
      rows.append((low, high, low, high))
  made = np.exp(np.array(rows)) * (1 + _ROUND * np.array([-1, 1, -1, 1]))
  if rows[-1][2] != end:
    raise RuntimeError('certify: the last window does not meet the tail.')
  made[-1, 2:] = math.inf
  return made


def write(path: str | pathlib.Path, found: Iterable[Windows]) -> None:
  """Writes windows as CSV, in the order given; whole or not at all."""
  text = io.StringIO()
  lines = csv.writer(text, lineterminator='\n')
  lines.writerow(COLUMNS)
  for windows in found:
    for row in windows.bounds:
      values = (repr(float(x)) for x in row)
      lines.writerow((windows.head_dim, windows.length, *values))
  csvfile.write_atomically(path, text.getvalue().encode())


def read(path: str | pathlib.Path) -> dict[tuple[int, int], Windows]:
  """What `write` wrote, by (head_dim, length).

  Raises:
    ValueError: the file has other columns.
  """
  text = pathlib.Path(path).read_text(encoding='utf-8')
  return _parsed(text, str(path))


def _parsed(text: str, name: str) -> dict[tuple[int, int], Windows]:
  lines = csv.reader(text.splitlines())
  if tuple(next(lines, ())) != COLUMNS:
    raise ValueError(
      f'{name}: not a table of windows; its first line must be '
      f'{",".join(COLUMNS)}.'
    )
  rows: dict[tuple[int, int], list] = {}
  for at, line in enumerate(lines, 2):
    try:
      head_dim, length, *values = line
      low_outer, low, high, high_outer = map(float, values)
      key = int(head_dim), int(length)
    except ValueError:
      raise ValueError(
        f'{name}: line {at} is {",".join(line)!r}; it must be six numbers, '
        f'{",".join(COLUMNS)}. Mend it, or move the file away.'
      ) from None
    rows.setdefault(key, []).append((low_outer, low, high, high_outer))
  return {key: Windows(*key, np.array(row)) for key, row in rows.items()}


@functools.cache
def shipped() -> dict[tuple[int, int], Windows]:
  """The table that comes with the package, by (head_dim, length).

  `python -m experiments.spectrum --certify=FILE` makes it again.
  """
  files = importlib.resources.files('rope_jax.spectrum')
  text = files.joinpath('windows.csv').read_text(encoding='utf-8')
  return _parsed(text, 'windows.csv')
