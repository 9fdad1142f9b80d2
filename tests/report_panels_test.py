"""Which lines share a panel of the figure."""

import math

import pytest
from report_rules_test import row, study

from rope_jax.report.inputs import cells
from rope_jax.report.panels import panels
from rope_jax.report.style import families, styles


def drawn(data):
  found = panels(data, cells(data, data.protocol, data.unit))
  return {title: [line.name for line in lines] for title, lines in found}


def test_few_lines_share_a_panel_in_the_order_of_the_study():
  data = study(*(row(m, 'none', 128, ord(m)) for m in 'dacb'))
  assert drawn(data) == {'Methods as trained': list('dacb')}


def test_many_methods_are_spread_evenly_the_lowest_first():
  """Ten methods: two panels of five; a diverged one, and one that was not
  measured at the longest length, come last."""
  rows = [
    row(m, 'none', n, 10 + at)
    for at, m in enumerate('jihgfedc')
    for n in (128, 256)
  ]
  rows += [row('a', 'none', 128, 1.0)]
  rows += [row('b', 'none', n, math.nan) for n in (128, 256)]
  assert drawn(study(*rows)) == {
    'Methods as trained, 1 of 2': list('jihgf'),
    'Methods as trained, 2 of 2': list('edcba'),
  }


def test_many_variants_are_spread_and_the_method_stands_in_each_panel():
  rows = [row('rope', 'none', 128, 9.0), row('other', 'none', 128, 9.0)]
  rows += [row('rope', f'v{chr(97 + i)}', 128, 9.0 - i) for i in range(9)]
  titles = drawn(study(*rows))
  assert titles['Variants of rope, 1 of 2'] == [
    'as trained',
    'vi',
    'vh',
    'vg',
    'vf',
    've',
  ]
  assert titles['Variants of rope, 2 of 2'] == [
    'as trained',
    'vd',
    'vc',
    'vb',
    'va',
  ]


def test_schemes_have_panels_only_where_they_come_in_several():
  several = [
    'ntk-2',
    'ntk-4',
    'ntk-8',
    'yarn-2',
    'yarn-4',
    'yarn-8',
    'linear-2',
  ]
  assert list(families(several)) == ['ntk', 'yarn', 'linear']
  assert families(['llama3', 'yarn', 'yarn-paper', 'a', 'b', 'c', 'd']) == {}


@pytest.mark.parametrize('count', [12, 23])
def test_methods_are_told_apart_also_where_colours_come_round(count):
  names = [f'm{chr(97 + i)}' for i in range(count)]
  look = styles(study(*(row(m, 'none', 128, 1.0) for m in names)))
  seen = {(s.color, s.dash) for s in look.values()}
  assert len(seen) == count
