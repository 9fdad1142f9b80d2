"""The files of a report: csv round trip, the figure, the page's text."""

import dataclasses
import html.parser
import json
import math
import xml.etree.ElementTree

import numpy as np
import pytest

from rope_jax.report import COLUMNS, read_curves, write_report
from rope_jax.report.axes import Scale, scale, spread_out
from rope_jax.report.chartdata import chart_data
from rope_jax.report.figure import figure_files
from rope_jax.report.page import page
from rope_jax.report.synthetic import synthetic

NASTY = 'a<b & "c" </script><script>alert(1)</script> $x$_$y$ {{data}}'

CASES = {
  'plain': {},
  'seeds': {
    'seeds': 3,
    'train_len': 512,
    'lengths': (512, 1024, 2048, 4096, 8192, 16384),
  },
  'one': {'methods': ('rope',), 'variants': {}, 'protocols': ('whole',)},
  'factors': {
    'methods': ('rope',),
    'variants': {'rope': [f'{v}-{f}' for v in ('ntk', 'pi') for f in range(9)]},
  },
  'holes': {
    'methods': ('rope', 'learned', 'nope', NASTY),
    'absent': [('learned', 'none', n) for n in (256, 512, 1024, 2048)],
    'diverged': [('nope', 'none', n) for n in (128, 256, 512, 1024, 2048)],
  },
}


@pytest.fixture(params=CASES)
def data(request):
  return synthetic(**CASES[request.param])


def exploded(bad):
  """One method at 12 nats per token, another at `bad`."""
  data, rows = synthetic(), []
  for row in data.rows:
    nll = {'sinusoidal': 12.0, 't5': bad}.get(row['method'], row['nll'])
    same = nll == row['nll']
    rows.append(
      row
      if same
      else row
      | {
        'nll': nll,
        'perplexity': math.exp(nll),
        'bits_per_byte': nll / math.log(2),
      }
    )
  return dataclasses.replace(data, rows=rows)


def test_every_case_writes_every_file(tmp_path, data):
  paths = write_report(tmp_path / 'new', data)
  assert {key: path.name for key, path in paths.items()} == {
    'csv': 'curves.csv',
    'table': 'table.md',
    'svg': 'curves.svg',
    'png': 'curves.png',
    'html': 'report.html',
  }
  # Nothing temporary stays.
  assert len(list((tmp_path / 'new').iterdir())) == len(paths)
  svg = xml.etree.ElementTree.parse(paths['svg']).getroot()
  assert svg.tag.endswith('svg')
  assert paths['png'].read_bytes().startswith(b'\x89PNG')


def test_csv_round_trip(tmp_path):
  rows = synthetic(seeds=2).rows
  rows[0] |= {'nll': 1 / 3, 'stderr': math.inf, 'method': 'a,"b"\nc'}
  data = dataclasses.replace(synthetic(), rows=rows)
  path = write_report(tmp_path, data)['csv']
  header = path.read_text().split('\n')[0]
  assert header == (
    'method,variant,train_len,eval_len,protocol,nll,stderr,perplexity,'
    'bits_per_byte,tokens,documents,seed'
  )
  assert header == ','.join(COLUMNS)
  back = read_curves(path)
  assert back == rows
  assert [list(row) for row in back] == [list(COLUMNS)] * len(rows)
  assert {row['seed'] for row in back} == {0, 1, 'all'}


def test_csv_keeps_nan_and_numpy(tmp_path):
  rows = synthetic().rows
  rows[0] |= {'nll': np.float32(1.5), 'tokens': np.int64(7), 'stderr': math.nan}
  data = dataclasses.replace(synthetic(), rows=rows)
  first = read_curves(write_report(tmp_path, data)['csv'])[0]
  assert (first['nll'], first['tokens']) == (1.5, 7)
  assert math.isnan(first['stderr'])


def test_csv_of_another_header(tmp_path):
  path = tmp_path / 'x.csv'
  path.write_text('a,b\n1,2\n')
  with pytest.raises(ValueError, match='columns'):
    read_curves(path)


def test_figure_is_the_same_twice():
  data = synthetic(seeds=2)
  assert figure_files(data) == figure_files(data)


