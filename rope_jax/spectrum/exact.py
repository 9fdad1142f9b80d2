"""Exact phases: position x frequency in whole numbers of any size."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from rope_jax.spectrum.spectra import Spectrum

Positions = Sequence[int] | np.ndarray
FAR = 2**31 - 1  # Positions are int32.
_BITS = 192  # Binary places of a turn; a position takes 31 of them.


@functools.cache
def _per_radian() -> int:
  """2^(2 _BITS) / 2 pi, with pi by Machin's formula in whole numbers."""
  guard = 64
  one = 1 << (2 * _BITS + guard)

  def inverse_tangent(of: int) -> int:  # Of 1 / of.
    power = one // of
    total, odd = power, 1
    while power:
      power //= -of * of
      odd += 2
      total += power // odd
    return total

  pi = 4 * (4 * inverse_tangent(5) - inverse_tangent(239))
  return (one << (2 * _BITS)) // (2 * pi)


def to_turns(radians: float) -> int:
  """A float64 of radians in turns, to 2^-_BITS of a turn."""
  over, under = radians.as_integer_ratio()
  return (over * _per_radian() // under) >> _BITS


def to_radians(turns: int) -> float:
  """The inverse, rounded to float64."""
  return turns / (1 << _BITS) * (2 * math.pi)


def wrapped(turns: int) -> float:
  """Turns less whole ones, in radians: [-pi, pi]."""
  half = 1 << (_BITS - 1)
  return to_radians(((turns + half) & ((1 << _BITS) - 1)) - half)


def phase(spectrum: Spectrum, positions: Positions) -> np.ndarray:
  """position x frequency less whole turns, from whole numbers.

  p f - 2 pi round(p f / 2 pi), where f is the float64 frequency, taken as the
  rational number that it is, and pi has 448 bits

  Args:
    spectrum: its frequencies, radians per token, below 2^60.
    positions: whole numbers [t], tokens, |p| < 2^31.

  Returns:
    float64 [t, f], radians in [-pi, pi], wrong by less than 1e-15.

  Raises:
    ValueError: positions or frequencies out of range.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> phase(spectra.plain(1e4, 4), [3, 10**6]).round(9)
    array([[ 3.        ,  0.03      ],
           [-0.35756417, -2.83100903]])

  Differs: `rope_jax.positions._phases`, which models run, has 64 bits of a turn
    and a table of pi; nothing here is shared with it.
  """
  pos_t = checked(spectrum, positions)
  steps = [to_turns(f) for f in spectrum.frequency_f.tolist()]
  return np.array([[wrapped(p * step) for step in steps] for p in pos_t])


def checked(spectrum: Spectrum, positions: Positions) -> list[int]:
  """The positions as Python's integers; raises what `phase` says."""
  pos_t = np.asarray(positions)
  if pos_t.ndim != 1 or not pos_t.size or pos_t.dtype.kind not in 'iu':
    raise ValueError(
      f'positions are {pos_t.dtype} of shape {pos_t.shape}; give whole numbers '
      'of shape [t], at least one.'
    )
  found = [int(p) for p in pos_t]
  for p in (min(found), max(found)):
    if abs(p) > FAR:
      raise ValueError(
        f'positions hold {p}; they must be within -{FAR} ... {FAR} tokens.'
      )
  fast = np.abs(spectrum.frequency_f).max()
  if fast >= 2.0**60:
    raise ValueError(
      f'Spectrum {spectrum.label!r}: a frequency_f of {fast:g} radians per '
      'token; they must be below 2^60.'
    )
  return found
