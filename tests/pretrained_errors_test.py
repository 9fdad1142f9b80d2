"""What is no model that is read here, or not whole: errors that say so."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pretrained_support as support
import pytest

from rope_jax import interop, positions
from rope_jax import model as model_lib
from rope_jax.interop import pretrained
from rope_jax.train import start as starts

ROPE = positions.build({'name': 'rope', 'theta': 1e4})
GEMMA = {'hidden_act': 'gelu_pytorch_tanh', 'head_dim': 8}


@pytest.fixture(scope='module')
def model_folder(tmp_path_factory):
  return support.written(tmp_path_factory.mktemp('whole') / 'model')


@pytest.fixture
def folder(model_folder, tmp_path):
  """A copy to spoil."""
  return shutil.copytree(model_folder, tmp_path / 'model')


def _refused(folder, *words, **others):
  """Loading fails, with these words, and changes nothing."""
  before = support.contents(folder) if folder.is_dir() else None
  with pytest.raises(ValueError) as caught:  # noqa: PT011
    interop.load_pretrained(folder, **others)
  for word in words:
    assert word in str(caught.value), (word, str(caught.value))
  if before is not None:
    assert support.contents(folder) == before


def _config(folder, **changes):
  path = folder / 'config.json'
  config = json.loads(path.read_text(encoding='utf-8'))
  config |= changes
  config = {key: value for key, value in config.items() if value != 'gone'}
  path.write_text(json.dumps(config), encoding='utf-8')


def test_what_is_no_folder(tmp_path):
  _refused(tmp_path / 'absent', 'does not exist', 'nothing is downloaded')
  _refused(tmp_path, 'config.json', 'holds nothing')
  (tmp_path / 'model.gguf').write_bytes(b'GGUF')
  _refused(tmp_path, 'Give the file itself', 'model.gguf')
  file = tmp_path / 'model.safetensors'
  file.write_bytes(b'')
  _refused(file, 'neither a folder nor a .gguf file')


@pytest.mark.parametrize(
  'name', ['pytorch_model.bin', 'model.pt', 'last.ckpt', 'weights.pth']
)
def test_a_pickle_is_never_loaded(name, folder, monkeypatch):
  import pickle

  def loads(*args):
    raise AssertionError('unpickled')

  monkeypatch.setattr(pickle, 'load', loads)
  monkeypatch.setattr(pickle, 'loads', loads)
  (folder / 'model.safetensors').unlink()
  (folder / name).write_bytes(b'\x80\x04.')
  words = (name, 'runs whatever code is in it', 'save_pretrained')
  _refused(folder, *words)
  _refused(folder / name, *words)


def test_a_folder_without_weights(folder):
  (folder / 'model.safetensors').unlink()
  _refused(folder, 'neither model.safetensors nor', 'it holds config.json')


@pytest.mark.parametrize(
  ('text', 'words'),
  [
    ('{', 'is not JSON'),
    ('[]', 'holds a list'),
    ('{}', 'model_type=None'),
    ('{"model_type": "bert"}', "model_type='bert' is not an architecture"),
    ('{"model_type": "gemma3", "text_config": {}}', 'has a text_config'),
  ],
)
def test_what_is_no_config(text, words, folder):
  (folder / 'config.json').write_text(text, encoding='utf-8')
  _refused(folder, words, 'config.json')


@pytest.mark.parametrize(
  ('changes', 'words'),
  [
    ({'hidden_act': 'relu'}, "hidden_act='relu'"),
    ({'attention_multiplier': 0.5}, 'attention_multiplier=0.5 is not read'),
    ({'attention_bias': 1}, 'attention_bias=1 must be true or false'),
    ({'layer_types': ['full_attention'] * 2}, 'layer_types'),
    ({'quantization_config': {'bits': 4}}, 'quantization_config'),
    ({'hidden_size': 'gone'}, 'hidden_size=None must be a whole number'),
    ({'hidden_size': '32'}, "hidden_size='32'"),
    ({'rms_norm_eps': 0}, 'rms_norm_eps=0 must be a number > 0'),
    ({'num_key_value_heads': 3}, 'kv_heads=3 must divide'),
    ({'max_position_embeddings': 'gone'}, 'max_position_embeddings=None'),
    ({'rope_scaling': {'type': 'magic'}}, "rope_type='magic'"),
    ({'rope_scaling': {'type': 'yarn'}}, 'needs factor'),
    ({'alibi': True}, 'alibi=True'),
    ({'sliding_window': 8}, 'sliding_window=8 is not read'),
    ({'model_type': 'mistral', 'mlp_bias': True}, 'mlp_bias=True'),
    ({'model_type': 'qwen2', 'layer_types': ['full_attention']}, '1 entries'),
    (
      {**GEMMA, 'model_type': 'gemma3_text', 'attn_logit_softcapping': 50.0},
      'attn_logit_softcapping=50.0 is not read',
    ),
    (
      {**GEMMA, 'model_type': 'gemma2', 'use_bidirectional_attention': True},
      'use_bidirectional_attention=True',
    ),
    (
      {'model_type': 'phi3', 'rope_scaling': {'type': 'yarn', 'factor': 4.0}},
      'default, longrope, su alone',
    ),
    ({'model_type': 'phi3', 'full_attn_mod': 2}, 'full_attn_mod=2'),
  ],
)
def test_a_key_that_changes_what_is_computed(changes, words, folder):
  _config(folder, **changes)
  _refused(folder, words, 'config.json')


@pytest.mark.parametrize(
  'changes',
  [
    {'use_cache': True, 'attention_dropout': 0.1, 'pretraining_tp': 2},
    {'attention_bias': False, 'mlp_bias': None, 'use_mrope': False},
    {'rope_scaling': None, 'rope_interleaved': False},
    {'hidden_act': 'swish', 'torch_dtype': 'bfloat16'},
  ],
)
def test_a_key_that_does_not(changes, folder):
  _config(folder, **changes)
  assert interop.load_pretrained(folder).position == ROPE


def test_all_tensors_that_are_wrong_are_in_one_message(folder):
  tensors = support.tensors(folder)
  name = 'model.layers.{}.self_attn.{}.weight'
  del tensors[name.format(0, 'q_proj')]
  tensors[name.format(1, 'k_proj')] = np.zeros((16, 16), np.float32)
  tensors[name.format(1, 'q_norm')] = np.zeros(8, np.float32)
  tensors |= {f'extra.{i}': np.zeros(1, np.float32) for i in range(10)}
  (folder / 'model.safetensors').write_bytes(support.file_of(tensors))
  _refused(
    folder,
    '1 missing: model.layers.0.self_attn.q_proj.weight',
    'model.layers.1.self_attn.k_proj.weight is [16, 16] and must be [16, 32]',
    '11 not expected: model.layers.1.self_attn.q_norm.weight, extra.0',
    'and 3 more',
  )


def test_weights_that_are_whole_numbers(folder):
  tensors = support.tensors(folder)
  name = 'model.layers.1.mlp.up_proj.weight'
  tensors[name] = tensors[name].astype(np.int8)
  (folder / 'model.safetensors').write_bytes(support.file_of(tensors))
  _refused(folder, f'1 tensors are not of F32, F16, BF16: {name} (INT8)')


@pytest.mark.parametrize('keep', [0, 5, 8, 100, -1])
def test_a_file_that_was_cut_short(keep, folder):
  path = folder / 'model.safetensors'
  data = path.read_bytes()
  path.write_bytes(data[:keep])
  _refused(folder, str(path), 'copy it again')


def test_a_file_with_more_than_its_header_says(folder):
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes() + b'\0')
  _refused(folder, 'is not whole', 'copy it again')


@pytest.mark.parametrize(
  ('old', 'new', 'words'),
  [
    (b'{"model', b'#"model', 'its header cannot be read'),
    (b'"dtype"', b'"dtypo"', 'its header cannot be read'),
    (b'[256, 32]', b'[256, 33]', 'which cannot be'),
    (b'"data_offsets": [0, ', b'"data_offsets": [8, ', 'which cannot be'),
  ],
)
def test_a_header_that_was_changed(old, new, words, folder):
  path = folder / 'model.safetensors'
  data = path.read_bytes()
  assert old in data
  path.write_bytes(data.replace(old, new, 1))
  _refused(folder, words, 'copy it again')


def test_a_pointer_of_git_lfs(folder):
  text = b'version 1\noid sha256:00\nsize 538090408\n'
  (folder / 'model.safetensors').write_bytes(text)
  _refused(folder, 'pointer of Git LFS', 'git lfs pull')


def test_an_index_and_its_shards(folder, tmp_path):
  loaded = interop.load_pretrained(folder)
  many = tmp_path / 'many'
  interop.save_pretrained(loaded, many, max_shard_bytes=20_000)
  index = many / 'model.safetensors.index.json'
  text = index.read_text(encoding='utf-8')
  files = sorted(many.glob('*.safetensors'))
  assert len(files) > 3
  files[1].unlink()
  _refused(many, f'1 of {len(files)} files', files[1].name)
  shutil.copy(files[0], files[1])
  _refused(many, 'is in', files[0].name, files[1].name)
  index.write_text(text.replace(files[0].name, '../x'), encoding='utf-8')
  _refused(many, "'../x'", 'in the same folder')
  index.write_text('{"metadata": {}}', encoding='utf-8')
  _refused(many, 'is no index of safetensors')
  found = json.loads(text)
  lost = {name: files[0].name for name in found['weight_map']}
  index.write_text(json.dumps({'weight_map': lost}), encoding='utf-8')
  _refused(many, 'tensors that are not in their files')


def test_a_tokenizer_of_another_model(folder):
  support.tokenizer(260).save(str(folder / 'tokenizer.json'))
  _refused(folder, 'tokenizer and vocabulary disagree', '4 tokens', '256')
  (folder / 'tokenizer.json').write_text('{}', encoding='utf-8')
  _refused(folder, 'tokenizer.json is no tokenizer')
  (folder / 'tokenizer.json').unlink()
  assert interop.load_pretrained(folder).tokenizer is None


def test_a_special_token_beyond_the_vocabulary_may_be_there(folder):
  """As in Gemma 3, whose tokenizer has one for images."""
  made = support.tokenizer(256)
  made.add_special_tokens(['<image>'])
  made.save(str(folder / 'tokenizer.json'))
  assert interop.load_pretrained(folder).tokenizer.token_to_id('<image>') == 256
  made.add_tokens(['plain'])
  made.save(str(folder / 'tokenizer.json'))
  _refused(folder, "'plain' with 257")


@pytest.mark.parametrize(
  ('decoder', 'told'),
  [
    (None, 'has no decoder, so'),
    ({'type': 'WordPiece', 'prefix': '##', 'cleanup': True}, 'type WordPiece,'),
    (
      {'type': 'Sequence', 'decoders': [{'type': 'Fuse'}, {'type': 'Fuse'}]},
      'type Fuse, Fuse, so',
    ),
  ],
)
def test_a_tokenizer_whose_bytes_nobody_knows(decoder, told, folder):
  file = folder / 'tokenizer.json'
  kind = json.loads(file.read_text(encoding='utf-8'))
  kind['decoder'] = decoder
  kind['added_tokens'] = []
  file.write_text(json.dumps(kind), encoding='utf-8')
  start = starts.find(folder)
  with pytest.raises(ValueError, match=told) as caught:
    start.own_tokenizer()
  told = str(caught.value)
  assert f'{file}: the tokenizer has' in told
  assert 'byte-level BPE' in told
  assert 'sentencepiece with byte fallback' in told
  assert 'tokenizer.decoder = tokenizers.decoders.ByteLevel()' in told


def test_settings_of_the_load(folder):
  _refused(folder, "dtype='float16'", dtype='float16')
  _refused(folder, "model.attention='slow'", attention='slow')


@pytest.fixture(scope='module')
def loaded(model_folder):
  return interop.load_pretrained(model_folder)


def _not_saved(folder, loaded, *words, **others):
  with pytest.raises(ValueError) as caught:  # noqa: PT011
    interop.save_pretrained(loaded, folder, **others)
  for word in words:
    assert word in str(caught.value), (word, str(caught.value))


def test_saving_overwrites_nothing(loaded, tmp_path):
  (tmp_path / 'note').write_text('mine')
  _not_saved(tmp_path, loaded, 'is not empty')
  _not_saved(tmp_path / 'note', loaded, 'is not empty')
  assert [p.name for p in tmp_path.iterdir()] == ['note']
  empty = tmp_path / 'empty'
  empty.mkdir()
  _not_saved(empty, loaded, 'max_shard_bytes=0', max_shard_bytes=0)
  interop.save_pretrained(loaded, empty)
  assert (empty / 'config.json').exists()


@pytest.mark.parametrize(
  ('spec', 'words'),
  [
    ({'name': 'alibi'}, "model_type 'bloom'"),
    ({'name': 'rerope', 'theta': 1e4, 'window': 8}, 'no word for'),
    ({'name': 'nope'}, 'no layer rotates'),
    (
      {'name': 'rope', 'theta': 1e4, 'pairing': 'interleaved'},
      "model_type 'llama'",
    ),
    (
      {
        'name': 'yarn',
        'theta': 1e4,
        'factor': 4.0,
        'train_len': 64,
        'ramp': 'paper',
      },
      "ramp='paper'",
    ),
    (
      {
        'name': 'compose',
        'parts': [
          {'name': 'rope', 'theta': 1e4},
          {'name': 'local', 'window': 8},
        ],
      },
      'layer 0 would be read as Rope',
    ),
  ],
)
def test_methods_that_no_config_can_say(spec, words, loaded, tmp_path):
  _not_saved(tmp_path / 'a', loaded, words, position=positions.build(spec))
  assert list(tmp_path.iterdir()) == []


def test_a_layout_that_the_code_of_the_model_has_not(loaded, tmp_path):
  layout = (ROPE, positions.build({'name': 'rope', 'theta': 1e6}))
  _not_saved(
    tmp_path / 'a', loaded, 'one method for each type', position=layout
  )
  layout = (ROPE, positions.build({'name': 'nope'}))
  _not_saved(tmp_path / 'a', loaded, 'layer 1 would be', position=layout)


def test_a_model_of_another_shape_than_its_config(loaded, tmp_path):
  config = {**loaded.config, 'rms_norm_eps': 1e-3}
  other = dataclasses.replace(loaded, config=config)
  _not_saved(tmp_path / 'a', other, 'norm_eps=1e-05 (config: 0.001)')


def test_weights_of_a_method_have_no_place(loaded, tmp_path):
  layout = (positions.build({'name': 'kerple'}),)
  graph, shapes = pretrained.abstract(loaded.model.config, layout)
  weights = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
  model = model_lib.merge(graph, weights)
  other = dataclasses.replace(loaded, model=model)
  _not_saved(tmp_path / 'a', other, 'weights of its positional methods')
