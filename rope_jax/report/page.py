"""report.html: one self-contained page; its charts need no network."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rope_jax.report import ranking, rules, tables
from rope_jax.report.inline import as_json, asset, filled, rounded
from rope_jax.report.inputs import (
  AS_TRAINED,
  POOLED,
  UNITS,
  StudyData,
  bits_per_nat,
  family,
  read,
)
from rope_jax.report.protocols import WARNING, describe
from rope_jax.report.style import families, styles

# In order: they share one scope.
_SCRIPTS = ('plotting.js', 'charts.js', 'controls.js')
_POINTS = 160  # Points of a curve by position or of a training curve.


def page(data: StudyData) -> str:
  """The text of report.html.

  Args:
    data: the study.

  Returns:
    The page, with plotly, its data (once, as JSON) and its script inside.
  """
  import plotly.offline

  escape = html.escape
  slots = {
    'title': escape(data.title),
    'style': asset('report.css'),
    'question': _paragraphs(data.question),
    'facts': _facts(data),
    'findings': _list(rules.findings(data)),
    'main_protocol': escape(data.protocol),
    'ranking': _ranking(data),
    'tables': '\n'.join(_table(data, name) for name in data.protocols),
    'notes': ' '.join(escape(note) for note in tables.notes(data)),
    'protocols': _protocols(data),
    'caveats': _section('Caveats', data.caveats),
    'failures': _section('Not measured', data.failures),
    'command': escape(data.command),
    'config': escape(json.dumps(data.config, indent=2, default=str)),
    'versions': ''.join(
      f'<tr><td>{escape(str(k))}</td><td>{escape(str(v))}</td></tr>'
      for k, v in data.versions.items()
    ),
    'data': as_json(chart_data(data)),
    'plotly': plotly.offline.get_plotlyjs(),
    'script': '\n'.join(asset(name) for name in _SCRIPTS),
  }
  return filled(asset('template.html'), slots)


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
    'protocol': data.protocols.index(data.protocol),
    'units': units,
    'bitsPerNat': bits,
    'seeds': data.seeds,
    'series': [
      {
        'name': tables.label(method, variant),
        'method': method,
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


def _facts(data: StudyData) -> str:
  pooled = [r for r in data.rows if r['seed'] == POOLED]
  documents = max(int(row['documents']) for row in pooled)
  seeds = max(len(data.seeds), 1)
  counts = (
    (len(data.methods), 'method', 'methods'),
    (len(data.variants), 'variant', 'variants'),
    (seeds, 'seed', 'seeds'),
    (documents, 'document', 'documents'),
  )
  facts = [f'trained at <b>{data.train_len}</b> tokens']
  facts += [f'read to <b>{data.lengths[-1]}</b>']
  facts += [f'<b>{n}</b> {one if n == 1 else many}' for n, one, many in counts]
  return ''.join(f'<li>{fact}</li>' for fact in facts)


def _table(data: StudyData, protocol: str) -> str:
  escape = html.escape
  grid = tables.grid(data, protocol)
  heads = ['<th scope="col" data-text>method</th>']
  for length in grid.lengths:
    kind = ' class="trained"' if length == data.train_len else ''
    text = tables.heading(data, length).replace(' (', '<small>(', 1)
    heads.append(f'<th scope="col"{kind}>{text}</small></th>')
  what, span = escape(grid.change).split(', ', 1)
  heads.append(f'<th scope="col">{what}<small>{span}</small></th>')
  lines = []
  for method, variant, row in grid.rows:
    name = escape(tables.label(method, variant))
    line = f'<th scope="row">{name}</th>'
    for cell in row:
      text = re.sub(r' (±.*)', r' <small>\1</small>', escape(cell.text))
      if cell.best:
        text = f'<b>{text}</b>'
      number = '' if math.isnan(cell.number) else repr(cell.number)
      line += f'<td data-v="{number}">{text}</td>'
    lines.append(f'<tr>{line}</tr>')
  title = f'<h3>{escape(protocol)}, {grid.unit}</h3>'
  return title + _sheet(heads, lines)


def _sheet(heads: Sequence[str], lines: Sequence[str]) -> str:
  """A table that scrolls sideways and sorts by its headings."""
  body = '\n'.join(lines)
  return (
    '<div class="wide" tabindex="0"><table class="results">'
    f'<thead><tr>{"".join(heads)}</tr></thead>'
    f'<tbody>{body}</tbody></table></div>'
  )


def _ranking(data: StudyData) -> str:
  found = ranking.ranking(data)
  if found is None:
    return ''
  escape = html.escape
  heads = ['<th scope="col" data-text>method</th>']
  heads += [f'<th scope="col">{escape(h)}</th>' for h in ranking.heads(data)]
  lines = []
  for method, variant, places in found.rows:
    numbers = ['' if p is None else str(p.first + p.last) for p in places]
    last = places[-1]
    gap = math.inf if last is None or last.value.diverged else last.gap
    texts = zip(ranking.line(places), [*numbers, repr(gap)], strict=True)
    cells = ''.join(f'<td data-v="{v}">{escape(t)}</td>' for t, v in texts)
    name = escape(tables.label(method, variant))
    lines.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
  return (
    f'<section><h2>Ranking by {escape(found.protocol)}</h2>'
    f'<p class="note">{escape(ranking.NOTE)}</p>{_sheet(heads, lines)}'
    '</section>'
  )


def _protocols(data: StudyData) -> str:
  items = ''.join(
    f'<dt>{html.escape(name)}</dt><dd>{html.escape(describe(name))}</dd>'
    for name in data.protocols
  )
  return f'<dl>{items}</dl><p>{html.escape(WARNING)}</p>'


def _section(title: str, items: Sequence[str]) -> str:
  return f'<h2>{title}</h2>{_list(items)}' if items else ''


def _list(items: Sequence[str]) -> str:
  lines = ''.join(f'<li>{html.escape(item)}</li>' for item in items)
  return f'<ul>{lines}</ul>'


def _paragraphs(text: str) -> str:
  """Paragraphs of a lab note; indented lines keep their shape."""
  blocks = re.split(r'\n\s*\n', text.strip('\n'))
  found = []
  for block in blocks:
    if re.match(r' {2,}\S', block):
      found.append(f'<pre>{html.escape(block)}</pre>')
    elif block.strip():
      found.append(f'<p>{html.escape(block)}</p>')
  return '\n'.join(found)
