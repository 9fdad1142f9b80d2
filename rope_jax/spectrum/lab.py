"""What `experiments.spectrum` prints and writes."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

from rope_jax import positions
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
from rope_jax.spectrum.settings import Settings, check_folder
from rope_jax.spectrum.spectra import Spectrum
from rope_jax.spectrum.written import save_all, write_curves, write_rows

Say = Callable[[str], None]


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
  check_folder(out)
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
  say(f'\nUnder {plain.label}: {precision.table(worst)}')
  scores = [
    precision.score_error(plain, way, length)
    for way in precision.WAYS
    for length in _lengths(target)
  ]
  say(f'\n{precision.table(scores)}')
  certifies = settings.tuning or settings.scratch
  if certifies and (head_dim, target) not in windows.shipped():
    say(
      f'\nCertifying bases for {target:,} tokens, which the table has not: '
      'seconds, or minutes above 65,536.'
    )
  say('\nWays to the target, best first')
  for choice in recommend.recommend(
    head_dim,
    target,
    settings.train_len,
    None if settings.scratch else settings.theta,
    tuning=settings.tuning,
    most=settings.most,
  ):
    say(str(choice))
  if out is None:
    return []
  title = f'theta {settings.theta:g}, head_dim {head_dim}'
  lines = [line for row in rows for line in row.rows()]
  made = [
    write_rows(pathlib.Path(out) / 'pairs.csv', list(lines[0]), lines),
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
  made += save_all(drawn, out)
  if settings.train_len >= curve_data.LAST:
    say(f'no spectrum.html, which is for train_len below {curve_data.LAST:,}')
    return made
  made.append(
    page.write_page(
      out,
      head_dim,
      settings.train_len,
      (*curve_data.THETAS, settings.theta),
      (*curve_data.FACTORS, target / settings.train_len),
      position=next(iter(built.values())) if settings.methods else None,
      first=(settings.theta, target / settings.train_len, target),
    )
  )
  return made


def preset(head_dim: int, out: str | None, say: Say) -> list[pathlib.Path]:
  """The classic study of decay: bases, windows, the middle, random."""
  check_folder(out)
  curves = [setting.curve() for setting in classic.settings(head_dim)]
  for name, theta in (('1e4', 1e4), ('5e6', 5e6)):
    spectrum = spectra.plain(theta, head_dim, f'{name}, bound on 65536')
    curves.append(decay.bound(spectrum, 65536))
  say(classic.table([classic.facts(curve) for curve in curves]))
  if out is None:
    return []
  panels = [(curve.label, [curve]) for curve in curves]
  drawn = {'decay': figure.decay_panels(panels)}
  path = write_curves(pathlib.Path(out) / 'decay.csv', curves)
  return [path, *save_all(drawn, out)]


def difference(
  sides: Sequence[str],
  head_dim: int,
  target_len: int,
  out: str | None,
  say: Say,
) -> list[pathlib.Path]:
  """Where two methods or configs part, and what it does to the decay.

  Raises:
    ValueError: not two sides; nothing that turns; what a side says.
  """
  if len(sides) != 2:
    raise ValueError(
      f'--diff takes two methods or config.json files; got {len(sides)}.'
    )
  check_folder(out)
  a, b = (methods.side(side, head_dim) for side in sides)
  for found in apart.apart(a, b, head_dim, target_len, target_len):
    say(str(found))
  if out is None:
    return []
  seen = [
    spectra.of(position, head_dim, target_len, label=name)
    for side in sides
    for name, position in methods.expanded(side, head_dim).items()
  ]
  return _drawn_apart(seen, target_len, out)


def variants(
  words: str, head_dim: int, target_len: int, out: str | None, say: Say
) -> list[pathlib.Path]:
  """Paper against code of one method, two variants at a time."""
  check_folder(out)
  spec = positions.spec(methods.parsed(words))
  for (one, other), found in apart.variants_apart(
    spec, head_dim, target_len, target_len
  ).items():
    say(f'{one} | {other}\n{found}\n')
  if out is None:
    return []
  seen = [
    spectra.of(positions.build({**spec, **fields}), head_dim, target_len, name)
    for name, fields in apart.variants(spec['name']).items()
  ]
  return _drawn_apart(seen, target_len, out)


def _drawn_apart(
  seen: Sequence[Spectrum], target_len: int, out: str
) -> list[pathlib.Path]:
  """decay.csv and a picture of several methods at one length."""
  curves = [decay.ones(spectrum, target_len) for spectrum in seen]
  made = [write_curves(pathlib.Path(out) / 'decay.csv', curves)]
  title = f'Decay to {target_len:,} tokens'
  return made + save_all({'decay': figure.decay_figure(curves, title)}, out)


def certify(
  path: str,
  head_dims: Sequence[int],
  lengths: Sequence[int],
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
  for length in lengths:
    for head_dim in head_dims:
      windows.check(head_dim, length)
  found = windows.read(file) if file.is_file() else {}
  try:
    windows.write(file, [found[k] for k in sorted(found)])
  except OSError as error:
    raise ValueError(
      f'--certify={path}: cannot be written ({error.strerror}); give the path '
      'of a CSV file.'
    ) from None
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
        f'head_dim {head_dim}, {length:,} tokens: windows {len(each.inner):,}, '
        f'from {each.first:.8g}, all from {each.robust:.8g}'
      )


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
  reach = limits.extrapolation_limit(base, head_dim, max(critical, 2))
  plain = spectra.plain(theta, head_dim)
  at = violation.first_violation(plain, max(target, train))
  lines = [
    f'critical dimension {critical} of {head_dim}: coordinates whose pairs '
    f'turn once in {train:,} tokens',
    f'critical base {base:,.0f}: tuning at {target:,} tokens with a larger one '
    'trains no further pair',
    f'extrapolation limit with base {base:,.0f}: {reach:,.0f} tokens',
    'bases with which every pair makes 1/4, 1/2, 1 turn in training: '
    + ', '.join(f'{small:,.0f}' for small in limits.small_bases(train)),
    f'fit of the published minimal bases at {target:,}: '
    f'{limits.fitted_base(target):,.0f}',
    f'sum of cosines first negative at distance {at:,}'
    if at is not None
    else f'sum of cosines >= 0 at all distances below {target:,}',
  ]
  return '\n'.join(lines)
