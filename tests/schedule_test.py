"""Rates against closed forms; rows of a length schedule; resuming across it."""

import math

import jax
import numpy as np
import pytest
import training_support as support

from rope_jax import config as config_lib
from rope_jax import data, metrics
from rope_jax.train import build_sampler, load_weights, schedule, train

LENGTHS = ((0, 4), (2, 8), (5, 16))


def closed(kind, peak, share, warmup, steps, i):
  if i < warmup:
    return peak * (i + 1) / warmup
  u = (i - warmup) / (steps - warmup)
  left = {
    'linear': 1 - u,
    'constant': 1.0,
    'cosine': math.cos(u * math.pi / 2) ** 2,
  }
  return peak * (share + (1 - share) * left[kind])  # fmt: skip


@pytest.mark.parametrize('kind', schedule.SCHEDULES)
def test_rates_are_the_closed_forms(kind):
  section = support.tiny(
    train__schedule=kind,
    train__steps=40,
    train__warmup=5,
    train__final_share=0.2,
  ).train
  got = [float(schedule.learning_rate(section, i)) for i in range(41)]
  want = [closed(kind, 1e-2, 0.2, 5, 40, i) for i in range(41)]
  np.testing.assert_allclose(got, want, rtol=1e-5)
  end = 1e-2 if kind == 'constant' else 2e-3
  assert math.isclose(got[40], end, rel_tol=1e-5)


def staged(**changes):
  return support.tiny(train__lengths=LENGTHS, **changes)


def corpus(seed=0):
  """Documents of 5 to 60 tokens, each of a number of its own, and a place."""
  rng = np.random.default_rng(seed)
  sizes = rng.integers(5, 60, 50)
  ids = [np.arange(n) + 100 * d for d, n in enumerate(sizes)]
  tokens = np.concatenate(ids).astype(np.uint16)
  return data.Corpus(tokens, np.cumsum([0, *sizes]))


def test_a_step_has_as_many_tokens_at_every_length():
  config = staged()
  batches = build_sampler(config, corpus())
  shapes = [batches.batch(i)['tokens'].shape for i in range(8)]
  assert shapes == [(32, 4)] * 2 + [(16, 8)] * 3 + [(8, 16)] * 3


def test_rows_hold_consecutive_tokens_of_documents_and_nothing_leaks():
  text = corpus()
  batches = build_sampler(staged(), text)
  for at in range(9):
    batch = batches.batch(at)
    tokens, position = batch['tokens'], batch['position']
    document = tokens // 100
    step = np.diff(tokens, axis=1)
    inside = np.diff(batch['segment'], axis=1) == 0
    # Within a segment: the same document, the next place of it.
    assert (step[inside] == 1).all()
    assert (np.diff(document, axis=1)[inside] == 0).all()
    assert (np.diff(position, axis=1)[inside] == 1).all()
    assert (position[:, 1:][~inside] == 0).all()
    there = batch['weight'] > 0
    np.testing.assert_array_equal(batch['targets'][there], tokens[there] + 1)
    ends = np.diff(text.offsets)[document] - 1 == tokens % 100
    np.testing.assert_array_equal(~there, ends)


def test_a_batch_is_a_function_of_seed_stage_and_step():
  one, other = (build_sampler(staged(), corpus()) for _ in range(2))
  plain = build_sampler(support.tiny(), corpus())
  seeded = build_sampler(staged(train__seed=1), corpus())
  for at in (6, 0, 3, 6):  # In another order, and asked again.
    np.testing.assert_array_equal(
      one.batch(at)['tokens'], other.batch(at)['tokens']
    )
    halves = [one.batch(at, p, 2)['tokens'] for p in range(2)]
    np.testing.assert_array_equal(
      np.concatenate(halves), one.batch(at)['tokens']
    )
    a, b = one.batch(at)['tokens'], seeded.batch(at)['tokens']
    assert (a != b).any()
  # The last stage has an order of its own.
  assert (one.batch(5)['tokens'] != plain.batch(0)['tokens']).any()
  direct = data.Sampler(corpus(), train_len=16, batch=8, seed=0)
  np.testing.assert_array_equal(
    plain.batch(3)['tokens'], direct.batch(3)['tokens']
  )


class Broken:
  """A sampler that fails at a step."""

  def __init__(self, sampler, step):
    self._sampler, self._step = sampler, step

  def batch(self, step, process=0, processes=1):
    if step == self._step:
      raise OSError('the disk is gone')
    return self._sampler.batch(step, process, processes)


def rows(workdir):
  clock = ('seconds', 'tokens_per_second')
  return [
    {k: v for k, v in row.items() if k not in clock}
    for row in metrics.read(workdir / 'metrics.jsonl')
  ]


def test_resumed_across_a_border_equals_uninterrupted(tmp_path, capsys):
  config = support.tiny(
    train__lengths=((0, 8), (3, 16)),
    train__log_every=1,
    train__checkpoint_every=2,
    train__steps=4,
    model__layers=1,
    mesh__data=1,
  )
  words = data.documents_from_texts(
    [f'document {i} ' * (2 + i % 5) for i in range(40)]
  )
  text = data.tokenize(words, data.ByteTokenizer())
  batches = build_sampler(config, text)
  whole = train(config, tmp_path / 'whole', sampler=batches)
  said = capsys.readouterr().err
  assert said.count('compiling rows of 8 tokens') == 1
  assert said.count('compiling rows of 16 tokens') == 1
  where = tmp_path / 'broken'
  with pytest.raises(OSError, match='gone'):
    train(config, where, sampler=Broken(batches, 3), progress=False)
  found = train(config, where, sampler=batches, progress=False)
  assert found.resumed_from == 2
  jax.tree.map(np.testing.assert_array_equal, found.weights, whole.weights)
  assert rows(where) == rows(tmp_path / 'whole')
  targets = [batches.batch(i)['weight'].sum() for i in range(4)]
  assert rows(tmp_path / 'whole')[-1]['tokens'] == sum(targets)
  assert load_weights(tmp_path / 'whole')[3] == 4


@pytest.mark.parametrize(
  'lengths',
  [
    ((0, 16), (2, 8), (4, 16)),  # Falls.
    ((0, 4), (2, 8)),  # Does not end at train_len.
    ((1, 8), (2, 16)),  # Begins late.
    ((0, 8), (0, 16)),  # Two at once.
    ((0, 8), (6, 16)),  # After the last step.
    ((0, 6), (2, 16)),  # Does not divide.
    ((0, 1), (2, 16)),  # Nothing to predict.
    ((0, 8.0), (2, 16)),
    ((0, 8, 1), (2, 16)),
    (8, 16),
  ],
)
def test_lengths_that_are_none_are_refused(lengths):
  with pytest.raises(
    ValueError, match=r'config\.train\.lengths=.*both rise.*train_len=16'
  ):
    config_lib.check(support.tiny(train__lengths=lengths))


def test_an_unknown_schedule_and_share_are_refused():
  with pytest.raises(ValueError, match=r"schedule='wave' must be one of"):
    config_lib.check(support.tiny(train__schedule='wave'))
  with pytest.raises(ValueError, match=r'final_share=1.5 must be in'):
    config_lib.check(support.tiny(train__final_share=1.5))
