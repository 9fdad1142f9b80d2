"""The ranking: ranks, ties, gaps, by numbers worked out by hand."""

import math

import numpy as np
from report_rules_test import row, study

from rope_jax.report import inputs, page, ranking, tables


def rows_of(data):
  found = ranking.ranking(data)
  assert found is not None
  return {
    inputs.label(method, variant): ranking.line(places)
    for method, variant, places in found.rows
  }


def test_ranks_that_cannot_be_told_apart_are_shared():
  """Errors of 0.01 each: a difference is sure above 2 sqrt(2) 0.01 = 0.0283."""
  data = study(
    row('a', 'none', 128, 2.00),
    row('b', 'none', 128, 2.02),
    row('c', 'none', 128, 2.04),
    row('d', 'none', 128, 2.50),
  )
  assert {name: line[0] for name, line in rows_of(data).items()} == {
    'a': '1–2',
    'b': '1–3',
    'c': '2–3',
    'd': '4',
  }
  assert rows_of(data)['a'][1] == 'lowest'
  assert rows_of(data)['d'][1] == '+0.500 ± 0.014'


def test_the_order_is_that_of_the_longest_length():
  data = study(
    row('a', 'none', 128, 1.0),
    row('a', 'none', 512, 3.0),
    row('b', 'none', 128, 2.0),
    row('b', 'none', 512, 2.0),
    row('a', 'yarn', 512, 1.5),
  )
  found = rows_of(data)
  assert list(found) == ['a + yarn', 'b', 'a']
  assert [line[:2] for line in found.values()] == [
    ['–', '1'],
    ['2', '2'],
    ['1', '3'],
  ]


def test_diverged_and_absent_ones_come_last_by_the_lengths_they_have():
  data = study(
    row('a', 'none', 128, math.nan, nll=math.inf),
    row('b', 'none', 128, 2.0),
    row('c', 'none', 128, 1.0),
    row('d', 'none', 64, 1.0),
  )
  found = rows_of(data)
  assert list(found) == ['c', 'b', 'd', 'a']
  assert found['a'][1:] == ['3', 'diverged']
  assert found['d'][1:] == ['–', '–']


def test_differences_are_paired_where_the_study_tells_how():
  """The same 0.01 of noise in both: their difference is known to 0.001."""
  noise = np.array([0.01, 0.0])
  rows = [
    row(m, 'none', 128, b) for m, b in (('a', 2.0), ('b', 2.01), ('c', 3))
  ]
  apart = study(*rows)
  assert rows_of(apart)['b'][0] == '1–2'
  ones = {
    ('a', 'none', 128, 'whole'): noise,
    ('b', 'none', 128, 'whole'): noise + np.array([0, 0.001]),
    ('c', 'none', 128, 'whole'): noise,
  }
  paired = study(*rows)
  object.__setattr__(paired, 'influence', ones)
  assert rows_of(paired)['b'][0] == '2'


def test_two_series_need_no_ranking_and_three_have_one_in_every_file():
  two = study(row('a', 'none', 128, 1.0), row('b', 'none', 128, 2.0))
  assert ranking.ranking(two) is None
  assert 'Ranking' not in tables.table_md(two) + page.page(two)
  three = study(*two.rows, row('c<d', 'none', 128, 3.0))
  assert '## Ranking by `whole`' in tables.table_md(three)
  assert '| c&lt;d | 3 | +2.000 ± 0.014 |' in tables.table_md(three)
  assert '<h2>Ranking by whole</h2>' in page.page(three)
