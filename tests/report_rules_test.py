"""Findings and tables against numbers worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from rope_jax.report import StudyData, findings, rules, tables
from rope_jax.report.inputs import Value, family
from rope_jax.report.synthetic import synthetic


def row(method, variant, length, bits, stderr=0.01, **other):
  """A pooled row with bits per byte as nats / ln 2; stderr in bits."""
  nll = bits * math.log(2)
  return {
    'method': method,
    'variant': variant,
    'train_len': 128,
    'eval_len': length,
    'protocol': 'whole',
    'nll': nll,
    'stderr': stderr * math.log(2),
    'perplexity': math.exp(nll) if nll < 700 else math.inf,
    'bits_per_byte': bits,
    'tokens': 1000,
    'documents': 10,
    'seed': 'all',
    **other,
  }


def study(*rows):
  return StudyData('t', 'q', 128, list(rows))


def of(data, method):
  return next(x for x in findings(data) if x.startswith(f'{method}, as'))


def test_of_one_document_only_the_order_is_told():
  nothing = math.nan
  data = study(
    row('smol', 'none', 128, 1.0, nothing),
    row('smol', 'none', 256, 2.0, nothing),
    row('smol', 'yarn', 256, 1.25, nothing),
  )
  assert findings(data) == [
    'In bits per byte at 2x (256 tokens): yarn 1.250, as trained 2.000.',
    'smol, as trained, by length: 1.000 at 128, 2.000 at 256 tokens.',
    rules.UNCERTAIN,
  ]
  (note,) = tables.notes(data)
  assert rules.UNCERTAIN in note
  assert '±' not in note


def test_rise_and_the_share_a_variant_mends():
  data = study(
    row('rope', 'none', 128, 1.90),
    row('rope', 'none', 2048, 3.40, 0.05),
    row('rope', 'ntk', 128, 1.92),
    row('rope', 'ntk', 2048, 2.00),
    row('rope', 'linear', 2048, 2.60),
  )
  # (3.40 - 2.00) / (3.40 - 1.90) = 0.9333...; to first order its error is
  # sqrt((0.1 * 0.05)^2 + (1.5 * 0.01)^2 + (1.4 * 0.01)^2) / 1.5^2 = 0.0094,
  # shown as no less than one percent.
  assert of(data, 'rope') == (
    'rope, as trained, rises from 1.900 ± 0.010 to 3.400 ± 0.050 bits per '
    'byte at 16x (2048 tokens); ntk brings it back to 2.000 ± 0.010 '
    '(93 ± 1 % of the rise mended).'
  )
  share, stderr = rules.mended(
    Value(1.9, 0.01), Value(3.4, 0.05), Value(2.0, 0.01)
  )
  assert share == pytest.approx(14 / 15)
  by_hand = math.sqrt(0.005**2 + 0.015**2 + 0.014**2) / 2.25
  assert stderr == pytest.approx(by_hand)


@pytest.mark.parametrize(('gap', 'sure'), [(0.027, False), (0.030, True)])
def test_two_standard_errors_decide(gap, sure):
  # Two errors of 0.01 make 0.01414 of their difference, twice that 0.02828.
  data = study(
    row('alibi', 'none', 128, 1.9), row('alibi', 'none', 2048, 1.9 + gap)
  )
  text = of(data, 'alibi')
  assert ('rises from' in text) == sure
  assert ('not distinguishable from zero' in text) != sure
  if not sure:
    assert '+0.027 ± 0.014' in text


def test_variants_that_cannot_be_told_apart_or_do_harm():
  data = study(
    row('rope', 'none', 128, 1.9),
    row('rope', 'none', 512, 3.0),
    row('rope', 'ntk', 512, 2.0),
    row('rope', 'yarn', 512, 2.01),
    row('rope', 'linear', 512, 4.0),
  )
  text = of(data, 'rope')
  assert 'not distinguishable from yarn' in text
  assert 'worse than no variant at all: linear' in text
  assert findings(data)[0] == (
    'Lowest at 4x (512 tokens): ntk, 2.000 ± 0.010 bits per byte; '
    'not distinguishable from it: yarn.'
  )


def test_no_variant_helps():
  start, end = row('m', 'none', 128, 1.9), row('m', 'none', 512, 2.5)
  same = study(start, end, row('m', 'ntk', 512, 2.49))
  assert 'no variant is distinguishably lower' in of(same, 'm')
  worse = study(start, end, row('m', 'ntk', 512, 3.0))
  assert 'every variant is worse (the lowest, ntk: 3.000' in of(worse, 'm')


def test_improvement_and_unknown_error():
  better = study(row('m', 'none', 128, 2.0), row('m', 'none', 512, 1.9))
  assert 'improves from 2.000' in of(better, 'm')
  # Without an error nothing is claimed, however large the difference.
  unknown = study(
    row('m', 'none', 128, 2.0, math.nan), row('m', 'none', 512, 9.0)
  )
  assert 'not distinguishable from zero' in of(unknown, 'm')


def test_where_a_rise_begins():
  """Two errors of 0.01 make 0.0141 of a difference: 0.02 is not sure."""
  first, *later = (row('m', 'none', n, 1.9) for n in (128, 256, 512, 1024))
  for one, more in zip(later, (0.02, 0.05, 0.5), strict=True):
    one |= {'bits_per_byte': 1.9 + more, 'nll': (1.9 + more) * math.log(2)}
  assert of(study(first, *later), 'm') == (
    'm, as trained, rises from 1.900 ± 0.010 to 2.400 ± 0.010 bits per byte at '
    '8x (1024 tokens), first distinguishably higher at 4x (512 tokens).'
  )


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_diverged(bad):
  start, lost = row('m', 'none', 128, 1.9), row('m', 'none', 512, bad)
  later = row('m', 'none', 2048, bad)
  text = of(study(start, lost, later, row('m', 'ntk', 2048, 2.0)), 'm')
  assert text == (
    'm, as trained, diverges at 4x (512 tokens); '
    'ntk brings it to 2.000 ± 0.010.'
  )
  text = of(study(start, lost, later, row('m', 'ntk', 2048, bad)), 'm')
  assert text.endswith('every variant diverges too.')
  text = of(study(start, lost, row('m', 'none', 2048, 3.0)), 'm')
  assert '(though it diverges at 512)' in text


def test_price_at_the_trained_length():
  data = study(
    row('rope', 'none', 128, 1.9),
    row('rope', 'linear', 128, 2.1),
    row('rope', 'ntk', 128, 1.91),
  )
  assert findings(data)[-1] == (
    'What the variants of rope cost at the trained length, in bits per byte: '
    'linear +0.200 ± 0.014; not distinguishable from as trained: ntk.'
  )


def test_table_by_hand():
  data = study(
    row('rope', 'none', 128, 1.9),
    row('rope', 'none', 256, 3.5, 0.02),
    row('rope', 'ntk', 256, 2.25),
    row('alibi', 'none', 128, 1.95),
    row('alibi', 'none', 256, math.nan),
  )
  lines = tables.table_md(data).split('\n')
  start = lines.index('## whole, bits per byte') + 4
  # The change, in the table's unit: 3.5 - 1.9, 2.25 - 1.9.
  assert lines[start : start + 5] == [
    '| method | 128 (trained) | 256 (2x) | Δ, 128 as trained → 256 |',
    '| :-- | --: | --: | --: |',
    '| rope | **1.900 ± 0.010** | 3.500 ± 0.020 | +1.600 |',
    '| rope + ntk | – | **2.250 ± 0.010** | +0.350 |',
    '| alibi | 1.950 ± 0.010 | diverged | diverged |',
  ]


def test_perplexity_where_bytes_are_unknown():
  rows = [
    row('m', 'none', 128, math.log2(10), 0.01) | {'bits_per_byte': math.nan},
    row('m', 'none', 256, math.log2(20), 0.01) | {'bits_per_byte': math.nan},
  ]
  text = tables.table_md(study(*rows))
  # The error of a perplexity p is p times that of the nats: 10 * 0.01 ln 2.
  assert '## whole, perplexity' in text
  assert '10.000 ± 0.069' in text
  assert '20.000 ± 0.139** | +10.000 |' in text


def test_markdown_is_escaped():
  data = study(row('a|b<i>*', 'none', 128, 1.9), row('c', 'none', 128, 1.9))
  text = tables.table_md(dataclasses.replace(data, title='<script>x'))
  assert '<i>' not in text
  assert '<script>' not in text
  assert 'a\\|b&lt;i>\\*' in text


def test_bad_rows():
  with pytest.raises(ValueError, match=r"rows\[0\] has missing .*'seed'"):
    study({k: v for k, v in row('m', 'none', 1, 1).items() if k != 'seed'})
  with pytest.raises(ValueError, match=r'unknown columns .*extra'):
    study(row('m', 'none', 1, 1) | {'extra': 1})
  with pytest.raises(ValueError, match='nothing was evaluated'):
    study()


def test_main_protocol_prefers_the_same_targets():
  assert synthetic().protocol == 'last(64)'
  assert synthetic(protocols=('whole', 'slide(8)')).protocol == 'slide(8)'
  assert synthetic(protocols=('whole',)).protocol == 'whole'
  beginnings = ('prefix', 'prefix(8)')
  assert synthetic(protocols=beginnings).protocol == 'prefix(8)'
  assert synthetic(protocols=(*beginnings, 'whole')).protocol == 'whole'


@pytest.mark.parametrize(
  ('variant', 'name'),
  [
    ('ntk', 'ntk'),
    ('ntk-16', 'ntk'),
    ('dynamic_ntk(factor=4)', 'dynamic_ntk'),
    ('yarn_x8', 'yarn_'),
    ('4x', '4x'),
  ],
)
def test_family(variant, name):
  assert family(variant) == name


def test_differences_are_paired_by_document_where_influence_is_known():
  rows = [
    row('rope', 'none', 128, 2.00, 0.05),
    row('rope', 'none', 2048, 2.06, 0.05),
  ]
  # Documents differ by far more than the length does, all in the same way.
  apart = np.array([0.04, -0.03]) * math.log(2)
  influence = {
    ('rope', 'none', 128, 'whole'): apart,
    ('rope', 'none', 2048, 'whole'): apart + 0.01 * math.log(2),
  }
  alone = study(*rows)
  paired = dataclasses.replace(alone, influence=influence)
  assert 'holds' in of(alone, 'rope')
  assert 'rises' in of(paired, 'rope')
  gap, stderr, sure = rules.differ(
    Value(2.06, 0.05, influence['rope', 'none', 2048, 'whole']),
    Value(2.00, 0.05, influence['rope', 'none', 128, 'whole']),
  )
  assert (gap, sure) == (pytest.approx(0.06), True)
  assert stderr == pytest.approx(0.01 * math.log(2) * math.sqrt(2))
