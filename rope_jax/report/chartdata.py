"""What the charts of report.html draw, as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from rope_jax.report.inline import rounded
from rope_jax.report.inputs import (
  AS_TRAINED,
  POOLED,
  UNITS,
  StudyData,
  bits_per_nat,
  family,
  read,
)
from rope_jax.report.protocols import CAUTION, moves
from rope_jax.report.style import families, styles

_POINTS = 160  # Points of a curve by position or of a training curve.


def chart_data(data: StudyData) -> dict[str, Any]:
  """What the charts draw, with every number once; None for a diverged one."""
  look, kin = styles(data), families(data.variants)
  series = list(data.series)
  index = {key: i for i, key in enumerate(series)}
  points = []
  for row in data.rows:
    if read(row, 'nll') is None:
      continue
    points.append(
      {
        's': index[row['method'], row['variant']],
        'p': data.protocols.index(row['protocol']),
        'n': int(row['eval_len']),
        'seed': row['seed'] if row['seed'] == POOLED else int(row['seed']),
        'nll': rounded(row['nll']),
        'se': rounded(row['stderr']),
        'bits': rounded(row['bits_per_byte']),
        'docs': int(row['documents']),
        'tokens': int(row['tokens']),
      }
    )
  units = {k: v for k, v in UNITS.items() if k == 'nll' or k != 'bits_per_byte'}
  bits = bits_per_nat(data)
  if bits is not None:
    units = {'bits_per_byte': UNITS['bits_per_byte'], **units}
  return {
    'trainLen': data.train_len,
    'lengths': data.lengths,
    'protocols': data.protocols,
    'moves': [moves(name) for name in data.protocols],
    'caution': CAUTION,
    'certain': data.certain,
    'protocol': data.protocols.index(data.protocol),
    'units': units,
    'bitsPerNat': bits,
    'seeds': data.seeds,
    'series': [
      {
        'name': data.label(method, variant),
        'method': method,
        # Of an extension by training: what it is trained from, or trained.
        'role': _role(data, method, variant),
        'variant': '' if variant == AS_TRAINED else variant,
        'family': family(variant) if family(variant) in kin else '',
        'color': look[method, variant].color,
        'dark': look[method, variant].dark,
        'dash': look[method, variant].dash,
        'symbol': look[method, variant].symbol,
      }
      for method, variant in series
    ],
    'points': points,
    'positions': [
      {
        's': index[curve['method'], curve['variant']],
        'n': int(curve['eval_len']),
        **_position(curve),
      }
      for curve in data.by_position
      if curve['seed'] == POOLED
      and (curve['method'], curve['variant']) in index
    ],
    'training': [
      {
        's': index[curve['method'], AS_TRAINED],
        'seed': int(curve['seed']),
        **_training(curve),
      }
      for curve in data.training
      if (curve['method'], AS_TRAINED) in index
    ],
  }


def _role(data: StudyData, method: str, variant: str) -> list[str]:
  """['base'], or ['tuned' or 'zero-shot', the scheme read zero-shot]."""
  if method in data.tuned:
    return ['tuned', data.tuned[method][1]]
  return ['base'] if variant == AS_TRAINED else ['zero-shot', variant]


def _position(curve) -> dict[str, list]:
  x = np.asarray(curve['position'], float)
  # Bins that widen with the position, for curves given token by token. The
  # errors of neighbours are not independent, so theirs is kept, not divided.
  if x.size > _POINTS:
    edges = np.unique(np.geomspace(1, x.max() + 2, _POINTS).astype(int))
    group = np.searchsorted(edges, x + 1, side='right')
  else:
    group = np.arange(x.size)
  return {
    'x': _means(x, group),
    'y': _means(curve['nll'], group),
    'e': _means(curve['stderr'], group),
  }


def _training(curve) -> dict[str, Any]:
  tokens = np.asarray(curve['tokens'], float)
  group = np.arange(tokens.size) * _POINTS // max(tokens.size, _POINTS)
  found: dict[str, Any] = {
    'x': _means(tokens, group),
    'y': _means(curve['loss'], group),
  }
  val_step, val_loss = curve.get('val_step'), curve.get('val_loss')
  if val_step is not None and val_loss is not None and len(val_step):
    at = np.interp(val_step, curve['step'], tokens)
    found['vx'] = [rounded(x) for x in at]
    found['vy'] = [rounded(x) for x in val_loss]
  speed = curve.get('tokens_per_second')
  if speed is not None and np.size(speed):
    found['speed'] = rounded(np.median(np.asarray(speed, float)))
  return found


def _means(values, group) -> list[float | None]:
  """The mean of each group, in order; None where it is not finite."""
  values = np.asarray(values, float)
  if not values.size:
    return []
  count = np.bincount(group)
  total = np.bincount(group, weights=values)
  return [rounded(x) for x in total[count > 0] / count[count > 0]]
