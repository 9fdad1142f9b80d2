"""Tokenizers: every text comes back, and bytes are counted right."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rope_jax import data

# Python strings that UTF-8 can carry: all but lone surrogates.
TEXT = st.text(st.characters(exclude_categories=['Cs']))


@pytest.fixture(scope='module')
def train():
  return data.load_documents('pydoc', 'train')


@pytest.fixture(scope='module')
def bpe(train):
  return data.BPETokenizer.train(train, vocab=600)


@pytest.fixture(scope='module', params=['bytes', 'bpe'])
def tokenizer(request, bpe):
  return data.ByteTokenizer() if request.param == 'bytes' else bpe


@hypothesis.given(text=TEXT)
@hypothesis.settings(deadline=None, max_examples=200)
@hypothesis.example('')
@hypothesis.example('<pad><bos><eos> \r\n\t\0 é 漢字 🙂  x')
def test_round_trip_and_byte_lengths(tokenizer, text):
  ids = tokenizer.encode(text)
  assert ids.dtype == np.int32
  assert ids.ndim == 1
  assert tokenizer.decode(ids) == text
  assert not np.isin(ids, [tokenizer.pad, tokenizer.bos, tokenizer.eos]).any()
  lengths = tokenizer.byte_lengths(ids)
  assert lengths.dtype == np.int32
  assert lengths.sum() == len(text.encode())
  # Each length is that token's own, not only right in sum.
  if text.isascii():
    assert [len(tokenizer.decode([i])) for i in ids] == lengths.tolist()


def test_specials_stand_for_no_text(tokenizer):
  specials = [tokenizer.pad, tokenizer.bos, tokenizer.eos]
  assert specials == list(range(tokenizer.vocab - 3, tokenizer.vocab))
  a = tokenizer.encode('a')
  assert tokenizer.decode([*specials, *a, *specials]) == 'a'
  assert tokenizer.byte_lengths([specials, specials]).tolist() == [[0] * 3] * 2
  for bad in (-1, tokenizer.vocab):
    with pytest.raises(ValueError, match='this tokenizer has 0 to'):
      tokenizer.decode([bad])
    with pytest.raises(ValueError, match='this tokenizer has 0 to'):
      tokenizer.byte_lengths([bad])


def test_half_a_character_decodes_to_a_replacement():
  assert data.ByteTokenizer().decode([0xC3]) == '\ufffd'
  assert data.ByteTokenizer().vocab == 259


def test_bpe_compresses_repeats_itself_and_survives_a_file(
  bpe, train, tmp_path
):
  text = train[0].text
  assert bpe.vocab == 600
  assert len(bpe.encode(text)) < 0.6 * len(text)
  again = data.BPETokenizer.train(train, vocab=600)
  assert again.fingerprint() == bpe.fingerprint()
  bpe.save(tmp_path / 'run' / 'tokenizer.json')
  loaded = data.BPETokenizer.load(tmp_path / 'run' / 'tokenizer.json')
  assert loaded.fingerprint() == bpe.fingerprint()
  np.testing.assert_array_equal(loaded.encode(text), bpe.encode(text))
  other = data.BPETokenizer.train(train, vocab=300)
  assert other.fingerprint() != bpe.fingerprint()


def test_make_tokenizer_keeps_a_bpe_in_the_workdir(train, tmp_path):
  made = data.make_tokenizer('bpe:300', train=train, workdir=tmp_path)
  kept = data.make_tokenizer('bpe:300', workdir=tmp_path)
  assert kept.fingerprint() == made.fingerprint()
  assert [f.name for f in tmp_path.iterdir()] == ['tokenizer.json']
  with pytest.raises(ValueError, match='has 300 ids: it belongs to another'):
    data.make_tokenizer('bpe:270', train=train, workdir=tmp_path)
  assert isinstance(data.make_tokenizer('bytes'), data.ByteTokenizer)


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('byte', r"'byte' is not one we know: use 'bytes' or 'bpe:VOCAB'"),
    ('bpe', 'is not one we know'),
    ('bpe:x', 'is not one we know'),
    ('bpe:8192', 'train is missing'),
  ],
)
def test_make_tokenizer_refuses(spec, message):
  with pytest.raises(ValueError, match=message):
    data.make_tokenizer(spec)


def test_bpe_refuses_fewer_ids_than_bytes(train):
  with pytest.raises(ValueError, match=r'vocab=258: .* at least 259'):
    data.BPETokenizer.train(train, vocab=258)
