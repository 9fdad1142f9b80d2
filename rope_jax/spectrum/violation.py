"""The first distance at which the cosines of a spectrum sum to less than 0."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np

from rope_jax.spectrum import spectra, sums
from rope_jax.spectrum.spectra import Spectrum

# Smallest base for a context of so many times 1024 (or 1000) tokens and heads
# of 128, as published: what the paper searched for, and what Su found again.
PAPER_BASES = {
  1: 4.3e3, 2: 1.6e4, 4: 2.7e4, 8: 8.4e4, 16: 3.1e5, 32: 6.4e5, 64: 2.1e6,
  128: 7.8e6, 256: 3.6e7, 512: 6.4e7, 1024: 5.1e8,
}  # fmt: skip
SU_BASES = {
  1: 4.3e3, 2: 1.2e4, 4: 2.7e4, 8: 8.4e4, 16: 2.3e5, 32: 6.3e5, 64: 2.1e6,
  128: 4.9e6, 256: 2.4e7, 512: 5.8e7, 1024: 6.5e7,
}  # fmt: skip
_MOST_BITS = 1 << 14  # Of a cosine, before a sum counts as undecided.


def first_violation(what: Spectrum | np.ndarray, length: int) -> int | None:
  """The first distance at which the sum of the cosines is negative.

  min {1 <= m < length : sum_k a_k^2 cos(m f_k) < 0}

  Exact for the float64 frequencies as given: sums that rounding leaves in
  doubt are settled in whole numbers. One of them is never zero: exp(i x) of
  different rational x are independent (Lindemann and Weierstrass), and no
  coefficient is negative.

  Args:
    what: a spectrum, or its frequencies, float64 [f], radians per token.
    length: distances are below it, tokens, up to 2^40.

  Returns:
    The distance in tokens; None where there is none.

  Raises:
    ValueError: length or frequencies out of range.

  Example:
    >>> first_violation(spectra.plain(1e4, 128), 4096)
    1707

  Source: Men et al. 2024, arXiv:2405.14591: a base is feasible for a length
    where there is none.
  """
  if not isinstance(what, Spectrum):
    what = Spectrum('frequencies', what)
  sums.check_length(length)
  for start, found in sums.cosine_blocks(what, length):
    doubt = sums.rounding(what, start + found.size)
    for at in np.flatnonzero(found <= doubt):
      if found[at] < -doubt or exact_sign(what, start + int(at)) < 0:
        return start + int(at)
  return None


def exact_sign(spectrum: Spectrum, distance: int) -> int:
  """The sign of the sum of cosines at a distance, by whole numbers alone.

  Args:
    spectrum: its float64 numbers are taken as the fractions that they are.
    distance: tokens.

  Returns:
    1 or -1.

  Raises:
    ArithmeticError: 16384 bits do not settle it.
  """
  pairs = [
    (Fraction(float(square)), abs(distance * Fraction(float(frequency))))
    for square, frequency in zip(
      spectrum.square_f, spectrum.frequency_f, strict=True
    )
  ]
  weight = sum(square for square, _ in pairs)
  bits = 128
  while bits <= _MOST_BITS:
    total = sum(square * _cosine(phase, bits) for square, phase in pairs)
    if abs(total) > weight:  # In units of 2^-bits, which each may be wrong by.
      return 1 if total > 0 else -1
    bits *= 2
  raise ArithmeticError(
    f'the sum of cosines of {spectrum.label!r} at distance {distance} is '
    f'within 2^-{_MOST_BITS} of zero.'
  )


def _cosine(phase: Fraction, bits: int) -> int:
  """cos(phase) in units of 2^-bits, wrong by less than one.

  The cosine's series at phase / 2^halved, then cos 2 x = 2 cos^2 x - 1, which
  needs no pi and makes an error four times as large.
  """
  halved = max(math.ceil(phase).bit_length(), 0) + 8
  work = bits + 2 * halved + 24
  one = 1 << work
  square = int((phase / 2**halved) ** 2 * one)
  total = term = one
  order = 0
  while term:
    order += 2
    term = -(term * square // (order * (order - 1)) >> work)
    total += term
  for _ in range(halved):
    total = (total * total >> (work - 1)) - one
  return (total >> (work - bits - 1)) + 1 >> 1


@dataclasses.dataclass(frozen=True)
class Published:
  """A row of the published tables.

  Attributes:
    length: tokens.
    paper: the paper's smallest base.
    paper_violation: the first distance below length at which it fails, or None.
    su: Su's smallest base.
    su_violation: where that fails, or None.
  """

  length: int
  paper: float
  paper_violation: int | None
  su: float
  su_violation: int | None


def published(head_dim: int = 128, k: int = 1024) -> tuple[Published, ...]:
  """The published smallest bases, each with its first violation.

  Args:
    head_dim: of the heads; the tables are of 128.
    k: tokens of '1k', 1024 or 1000: the paper does not say which.

  Raises:
    ValueError: an argument out of range.

  Example:
    >>> for row in published()[:3]:
    ...   print(row.length, row.paper, row.paper_violation, row.su_violation)
    1024 4300.0 None None
    2048 16000.0 None 1554
    4096 27000.0 4079 4079

  Source: Men et al. 2024, arXiv:2405.14591; Su 2024,
    kexue.fm/archives/10122.
  """
  if k not in (1000, 1024):
    raise ValueError(f'k={k} must be 1024 or 1000 tokens.')
  return tuple(
    Published(
      k * times,
      paper,
      first_violation(spectra.plain(paper, head_dim), k * times),
      SU_BASES[times],
      first_violation(spectra.plain(SU_BASES[times], head_dim), k * times),
    )
    for times, paper in PAPER_BASES.items()
  )
