"""What reports of extensions say: beginnings, ties, schemes before and after
training; by numbers worked out by hand."""

import dataclasses
import math

import matplotlib.figure
import numpy as np
import pytest
from report_rules_test import row, study

from rope_jax import config as config_lib
from rope_jax import gather
from rope_jax.extend import table
from rope_jax.report import (
  chartdata,
  figure,
  findings,
  page,
  protocols,
  rules,
  tables,
)
from rope_jax.report.inputs import cells
from rope_jax.report.panels import panels
from rope_jax.report.style import styles
from rope_jax.report.ties import ties

LN2 = math.log(2)


def beginnings(*rows):
  return study(*(one | {'protocol': 'prefix(64)'} for one in rows))


@pytest.fixture
def prefix():
  """One model, read to 4x by a protocol that scores other tokens each time."""
  return beginnings(
    row('m', 'none', 128, 2.5),
    row('m', 'none', 256, 2.0),
    row('m', 'none', 512, 3.0),
    row('m', 'yarn', 128, 2.6),
    row('m', 'yarn', 512, 2.25),
    row('m', 'linear', 512, 4.0),
  )


def test_of_beginnings_only_schemes_within_a_length_are_compared(prefix):
  assert findings(prefix) == [
    'Lowest at 4x (512 tokens): yarn, 2.250 ± 0.010 bits per byte; everything '
    'else is distinguishably higher.',
    'm, as trained, has 3.000 ± 0.010 bits per byte at 4x (512 tokens); yarn '
    'has 2.250 ± 0.010 (−0.750 ± 0.014); worse than no variant at all: linear.',
    'What the variants of m cost at the trained length, in bits per byte: '
    'yarn +0.100 ± 0.014.',
  ]
  same = [one | {'protocol': 'last(64)'} for one in prefix.rows]
  told = ' '.join(findings(dataclasses.replace(prefix, rows=same)))
  assert 'rises from' in told
  assert 'of the rise mended' in told
  alone = beginnings(row('m', 'none', 128, 2.5), row('m', 'none', 512, 2.5))
  assert findings(alone) == []
  assert '## Ranking' in tables.table_md(prefix)
  unsure = [one | {'stderr': math.nan} for one in prefix.rows]
  unsure = dataclasses.replace(prefix, rows=unsure)
  assert '## Ranking' not in tables.table_md(unsure)  # All would share all.
  assert findings(unsure) == [
    'In bits per byte at 4x (512 tokens): yarn 2.250, as trained 3.000, linear '
    '4.000.',
    rules.UNCERTAIN,
  ]


def test_the_change_of_beginnings_is_within_the_longest_length(prefix):
  lines = tables.table_md(prefix).split('\n')
  start = lines.index('## prefix(64), bits per byte') + 4
  table = [line.replace(' ± 0.010', '') for line in lines[start : start + 7]]
  assert table == [
    '| scheme | 128 (trained) | 256 (2x) | 512 (4x) '
    '| Δ, to as trained at 512 |',
    '| :-- | --: | --: | --: | --: |',
    '| as trained | **2.500** | **2.000** | 3.000 | – |',
    '| yarn | 2.600 | – | **2.250** | −0.750 |',
    '| linear | – | – | 4.000 | +1.000 |',
    '',
    protocols.CAUTION,
  ]
  assert lines[2] == 'm, trained at 128 tokens.'


def test_it_is_said_under_table_picture_and_page(prefix):
  same = dataclasses.replace(
    prefix, rows=[one | {'protocol': 'last(64)'} for one in prefix.rows]
  )
  # Under the findings and under the table.
  assert tables.table_md(prefix).count(protocols.CAUTION) == 2
  assert protocols.CAUTION not in tables.table_md(same)
  # There it is among the data of the charts, too.
  assert page.page(prefix).count(protocols.CAUTION) == 3
  assert page.page(same).count(protocols.CAUTION) == 1
  assert chartdata.chart_data(prefix)['moves'] == [True]
  assert chartdata.chart_data(same)['moves'] == [False]


def drawn(data, monkeypatch):
  """The lines of a figure that join several points, and its notes."""
  kept = []
  save = matplotlib.figure.Figure.savefig
  monkeypatch.setattr(
    matplotlib.figure.Figure,
    'savefig',
    lambda self, *a, **k: (kept.append(self), save(self, *a, **k))[1],
  )
  figure.figure_files(data)
  (axes,) = kept[0].axes
  curves = [x for x in axes.lines if x.get_marker() not in ('None', 'x')]
  joined = [x for x in curves if x.get_linestyle() != 'None']
  return curves, joined, ' '.join(t.get_text() for t in kept[0].texts)


