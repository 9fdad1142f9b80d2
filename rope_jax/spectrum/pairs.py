"""What each pair of a head sees: turns, and phases training never showed."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import pathlib
from typing import Any

import numpy as np

from rope_jax import positions
from rope_jax.interop import compare
from rope_jax.report import csvfile
from rope_jax.spectrum.spectra import Spectrum
from rope_jax.spectrum.text import aligned

TURN = 2 * math.pi
_SLACK = 1e-12  # Shares of a length nearer than this to a whole one are it.

# The columns of a table: name, unit, format.
_SHOWN = {
  'wavelength': ('wavelength', '(tokens)', '.4g'),
  'ratio': ('ratio', '', '.4g'),
  'turns_trained': ('trained', '(turns)', '.4g'),
  'turns_target': ('at target', '(turns)', '.4g'),
  'coverage': ('coverage', '', '.2f'),
}
# One row of a file a pair, in this order.
COLUMNS = (
  'pair',
  'original',
  'frequency',
  'wavelength',
  'ratio',
  'turns_trained',
  'turns_train',
  'turns_target',
  'coverage',
  'first_new',
)


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
  """What each pair of a head sees; arrays are over its pairs. See `pairs`.

  Attributes:
    label: the spectrum's.
    train_len: tokens of training.
    target_len: tokens wanted.
    pair: int64, 0 ... head_dim / 2 - 1.
    original: radians per token before scaling.
    frequency: radians per token.
    wavelength: tokens per turn, inf where nothing turns.
    ratio: frequency / original; 1 where both are 0.
    turns_trained: what training did, train_len original / 2 pi.
    turns_train: train_len frequency / 2 pi.
    turns_target: target_len frequency / 2 pi.
    coverage: share of the arc that the pair runs through at the target which
      training showed, in [0, 1].
    first_new: int64, the first position with a phase that training did not
      show, below target_len; -1 where there is none.
    amplitude: factor on q and on k of the pairs that turn.
    temperature: factor on all scores of the last token at the target.
  """

  label: str
  train_len: int
  target_len: int
  pair: np.ndarray
  original: np.ndarray
  frequency: np.ndarray
  wavelength: np.ndarray
  ratio: np.ndarray
  turns_trained: np.ndarray
  turns_train: np.ndarray
  turns_target: np.ndarray
  coverage: np.ndarray
  first_new: np.ndarray
  amplitude: float
  temperature: float

  @property
  def still(self) -> np.ndarray:
    """bool [f], the pairs that do not turn."""
    return self.frequency == 0

  @property
  def turned(self) -> np.ndarray:
    """bool [f], the pairs that training turned once or more."""
    return self.turns_trained >= 1 - _SLACK

  @property
  def new(self) -> np.ndarray:
    """bool [f], the pairs that see new phases at the target."""
    return self.first_new >= 0

  @property
  def square(self) -> float:
    """The factor on the scores of the pairs that turn: amplitude^2."""
    return self.amplitude**2

  @property
  def first(self) -> int | None:
    """The first position at which any pair sees a new phase, or None."""
    return int(self.first_new[self.new].min()) if self.new.any() else None

  def rows(self) -> list[dict[str, Any]]:
    """One dict a pair: what `csv` writes. `first_new` is None, not -1."""
    shared = {
      'label': self.label,
      'train_len': self.train_len,
      'target_len': self.target_len,
    }
    last = {
      'amplitude': self.amplitude,
      'square': self.square,
      'temperature': self.temperature,
    }
    found = []
    for at in range(len(self.pair)):
      row = {column: getattr(self, column)[at].item() for column in COLUMNS}
      row['first_new'] = row['first_new'] if self.new[at] else None
      found.append({**shared, **row, **last})
    return found

  def csv(self, path: str | os.PathLike) -> pathlib.Path:
    """Writes all columns, one line a pair; floats read back as the same.

    Args:
      path: of the file, written whole or not at all.

    Returns:
      Its path.
    """
    rows, out = self.rows(), io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return csvfile.write_atomically(path, out.getvalue().encode())


def pairs(
  spectrum: Spectrum,
  train_len: int,
  target_len: int,
  position: positions.Position | None = None,
) -> Pairs:
  """What each pair of a head turns by, and how much of it training showed.

  trained arc A = train_len |original| / 2 pi, in turns,
  target arc  B = target_len |frequency| / 2 pi,
  coverage      = min(1, min(1, A) / min(1, B)),
  first_new     = floor(train_len original / frequency) where A < 1

  Training shows a pair its original frequency, at positions 0 ... train_len -
  1; at the target it turns by the scaled one. What counts are arcs of the
  circle, not the points on it: nearly every phase of a scaled pair is a number
  that training never met, but it lies between two that training did, less than
  one step apart, and cosines are smooth there. (Once round, the trained points
  lie closer still: less than 0.01 radians apart for the fastest pair of RoPE,
  of 1 radian per token, at train_len 4096.) So a position stands for the arc
  from its phase to the next position's, and a pair sees something new at the
  first position whose arc leaves the trained one. Phases of relative distances
  are the same arcs.

  Args:
    spectrum: at the target length, if the method depends on the length.
    train_len: tokens of training, >= 1.
    target_len: tokens wanted, >= train_len.
    position: the method, for its temperature at the target; None is 1.

  Returns:
    A Pairs. Pairs that do not turn have coverage 1. `first_new` is the position
    of a token, and the distance between two, from which phases are new.

  Raises:
    ValueError: a length is no whole number or too short; a pair turns against
      its original.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> found = pairs(spectra.plain(1e4, 128), 4096, 65536)
    >>> int(found.turned.sum()), int(found.new.sum()), found.first
    (46, 18, 4096)
    >>> found.coverage[[0, 45, 46, 63]].round(4)
    array([1.    , 1.    , 0.8693, 0.0753])

  Source: Liu et al. 2023, arXiv:2310.05209, for pairs that training does not
    turn once (46 pairs are its critical dimension, 92); the arcs are ours.

  Differs: with arcs from the first phase to the last, (length - 1) frequency,
    linear interpolation to exactly factor x train_len would leave the trained
    arc, by less than a step of the original.
  """
  _check(spectrum, train_len, target_len)
  frequency, original = spectrum.frequency_f, spectrum.original_f
  trained = train_len * np.abs(original) / TURN
  target = target_len * np.abs(frequency) / TURN
  with np.errstate(divide='ignore', invalid='ignore'):
    ratio = np.where(frequency == original, 1.0, frequency / original)
    leaves = train_len * np.abs(original) / np.abs(frequency)
    share = np.minimum(trained, 1) / np.minimum(target, 1)
  # Rounding must not make a whole number of tokens one less.
  leaves = np.floor(np.where(frequency == 0, np.inf, leaves) * (1 + _SLACK))
  leaves = np.maximum(leaves, 1)  # Phase 0 is shown, whatever the original.
  new = (trained < 1 - _SLACK) & (leaves < target_len)
  return Pairs(
    label=spectrum.label,
    train_len=int(train_len),
    target_len=int(target_len),
    pair=np.arange(frequency.size),
    original=original,
    frequency=frequency,
    wavelength=spectrum.wavelength_f,
    ratio=ratio,
    turns_trained=trained,
    turns_train=train_len * np.abs(frequency) / TURN,
    turns_target=target,
    coverage=np.where(new, share, 1.0),
    first_new=np.where(new, leaves, -1).astype(np.int64),
    amplitude=spectrum.amplitude,
    temperature=(
      1.0 if position is None else compare.temperature(position, target_len)
    ),
  )


def summary(found: Pairs) -> str:
  """Two or three lines: what is turned, what is new, what scores grow by.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> print(summary(pairs(spectra.plain(1e4, 128), 4096, 65536)))
    18 of 64 pairs never turn once in 4,096 tokens;
    18 see new phases at 65,536, from position 4,096 on (least coverage 0.08).
  """
  total = len(found.pair)
  slow = int((~found.turned & ~found.still).sum())
  said = (
    f'{slow} of {total} pairs never turn once in {found.train_len:,} tokens'
  )
  if found.still.any():
    said += f', {int(found.still.sum())} do not turn at all'
  if found.first is None:
    lines = [f'{said};', f'none sees new phases at {found.target_len:,}.']
  else:
    lines = [
      f'{said};',
      f'{int(found.new.sum())} see new phases at {found.target_len:,}, from '
      f'position {found.first:,} on (least coverage '
      f'{found.coverage.min():.2f}).',
    ]
  if found.amplitude != 1:
    lines.append(
      f'Amplitude {found.amplitude:.4f}: scores of turning pairs x '
      f'{found.square:.4f}.'
    )
  if found.temperature != 1:
    lines.append(f"The last token's scores x {found.temperature:.4f}.")
  return '\n'.join(lines)


def table(found: Pairs, every: int = 1) -> str:
  """The pairs as aligned text.

  Args:
    found: from `pairs`.
    every: 1 has a row for each pair, 8 for every eighth; 0 one for each run of
      pairs with the same verdict, with the values of its two ends.

  Raises:
    ValueError: every < 0.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> print(table(pairs(spectra.plain(1e4, 8), 64, 256), every=0))
    pairs        wavelength  ratio         trained       at target  ...
                   (tokens)                (turns)         (turns)  ...
      0-1  6.283 to 62.83      1  10.19 to 1.019  40.74 to 4.074  ...
      2-3  628.3 to 6283       1  0.1019 to 0.01019  ...
  """
  if every < 0:
    raise ValueError(
      f'every={every}: give 1 for each pair, 8 for every eighth, 0 for runs of '
      'pairs with one verdict.'
    )
  verdicts = [_verdict(found, at) for at in range(len(found.pair))]
  if every:
    runs = [(at, at) for at in range(0, len(verdicts), every)]
  else:
    runs = _runs(verdicts)
  rows = [
    [
      str(first) if first == last else f'{first}-{last}',
      *(
        _ends(getattr(found, column)[[first, last]], form)
        for column, (_, _, form) in _SHOWN.items()
      ),
      _ends(found.first_new[[first, last]], ',') if found.new[first] else '-',
      verdicts[first],
    ]
    for first, last in runs
  ]
  heads = [(name, unit) for name, unit, _ in _SHOWN.values()]
  heads = [('pairs', ''), *heads, ('new from', '(token)'), ('', '')]
  return aligned(heads, rows)


def _verdict(found: Pairs, at: int) -> str:
  if found.still[at]:
    return 'does not turn'
  if found.new[at]:
    return 'new phases'
  return 'every phase trained' if found.turned[at] else 'in the trained arc'


def _runs(verdicts: list[str]) -> list[tuple[int, int]]:
  starts = [
    at
    for at, verdict in enumerate(verdicts)
    if not at or verdict != verdicts[at - 1]
  ]
  return [
    (first, after - 1)
    for first, after in zip(starts, [*starts[1:], len(verdicts)], strict=True)
  ]


def _ends(values: np.ndarray, form: str) -> str:
  first, last = (format(x.item(), form) for x in values)
  return first if first == last else f'{first} to {last}'


def _check(spectrum: Spectrum, train_len: int, target_len: int) -> None:
  for field, value, least, why in (
    ('train_len', train_len, 1, 'a whole number of tokens >= 1'),
    ('target_len', target_len, train_len, f'at least train_len={train_len}'),
  ):
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
      raise ValueError(f'{field}={value!r} must be {why}, in tokens.')
  against = spectrum.frequency_f * spectrum.original_f < 0
  if against.any():
    at = int(against.argmax())
    raise ValueError(
      f'Spectrum {spectrum.label!r}: frequency_f[{at}]='
      f'{spectrum.frequency_f[at]:g} turns against original_f[{at}]='
      f'{spectrum.original_f[at]:g}, so their arcs cannot be compared; give '
      'both the same sign.'
    )
