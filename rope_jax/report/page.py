"""report.html: one self-contained page; its charts need no network."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence

from rope_jax.report import ranking, rules, tables
from rope_jax.report.chartdata import chart_data
from rope_jax.report.inline import as_json, asset, filled
from rope_jax.report.inputs import POOLED, StudyData
from rope_jax.report.protocols import CAUTION, WARNING, describe, moves

# In order: they share one scope.
_SCRIPTS = ('plotting.js', 'charts.js', 'controls.js')
_TRAINING = (
  '<section class="chart" id="chart-training"><h2>Training</h2>'
  '<div class="plot"></div><div class="legend"></div><p class="note"></p>'
  '</section>'
)


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
    'caution': CAUTION if moves(data.protocol) else '',
    'ranking': _ranking(data),
    'training': _TRAINING if data.training else '',
    'tables': '\n'.join(_table(data, name) for name in data.protocols),
    'notes': '\n'.join(
      f'<p class="note">{escape(note)}</p>' for note in tables.notes(data)
    ),
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


def _facts(data: StudyData) -> str:
  pooled = [r for r in data.rows if r['seed'] == POOLED]
  documents = max(int(row['documents']) for row in pooled)
  seeds = max(len(data.seeds), 1)
  counts = [
    (len(data.methods), 'method', 'methods'),
    (len(data.variants), 'variant', 'variants'),
    (seeds, 'seed', 'seeds'),
    (documents, 'document', 'documents'),
  ]
  facts = [f'trained at <b>{data.train_len}</b> tokens']
  if data.alone:
    counts[:2] = [(len(data.variants), 'scheme', 'schemes')]
    facts.insert(0, f'<b>{html.escape(data.methods[0])}</b>')
  if data.tuned:
    tuned = len(data.tuned)
    counts[:1] = [
      (len(data.variants), 'scheme zero-shot', 'schemes zero-shot'),
      (tuned, 'fine-tuned', 'fine-tuned'),
    ]
  if not data.training:
    counts = [one for one in counts if one[1] != 'seed']
  facts += [f'read to <b>{data.lengths[-1]}</b>']
  facts += [f'<b>{n}</b> {one if n == 1 else many}' for n, one, many in counts]
  return ''.join(f'<li>{fact}</li>' for fact in facts)


def _table(data: StudyData, protocol: str) -> str:
  escape = html.escape
  grid = tables.grid(data, protocol)
  heads = [f'<th scope="col" data-text>{data.kind}</th>']
  for length in grid.lengths:
    kind = ' class="trained"' if length == data.train_len else ''
    text = tables.heading(data, length).replace(' (', '<small>(', 1)
    heads.append(f'<th scope="col"{kind}>{text}</small></th>')
  what, span = map(escape, grid.change)
  heads.append(f'<th scope="col">{what}<small>{span}</small></th>')
  lines = []
  for method, variant, row in grid.rows:
    name = escape(data.label(method, variant))
    line = f'<th scope="row">{name}</th>'
    for cell in row:
      text = re.sub(r' (±.*)', r' <small>\1</small>', escape(cell.text))
      if cell.best:
        text = f'<b>{text}</b>'
      number = '' if math.isnan(cell.number) else repr(cell.number)
      line += f'<td data-v="{number}">{text}</td>'
    lines.append(f'<tr>{line}</tr>')
  title = f'<h3>{escape(protocol)}, {grid.unit}</h3>'
  under = f'<p class="note">{CAUTION}</p>' if moves(protocol) else ''
  return title + _sheet(heads, lines) + under


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
  heads = [f'<th scope="col" data-text>{data.kind}</th>']
  heads += [f'<th scope="col">{escape(h)}</th>' for h in ranking.heads(data)]
  lines = []
  for method, variant, places in found.rows:
    numbers = ['' if p is None else str(p.first + p.last) for p in places]
    last = places[-1]
    gap = math.inf if last is None or last.value.diverged else last.gap
    texts = zip(ranking.line(places), [*numbers, repr(gap)], strict=True)
    cells = ''.join(f'<td data-v="{v}">{escape(t)}</td>' for t, v in texts)
    name = escape(data.label(method, variant))
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
