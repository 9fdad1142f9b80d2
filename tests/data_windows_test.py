"""Evaluation documents: which ones, how much of them, and what is refused."""

import collections

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pretrained_support as support
import pytest

from rope_jax import data
from rope_jax.data import windows
from rope_jax.data.pretrained_tokenizer import PretrainedTokenizer

BYTES = data.ByteTokenizer()


def texts(*sizes_and_groups):
  return data.documents_from_texts(
    [
      data.Document(f'd{i}', 'x' * size, group)
      for i, (size, group) in enumerate(sizes_and_groups)
    ],
    name='corpus',
  )


def test_the_beginning_of_whole_documents():
  documents = data.load_documents('pydoc', 'test')
  chosen = data.evaluation_documents(documents, BYTES, length=4000, count=4)
  assert [c.id for c in chosen] == [d.id for d in documents]
  for one, document in zip(chosen, documents, strict=True):
    assert one.tokens.dtype == one.bytes_per_token.dtype == np.int32
    assert one.tokens.shape == one.bytes_per_token.shape == (4000,)
    assert one.group == document.group
    np.testing.assert_array_equal(
      one.tokens, BYTES.encode(document.text)[:4000]
    )
    assert one.bytes_per_token.sum() == 4000


def test_a_bpe_counts_tokens_not_bytes():
  documents = data.load_documents('pydoc', 'validation')
  bpe = data.BPETokenizer.train(documents, vocab=400)
  lengths = sorted(len(bpe.encode(d.text)) for d in documents)
  for count in (1, 4):
    length = lengths[-count]
    chosen = data.evaluation_documents(
      documents, bpe, length=length, count=count
    )
    assert len(chosen) == count
    for one in chosen:
      assert one.bytes_per_token.sum() == len(bpe.decode(one.tokens).encode())
    with pytest.raises(ValueError, match=f'length={length + 1}: only'):
      data.evaluation_documents(documents, bpe, length=length + 1, count=count)


class Begins(data.ByteTokenizer):
  prefix = (257,)


def test_a_document_begins_with_the_prefix_which_is_no_byte():
  documents = texts((8, 'a'), (9, 'b'))
  (one,) = data.evaluation_documents(documents, Begins(), length=10, count=1)
  assert one.id == 'd1'
  assert one.tokens.dtype == np.int32
  assert one.tokens.tolist() == [257, *b'xxxxxxxxx']
  assert one.bytes_per_token.tolist() == [0] + [1] * 9
  with pytest.raises(windows.TooShort, match='longest has 10'):
    data.evaluation_documents(documents, Begins(), length=11, count=1)


@pytest.mark.parametrize(
  ('names', 'after'), [(('<s>',), ''), (('[MASK]', '<sop>'), ' </s>')]
)
def test_a_pretrained_tokenizer_brings_what_it_puts_before_a_text(names, after):
  from tokenizers import processors

  theirs = support.tokenizer()
  theirs.add_special_tokens([*names, '</s>'])
  theirs.post_processor = processors.TemplateProcessing(
    single=' '.join([*names, '$A']) + after,
    special_tokens=[(n, theirs.token_to_id(n)) for n in (*names, '</s>')],
  )
  ours = PretrainedTokenizer(theirs, eos=theirs.token_to_id('</s>'))
  assert ours.bos == theirs.token_to_id(names[-1])
  text = 'né and some more'
  want = theirs.encode(text, add_special_tokens=False).ids
  want = [theirs.token_to_id(name) for name in names] + want
  documents = data.documents_from_texts([text])
  (one,) = data.evaluation_documents(documents, ours, length=12, count=1)
  assert one.tokens.tolist() == theirs.encode(text).ids[:12] == want[:12]
  text_of = ours.decode(one.tokens)
  assert text.startswith(text_of)
  assert one.bytes_per_token.tolist() == (
    [0] * len(names) + [1] * len(text_of.encode())
  )
  packed = data.tokenize(documents, ours)
  assert packed.document(0).tolist() == [*want, ours.eos]


def ids(documents, count, length=10, seed=None):
  chosen = data.evaluation_documents(
    documents, BYTES, length=length, count=count, seed=seed
  )
  return [c.id for c in chosen]


def test_groups_take_turns_and_are_evenly_spaced():
  documents = texts(*[(20, g) for g in 'aaabbcdd'])  # d0 to d7
  assert ids(documents, 1) == ['d0']
  assert ids(documents, 2) == ['d0', 'd5']
  assert ids(documents, 4) == ['d0', 'd3', 'd5', 'd6']
  assert ids(documents, 5) == ['d0', 'd1', 'd3', 'd5', 'd6']
  assert ids(documents, 8) == [f'd{i}' for i in range(8)]


def test_short_documents_do_not_count_for_their_group():
  documents = texts((5, 'a'), (20, 'a'), (5, 'b'), (20, 'c'))
  assert ids(documents, 2) == ['d1', 'd3']


@hypothesis.given(
  groups=st.lists(st.sampled_from('abcde'), min_size=1, max_size=20),
  data_=st.data(),
  seed=st.none() | st.integers(0, 1000),
)
@hypothesis.settings(deadline=None, max_examples=80)
def test_no_group_is_ahead_by_two_unless_the_other_is_spent(
  groups, data_, seed
):
  count = data_.draw(st.integers(1, len(groups)))
  documents = texts(*[(20, g) for g in groups])
  chosen = ids(documents, count, seed=seed)
  assert chosen == ids(documents, count, seed=seed)
  assert len(set(chosen)) == count
  had = collections.Counter(groups)
  got = collections.Counter(groups[int(c[1:])] for c in chosen)
  for group, total in had.items():
    if got[group] < total:
      assert max(got.values()) <= got[group] + 1


def test_seeds_choose_differently():
  documents = texts(*[(20, str(i)) for i in range(30)])
  assert len({tuple(ids(documents, 5, seed=s)) for s in (None, 0, 1, 2)}) == 4


def test_refusal_names_everything():
  documents = texts((50, 'a'), (30, 'b'), (20, 'c'))
  with pytest.raises(windows.TooShort, match='length=31') as caught:
    ids(documents, 2, length=31)
  assert str(caught.value) == (
    'length=31: only 1 of the 3 documents of corpus have that many tokens and '
    'count=2 are wanted; the longest has 50. Use count <= 1 at this length, '
    'or length <= 30 for 2 documents, or a data set of longer documents.'
  )
  numbers = caught.value
  assert (numbers.fit, numbers.total, numbers.reach) == (1, 3, 30)
  assert numbers.longest == (50, 'd0')
  with pytest.raises(
    ValueError, match=r'only 0 of the 3(.|\n)*has 50\. Use a '
  ):
    ids(documents, 4, length=51)
  with pytest.raises(ValueError, match=r'only 0 of the 0 .* longest has 0'):
    ids(texts(), 1)


@pytest.mark.parametrize(('length', 'count'), [(1, 1), (10, 0)])
def test_bounds(length, count):
  with pytest.raises(ValueError, match=f'length={length}, count={count}: give'):
    ids(texts((20, 'a')), count, length)