@pytest.mark.parametrize('bad', [math.inf, math.nan])
def test_exploding_losses(tmp_path, bad):
  data = exploded(bad)
  paths = write_report(tmp_path, data)
  assert '| t5 | diverged |' in paths['table'].read_text()
  assert 'diverged' in paths['html'].read_text()
  points = chart_data(data)['points']
  assert None in {point['nll'] for point in points}


def test_all_diverged(tmp_path):
  data = exploded(math.nan)
  rows = [row | {'nll': math.nan} for row in data.rows]
  write_report(tmp_path, dataclasses.replace(data, rows=rows))


def test_scale_keeps_the_typical_curve_readable():
  curves = [[1.9, 2.0], [1.9, 2.1], [1.9, 2.0], [1.9, 17.0]]
  axis = scale(curves)
  assert axis.compressed
  low, high = axis.up(axis.low), axis.up(axis.high)
  assert (axis.up(2.1) - axis.up(1.9)) / (high - low) > 0.2
  assert axis.up(17.0) < high
  ticks = axis.ticks()
  assert ticks == sorted(ticks)
  assert max(ticks) > 10
  heights = [float(axis.up(y)) for y in np.linspace(1.8, 20, 50)]
  assert heights == sorted(heights)
  assert not scale([[1.9, 2.0], [1.9, 2.3]]).compressed
  assert scale([[math.nan]]) == Scale(0.0, 1.0)


def test_spread_out():
  # Two that touch share the way; the far one stays; the order is kept.
  placed = spread_out([5.0, 1.0, 1.0], 1.0, 0.0, 10.0)
  assert placed == pytest.approx([5.0, 0.5, 1.5])
  assert spread_out([0.0, 0.0], 1.0, 0.0, 10.0) == pytest.approx([0, 1])
  assert spread_out([10.0, 10.0], 1.0, 0.0, 10.0) == pytest.approx([9, 10])


class Elements(html.parser.HTMLParser):
  """Collects (tag, attributes), and the text inside each script."""

  def __init__(self, text):
    super().__init__()
    self.found, self.scripts, self.inside = [], [], False
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.found.append((tag, dict(attrs)))
    self.inside = tag == 'script'
    if self.inside:
      self.scripts.append('')

  def handle_endtag(self, tag):
    self.inside = False

  def handle_data(self, data):
    if self.inside:
      self.scripts[-1] += data


def test_page_escapes_and_loads_nothing():
  data = synthetic(methods=(NASTY, 'rope'))
  data = dataclasses.replace(
    data,
    title=NASTY,
    question=NASTY,
    caveats=[NASTY],
    failures=[NASTY],
    command=NASTY,
    config={NASTY: NASTY},
    versions={NASTY: NASTY},
  )
  text = page(data)
  elements = Elements(text)
  tags = [tag for tag, _ in elements.found]
  assert tags.count('script') == 3
  assert 'alert(1)' not in ''.join(elements.scripts[1:])
  assert '<script>alert' not in text
  # What stood in a slot is not read as a slot.
  assert '{{data}}' in text
  for tag, attrs in elements.found:
    assert tag not in ('img', 'iframe', 'link', 'object', 'embed')
    assert 'src' not in attrs
    assert 'href' not in attrs
  style = text[text.index('<style>') : text.index('</style>')]
  assert 'url(' not in style
  assert '@import' not in style
  content = json.loads(elements.scripts[0])
  assert content['series'][0]['name'] == NASTY


def test_page_has_its_data_once_and_every_section():
  data = synthetic(seeds=3)
  text = page(data)
  assert text.count('id="study"') == 1
  for heading in (
    'Findings',
    'Loss against length',
    'Loss by position',
    'Training',
    'Results',
    'What the protocols score',
    'Caveats',
    'To reproduce',
  ):
    assert f'<h2>{heading}</h2>' in text
  assert 'Not measured' not in text
  assert text.count('class="results"') == 4  # Three protocols, the ranking.
  assert 'Press et al.' in text


def test_long_curves_are_binned():
  data = synthetic()
  curve = dict(data.by_position[0])
  n = 4096
  curve |= {
    'position': np.arange(n),
    'nll': np.full(n, 2.0),
    'stderr': np.full(n, 0.1),
  }
  found = chart_data(dataclasses.replace(data, by_position=[curve]))
  found = found['positions'][0]
  assert len(found['x']) <= 160
  assert found['x'][0] == 0
  assert set(found['y']) == {2.0}
  assert set(found['e']) == {0.1}