def test_no_line_joins_beginnings_and_equal_points_stand_apart(
  prefix, monkeypatch
):
  curves, joined, note = drawn(prefix, monkeypatch)
  assert (len(curves), joined) == (3, [])
  assert note.replace('\n', ' ').endswith(protocols.CAUTION)
  assert 'Bars: ±' in note
  at_longest = [line.get_xdata()[-1] for line in curves]
  assert len({round(x, 3) for x in at_longest}) == 3
  assert np.mean(at_longest) == pytest.approx(9)  # log2 of 512
  same = dataclasses.replace(
    prefix, rows=[one | {'protocol': 'last(64)'} for one in prefix.rows]
  )
  curves, joined, note = drawn(same, monkeypatch)
  assert len(curves) == len(joined) == 3
  assert 'Bands: ±' in note
  assert protocols.CAUTION[:20] not in note


def test_what_changes_nothing_is_said_once():
  """rerope changes nothing, yarn nothing at 128, ntk is dynamic_ntk."""
  losses = {
    'none': (2.0, 3.0),
    'rerope': (2.0, 3.0),
    'streaming': (2.0, 3.0),
    'yarn': (2.0, 2.5),
    'ntk': (2.1, 2.75),
    'dynamic_ntk': (2.1, 2.75),
    'linear': (2.1, 2.75 + 1e-12),
  }
  data = study(
    *(
      row('m', name, n, bits)
      for name, both in losses.items()
      for n, bits in zip((128, 512), both, strict=True)
    )
  )
  told = [
    'rerope and streaming: the same losses as trained at every length read, to '
    'the last bit; they change nothing there.',
    'At 128 tokens yarn has the same losses as trained.',
    'ntk and dynamic_ntk have the same losses as each other at every length.',
  ]
  assert ties(data) == told
  text = tables.table_md(data)
  for sentence in told:
    assert text.count(sentence) == 1
    assert page.page(data).count(sentence) == 1
  # Another protocol in which they differ: then they are not the same.
  more = [
    row('m', v, 512, 1 + i, protocol='prefix') for i, v in enumerate(losses)
  ]
  assert ties(study(*data.rows, *more)) == [
    'At 128 tokens rerope, streaming and yarn have the same losses as trained.'
  ]
  two = study(*data.rows, row('other', 'none', 128, 9.0))
  assert ties(two)[1] == 'At 128 tokens m + yarn has the same losses as m.'
  lost = study(row('m', 'none', 128, math.inf), row('m', 'x', 128, math.inf))
  assert ties(lost) == []


def test_ties_are_all_bold_or_none_and_all_named():
  data = study(
    row('m', 'none', 128, 2.0),
    row('m', 'ntk', 128, 2.0),
    row('m', 'yarn', 128, 2.0),
    row('m', 'none', 512, 3.0),
    row('m', 'ntk', 512, 2.5),
    row('m', 'yarn', 512, 2.5),
  )
  grid = tables.grid(data, 'whole')
  bold = [[cell.best for cell in line[:2]] for *_, line in grid.rows]
  assert bold == [[False, False], [False, True], [False, True]]
  best, rises = findings(data)
  assert best == (
    'Lowest at 4x (512 tokens): ntk and yarn, 2.500 ± 0.010 bits per byte (the '
    'same losses); everything else is distinguishably higher.'
  )
  assert '; ntk and yarn bring it back to 2.500' in rises
  data = study(row('m', 'none', 512, 2.0), row('m', 'ntk', 512, 2.0))
  assert findings(data)[0] == (
    'At 4x (512 tokens) nothing differs: as trained and ntk, 2.000 ± 0.010 '
    'bits per byte (the same losses).'
  )
  unsure = [{**one, 'stderr': math.nan} for one in data.rows]
  assert findings(dataclasses.replace(data, rows=unsure))[0] == (
    'In bits per byte at 4x (512 tokens): as trained and ntk 2.000.'
  )


@pytest.fixture
def trained():
  """A base, two schemes zero-shot, and three trainings from it."""
  rows = [
    row(method, variant, length, bits)
    for method, variant, both in (
      ('base', 'none', (2.0, 4.0)),
      ('base', 'linear', (3.5, 3.6)),
      ('base', 'yarn', (2.2, 2.5)),
      ('base', 'spare', (2.3, 2.9)),
      ('linear tuned', 'none', (2.1, 2.2)),
      ('pose tuned', 'none', (2.15, 2.3)),
      ('rope tuned', 'none', (2.0, 2.1)),
      ('yarn tuned', 'none', (2.0, 2.05)),
    )
    for length, bits in zip((128, 512), both, strict=True)
  ]
  tuned = {
    'linear tuned': ('linear', 'linear'),
    'pose tuned': ('pose', 'linear'),
    'rope tuned': ('rope', 'none'),
    'yarn tuned': ('yarn', 'yarn'),
  }
  return dataclasses.replace(study(*rows), tuned=tuned)


