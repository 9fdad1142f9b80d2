"""Protocols against sums written out by hand, and what errors they raise."""

import math
import re

import numpy as np
import pytest

from rope_jax import config as config_lib
from rope_jax import evaluate
from rope_jax.evaluate import cells, protocols

SPAN, LONGEST = 8, 4


def _loss(document, start, entry):
  """A made-up loss that tells every (document, window, entry) apart."""
  return 100.0 * document + 10.0 * start + entry


def _cell(length, starts, documents=2):
  pairs = [(d, s) for d in range(documents) for s in starts]
  nll = [[_loss(d, s, i) for i in range(length)] for d, s in pairs]
  document, start = np.array(pairs, np.int32).T
  meta = {'variant': 'none', 'length': length}
  return evaluate.Cell(document, start, np.array(nll, np.float32), meta)


def _sums(cell, protocol, byte_lengths=None, documents=2):
  if byte_lengths is None:
    byte_lengths = np.ones((documents, SPAN + 1), np.int64)
  return evaluate.sums(
    cell, protocol, span=SPAN, longest=LONGEST, byte_lengths=byte_lengths
  )


def test_whole_counts_every_entry_of_non_overlapping_windows_once():
  cell = _cell(2, protocols.starts(('whole',), 2, SPAN, LONGEST))
  found = _sums(cell, 'whole')
  # Windows at 0, 2, 4, 6; entries 0 and 1 of each.
  assert found.nll.tolist() == [4 * 1 + 2 * 10 * 12, 800 + 4 * 1 + 2 * 10 * 12]
  assert found.tokens.tolist() == [8, 8]


def test_last_scores_the_same_targets_at_every_length():
  targets = {}
  for length in (2, 4):
    starts = protocols.starts(('last(2)',), length, SPAN, LONGEST)
    counted = protocols.parse('last(2)').counted(length, SPAN, LONGEST)
    targets[length] = {
      int(start + entry + 1)
      for start, first in zip(counted.start, counted.first, strict=True)
      for entry in range(first, length)
    }
    found = _sums(_cell(length, starts), 'last(2)')
    assert found.tokens.tolist() == [4, 4]
  assert targets[2] == targets[4] == {3, 4, 7, 8}


def test_last_by_hand():
  cell = _cell(4, [0, 4])
  # Windows at 0 and 4, entries 2 and 3.
  assert _sums(cell, 'last(2)').nll.tolist() == [2 + 3 + 42 + 43, 490]


def test_slide_scores_each_token_once_and_only_the_new_ones():
  starts = protocols.starts(('slide(2)',), 4, SPAN, LONGEST)
  assert starts.tolist() == [0, 2, 4]
  found = _sums(_cell(4, starts), 'slide(2)')
  first = 0 + 1 + 2 + 3
  assert found.nll[0] == first + (22 + 23) + (42 + 43)
  assert found.tokens[0] == SPAN  # Token-weighted: every target once.


def test_slide_by_the_whole_window_is_whole():
  cell = _cell(4, [0, 4])
  assert np.array_equal(_sums(cell, 'slide(4)').nll, _sums(cell, 'whole').nll)


def test_bits_per_byte_divides_by_the_bytes_of_the_targets():
  byte_lengths = np.array([[9, 1, 2, 3, 4, 1, 1, 1, 1]] * 2)
  cell = _cell(4, [0, 4])
  found = _sums(cell, 'last(1)', byte_lengths)
  assert found.bytes.tolist() == [4 + 1, 4 + 1]
  figure = evaluate.figure([found])
  total = found.nll.sum()
  assert figure.bits_per_byte == pytest.approx(total / math.log(2) / 10)
  assert figure.perplexity == pytest.approx(math.exp(min(total / 4, 700)))


def test_stderr_is_that_of_a_mean_when_documents_have_equal_tokens():
  nll, tokens = np.array([10.0, 14.0, 18.0]), np.array([4, 4, 4])
  figure = evaluate.figure([evaluate.Sums(nll, tokens, tokens)])
  by_document = nll / 4
  assert figure.nll == pytest.approx(by_document.mean())
  assert figure.stderr == pytest.approx(
    by_document.std(ddof=1) / math.sqrt(len(nll))
  )


def test_one_document_has_no_stderr():
  one = np.array([4.0])
  figure = evaluate.figure([evaluate.Sums(one, np.array([2]), np.array([2]))])
  assert figure.nll == 2.0
  assert math.isnan(figure.stderr)


