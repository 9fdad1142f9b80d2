"""Differences of measured numbers, their errors, and how both are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rope_jax.report.inputs import Value

# A difference is claimed above this many standard errors of it. It is paired
# by document where the study says how each document weighs in (`influence`);
# else the errors of the two sides are added as if independent.
SURE = 2.0
_NAMED = 5  # Names a sentence lists at most.


def differ(a: Value, b: Value) -> tuple[float, float, bool]:
  """(a - b, its standard error, whether it can be told from zero)."""
  gap = a.value - b.value
  stderr = _combined((1.0, a), (-1.0, b))
  return gap, stderr, abs(gap) > SURE * stderr  # False where stderr is NaN.


def _combined(*terms: tuple[float, Value]) -> float:
  """The standard error of a sum of values times factors."""
  vectors = [v.influence for _, v in terms if v.influence is not None]
  if len(vectors) == len(terms) and len({len(v) for v in vectors}) == 1:
    total = sum(
      factor * vector
      for (factor, _), vector in zip(terms, vectors, strict=True)
    )
    return float(np.linalg.norm(total))
  return math.hypot(*(factor * value.stderr for factor, value in terms))


def mended(trained: Value, broken: Value, fixed: Value) -> tuple[float, float]:
  """The share of a rise that a variant takes back, and its standard error.

  share = (broken - fixed) / (broken - trained)

  Args:
    trained: as trained, at the trained length.
    broken: as trained, at the longer length.
    fixed: the variant, at the longer length.

  Returns:
    (share, standard error to first order).
  """
  rise = broken.value - trained.value
  share = (broken.value - fixed.value) / rise
  return share, _combined(
    ((fixed.value - trained.value) / rise**2, broken),
    (-1 / rise, fixed),
    (share / rise, trained),
  )


def show(value: Value) -> str:
  """'1.90 ± 0.02', with as many digits as the error bears."""
  if value.diverged:
    return 'diverged'
  digits = digits_of(value.stderr)
  if not math.isfinite(value.stderr):
    return f'{value.value:.{digits}f}'
  return f'{value.value:.{digits}f} ± {value.stderr:.{digits}f}'


def show_change(gap: float, stderr: float) -> str:
  """'+0.12 ± 0.02'."""
  digits = digits_of(stderr)
  text = f'{gap:+.{digits}f}'.replace('-', '−')
  if not math.isfinite(stderr):
    return f'{text}, its error unknown'
  return f'{text} ± {stderr:.{digits}f}'


def digits_of(stderr: float) -> int:
  """Decimals that show an error with two digits, between 2 and 4."""
  if not math.isfinite(stderr) or stderr <= 0:
    return 2
  return min(4, max(2, 1 - math.floor(math.log10(stderr))))


def join(names: Sequence[str], most: int = _NAMED) -> str:
  """'a, b and c', and of a long list the first ones and how many follow."""
  names = list(names)
  if len(names) > most:
    rest = len(names) - most + 1
    names = [*names[: most - 1], f'{rest} others']
  if len(names) < 2:
    return ''.join(names)
  return ', '.join(names[:-1]) + ' and ' + names[-1]
