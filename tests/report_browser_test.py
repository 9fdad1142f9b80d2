"""The page in a real browser: are the charts drawn?"""

import dataclasses
import html.parser
import math
import subprocess

import pytest
from devtools import BROWSER, FLAGS, MISSING

from rope_jax.report import write_report
from rope_jax.report.synthetic import synthetic

pytestmark = pytest.mark.skipif(BROWSER is None, reason=MISSING)

CHARTS = ('chart-length', 'chart-position', 'chart-training')


class Dom(html.parser.HTMLParser):
  """Counts what plotly drew in each chart."""

  def __init__(self, text):
    super().__init__()
    self.root, self.chart = {}, None
    self.count = {}
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    if tag == 'html':
      self.root = attrs
    elif tag == 'section':
      self.chart = attrs.get('id')
    for name in (attrs.get('class') or '').split():
      key = self.chart, name
      self.count[key] = self.count.get(key, 0) + 1

  def handle_endtag(self, tag):
    if tag == 'section':
      self.chart = None


def dom(path, tmp_path) -> Dom:
  run = subprocess.run(
    [
      BROWSER,
      *FLAGS,
      '--enable-logging=stderr',
      f'--user-data-dir={tmp_path / "profile"}',
      '--window-size=1200,3000',
      '--virtual-time-budget=8000',
      '--dump-dom',
      path.as_uri(),
    ],
    capture_output=True,
    text=True,
    timeout=180,
    check=True,
  )
  assert 'Uncaught' not in run.stderr, run.stderr
  return Dom(run.stdout)


def test_every_chart_is_drawn(tmp_path):
  data = synthetic(methods=('rope', 'a<b & c'), seeds=2)
  found = dom(write_report(tmp_path, data)['html'], tmp_path)
  assert found.root['data-rope-charts'] == '3'
  for chart in CHARTS:
    assert found.count[chart, 'plot-container'] == 1, chart
  lines = len(data.series)
  # A line and a band for each series; a training curve and its validation
  # for each method and seed.
  for chart in CHARTS[:2]:
    assert found.count[chart, 'js-line'] >= lines, chart
    assert found.count[chart, 'js-fill'] >= lines, chart
  assert found.count['chart-training', 'js-line'] >= 2 * 2 * 2


def test_diverged_and_missing_parts_do_not_stop_the_page(tmp_path):
  data = synthetic(diverged=[('t5', 'none', 1024), ('t5', 'none', 2048)])
  rows = [
    row | {'bits_per_byte': math.nan, 'stderr': math.nan} for row in data.rows
  ]
  data = dataclasses.replace(data, rows=rows, by_position=[], training=[])
  found = dom(write_report(tmp_path, data)['html'], tmp_path)
  assert found.root['data-rope-charts'] == '1'
  assert found.count['chart-length', 'js-line'] >= len(data.series)


def test_beginnings_are_points_and_an_extension_draws_its_pairs(tmp_path):
  tuned = {'alibi': ('yarn', 'yarn'), 't5': ('ntk', 'ntk')}
  data = synthetic(methods=('rope', 'alibi', 't5'), protocols=('prefix(64)',))
  data = dataclasses.replace(data, training=[], tuned=tuned)
  found = dom(write_report(tmp_path, data)['html'], tmp_path)
  assert found.root['data-rope-charts'] == '2'
  assert ('chart-training', 'plot-container') not in found.count
  assert ('chart-length', 'js-fill') not in found.count
  points = len(data.series) * len(data.lengths)
  assert found.count['chart-length', 'point'] == points
  assert found.count['chart-position', 'js-fill'] == len(data.series)
