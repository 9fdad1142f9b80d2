"""Folders of models written and read without transformers: an exact round
trip, shards, meshes, memory, tokenizers."""

import dataclasses
import json
import os
import struct
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pretrained_support as support
import pytest

from rope_jax import interop, positions
from rope_jax import mesh as meshes
from rope_jax import model as model_lib
from rope_jax.interop import hf_shape

ROPE = positions.build({'name': 'rope', 'theta': 1e4})


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A Llama, whose weights are numbers of our own drawing."""
  return support.written(tmp_path_factory.mktemp('llama') / 'model')


@pytest.fixture(scope='module')
def loaded(folder):
  return interop.load_pretrained(folder)


def _leaves(model):
  weights = model_lib.split(model)[1]
  return {
    jax.tree_util.keystr(path): leaf
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights)
  }


def _assert_same(one, other):
  one, other = _leaves(one), _leaves(other)
  assert one.keys() == other.keys()
  for name, leaf in one.items():
    assert leaf.dtype == other[name].dtype
    np.testing.assert_array_equal(leaf, other[name], err_msg=name)


def test_every_number_is_where_it_belongs(folder, loaded):
  """By loops over heads and rows, from the tensors as they were drawn."""
  weights = model_lib.split(loaded.model)[1]
  tensors = support.tensors(folder)
  blocks = weights['blocks']
  for layer in range(2):
    name = f'model.layers.{layer}.'
    q, k, v, o = (tensors[f'{name}self_attn.{x}_proj.weight'] for x in 'qkvo')
    got = np.asarray(blocks['wqkv'][layer])
    for head in range(4):  # Two query heads for each key head.
      rows = q[8 * head : 8 * head + 8]
      np.testing.assert_array_equal(got[:, head // 2, head % 2], rows.T)
      np.testing.assert_array_equal(
        blocks['wo'][layer, head], o[:, 8 * head : 8 * head + 8].T
      )
    for head in range(2):
      rows = slice(8 * head, 8 * head + 8)
      np.testing.assert_array_equal(got[:, head, 2], k[rows].T)
      np.testing.assert_array_equal(got[:, head, 3], v[rows].T)
    for slot, half in enumerate(('gate', 'up')):
      np.testing.assert_array_equal(
        blocks['w_gate_up'][layer, :, slot],
        tensors[f'{name}mlp.{half}_proj.weight'].T,
      )
    np.testing.assert_array_equal(
      blocks['mlp_norm'][layer],
      tensors[f'{name}post_attention_layernorm.weight'],
    )
  np.testing.assert_array_equal(weights['unembed'], tensors['lm_head.weight'].T)


def test_what_comes_with_the_model(loaded):
  assert loaded.position == ROPE
  assert loaded.train_len == 64
  assert loaded.config['model_type'] == 'llama'
  assert loaded.tokenizer is not None
  ids = loaded.tokenizer.encode('naïve\tcafé 漢字').ids
  assert loaded.tokenizer.decode(ids) == 'naïve\tcafé 漢字'


@pytest.mark.parametrize('shard', [5e9, 10_000, 1])
def test_round_trip_is_exact(shard, loaded, folder, tmp_path):
  before = support.contents(folder)
  interop.save_pretrained(loaded, tmp_path / 'a', max_shard_bytes=shard)
  again = interop.load_pretrained(tmp_path / 'a')
  _assert_same(loaded.model, again.model)
  assert again.tokenizer is not None
  assert loaded.tokenizer is not None
  assert again.tokenizer.to_str() == loaded.tokenizer.to_str()
  same = ('position', 'train_len')
  assert all(getattr(again, f) == getattr(loaded, f) for f in same)
  assert support.contents(folder) == before  # Only ever read.
  interop.save_pretrained(again, tmp_path / 'b', max_shard_bytes=shard)
  assert support.contents(tmp_path / 'a') == support.contents(tmp_path / 'b')
  assert [p.name for p in tmp_path.iterdir() if p.name not in 'ab'] == []
  files = list((tmp_path / 'a').glob('*.safetensors'))
  index = tmp_path / 'a' / 'model.safetensors.index.json'
  assert index.exists() == (len(files) > 1) == (shard < 5e9)
  largest = max(file.stat().st_size for file in files)
  assert largest < max(shard, 4 * 256 * 32) + 2_000  # The embedding's, alone.


def test_the_safetensors_package_reads_what_is_written(loaded, tmp_path):
  safetensors = pytest.importorskip('safetensors.numpy')
  interop.save_pretrained(loaded, tmp_path / 'a')
  got = safetensors.load_file(tmp_path / 'a' / 'model.safetensors')
  want = support.tensors(tmp_path / 'a')
  assert got.keys() == want.keys()
  for name, tensor in want.items():
    np.testing.assert_array_equal(got[name], tensor)


@pytest.mark.parametrize('kind', ['F16', 'BF16'])
def test_narrow_files_are_exact_in_float32(kind, tmp_path):
  folder = support.written(tmp_path / 'narrow', kind=kind)
  got = model_lib.split(interop.load_pretrained(folder).model)[1]
  assert got['embed'].dtype == np.float32
  want = support.tensors(folder)['model.embed_tokens.weight']
  assert want.dtype == support.KINDS[kind]
  np.testing.assert_array_equal(got['embed'], want.astype(np.float32))


def test_bfloat16_is_half_the_size_and_near(folder, loaded, tmp_path):
  narrow = interop.load_pretrained(folder, dtype='bfloat16')
  assert narrow.model.config.dtype == 'bfloat16'
  for name, leaf in _leaves(narrow.model).items():
    wide = np.asarray(_leaves(loaded.model)[name])
    want = wide.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(np.asarray(leaf), want, err_msg=name)
  got = support.our_logits(narrow.model)
  want = support.our_logits(loaded.model)
  assert 0 < np.abs(got - want).max() < 0.1 * np.abs(want).max()
  interop.save_pretrained(narrow, tmp_path / 'a')
  again = interop.load_pretrained(tmp_path / 'a', dtype='bfloat16')
  assert again.config['torch_dtype'] == 'bfloat16'
  _assert_same(narrow.model, again.model)


def test_a_mesh_holds_shards_of_the_same_numbers(folder, loaded, tmp_path):
  mesh = meshes.make_mesh({'fsdp': 4, 'tensor': 2}, 4)
  spread = interop.load_pretrained(folder, mesh=mesh)
  _assert_same(loaded.model, spread.model)
  weights = model_lib.split(spread.model)[1]
  want = meshes.weight_shardings(mesh, weights)
  for leaf, sharding in zip(
    jax.tree.leaves(weights), jax.tree.leaves(want), strict=True
  ):
    assert leaf.sharding == sharding
  wqkv = weights['blocks']['wqkv']
  assert wqkv.addressable_shards[0].data.size * 8 == wqkv.size
  interop.save_pretrained(spread, tmp_path / 'a')
  interop.save_pretrained(loaded, tmp_path / 'b')
  assert support.contents(tmp_path / 'a') == support.contents(tmp_path / 'b')


def test_each_tensor_is_read_once_whatever_the_mesh(folder, monkeypatch):
  from rope_jax.interop import safetensor_files

  counted = []
  read = safetensor_files.SafetensorFolder.read

  def counting(self, name):
    counted.append(name)
    return read(self, name)

  monkeypatch.setattr(safetensor_files.SafetensorFolder, 'read', counting)
  mesh = meshes.make_mesh({'fsdp': 4, 'tensor': 2}, 4)
  interop.load_pretrained(folder, mesh=mesh)
  assert sorted(counted) == sorted(support.tensors(folder))


def test_buffers_and_a_tied_projection_may_be_there(folder, tmp_path):
  tensors = support.tensors(folder)
  name = 'model.layers.0.self_attn.rotary_emb.inv_freq'
  tensors[name] = np.ones(4, np.float32)
  config = {**support.CONFIG, 'tie_word_embeddings': True}
  tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  tied = support.written(tmp_path / 'tied', tensors=tensors, config=config)
  found = interop.load_pretrained(tied)
  assert 'unembed' not in model_lib.split(found.model)[1]
  other = tensors['lm_head.weight'].copy()
  other[3, 3] += 1
  tensors['lm_head.weight'] = other
  bad = support.written(tmp_path / 'bad', tensors=tensors, config=config)
  with pytest.raises(ValueError, match=r'lm_head.weight is there and differs'):
    interop.load_pretrained(bad)


def test_saving_takes_the_methods_of_the_model(loaded, tmp_path):
  linear = positions.build({'name': 'linear', 'theta': 1e4, 'factor': 2.0})
  model = model_lib.with_layout(loaded.model, (linear,))
  interop.save_pretrained(
    dataclasses.replace(loaded, model=model), tmp_path / 'a'
  )
  again = interop.load_pretrained(tmp_path / 'a')
  assert again.position == linear
  assert again.train_len == 64
  back = interop.load_pretrained(tmp_path / 'a')
  interop.save_pretrained(back, tmp_path / 'b', position=ROPE)
  assert interop.load_pretrained(tmp_path / 'b').position == ROPE


@pytest.mark.parametrize(
  'spec',
  [
    {'name': 'yarn'},
    {'name': 'longrope', 'short_factor': [1.0] * 4, 'long_factor': [2.0] * 4},
  ],
)
def test_the_length_that_a_scaling_reaches_is_said(spec, loaded, tmp_path):
  scaled = positions.build(
    {'theta': 1e4, 'factor': 4.0, 'train_len': 64, **spec}
  )
  interop.save_pretrained(loaded, tmp_path / 'a', position=scaled)
  again = interop.load_pretrained(tmp_path / 'a')
  assert again.position == scaled
  assert again.config['max_position_embeddings'] == 256
  assert again.train_len == 64


def test_nothing_is_left_when_saving_fails(loaded, tmp_path, monkeypatch):
  from rope_jax.interop import save

  def full(*args):
    raise OSError('No space left on device')

  monkeypatch.setattr(save, 'write_folder', full)
  with pytest.raises(OSError, match='No space'):
    interop.save_pretrained(loaded, tmp_path / 'a')
  assert list(tmp_path.iterdir()) == []


_PROGRAM = """
import sys
import jax
from rope_jax import interop
from rope_jax.bench.memory import peak
from rope_jax.model import split
jax.devices()
before = peak()
found = interop.load_pretrained(sys.argv[1])
jax.block_until_ready(split(found.model)[1])
loaded = peak()
interop.save_pretrained(found, sys.argv[2])
print(before, loaded, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='no /proc')
def test_there_are_never_two_copies_of_the_model(tmp_path):
  """Peak memory of loading and saving 100 MB, beside what imports take."""
  config = {
    **support.CONFIG,
    'vocab_size': 8192,
    'hidden_size': 512,
    'intermediate_size': 1408,
    'num_hidden_layers': 6,
    'num_key_value_heads': 4,
  }
  folder = support.written(tmp_path / 'large', config=config)
  size = (folder / 'model.safetensors').stat().st_size
  assert size > 1e8
  run = subprocess.run(
    [sys.executable, '-c', _PROGRAM, folder, tmp_path / 'again'],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''},
  )
  before, loaded, saved = map(int, run.stdout.split())
  assert loaded - before < 1.4 * size
  assert saved - before < 1.4 * size


