"""How wrong ways to compute position x frequency are, by exact arithmetic."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from rope_jax.spectrum import exact
from rope_jax.spectrum.spectra import Spectrum
from rope_jax.spectrum.text import aligned
from rope_jax.spectrum.ways import WAYS, Way

_NEAR = 64  # Positions looked at below each length.
LENGTHS = (4096, 131072, 1048576)


def phase_error(
  spectrum: Spectrum,
  way: str,
  positions: exact.Positions,
  wrapped: bool = True,
) -> np.ndarray:
  """What a way of computing phases gets wrong, computed exactly.

  error = computed - p f,   less whole turns if wrapped

  Both terms are rational numbers and are subtracted as such. For rounded
  frequencies the error grows with the distance between two tokens alone, for
  rounded products and positions with the position itself.

  Args:
    spectrum: its frequencies, radians per token, below 2^60.
    way: one of `WAYS`.
    positions: whole numbers [t], tokens, |p| < 2^31. An entry of the result
      takes about 2 microseconds.
    wrapped: whether a whole turn too many is no error, as for cosines.

  Returns:
    float64 [t, f], radians; in [-pi, pi] if wrapped.

  Raises:
    ValueError: an unknown way; positions out of range; an unwrapped error of a
      way that drops whole turns.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> error_tf = phase_error(spectra.plain(1e4, 128), 'float32', [131056])
    >>> f'{abs(error_tf).max():.4f}'
    '0.0078'
  """
  pos_t = exact.checked(spectrum, positions)
  found = _way(way)
  if not wrapped and not found.whole:
    raise ValueError(
      f'way={way!r} drops whole turns, so its error has no unwrapped form; '
      'leave wrapped=True.'
    )
  computed_tf = found(spectrum, np.array(pos_t, np.int64)).tolist()
  steps = [exact.to_turns(f) for f in spectrum.frequency_f.tolist()]
  make = exact.wrapped if wrapped else exact.to_radians
  return np.array(
    [
      [
        make(exact.to_turns(value) - p * step)
        for value, step in zip(row, steps, strict=True)
      ]
      for p, row in zip(pos_t, computed_tf, strict=True)
    ]
  )


@dataclasses.dataclass(frozen=True)
class Worst:
  """The largest phase error of one way below one length.

  Attributes:
    label: the spectrum's.
    way: of `WAYS`.
    length: tokens.
    error: radians, wrapped: at most pi.
    unwrapped: radians, with whole turns; None for a way that drops them.
    pair: which pair of the head has `error`.
    position: where.
  """

  label: str
  way: str
  length: int
  error: float
  unwrapped: float | None
  pair: int
  position: int


def worst(
  spectrum: Spectrum,
  ways: Iterable[str] = tuple(WAYS),
  lengths: Iterable[int] = LENGTHS,
) -> tuple[Worst, ...]:
  """The largest phase error of each way, just below each length.

  Args:
    spectrum: its frequencies.
    ways: of `WAYS`.
    lengths: tokens, 1 ... 2^31; the last 64 positions of each are looked at.

  Returns:
    A Worst for each way and length, over all pairs.

  Raises:
    ValueError: an unknown way; a length out of range.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> rows = worst(spectra.plain(1e4, 128), ['float32', 'exact'], [2**17])
    >>> for row in rows:
    ...   print(row.way, f'{row.error:.0e}')
    float32 8e-03
    exact 3e-07

  Source: phases of bfloat16 frequencies and positions in libraries in use:
    huggingface/transformers#25681 and #29285, NVIDIA/Megatron-LM#535,
    sgl-project/sglang-jax#1472.
  """
  ways, lengths = tuple(ways), tuple(lengths)
  for way in ways:
    _way(way)
  for length in lengths:
    _check_length(length, 1)
  return tuple(
    _worst(spectrum, way, int(length)) for way in ways for length in lengths
  )


def _worst(spectrum: Spectrum, way: str, length: int) -> Worst:
  positions = range(max(0, length - _NEAR), length)
  size_tf = np.abs(phase_error(spectrum, way, positions))
  at, pair = np.unravel_index(size_tf.argmax(), size_tf.shape)
  unwrapped = None
  if WAYS[way].whole:
    error_tf = phase_error(spectrum, way, positions, wrapped=False)
    unwrapped = float(np.abs(error_tf).max())
  return Worst(
    label=spectrum.label,
    way=way,
    length=length,
    error=float(size_tf[at, pair]),
    unwrapped=unwrapped,
    pair=int(pair),
    position=positions[int(at)],
  )


@dataclasses.dataclass(frozen=True)
class ScoreError:
  """What a way of computing phases does to scores. See `score_error`.

  Attributes:
    label: the spectrum's.
    way: of `WAYS`.
    length: tokens.
    largest: of |computed - exact|.
    rms: root mean square of computed - exact.
    score: root mean square of the exact scores, to compare with.
  """

  label: str
  way: str
  length: int
  largest: float
  rms: float
  score: float


def score_error(
  spectrum: Spectrum, way: str, length: int, draws: int = 64, seed: int = 0
) -> ScoreError:
  """What phases computed in a given way do to the scores of a last query.

  score = sum_k a_k^2 Re(q_k conj(k_k) exp(i (phase_q - phase_k))) /
  sqrt(head_dim)

  for q and k of independent coordinates from N(0, 1), as complex numbers, the
  query at length - 1 and keys at up to 64 distances from it, spread evenly in
  the logarithm. The phase of each token is computed by itself, as a model does.
  Only phases are inexact: cosines, products and sums are float64.

  With e_k the error of a pair's phase difference, the mean square error over
  draws is mean_k a_k^4 |exp(i e_k) - 1|^2, and that of scores mean_k a_k^4.

  Args:
    spectrum: its frequencies and amplitude.
    way: one of `WAYS`.
    length: tokens, 2 ... 2^31.
    draws: how many q and k, each seen at all distances, >= 1.
    seed: of the draws.

  Raises:
    ValueError: an unknown way; a length or number of draws out of range.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> for way in ('bfloat16_frequency', 'float32', 'exact'):
    ...   found = score_error(spectra.plain(1e4, 128), way, 2**17)
    ...   print(way, f'{found.rms:.0e} of {found.score:.1f}')
    bfloat16_frequency 6e-01 of 1.0
    float32 8e-04 of 1.0
    exact 1e-07 of 1.0
  """
  _way(way)
  _check_length(length, 2)
  if not isinstance(draws, int | np.integer) or draws < 1:
    raise ValueError(f'draws={draws!r} must be a whole number >= 1.')
  spread = np.geomspace(1, length - 1, min(_NEAR, length - 1))
  distance_m = np.unique(np.rint(spread).astype(np.int64))
  last = np.array([length - 1])
  error_tf = phase_error(spectrum, way, [*last, *(last - distance_m)])
  apart_mf = error_tf[:1] - error_tf[1:]
  turn_mf = np.exp(1j * exact.phase(spectrum, distance_m))
  random = np.random.default_rng(seed)
  q_df, k_df = (
    random.standard_normal((draws, spectrum.head_dim // 2, 2)) @ [1, 1j]
    for _ in range(2)
  )
  part_df = q_df * k_df.conj() * spectrum.square_f
  root = math.sqrt(spectrum.head_dim)
  exact_dm = (part_df @ turn_mf.T).real / root
  wrong_dm = (part_df @ (turn_mf * np.expm1(1j * apart_mf)).T).real / root
  return ScoreError(
    label=spectrum.label,
    way=way,
    length=int(length),
    largest=float(np.abs(wrong_dm).max()),
    rms=float(np.sqrt(np.mean(wrong_dm**2))),
    score=float(np.sqrt(np.mean(exact_dm**2))),
  )


def table(rows: Iterable[Worst | ScoreError]) -> str:
  """Errors as aligned text: a row for each way, a column for each length.

  Args:
    rows: from `worst`, or of `score_error`; not both. A phase error is followed
      by the unwrapped one where that is more than half a turn.

  Raises:
    ValueError: no rows; rows of both kinds.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> ways = ('float32', 'bfloat16_frequency', 'exact')
    >>> print(table(worst(spectra.plain(1e4, 128), ways, [4096, 2**20])))
    largest phase error (radians; with whole turns) below position
                       way       4,096       1,048,576
                   float32      2.4e-4          6.2e-2
        bfloat16_frequency  2.6 (5.01)  3.1 (1.28e+03)
                     exact      2.8e-7          2.8e-7
  """
  rows = list(rows)
  kinds = {type(row) for row in rows}
  if len(kinds) != 1:
    raise ValueError(
      f'rows are of {len(kinds)} kinds; give those of `worst` or those of '
      '`score_error`.'
    )
  cells = {(row.label, row.way, row.length): _cell(row) for row in rows}
  labels = list(dict.fromkeys(row.label for row in rows))
  lengths = sorted({row.length for row in rows})
  names = list(dict.fromkeys((row.label, row.way) for row in rows))
  sizes = [row.score for row in rows if isinstance(row, ScoreError)]
  if sizes:
    said = (
      f'error of scores of size {np.mean(sizes):.2g}, root mean square '
      '(largest), at length'
    )
  else:
    said = 'largest phase error (radians; with whole turns) below position'
  grid = aligned(
    [('way', ''), *((f'{length:,}', '') for length in lengths)],
    [
      [
        way if len(labels) == 1 else f'{label}: {way}',
        *(cells.get((label, way, length), '-') for length in lengths),
      ]
      for label, way in names
    ],
  )
  return f'{said}\n{grid}'


def _cell(row: Worst | ScoreError) -> str:
  if isinstance(row, ScoreError):
    return f'{_short(row.rms)} ({_short(row.largest)})'
  whole = row.unwrapped
  if whole is None or whole <= math.pi:
    return _short(row.error)
  return f'{_short(row.error)} ({whole:.3g})'


def _short(value: float) -> str:
  if not 0 < value < 0.1:
    return f'{value:.2g}'
  digits, power = f'{value:.1e}'.split('e')
  return f'{digits}e{int(power)}'


def _way(way: str) -> Way:
  if way not in WAYS:
    raise ValueError(f'way={way!r} must be one of {", ".join(WAYS)}.')
  return WAYS[way]


def _check_length(length: int, least: int) -> None:
  whole = isinstance(length, int | np.integer) and not isinstance(length, bool)
  if not whole or not least <= length <= exact.FAR + 1:
    raise ValueError(
      f'length={length!r} must be a whole number of tokens in {least} ... 2^31.'
    )
