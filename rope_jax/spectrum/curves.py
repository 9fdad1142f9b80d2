"""The data of spectrum.html: curves and pairs of many settings, computed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rope_jax import positions
from rope_jax.report.inline import rounded
from rope_jax.spectrum import limits, spectra, sums
from rope_jax.spectrum import pairs as pairs_lib
from rope_jax.spectrum.spectra import Spectrum
from rope_jax.spectrum.violation import exact_sign

LAST = 2**20  # The longest distance drawn, tokens.
THETAS = (1e3, 3e3, 1e4, 3e4, 1e5, 5e5, 1e6, 5e6, 1e7, 5e7, 1e8, 5e8, 1e9)
FACTORS = (1, 2, 4, 8, 16, 32, 64)
# Scheme: what the page says of it, and its fields beside theta and factor.
SCHEMES = {
  'linear': 'Linear: every frequency is divided by the factor.',
  'ntk': 'NTK: a larger base; the slowest pair alone is slowed by the factor.',
  'yarn': 'YaRN: slow pairs are slowed by the factor, fast ones kept; '
  'the amplitude grows.',
  'llama3': 'Llama 3: three bands by wavelength; slow pairs are slowed by the '
  'factor.',
}
_PER_OCTAVE = 16  # Bins from a distance to its double.


def bins(*exact: int) -> np.ndarray:
  """Where each bin of distances starts: int64 [b], from 1 to `LAST`.

  About 16 bins an octave, evenly in log, and no bin below one token; powers of
  two and the distances in `exact` start one.

  Example:
    >>> bins(100)[[0, 1, 20, -1]].tolist(), int(bins(100).size)
    ([1, 2, 21, 1048576], 272)
  """
  octaves = round(math.log2(LAST))
  steps = np.arange(_PER_OCTAVE * octaves + 1) / _PER_OCTAVE
  starts = np.ceil(2.0**steps).astype(np.int64)
  return np.unique(np.concatenate([starts, np.array(exact, np.int64)]))


def summed(spectrum: Spectrum, start_b: np.ndarray) -> dict[str, Any]:
  """The sum of cosines in bins, from its values at every integer distance.

  Args:
    spectrum: what turns.
    start_b: int64 [b], ascending, >= 1: where each bin starts; it ends before
      the next, and the last at its start.

  Returns:
    float64 [b] `low`, `high` and `mean` of each bin and `value` at its start;
    `first`, the first distance of them with a negative sum, or None.
  """
  last = int(start_b[-1])
  low = np.full(start_b.size, np.inf)
  high, total = -low, np.zeros(start_b.size)
  value, first = np.empty(start_b.size), None
  for begin, value_m in sums.cosine_blocks(spectrum, last + 1, int(start_b[0])):
    stop = begin + value_m.size
    # The bin that the block begins in, and those that start in it.
    at = int(np.searchsorted(start_b, begin, side='right')) - 1
    until = int(np.searchsorted(start_b, stop, side='left'))
    edges = np.maximum(start_b[at:until] - begin, 0)
    part = slice(at, until)
    low[part] = np.minimum(low[part], np.minimum.reduceat(value_m, edges))
    high[part] = np.maximum(high[part], np.maximum.reduceat(value_m, edges))
    total[part] += np.add.reduceat(value_m, edges)
    new = start_b[part] >= begin
    value[part][new] = value_m[edges[new]]
    if first is None:
      first = _negative(spectrum, begin, value_m)
  count = np.append(np.diff(start_b), 1)
  return {
    'low': low,
    'high': high,
    'mean': total / count,
    'value': value,
    'first': first,
  }


def _negative(spectrum: Spectrum, begin: int, value_m) -> int | None:
  """The first distance of a block with a negative sum, or None."""
  doubt = sums.rounding(spectrum, begin + value_m.size)
  for at in np.flatnonzero(value_m <= doubt):
    distance = begin + int(at)
    if value_m[at] < -doubt or exact_sign(spectrum, distance) < 0:
      return distance
  return None


def schemes(head_dim: int) -> tuple[str, ...]:
  """The scalings that a head has pairs enough for."""
  # NTK keeps the fastest pair and slows the slowest: it needs two.
  return tuple(name for name in SCHEMES if head_dim > 2 or name != 'ntk')


def scaled(
  scheme: str, theta: float, factor: float, train_len: int
) -> dict[str, Any]:
  """The spec of a scaling, as `positions.build` takes it.

  >>> scaled('linear', 1e4, 4, 4096)
  {'name': 'linear', 'theta': 10000.0, 'factor': 4.0}
  """
  spec = {'name': scheme, 'theta': float(theta), 'factor': float(factor)}
  if scheme in ('yarn', 'llama3'):
    spec['train_len'] = train_len
  if scheme == 'llama3':
    spec |= {'low_freq_factor': 1.0, 'high_freq_factor': 4.0}
  return spec


def chart_data(
  head_dim: int,
  train_len: int,
  thetas: Sequence[float],
  factors: Sequence[float],
  position: positions.Position | None = None,
  first: tuple[float, float, int] | None = None,
) -> dict[str, Any]:
  """What the page draws, with every number once.

  Args:
    head_dim: width of a head, even.
    train_len: tokens of training, >= 1 and below `LAST`.
    thetas: bases, ascending, > 1.
    factors: of the scalings, ascending, >= 1.
    position: a method of the user's own, or None.
    first: (theta, factor, length) that the page opens at, or the nearest stops;
      None is the position's theta, a factor of 4 and what it reaches.

  Returns:
    A dict that JSON can hold. `entries` are the settings; `table[scheme][i][j]`
    is the entry of the i-th theta and the j-th factor, `given[n]` the user's
    own at the n-th length.
  """
  lengths = {n for n in (2**k for k in range(10, 21)) if n > train_len}
  if first is not None and train_len <= first[2] <= LAST:
    lengths.add(first[2])
  lengths = sorted({train_len, *lengths})
  start_b = bins(*lengths)
  entries: list[dict[str, Any]] = []

  def add(
    spectrum: Spectrum, spec: Mapping[str, Any], theta: float | None
  ) -> int:
    entry = _entry(spectrum, start_b, train_len, lengths)
    if theta is not None:
      entry['critical'] = limits.critical_dimension(theta, head_dim, train_len)
    entries.append(
      {'label': spectrum.label, 'spec': repr(spec) if spec else '', **entry}
    )
    return len(entries) - 1

  table: dict[str, list[list[int]]] = {'none': []}
  for theta in thetas:
    spec = {'name': 'rope', 'theta': float(theta)}
    bare = spectra.plain(theta, head_dim, f'unscaled, theta {_said(theta)}')
    table['none'].append([add(bare, spec, theta)])
  for scheme in schemes(head_dim):
    table[scheme] = []
    for theta, (bare,) in zip(thetas, table['none'], strict=True):
      row = []
      for factor in factors:
        spec = scaled(scheme, theta, factor, train_len)
        label = f'{scheme}, theta {_said(theta)}, factor {_said(factor)}'
        method = positions.build(spec)
        # A factor of 1 scales nothing, whatever the scheme.
        row.append(
          bare
          if factor == 1
          else add(spectra.of(method, head_dim, None, label), spec, theta)
        )
      table[scheme].append(row)
  data = {
    'trainLen': train_len,
    'headDim': head_dim,
    'thetas': [float(theta) for theta in thetas],
    'factors': [float(factor) for factor in factors],
    'lengths': lengths,
    'start': start_b.tolist(),
    'end': [*(start_b[1:] - 1).tolist(), LAST],
    'schemes': [
      {'name': 'none', 'label': 'none', 'about': 'RoPE as it is.'},
      *(
        {'name': name, 'label': name, 'about': SCHEMES[name]}
        for name in schemes(head_dim)
      ),
    ],
    'table': table,
    'entries': entries,
  }
  if position is not None:
    data |= _given(position, head_dim, lengths, add)
    label = f'given: {spectra.described(position)}'
    said = {'name': 'given', 'label': label, 'about': 'As given.'}
    data['schemes'].insert(0, said)
  data['first'] = _first(data, position, first)
  return data


def _entry(spectrum, start_b, train_len, lengths) -> dict[str, Any]:
  found = summed(spectrum, start_b)
  curves = {
    key: [rounded(x) for x in found[key]]
    for key in ('low', 'high', 'mean', 'value')
  }
  cover = []
  for length in lengths:
    seen = pairs_lib.pairs(spectrum, train_len, length)
    # A pair that meets new phases must not be rounded to one that does not.
    shown = np.where(seen.new, np.minimum(seen.coverage, 0.9999), 1)
    cover.append([rounded(x, 4) for x in shown])
  return {
    **curves,
    'first': found['first'],
    'wave': [rounded(x) for x in spectrum.wavelength_f],
    'cover': cover,
    'amplitude': rounded(spectrum.amplitude, 8),
    'critical': None,
  }


def _given(position, head_dim, lengths, add) -> dict[str, Any]:
  """The user's own method: one entry for each length that changes it."""
  theta = own_theta(position)
  spec = positions.spec(position)
  made: list[tuple[Spectrum, int]] = []
  for length in lengths:
    one = spectra.of(position, head_dim, length)
    if not made:
      bare = Spectrum('unscaled', one.original_f)
      made.append((bare, add(bare, {}, theta)))
    same = (
      entry
      for other, entry in made
      if np.array_equal(other.frequency_f, one.frequency_f)
      and other.amplitude == one.amplitude
    )
    entry = next(same, None)
    made.append((one, add(one, spec, theta) if entry is None else entry))
  (_, unscaled), *given = made
  return {
    'given': [entry for _, entry in given],
    'givenUnscaled': unscaled,
    'givenSpec': repr(spec),
  }


def own_theta(position: positions.Position | None) -> float | None:
  """The base of a method that has one."""
  return getattr(getattr(position, 'turning', position), 'theta', None)


def _first(data, position, first) -> dict[str, Any]:
  """Where the controls stand when the page is opened."""
  names = [scheme['name'] for scheme in data['schemes']]
  theta, factor, length = first or (own_theta(position) or 1e4, 4, None)
  near = [abs(math.log(t / theta)) for t in data['thetas']]
  over = [abs(math.log(f / factor)) for f in data['factors']]
  longer = data['factors'][over.index(min(over))] * data['trainLen']
  far = [abs(math.log(n / (length or longer))) for n in data['lengths']]
  return {
    'scheme': names.index('yarn' if position is None else 'given'),
    'theta': near.index(min(near)),
    'factor': over.index(min(over)),
    'length': far.index(min(far)),
  }


def _said(number: float) -> str:
  """A number as people write it.

  >>> _said(5e5), _said(1e9), _said(2.5)
  ('500,000', '1e9', '2.5')
  """
  if number >= 1e7:
    return f'{number:.6g}'.replace('e+0', 'e').replace('e+', 'e')
  return f'{number:,.10g}'