def test_a_panel_sets_a_scheme_before_beside_after(trained):
  found = panels(trained, cells(trained, 'whole', 'bits_per_byte'))
  assert {title: [x.name for x in lines] for title, lines in found} == {
    'linear, rope': [
      'as trained',
      'linear zero-shot',
      'linear fine-tuned',
      'pose fine-tuned',
      'rope fine-tuned',
    ],
    'yarn': ['as trained', 'yarn zero-shot', 'yarn fine-tuned'],
    'Zero-shot alone': ['as trained', 'spare zero-shot'],
  }
  look = styles(trained)
  before, after = look['base', 'yarn'], look['yarn tuned', 'none']
  assert (before.color, before.marker) == (after.color, after.marker)
  assert before.dash
  assert not after.dash
  assert len({one.color for one in look.values()}) == 6  # 5 schemes, the base.


def test_a_trained_scheme_is_not_called_as_trained(trained):
  told = findings(trained)
  assert told[0] == (
    'Lowest at 4x (512 tokens): yarn fine-tuned, 2.050 ± 0.010 bits per byte; '
    'everything else is distinguishably higher.'
  )
  assert (
    'linear fine-tuned rises from 2.100 ± 0.010 to 2.200 ± 0.010 bits per byte '
    'at 4x (512 tokens); zero-shot it has 3.600 ± 0.010 there.'
  ) in told
  assert [x for x in told if 'as trained, rises' in x] == [
    'base, as trained, rises from 2.000 ± 0.010 to 4.000 ± 0.010 bits per byte '
    'at 4x (512 tokens); yarn brings it back to 2.500 ± 0.010 (75 ± 1 % of the '
    'rise mended).'
  ]
  text = tables.table_md(trained)
  assert 'tuned + ' not in text
  assert 'linear tuned' not in text
  # All are held against the base as trained: 2.2 - 2.0.
  assert (
    '| linear fine-tuned | 2.100 ± 0.010 | 2.200 ± 0.010 | +0.200 |' in text
  )
  roles = {
    x['name']: x['role'] for x in chartdata.chart_data(trained)['series']
  }
  assert roles['as trained'] == ['base']
  assert roles['pose fine-tuned'] == ['tuned', 'linear']
  assert roles['linear zero-shot'] == ['zero-shot', 'linear']


def test_the_length_that_was_trained_for_is_told_too(trained):
  rows = [one | {'train_len': 256} for one in trained.rows]
  rows += [one | {'eval_len': 256} for one in rows if one['eval_len'] == 512]
  told = findings(dataclasses.replace(trained, rows=rows))
  assert told[0].startswith('Lowest at 2x (256 tokens): yarn fine-tuned, 2.05')
  assert told[1].startswith('Lowest at 4x (512 tokens): yarn fine-tuned, 2.05')
  (pose,) = (x for x in told if x.startswith('pose'))
  assert pose.endswith(
    '; at 2x (256 tokens) 2.300 ± 0.010, zero-shot 3.600 ± 0.010.'
  )


def test_the_table_of_the_literature_says_ties_and_beginnings(prefix):
  lines = [
    table.Line('as trained', 'm', 'none'),
    table.Line('yarn', 'm', 'yarn'),
    table.Line('idle', 'm', 'idle'),
  ]
  idle = [one | {'variant': 'idle'} for one in prefix.rows[:3]]
  data = dataclasses.replace(prefix, rows=[*prefix.rows, *idle])
  text = table.extension_md(data, lines, {})
  assert text.count(protocols.CAUTION) == 1
  assert 'idle: the same losses as trained at every length read' in text
  assert '| idle | zero-shot | **2.500 ± 0.010** | 2.000 ± 0.010 |' in text


def test_a_report_of_nothing_trained_has_no_such_section(prefix):
  assert '<h2>Training</h2>' not in page.page(prefix)
  assert 'id="chart-training"' not in page.page(prefix)
  curve = {
    'method': 'm', 'seed': 0,
    'step': np.arange(2), 'tokens': np.arange(2), 'loss': np.ones(2),
  }  # fmt: skip
  taught = dataclasses.replace(prefix, training=[curve])
  assert page.page(taught).count('id="chart-training"') == 1


def test_a_report_shows_the_fields_that_were_read(prefix):
  config = config_lib.default()
  gathered = {
    'rows': prefix.rows, 'by_position': (), 'training': (), 'influence': {}
  }  # fmt: skip
  rest = {'note': 'T.', 'command': '', 'caveats': [], 'failures': []}
  made = gather.study_data(
    config, gathered, train_len=128, fields=gather.READ, **rest
  )
  assert 'train' not in made.config
  assert 'tokenizer' not in made.config['data']
  assert made.config['eval']['lengths'] == list(config.eval.lengths)
  assert set(made.config['model']) == {'dtype', 'scan', 'attention'}
  assert made.tuned == {}
  whole = gather.study_data(config, gathered, train_len=128, **rest)
  assert whole.config == config_lib.plain(config)
  with pytest.raises(KeyError, match='warp'):
    gather.study_data(
      config, gathered, train_len=128, fields=('eval.warp',), **rest
    )
