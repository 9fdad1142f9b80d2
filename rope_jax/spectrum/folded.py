"""Sums of cosines at every distance, for hundreds of spectra in seconds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rope_jax.spectrum import sums
from rope_jax.spectrum.spectra import Spectrum

_HALF = 256  # Distances on either side of a centre.
_BLOCK = 1 << 16  # Distances at once: what a cache holds.
# Multiplications of one product of matrices. OpenBLAS keeps such small ones on
# one core; on two, each waits for the other wherever a machine is busy.
_PRODUCT = 1 << 18


def folded_blocks(
  spectrum: Spectrum, length: int, start: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
  """The sum of cosines at every distance, a block at a time.

  cos((s + j) f) + cos((s - j) f) = 2 cos(s f) cos(j f)
  cos((s - j) f) - cos((s + j) f) = 2 sin(s f) sin(j f)

  so that two products, [rows, f] by [f, 256] each, give the distances on both
  sides of every centre s: half the multiplications of `sums.cosine_blocks`.

  Args:
    spectrum: f_k and a_k.
    length: one past the last distance, tokens, up to 2^40.
    start: the first distance, in [0, length).

  Yields:
    (first distance, float64 values at it and those that follow), wrong by less
    than `sums.rounding` says: each value is of as many products.

  Raises:
    ValueError: length or start out of range.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> blocks = folded_blocks(spectra.plain(1e4, 128), 2000, start=1000)
    >>> first, value_m = next(blocks)
    >>> first, value_m[[0, 707]].round(4).tolist()
    (1000, [10.1777, -0.4989])
  """
  sums.check_length(length)
  if not 0 <= start < length:
    raise ValueError(f'start={start} must be in [0, length={length}).')
  return _blocks(spectrum, length, start)


def _blocks(spectrum, length, start):
  turns_f, square_f = sums.turns(spectrum), spectrum.square_f
  pairs = turns_f.size
  rows = max(1, _PRODUCT // (_HALF * pairs))
  near_fj = sums.phases(np.arange(1, _HALF + 1), turns_f).T
  cos_fj, sin_fj = np.cos(near_fj), np.sin(near_fj)
  for first in range(start, length, _BLOCK):
    count = min(_BLOCK, length - first)
    centres = -(-count // (2 * _HALF))
    centres = -(-centres // rows) * rows  # Whole products, cut below.
    centre_s = first + _HALF + 2 * _HALF * np.arange(centres)
    far_sf = sums.phases(centre_s, turns_f)
    cos_sf, sin_sf = np.cos(far_sf) * square_f, np.sin(far_sf) * square_f
    even_sj = (cos_sf.reshape(-1, rows, pairs) @ cos_fj).reshape(centres, -1)
    odd_sj = (sin_sf.reshape(-1, rows, pairs) @ sin_fj).reshape(centres, -1)
    value_sm = np.empty((centres, 2 * _HALF))
    np.add(even_sj, odd_sj, out=value_sm[:, _HALF - 1 :: -1])
    value_sm[:, _HALF] = cos_sf.sum(1)
    right_sm = value_sm[:, _HALF + 1 :]
    np.subtract(even_sj[:, :-1], odd_sj[:, :-1], out=right_sm)
    yield first, value_sm.ravel()[:count]
