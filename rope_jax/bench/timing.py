"""Paired timing: ways of doing one thing, in turn, medians and ratios."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Timing:
  """One way of doing a thing, beside the first way of its case.

  Attributes:
    case: what was done, with its shape.
    way: how.
    seconds: median of the runs.
    ratio: median over the runs of this way's time over the first way's in the
      same round.
    low, high: the quartiles of that ratio.
  """

  case: str
  way: str
  seconds: float
  ratio: float
  low: float
  high: float


def clocked(call: Callable[[], Any]) -> Callable[[], float]:
  """A call without arguments as one that returns the seconds it took."""

  def run() -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start

  return run


def paired(
  case: str, ways: Mapping[str, Callable[[], float]], rounds: int = 30
) -> list[Timing]:
  """Times several ways in turn, so that a drift of the machine hits all.

  Args:
    case: what they do.
    ways: name to a call that returns its seconds (`clocked`); the first is what
      ratios are to.
    rounds: how often each is called, >= 2, after a warm-up that compiles.

  Returns:
    A Timing for each way, in order.
  """
  for call in ways.values():
    call()
  taken: dict[str, list[float]] = {way: [] for way in ways}
  for _ in range(rounds):
    for way, call in ways.items():
      taken[way].append(call())
  first = taken[next(iter(ways))]
  found = []
  for way, times in taken.items():
    ratios = [a / b for a, b in zip(times, first, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    found.append(Timing(case, way, statistics.median(times), middle, low, high))
  return found


def show(timings: list[Timing], say: Say) -> None:
  """Prints timings as a table."""
  say(f'{"case":<32} {"way":<28} {"median ms":>10} {"ratio":>7}  quartiles')
  for t in timings:
    say(
      f'{t.case:<32} {t.way:<28} {1e3 * t.seconds:>10.3f} {t.ratio:>7.2f}  '
      f'{t.low:.2f} to {t.high:.2f}'
    )
