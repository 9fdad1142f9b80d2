"""Sums of the cosines of a head's pairs, at any distance, and their error."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from rope_jax.spectrum.spectra import Spectrum

LIMIT = 2**40  # Distances are below it, in tokens.
_HALF = 256  # Distances on either side of a centre.
_BLOCK = 1 << 16  # Distances computed at once: what a cache holds.
# Multiplications of one product of matrices. OpenBLAS keeps such small ones on
# one core; on two, each waits for the other wherever a machine is busy.
_PRODUCT = 1 << 18
_DIRECT = 1 << 11  # Of them where they lie far apart.
_DENSE = 16  # A block's distance costs less than this share of a lone one's.
_WORD = 1 << 64  # A turn in whole numbers.
_FASTEST = 2.0**60  # Radians per token: beyond, 1 / 2 pi has too few digits.
# 1 / 2 pi to 192 bits behind the point.
_TURNS_PER_RADIAN = 0x28BE60DB9391054A7F09D5F47D4D377036D8A5664F10E410


def cosine_sum(spectrum: Spectrum, distance_m: np.ndarray) -> np.ndarray:
  """The sum of the cosines of all pairs, at any distances.

  sum_k a_k^2 cos(m f_k), where a pair that does not turn counts 1

  Args:
    spectrum: f_k and a_k; |f_k| < 2^60 radians per token.
    distance_m: whole numbers [m], tokens, in any order, |m| < 2^40.

  Returns:
    float64 [m], wrong by less than `rounding` says.

  Raises:
    ValueError: distances that are no whole numbers, or out of range.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> cosine_sum(spectra.plain(1e4, 128), np.array([0, 1000, 1707])).round(4)
    array([64.    , 10.1777, -0.4989])

  Source: Men et al. 2024, arXiv:2405.14591 (B_m).
  """
  distance_m = _whole(distance_m)
  turns_f = turns(spectrum)
  count, size_m = distance_m.size, np.abs(distance_m)
  if count:
    first, last = int(size_m.min()), int(size_m.max())
    if last - first < _DENSE * count:  # Then a whole range costs less.
      blocks = cosine_blocks(spectrum, last + 1, first)
      return np.concatenate([v for _, v in blocks])[size_m - first]
  value_m = np.empty(count)
  for start in range(0, count, _DIRECT):
    part = slice(start, start + _DIRECT)
    phase_mf = phases(distance_m[part], turns_f)
    value_m[part] = np.cos(phase_mf, out=phase_mf) @ spectrum.square_f
  return value_m


def cosine_blocks(
  spectrum: Spectrum, length: int, start: int = 0, block: int = _BLOCK
) -> Iterator[tuple[int, np.ndarray]]:
  """The sum of cosines at every distance, a block at a time.

  cos((s + j) f) + cos((s - j) f) = 2 cos(s f) cos(j f)
  cos((s - j) f) - cos((s + j) f) = 2 sin(s f) sin(j f)

  so that two products of matrices, [rows, f] by [f, 256] each, give the
  distances on both sides of every centre s.

  Args:
    spectrum: f_k and a_k.
    length: one past the last distance, tokens, up to 2^40.
    start: the first distance, in [0, length).
    block: distances of a block, > 0.

  Yields:
    (first distance, float64 values at it and those that follow).

  Raises:
    ValueError: length, start or block out of range.
  """
  check_length(length)
  if not 0 <= start < length:
    raise ValueError(f'start={start} must be in [0, length={length}).')
  if block < 1:
    raise ValueError(f'block={block} must be at least 1 distance.')
  return _blocks(spectrum, length, start, block)


def _blocks(spectrum, length, start, block):
  turns_f, square_f = turns(spectrum), spectrum.square_f
  pairs = turns_f.size
  most = max(1, _PRODUCT // (_HALF * pairs))
  near_fj = phases(np.arange(1, _HALF + 1), turns_f).T
  cos_fj, sin_fj = np.cos(near_fj), np.sin(near_fj)
  for first in range(start, length, block):
    count = min(block, length - first)
    centres = -(-count // (2 * _HALF))
    rows = min(most, centres)
    centres = -(-centres // rows) * rows  # Whole products, cut below.
    centre_s = first + _HALF + 2 * _HALF * np.arange(centres)
    far_sf = phases(centre_s, turns_f)
    cos_sf, sin_sf = np.cos(far_sf) * square_f, np.sin(far_sf) * square_f
    even_sj = (cos_sf.reshape(-1, rows, pairs) @ cos_fj).reshape(centres, -1)
    odd_sj = (sin_sf.reshape(-1, rows, pairs) @ sin_fj).reshape(centres, -1)
    value_sm = np.empty((centres, 2 * _HALF))
    np.add(even_sj, odd_sj, out=value_sm[:, _HALF - 1 :: -1])
    value_sm[:, _HALF] = cos_sf.sum(1)
    right_sm = value_sm[:, _HALF + 1 :]
    np.subtract(even_sj[:, :-1], odd_sj[:, :-1], out=right_sm)
    yield first, value_sm.ravel()[:count]


def rounding(spectrum: Spectrum, length: int) -> float:
  """A bound on the error of sums of cosines at distances below `length`.

  sum_k a_k^2 ((2 f + 32) 2^-53 + 2^-64 2 pi m)

  for f pairs. The last term is the frequency rounded to a whole number of
  2^-64 turns per token; phases are then exact modulo a turn, so that nothing
  else grows with the distance. The first: two phases that become float64, 6 pi
  units of 2^-53; a sine or cosine of 4 units, twice, 8 sqrt(2); products and
  their sum of 2 f terms. For 64 pairs: 1.4e-12 at 10^4, 2.3e-11 at 10^6 and
  2.2e-9 at 10^8.

  Returns:
    The bound, in units of the sum. It is on the spectrum's float64 frequencies
    as they are, not on what they round.
  """
  units = (2 * spectrum.frequency_f.size + 32) * 2.0**-53
  drift = 2 * math.pi * length * 2.0**-64
  return float(spectrum.square_f.sum()) * (units + drift)


def check_length(length: int) -> None:
  """Raises ValueError unless there are that many distances."""
  whole = isinstance(length, int | np.integer)
  if not whole or not 1 <= length <= LIMIT:
    raise ValueError(
      f'length={length!r} must be a whole number of tokens in [1, 2^40].'
    )


def turns(spectrum: Spectrum) -> np.ndarray:
  """Turns per token modulo one, in units of 2^-64: uint64 [f].

  Raises:
    ValueError: a pair that turns by 2^60 radians per token or more.
  """
  found = []
  for pair, frequency in enumerate(spectrum.frequency_f.tolist()):
    if abs(frequency) >= _FASTEST:
      raise ValueError(
        f'Spectrum {spectrum.label!r}: frequency_f[{pair}]={frequency:g} '
        'radians per token; phases are computed for less than 2^60.'
      )
    over, under = frequency.as_integer_ratio()  # under is a power of two.
    scaled = 2 * over * _TURNS_PER_RADIAN // under >> 128
    found.append((scaled + 1 >> 1) % _WORD)
  return np.array(found, np.uint64)


def phases(distance_m: np.ndarray, turns_f: np.ndarray) -> np.ndarray:
  """Distance times frequency less whole turns: radians in [-pi, pi], [m, f].

  Products of uint64 wrap around, which takes whole turns off.

  Args:
    distance_m: int64 [m], tokens.
    turns_f: uint64 [f], of `turns`.
  """
  word_mf = distance_m.astype(np.uint64)[:, None] * turns_f
  return word_mf.view(np.int64) * (2 * math.pi / _WORD)


def _whole(distance_m: np.ndarray) -> np.ndarray:
  distance_m = np.asarray(distance_m)
  if distance_m.ndim != 1 or distance_m.dtype.kind not in 'iu':
    raise ValueError(
      f'distance_m has shape {distance_m.shape} and dtype {distance_m.dtype}; '
      'it must be whole numbers of tokens, [m].'
    )
  if distance_m.size and max(-distance_m.min(), distance_m.max()) >= LIMIT:
    raise ValueError(
      f'distance_m holds {distance_m.min()} ... {distance_m.max()}; distances '
      'must be within 2^40 tokens.'
    )
  return distance_m.astype(np.int64)