def test_the_headers_are_as_the_format_says(loaded, tmp_path):
  """Read here by struct and json alone."""
  interop.save_pretrained(loaded, tmp_path / 'a')
  data = (tmp_path / 'a' / 'model.safetensors').read_bytes()
  (length,) = struct.unpack('<Q', data[:8])
  header = json.loads(data[8 : 8 + length])
  assert header.pop('__metadata__') == {'format': 'pt'}
  assert length % 8 == 0
  ends = sorted(entry['data_offsets'] for entry in header.values())
  assert [b for _, b in ends[:-1]] == [a for a, _ in ends[1:]]
  assert ends[-1][1] == len(data) - 8 - length


# Keys of published configs beside sizes, and what must come of them.
PUBLISHED = {
  'qwen2.5': (
    {
      'model_type': 'qwen2',
      'max_window_layers': 24,
      'rope_theta': 1e6,
      'sliding_window': 64,
      'tie_word_embeddings': True,
      'use_mrope': False,
      'use_sliding_window': False,
    },
    {'qkv_bias': True, 'out_bias': False, 'tie_embeddings': True},
    64,
  ),
  'smollm2': (
    {
      'model_type': 'llama',
      'is_llama_config': True,
      'pretraining_tp': 1,
      'rope_interleaved': False,
      'tie_word_embeddings': True,
      'transformers.js_config': {'kv_cache_dtype': {'q4f16': 'float16'}},
    },
    {'mlp': 'swiglu', 'norm_eps': 1e-6, 'scale_embed': False},
    64,
  ),
  'gemma': (
    {'model_type': 'gemma', 'hidden_act': 'gelu', 'hidden_activation': None},
    {'mlp': 'geglu', 'head_dim': 256, 'norm_offset': 1, 'scale_embed': True},
    64,
  ),
  'gemma3': (
    {
      'model_type': 'gemma3_text',
      'attn_logit_softcapping': None,
      'cache_implementation': 'hybrid',
      'head_dim': 16,
      'query_pre_attn_scalar': 64,
      'rope_local_base_freq': 10000,
      'sliding_window': 8,
      'use_bidirectional_attention': False,
    },
    {'score_scale': 0.125, 'logit_cap': 0, 'qk_norm': True, 'head_dim': 16},
    64,
  ),
  'phi4_mini': (
    {
      'model_type': 'phi3',
      'auto_map': {'AutoConfig': 'configuration_phi3.Phi3Config'},
      'full_attn_mod': 1,
      'interpolate_factor': 1,
      'lm_head_bias': False,
      'original_max_position_embeddings': 16,
      'partial_rotary_factor': 0.75,
      'rope_scaling': {
        'type': 'longrope',
        'long_factor': [1.0, 2.0, 3.0],
        'short_factor': [1.0, 1.0, 1.0],
      },
      'sliding_window': 128,
    },
    {'norm_eps': 1e-5, 'mlp': 'swiglu', 'tie_embeddings': False},
    16,
  ),
  'pythia': (
    {
      'model_type': 'gpt_neox',
      'num_key_value_heads': None,
      'rotary_emb_base': 10000,
      'rotary_pct': 0.25,
      'use_parallel_residual': True,
    },
    {'mlp': 'gelu', 'parallel': True, 'norm': 'layer', 'kv_heads': 4},
    64,
  ),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_configs_as_they_are_published(name):
  config, want, train_len = PUBLISHED[name]
  config = {**support.SIZES, 'torch_dtype': 'bfloat16', **config}
  shape = hf_shape.read_shape(config, name)
  assert {field: getattr(shape, field) for field in want} == want
  layout = hf_shape.read_layout(config, shape, name)
  assert hf_shape.train_len_of(config, layout, name) == train_len
