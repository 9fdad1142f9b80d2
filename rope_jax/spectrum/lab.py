"""What `experiments.spectrum` prints and writes."""

from __future__ import annotations

import csv
import dataclasses
import io
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rope_jax import positions
from rope_jax.report import csvfile
from rope_jax.spectrum import (
  apart,
  bases,
  classic,
  decay,
  figure,
  figure_heat,
  figure_windows,
  limits,
  methods,
  page,
  pairs,
  precision,
  recommend,
  spectra,
  violation,
  windows,
)
from rope_jax.spectrum import curves as curve_data
from rope_jax.spectrum.decay import Curve

Say = Callable[[str], None]
_BINS = 4096  # Of a curve in decay.csv.


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to look at.

  Args:
    head_dim: width of a head, even.
    theta: base that the model is trained with, > 1.
    train_len: tokens of training, >= 7.
    target_len: tokens wanted, >= train_len.
    methods: as `methods.parsed` takes them; () is the base itself and its usual
      scalings to the target.
    tuning: whether the recommendation may tune the model.
  """

  head_dim: int
  theta: float
  train_len: int
  target_len: int
  methods: tuple[str, ...] = ()
  tuning: bool = False

  def __post_init__(self):
    windows.check_theta(self.theta)
    recommend.check(
      self.head_dim, self.target_len, self.train_len, self.theta
    )  # fmt: skip

  def built(self) -> dict[str, positions.Position]:
    """The methods to look at, by label."""
    usual = methods.scaled(self.theta, self.train_len, self.target_len)
    if not self.methods:
      return {name: methods.parsed(words) for name, words in usual.items()}
    found: dict[str, positions.Position] = {}
    for words in self.methods:
      found |= methods.expanded(words, self.head_dim)
    return found


def study(settings: Settings, out: str | None, say: Say) -> list[pathlib.Path]:
  """Everything about a base and its scalings at one target length.

  Args:
    settings: what to look at.
    out: a folder for tables, pictures and the page; None prints alone.
    say: takes the text.

  Returns:
    The files written.

  Raises:
    ValueError: settings out of range, or a method that turns nothing.
  """
  head_dim, target = settings.head_dim, settings.target_len
  built = settings.built()
  seen = {
    name: spectra.of(position, head_dim, target, label=name)
    for name, position in built.items()
  }
  say(f'\nLimits\n{_limits(settings)}')
  rows = [
    pairs.pairs(seen[name], settings.train_len, target, built[name])
    for name in built
  ]
  say(
    f'\nPairs of a head, trained at {settings.train_len:,} tokens and read to '
    f'{target:,}'
  )
  for row in rows:
    say(f'\n{row.label}: {pairs.summary(row)}')
    say(pairs.table(row, every=max(1, head_dim // 16)))
  curves = [decay.ones(spectrum, target) for spectrum in seen.values()]
  say('\nDecay of the inner product with distance, q = k = 1')
  say(classic.table([classic.facts(curve) for curve in curves]))
  say(f'\nBases for head_dim {head_dim}\n{_bases(head_dim, target)}')
  plain = next(iter(seen.values()))
  worst = precision.worst(plain, lengths=_lengths(target))
  say(f'\n{precision.table(worst)}')
  scores = [
    precision.score_error(plain, way, length)
    for way in precision.WAYS
    for length in _lengths(target)
  ]
  say(f'\n{precision.table(scores)}')
  say('\nWays to the target, best first')
  for choice in recommend.recommend(
    head_dim, target, settings.train_len, settings.theta,
    tuning=settings.tuning,
  ):  # fmt: skip
    say(str(choice))
  if out is None:
    return []
  title = f'theta {settings.theta:g}, head_dim {head_dim}'
  lines = [line for row in rows for line in row.rows()]
  made = [
    _table(pathlib.Path(out) / 'pairs.csv', list(lines[0]), lines),
    write_curves(pathlib.Path(out) / 'decay.csv', curves),
  ]
  drawn = {
    'decay': figure.decay_figure(
      curves, f'Decay under {title}', train_len=settings.train_len
    ),
    'pairs': figure_heat.heat_map(rows, title),
  }
  if _shipped(head_dim, 2**20):
    drawn['windows'] = figure_windows.windows_figure(
      _shipped(head_dim, 2**20), settings.theta
    )
  made += _saved(drawn, out)
  made.append(
    page.write_page(
      out,
      head_dim,
      settings.train_len,
      (*curve_data.THETAS, settings.theta),
      position=next(iter(built.values())) if settings.methods else None,
    )
  )
  return made


def preset(head_dim: int, out: str | None, say: Say) -> list[pathlib.Path]:
  """The classic study of decay: bases, windows, the middle, random."""
  settings = classic.settings(head_dim)
  curves = [setting.curve() for setting in settings]
  say(classic.table([classic.facts(curve) for curve in curves]))
  if out is None:
    return []
  panels = [
    (setting.label, [curve])
    for setting, curve in zip(settings, curves, strict=True)
  ]
  drawn = {'decay': figure.decay_panels(panels)}
  path = write_curves(pathlib.Path(out) / 'decay.csv', curves)
  return [path, *_saved(drawn, out)]


def difference(sides: Sequence[str], settings: Settings, say: Say) -> None:
  """Where two methods or configs part, and what it does to the decay.

  Raises:
    ValueError: not two sides; nothing that turns; what a side says.
  """
  if len(sides) != 2:
    raise ValueError(
      f'--diff takes two methods or config.json files; got {len(sides)}.'
    )
  a, b = (
    methods.config(side) if side.endswith('.json') else methods.parsed(side)
    for side in sides
  )
  target = settings.target_len
  for found in apart.apart(a, b, settings.head_dim, target, target):
    say(str(found))


def variants(words: str, settings: Settings, say: Say) -> None:
  """Paper against code of one method, two variants at a time."""
  spec = positions.spec(methods.parsed(words))
  target = settings.target_len
  for (one, other), found in apart.variants_apart(
    spec, settings.head_dim, target, target
  ).items():
    say(f'{one} | {other}\n{found}\n')


def certify(
  path: str,
  head_dims: Iterable[int],
  lengths: Iterable[int],
  say: Say,
  report: Callable[[float], None] | None = None,
) -> None:
  """Makes a table of certified windows, keeping what the file has already.

  Args:
    path: a CSV file, written anew after each length.
    head_dims: widths.
    lengths: tokens.
    say: takes a line for each width and length.
    report: see `windows.certify`.
  """
  file = pathlib.Path(path)
  found = windows.read(file) if file.exists() else {}
  for length in lengths:
    for head_dim in head_dims:
      key = int(head_dim), int(length)
      if key not in found:
        shorter = [k for k in found if k[0] == key[0] and k[1] < key[1]]
        known = found[max(shorter)] if shorter else None
        found[key] = windows.certify(*key, known=known, report=report)
        windows.write(file, [found[k] for k in sorted(found)])
      each = found[key]
      say(
        f'head_dim {head_dim}, {length:,} tokens: {len(each.inner):,} windows '
        f'from {each.first:.8g}, all from {each.robust:.8g}'
      )


def write_curves(path: pathlib.Path, curves: Iterable[Curve]) -> pathlib.Path:
  """Curves as CSV: each distance, or the least and greatest of bins of them."""
  rows = []
  for curve in curves:
    if curve.distance_m.size > _BINS:
      curve = decay.envelope(curve, _BINS)
    for at, distance in enumerate(curve.distance_m):
      row = {
        'label': curve.label,
        'kind': curve.kind,
        'distance': int(distance),
        'value': f'{curve.value_m[at]:.9g}',
      }
      for name, band in (('low', curve.low_m), ('high', curve.high_m)):
        row[name] = '' if band is None else f'{band[at]:.9g}'
      rows.append(row)
  return _table(path, list(rows[0]), rows)


def _table(path, columns, rows) -> pathlib.Path:
  text = io.StringIO()
  lines = csv.DictWriter(text, columns, lineterminator='\n')
  lines.writeheader()
  lines.writerows(rows)
  return csvfile.write_atomically(path, text.getvalue().encode())


def _saved(drawn: Mapping[str, Any], out: str) -> list[pathlib.Path]:
  made = []
  for name, picture in drawn.items():
    made += figure.save(picture, out, name).values()
  return made


def _lengths(target: int) -> tuple[int, ...]:
  return tuple(sorted({4096, target, 2**20}))


def _shipped(head_dim: int, most: int) -> list[windows.Windows]:
  table = windows.shipped()
  return [table[k] for k in sorted(table) if k[0] == head_dim and k[1] <= most]


def _bases(head_dim: int, target: int) -> str:
  """The certified table for this width, up to twice the target."""
  found = _shipped(head_dim, max(8192, 2 * target))
  if not found:
    widths = sorted({width for width, _ in windows.shipped()})
    return (
      f'none certified yet for this width (there are {widths}): '
      f'--certify=FILE --head_dims={head_dim} makes them.'
    )
  return f'{bases.table(found)}\n{bases.NOTE}'


def _limits(settings: Settings) -> str:
  theta, head_dim = settings.theta, settings.head_dim
  train, target = settings.train_len, settings.target_len
  critical = limits.critical_dimension(theta, head_dim, train)
  base = limits.critical_base(theta, train, target)
  plain = spectra.plain(theta, head_dim)
  at = violation.first_violation(plain, max(target, train))
  lines = [
    f'critical dimension {critical} of {head_dim}: coordinates whose pairs '
    f'turn once in {train:,} tokens',
    f'critical base {base:,.0f}: tuning at {target:,} tokens with a larger one '
    'trains no further pair',
    f'sum of cosines first negative at distance {at:,}'
    if at is not None
    else f'sum of cosines >= 0 at all distances below {target:,}',
  ]
  return '\n'.join(lines)