def test_seeds_add_their_own_variance():
  tokens = np.array([1, 1])
  runs = [
    evaluate.Sums(np.array([1.0, 2.0]), tokens, tokens),
    evaluate.Sums(np.array([3.0, 6.0]), tokens, tokens),
  ]
  figure = evaluate.figure(runs)
  documents = np.array([2.0, 4.0])  # Averaged over the seeds.
  seeds = np.array([1.5, 4.5])
  assert figure.nll == 3.0
  assert figure.stderr**2 == pytest.approx(
    documents.var(ddof=1) / 2 + seeds.var(ddof=1) / 2
  )


def test_influence_gives_the_error_of_a_paired_difference():
  rng = np.random.default_rng(0)
  tokens = np.full(6, 10)
  easy = rng.normal(20, 5, 6)
  hard = easy + rng.normal(3, 0.5, 6)
  a, b = (
    evaluate.figure([evaluate.Sums(nll, tokens, tokens)])
    for nll in (easy, hard)
  )
  paired = (hard - easy) / 10
  wanted = paired.std(ddof=1) / math.sqrt(6)
  assert np.linalg.norm(b.influence - a.influence) == pytest.approx(wanted)
  assert wanted < 0.3 * math.hypot(a.stderr, b.stderr)


def test_by_position_is_the_mean_over_documents_of_each_bin():
  found = evaluate.by_position([_cell(4, [0, 4])], bins=4)
  assert found.position[0] == 1.0  # One token of context.
  # Documents 0 and 1, windows at 0 and 4.
  assert found.nll[0] == np.mean([0, 40, 100, 140])
  per_document = np.array([20.0, 120.0])
  assert found.stderr[0] == pytest.approx(
    per_document.std(ddof=1) / math.sqrt(2)
  )


def test_by_position_leaves_out_overlapping_windows():
  cell = _cell(4, [0, 2, 4])
  without = _cell(4, [0, 4])
  assert np.array_equal(
    evaluate.by_position([cell]).nll, evaluate.by_position([without]).nll
  )


@pytest.mark.parametrize('name', ['last', 'whole(3)', 'slide(0)', 'mean', ''])
def test_an_unknown_protocol_is_refused_with_the_known_ones(name):
  with pytest.raises(ValueError, match=r'whole, last\(k\), slide'):
    protocols.parse(name)


def test_last_longer_than_the_window_is_refused():
  with pytest.raises(ValueError, match=r'use last\(k\) with k <= 2'):
    protocols.starts(('last(3)',), 2, SPAN, LONGEST)


def test_a_stride_that_does_not_divide_is_refused():
  with pytest.raises(ValueError, match='the stride must be at most 4'):
    protocols.starts(('slide(3)',), 4, SPAN, LONGEST)


@pytest.mark.parametrize(
  ('protocol', 'fields'),
  [
    ('last(17)', 'protocols lengths'),
    ('prefix(17)', 'protocols lengths'),
    ('slide(17)', 'protocols lengths span'),
    ('mean', 'protocols'),
  ],
)
def test_a_protocol_that_is_refused_names_the_fields(protocol, fields):
  config = config_lib.default()
  config.eval.update(lengths=(16, 32), protocols=('whole', protocol))
  with pytest.raises(ValueError, match=re.escape(protocol)) as caught:
    cells.check(config)
  for field in fields.split():
    assert f'config.eval.{field}' in str(caught.value)
  if 'lengths' in fields:
    assert 'config.quick.lengths' in str(caught.value)


def test_a_window_that_is_not_stored_is_named():
  with pytest.raises(ValueError, match='document 0 at 2, which is not stored'):
    _sums(_cell(4, [0, 4]), 'slide(2)')


def test_prefix_reads_the_beginning_alone():
  starts = protocols.starts(('prefix', 'prefix(1)'), 4, SPAN, LONGEST)
  assert starts.tolist() == [0]
  whole, last = (_sums(_cell(4, [0]), p) for p in ('prefix', 'prefix(1)'))
  assert whole.nll.tolist() == [0 + 1 + 2 + 3, 400 + 0 + 1 + 2 + 3]
  assert last.nll.tolist() == [3, 103]
  assert (whole.tokens.tolist(), last.tokens.tolist()) == ([4, 4], [1, 1])
  mixed = protocols.starts(('prefix', 'last(1)'), 2, SPAN, LONGEST)
  assert mixed.tolist() == [0, 2, 6]  # None of 'whole' but the beginning.
  with pytest.raises(ValueError, match=r'prefix\(5\) counts more .* k <= 4'):
    protocols.starts(('prefix(5)',), 4, SPAN, LONGEST)
