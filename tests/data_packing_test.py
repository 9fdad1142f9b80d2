"""Packing and sampling against a brute-force reading of what they promise."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rope_jax import data
from rope_jax.data import documents, packing

KEYS = {'tokens', 'targets', 'position', 'segment', 'weight'}


def numbered(lengths):
  """A corpus whose ids are their own places, so that a row tells its source."""
  offsets = np.cumsum([0, *lengths], dtype=np.int64)
  return data.Corpus(np.arange(offsets[-1], dtype=np.uint32), offsets)


def take_epoch(sampler, epoch):
  """The rows of one epoch, which batches need not divide."""
  first = epoch * sampler.rows_per_epoch
  last = first + sampler.rows_per_epoch
  batch = sampler.batch_size
  steps = range(first // batch, -(-last // batch))
  batches = [sampler.batch(step) for step in steps]
  joined = {k: np.concatenate([b[k] for b in batches]) for k in KEYS}
  skip = first - steps.start * batch
  return {k: v[skip : skip + last - first] for k, v in joined.items()}


def check_row(row, offsets):
  """Reads a row token by token and works out what every array must hold."""
  starts, lasts = set(offsets[:-1]), {end - 1 for end in offsets[1:]}
  segment, position = 0, 0
  for i, token in enumerate(row['tokens']):
    if i == 0 or token in starts:
      segment, position = segment + 1, 0
      if i:
        assert row['tokens'][i - 1] in lasts
    else:
      position += 1
      assert token == row['tokens'][i - 1] + 1
    assert row['segment'][i] == segment
    assert row['position'][i] == position
    if token in lasts:
      assert row['weight'][i] == 0
      assert row['targets'][i] == 0
    else:
      assert row['weight'][i] == 1
      assert row['targets'][i] == token + 1


@hypothesis.given(
  lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
  train_len=st.integers(1, 40),
  batch=st.integers(1, 5),
  seed=st.integers(0, 2**40),
  epoch=st.integers(0, 3),
)
@hypothesis.settings(deadline=None, max_examples=150)
def test_rows_keep_every_promise(lengths, train_len, batch, seed, epoch):
  hypothesis.assume(max(lengths) >= train_len)
  corpus = numbered(lengths)
  sampler = data.Sampler(corpus, train_len=train_len, batch=batch, seed=seed)
  rows = take_epoch(sampler, epoch)
  for i in range(sampler.rows_per_epoch):
    check_row({k: v[i] for k, v in rows.items()}, corpus.offsets)
  seen = rows['tokens'].ravel()
  assert len(set(seen)) == len(seen)
  assert len(seen) > sum(lengths) - train_len
  targets = rows['targets'][rows['weight'] > 0]
  assert len(set(targets)) == len(targets)


def test_shapes_and_dtypes():
  sampler = data.Sampler(numbered([50, 30]), train_len=16, batch=4, seed=0)
  batch = sampler.batch(0)
  assert {k: (v.shape, str(v.dtype)) for k, v in batch.items()} == {
    'tokens': ((4, 16), 'int32'),
    'targets': ((4, 16), 'int32'),
    'position': ((4, 16), 'int32'),
    'segment': ((4, 16), 'int32'),
    'weight': ((4, 16), 'float32'),
  }


def equal(a, b):
  assert a.keys() == b.keys() == KEYS
  for key in KEYS:
    np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.fixture(scope='module')
def corpus():
  return numbered([31, 7, 64, 12, 40, 3, 25, 18])


def make(corpus, seed=7, batch=12):
  return data.Sampler(corpus, train_len=8, batch=batch, seed=seed)


def test_a_batch_depends_on_its_step_alone(corpus):
  steps = list(range(12))
  one = make(corpus)
  forward = [one.batch(step) for step in steps]
  backward = {step: make(corpus).batch(step) for step in reversed(steps)}
  jumping = make(corpus)
  for step in [11, 0, 7, 0, 3, 11, *steps]:
    equal(jumping.batch(step), forward[step])
    equal(backward[step], forward[step])


@pytest.mark.parametrize('processes', [1, 2, 3, 4, 12])
def test_processes_share_the_global_batch_in_order(corpus, processes):
  sampler = make(corpus)
  for step in range(6):  # Several straddle two epochs.
    parts = [
      make(corpus).batch(step, process, processes)
      for process in range(processes)
    ]
    joined = {k: np.concatenate([p[k] for p in parts]) for k in KEYS}
    equal(joined, sampler.batch(step))


def test_seeds_and_epochs_differ(corpus):
  rows = make(corpus).rows_per_epoch
  per_epoch = [
    make(corpus, seed, rows).batch(epoch)['tokens'].tobytes()
    for seed in (7, 8)
    for epoch in range(3)
  ]
  assert len(set(per_epoch)) == 6


def test_the_stream_is_pinned():
  """A run that is resumed after an upgrade must go on with the same rows.

  If you mean to change the order of training data, paste the new numbers and
  say so in the changelog: old runs will not resume on the data they left.
  """
  sampler = data.Sampler(numbered([9, 6, 11]), train_len=5, batch=5, seed=1)
  np.testing.assert_array_equal(
    sampler.batch(0)['tokens'],
    [
      [5, 6, 7, 8, 9],
      [20, 21, 22, 23, 24],
      [10, 11, 12, 13, 14],
      [25, 0, 1, 2, 3],
      [15, 16, 17, 18, 19],
    ],
  )


def test_a_step_far_away_is_no_slower_and_outgrows_no_integer(corpus):
  batch = make(corpus).batch(2**40)
  check_row({k: v[0] for k, v in batch.items()}, corpus.offsets)


@pytest.mark.parametrize(
  ('field', 'message'),
  [
    (
      {'train_len': 65},
      r'train_len=65: no document of corpus is that long\. Its longest has 64 '
      r'tokens, its 8 documents 200 together;(.|\n)*train_len <= 64',
    ),
    ({'train_len': 0}, 'train_len=0: give at least 1'),
    ({'batch': 0}, 'batch=0: give at least 1'),
    ({'seed': -1}, 'seed=-1: give'),
  ],
)
def test_the_sampler_refuses(corpus, field, message):
  arguments = {'train_len': 8, 'batch': 4, 'seed': 0, **field}
  with pytest.raises(ValueError, match=message):
    data.Sampler(corpus, **arguments)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ((0, 0, 5), 'batch=12 does not divide among 5 processes'),
    ((0, 2, 2), 'step=0, process=2: give'),
    ((-1, 0, 1), 'step=-1, process=0: give'),
  ],
)
def test_a_batch_refuses(corpus, arguments, message):
  with pytest.raises(ValueError, match=message):
    make(corpus).batch(*arguments)


def test_an_empty_corpus_is_refused():
  with pytest.raises(ValueError, match='Its longest has 0 tokens'):
    data.Sampler(numbered([]), train_len=1, batch=1, seed=0)


def test_tokenize_keeps_documents_apart_and_ends_them():
  tokenizer = data.ByteTokenizer()
  texts = ['héllo', '', 'x' * 30]
  corpus = data.tokenize(data.documents_from_texts(texts), tokenizer)
  assert len(corpus) == 3
  for i, text in enumerate(texts):
    ids = corpus.document(i)
    assert ids.dtype == np.int32
    assert ids[-1] == tokenizer.eos
    assert tokenizer.decode(ids) == text
  bare = data.tokenize(data.documents_from_texts(texts), tokenizer, eos=False)
  assert len(bare.tokens) == len(corpus.tokens) - 3


def rows_of(corpus):
  return data.Sampler(corpus, train_len=8, batch=4, seed=0).batch(3)


@pytest.fixture
def on_disk(monkeypatch):
  """Makes every corpus count as big."""
  monkeypatch.setattr(packing, 'BYTES_IN_MEMORY', -1)
  monkeypatch.setattr(packing, 'SLOW_BYTES_IN_MEMORY', -1)


def test_a_big_corpus_is_written_once_and_mapped(tmp_path, on_disk):
  texts = data.load_documents('pydoc', 'test')
  calls = []

  class Counting(data.ByteTokenizer):
    def encode(self, text):
      calls.append(text)
      return super().encode(text)

  first = data.tokenize(texts, Counting(), cache_dir=tmp_path)
  again = data.tokenize(texts, Counting(), cache_dir=tmp_path)
  assert len(calls) == len(texts)
  assert isinstance(again.tokens, np.memmap)
  assert not again.tokens.flags.writeable
  np.testing.assert_array_equal(first.tokens, again.tokens)
  equal(rows_of(first), rows_of(again))
  # Another data set, another tokenizer, another ending: another file.
  data.tokenize(texts[1:], Counting(), cache_dir=tmp_path)
  data.tokenize(texts, Counting(), eos=False, cache_dir=tmp_path)
  bpe = data.BPETokenizer.train(texts, vocab=300)
  data.tokenize(texts, bpe, cache_dir=tmp_path)
  visible = [f for f in tmp_path.iterdir() if not f.name.startswith('.')]
  assert len(visible) == 4


def test_a_document_begins_with_the_prefix(tmp_path, on_disk):
  class Begins(data.ByteTokenizer):
    prefix = (257, 256)

  texts = data.documents_from_texts(['ab', ''])
  for kind in (data.ByteTokenizer, Begins):  # Each into a file of its own.
    first, found = kind.prefix, data.tokenize(texts, kind(), cache_dir=tmp_path)
    assert found.tokens.tolist() == [*first, *b'ab', 258, *first, 258]


def test_on_disk_and_in_memory_agree(tmp_path, monkeypatch):
  texts = data.load_documents('pydoc', 'test')
  memory = data.tokenize(texts, data.ByteTokenizer())
  monkeypatch.setattr(packing, 'BYTES_IN_MEMORY', -1)
  disk = data.tokenize(
    texts, data.ByteTokenizer(), cache_dir=tmp_path, progress=True
  )
  assert not isinstance(memory.tokens, np.memmap)
  equal(rows_of(memory), rows_of(disk))
  np.testing.assert_array_equal(memory.offsets, disk.offsets)


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path, on_disk):
  def read(index):
    if index == 1:
      raise OSError('the disk went away')
    return documents.Document(str(index), 'text')

  broken = data.Documents('broken', 2, read, fingerprint='same')
  with pytest.raises(OSError, match='went away'):
    data.tokenize(broken, data.ByteTokenizer(), cache_dir=tmp_path)
  assert [f for f in tmp_path.iterdir() if f.is_dir()] == []
  whole = data.documents_from_texts(['text', 'more'])
  whole.fingerprint = 'same'
  corpus = data.tokenize(whole, data.ByteTokenizer(), cache_dir=tmp_path)
  assert len(corpus) == 2


def test_a_damaged_file_is_refused(tmp_path, on_disk):
  texts = data.load_documents('pydoc', 'test')
  data.tokenize(texts, data.ByteTokenizer(), cache_dir=tmp_path)
  (file,) = tmp_path.glob('*/tokens.bin')
  file.write_bytes(file.read_bytes()[:100])
  with pytest.raises(ValueError, match=r'damaged; delete .* and start again'):
    data.tokenize(texts, data.ByteTokenizer(), cache_dir=tmp_path)


def test_a_corpus_is_a_value_that_can_be_replaced():
  corpus = dataclasses.replace(numbered([4]), name='mine')
  with pytest.raises(ValueError, match='no document of mine'):
    data.Sampler(corpus, train_len=5, batch=1, seed=0)
