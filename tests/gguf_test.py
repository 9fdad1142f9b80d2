"""GGUF files: what is read is what transformers reads, or what was written."""

import copy
import struct

import numpy as np
import pytest

gguf = pytest.importorskip('gguf')
pytest.importorskip('torch')
import gguf_files  # noqa: E402

from rope_jax import interop  # noqa: E402
from rope_jax.interop.gguf_file import open_gguf  # noqa: E402

KINDS = ('llama', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'gptneox')


@pytest.fixture(scope='module')
def models():
  return {}


@pytest.fixture
def tiny(models):
  """A model of a kind, drawn once."""

  def of(kind):
    if kind not in models:
      models[kind] = gguf_files.tiny(kind)
    return models[kind]

  return of


@pytest.mark.parametrize('kind', KINDS)
def test_config_and_tensors_are_those_of_the_model(kind, tiny, tmp_path):
  config, state = tiny(kind)
  path = gguf_files.write(tmp_path / 'm.gguf', kind, config, state)
  got, source, tokenizer = open_gguf(path)
  assert tokenizer is None
  assert 'lists no tokenizer' in source.no_tokenizer
  assert source.shapes() == {k: v.shape for k, v in state.items()}
  for name, want in state.items():
    found = source.read(name)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=3e-7, rtol=0, err_msg=name)
  want = config.to_dict()
  rope = {k: v for k, v in want.items() if k == 'rope_parameters'}
  for key, value in got.items():
    if key in want and not key.endswith('token_id'):
      assert want[key] == pytest.approx(value), key
  layout = interop.layout_from_hf(got)
  theirs = {**{k: v for k, v in got.items() if 'rope' not in k}, **rope}
  theirs['layer_types'] = want.get('layer_types')
  if kind == 'gptneox':
    theirs = {'model_type': 'gpt_neox', **gguf_files.SHAPE, **rope}
  other = interop.layout_from_hf(theirs)
  for layer in range(config.num_hidden_layers):
    assert layout[layer % len(layout)] == other[layer % len(other)]
  assert (len(set(layout)) > 1) == kind.startswith('gemma')


@pytest.mark.parametrize('kind', KINDS[:-1])
def test_packed_tensors_are_those_that_transformers_finds(kind, tiny, tmp_path):
  import transformers
  from transformers import modeling_gguf_pytorch_utils as theirs

  config, state = tiny(kind)
  tokens = [f't{i}' for i in range(gguf_files.VOCAB)]
  path = gguf_files.write(
    tmp_path / 'm.gguf',
    kind,
    config,
    state,
    tokens=tokens,
    packed=gguf_files.PACKED,
  )
  got, source, _ = open_gguf(path)
  model = transformers.AutoModelForCausalLM.from_config(config)
  found = theirs.load_gguf_checkpoint(str(path), True, model)
  want = {name: x.numpy() for name, x in found['tensors'].items()}
  assert set(source.shapes()) == set(want) == set(state)
  for name, value in want.items():
    read = source.read(name)
    assert read.dtype == ('float16' if 'down_proj' in name else 'float32')
    np.testing.assert_allclose(read, value, atol=1e-6, rtol=0, err_msg=name)
  kinds = ('q_proj.weight', 'qkv_proj.weight', 'up_proj.weight')
  packed = [name for name in want if name.endswith(kinds)]
  assert len(packed) >= 2 * gguf_files.LAYERS
  for name in packed:  # Which are not as they were, but near.
    error = np.abs(source.read(name) - state[name]).max()
    assert 1e-4 < error < 0.5, name
  for key, value in found['config'].items():
    if key not in ('_model_name_or_path', 'use_bias') and value is not None:
      assert got[key] == pytest.approx(value), key


@pytest.mark.parametrize('kind', KINDS)
def test_logits_are_those_of_transformers(kind, tiny, tmp_path, rng):
  """The whole way: metadata, names and rows as the model reads them."""
  import torch
  import transformers

  config, state = tiny(kind)
  state = {name: x * np.float32(0.2) for name, x in state.items()}
  path = gguf_files.write(tmp_path / 'm.gguf', kind, config, state)
  theirs = transformers.AutoModelForCausalLM.from_config(
    config, attn_implementation='eager'
  )
  tensors = {k: torch.tensor(x) for k, x in state.items()}
  if kind == 'gptneox':
    tensors['lm_head.weight'] = tensors.pop('embed_out.weight')
  elif config.tie_word_embeddings:
    tensors['lm_head.weight'] = tensors['model.embed_tokens.weight']
  theirs.load_state_dict(tensors)
  ids = rng.integers(0, gguf_files.VOCAB, (1, 70))  # Beyond the windows.
  with torch.no_grad():
    want = theirs.eval()(torch.tensor(ids)).logits.numpy()
  ours = interop.load_pretrained(path).model
  got = np.asarray(ours(ids.astype(np.int32)))
  np.testing.assert_allclose(got, want, atol=1e-4, rtol=0)


def test_fused_rows_are_undone_as_transformers_does_for_bloom(tiny, tmp_path):
  """It does not read GPT-NeoX from GGUF; Bloom's rows are stored alike."""
  from transformers import modeling_gguf_pytorch_utils as theirs

  config, state = tiny('gptneox')
  path = gguf_files.write(tmp_path / 'm.gguf', 'gptneox', config, state)
  _, source, _ = open_gguf(path)
  reader = gguf.GGUFReader(path)
  raw = {t.name: np.array(t.data) for t in reader.tensors}
  undo = theirs.BloomTensorProcessor(
    config={'n_head': config.num_attention_heads, 'hidden_size': 64}
  )
  for end in ('weight', 'bias'):
    there = f'blk.1.attn_qkv.{end}'
    want = undo.process(raw[there], there).weights
    name = f'gpt_neox.layers.1.attention.query_key_value.{end}'
    np.testing.assert_array_equal(source.read(name), want)
    assert not np.array_equal(want, raw[there])


def scaled(tmp_path, tiny, kind='llama', change=None, extra=None):
  config, state = tiny(kind)
  path = gguf_files.write(
    tmp_path / 'm.gguf', kind, config, state, change=change, extra=extra
  )
  return open_gguf(path)[0]


def test_linear_and_yarn_are_read(tiny, tmp_path):
  def linear(writer):
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)

  found = interop.position_from_hf(scaled(tmp_path, tiny, change=linear))
  assert (type(found).__name__, found.factor) == ('Linear', 4.0)

  def old(writer):
    writer.add_float32('llama.rope.scale_linear', 3.0)

  found = interop.position_from_hf(scaled(tmp_path, tiny, change=old))
  assert (type(found).__name__, found.factor) == ('Linear', 3.0)

  def yarn(writer):
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(64)
    writer.add_rope_scaling_yarn_beta_fast(16.0)

  config = scaled(tmp_path, tiny, change=yarn)
  found = interop.position_from_hf(config)
  assert type(found).__name__ == 'Yarn'
  assert (found.factor, found.train_len) == (4.0, 64)
  assert (found.beta_fast, found.theta) == (16.0, 5e4)


@pytest.mark.parametrize('original', [8192, 4096])
def test_divisors_of_llama3_are_read(tiny, tmp_path, original):
  """Those of Llama 3.1 by name, others as they are: both turn the same."""
  import torch
  import transformers
  from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

  config, state = tiny('llama')
  config = copy.deepcopy(config)
  config.max_position_embeddings = 131072
  section = {
    'rope_theta': 5e4,
    'rope_type': 'llama3',
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': original,
  }
  theirs = transformers.LlamaConfig(
    **gguf_files.SHAPE | {'max_position_embeddings': 131072},
    rope_parameters=section,
  )
  want, amplitude = ROPE_INIT_FUNCTIONS['llama3'](theirs, torch.device('cpu'))
  plain = 5e4 ** -(np.arange(8) / 8)
  divisors = (plain / want.double().numpy()).astype(np.float32)
  assert divisors[0] == pytest.approx(1)
  assert divisors[-1] == pytest.approx(8)
  path = gguf_files.write(
    tmp_path / 'm.gguf',
    'llama',
    config,
    state,
    extra={'rope_freqs.weight': divisors},
  )
  got, source, _ = open_gguf(path)
  kind = 'llama3' if original == 8192 else 'longrope'
  assert got['rope_scaling']['rope_type'] == kind
  assert 'rope_freqs.weight' not in source.shapes()
  position = interop.position_from_hf(got)
  for length in (100, 100_000):
    frequency, found = position.frequencies(16, length)
    np.testing.assert_allclose(frequency, want.double().numpy(), rtol=2e-6)
    assert found == amplitude == 1


def test_longrope_of_phi3_is_read(tiny, tmp_path, rng):
  short, long = (rng.uniform(1, 9, 8).astype(np.float32) for _ in range(2))

  def change(writer):
    writer.add_rope_scaling_orig_ctx_len(64)
    writer.add_rope_scaling_attn_factors(1.25)

  extra = {'rope_factors_long.weight': long, 'rope_factors_short.weight': short}
  config = scaled(tmp_path, tiny, 'phi3', change, extra)
  position = interop.position_from_hf(config)
  plain = 1e4 ** -(np.arange(8) / 8)
  for length, by in ((64, short), (65, long)):
    frequency, amplitude = position.frequencies(16, length)
    np.testing.assert_allclose(frequency, plain / by, rtol=1e-6)
    assert amplitude == 1.25
  del extra['rope_factors_long.weight']
  with pytest.raises(ValueError, match=r'needs rope_factors_long\.weight'):
    scaled(tmp_path, tiny, 'phi3', change, extra)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda w: w.add_head_count_kv(4), r'attn_k\.weight .* must have 64 rows'),
    (lambda w: w.add_key_length(12), 'must be the 12 coordinates of a head'),
    (lambda w: w.add_value_length(8), 'differs from attention.key_length=16'),
    (lambda w: w.add_expert_count(8), 'mixture of experts'),
    (lambda w: w.add_clamp_kqv(1.0), 'clamp_kqv=1.0 is not read of arch'),
    (lambda w: w.add_vocab_size(65), 'is 65 and token_embd.weight has 64 rows'),
    (
      lambda w: w.add_token_list(['a'] * 9),
      'tokens has 9 and token_embd.weight has 64 rows',
    ),
    (
      lambda w: w.add_string('llama.rope.scaling.type', 'wild'),
      "type='wild' is not one of none, linear",
    ),
    (
      lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR),
      r'rope\.scaling\.factor=None must be a number',
    ),
    (lambda w: w.add_rope_scaling_attn_factors(2.0), 'is not read alone'),
    (lambda w: w.add_uint16('split.count', 3), 'one of 3 pieces'),
  ],
)
def test_metadata_that_is_not_read_is_an_error(tiny, tmp_path, change, message):
  def both(writer):
    # Of the writer's own: a key may be there once.
    if message.startswith('differs'):
      writer.add_key_length(16)
    change(writer)

  with pytest.raises(ValueError, match=message):
    scaled(tmp_path, tiny, change=both)


def test_tensors_and_architectures_that_are_not_known(tiny, tmp_path):
  config, state = tiny('llama')
  with pytest.raises(ValueError, match=r'blk\.0\.ffn_gate_exps\.weight is not'):
    scaled(
      tmp_path,
      tiny,
      extra={'blk.0.ffn_gate_exps.weight': np.zeros((2, 2), np.float32)},
    )
  half = {k: v for k, v in state.items() if 'embed' not in k}
  path = gguf_files.write(tmp_path / 'm.gguf', 'llama', config, half)
  with pytest.raises(ValueError, match=r'no tensor token_embd\.weight'):
    open_gguf(path)
  writer = gguf.GGUFWriter(tmp_path / 'b.gguf', 'bert')
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  with pytest.raises(ValueError, match=r"'bert' is not read .* llama, qwen2"):
    open_gguf(tmp_path / 'b.gguf')


def test_cut_off_anywhere_is_an_error(tiny, tmp_path, rng):
  config, state = tiny('llama')
  whole = gguf_files.write(tmp_path / 'm.gguf', 'llama', config, state)
  content = whole.read_bytes()
  _, source, _ = open_gguf(whole)
  assert whole.read_bytes() == content  # Only read.
  del source
  head = gguf.GGUFReader(whole).data_offset
  cuts = [0, 1, 4, 8, 23, 24, 25, head - 1, head + 5, len(content) - 1]
  cut = tmp_path / 'cut.gguf'
  for size in (*cuts, *rng.integers(24, head, 40).tolist()):
    cut.write_bytes(content[:size])
    with pytest.raises(ValueError, match=r'empty|cut off|start with GGUF'):
      open_gguf(cut)


def test_noise_in_the_head_is_an_error_or_harmless(tiny, tmp_path, rng):
  """Never another exception, never a loop over a count that is not there."""
  config, state = tiny('llama')
  whole = gguf_files.write(tmp_path / 'm.gguf', 'llama', config, state)
  content = bytearray(whole.read_bytes())
  head = gguf.GGUFReader(whole).data_offset
  bad, refused = tmp_path / 'bad.gguf', 0
  for _ in range(150):
    noisy = content.copy()
    for at in rng.integers(8, head, 3):
      noisy[at] = rng.integers(256)
    bad.write_bytes(noisy)
    try:
      _, source, _ = open_gguf(bad)
      source.shapes()
    except ValueError:
      refused += 1
  assert refused > 75


def test_other_versions_orders_and_formats(tiny, tmp_path):
  path = tmp_path / 'm.gguf'
  for content, message in (
    (b'GGUF' + struct.pack('<IQQ', 1, 0, 0), 'version 1; versions 2 and 3'),
    (b'GGUF' + struct.pack('>IQQ', 3, 0, 0), 'big-endian'),
    (b'tjgg' + bytes(20), 'older than GGUF'),
    (b'PK\x03\x04' + bytes(20), 'does not start with GGUF'),
  ):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
      open_gguf(path)
  with pytest.raises(ValueError, match='is no file'):
    open_gguf(tmp_path / 'none.gguf')
  config, state = tiny('llama')
  writer = gguf.GGUFWriter
  try:
    gguf.GGUFWriter = lambda *a: writer(*a, endianess=gguf.GGUFEndian.BIG)
    gguf_files.write(path, 'llama', config, state)
  finally:
    gguf.GGUFWriter = writer
  with pytest.raises(ValueError, match='big-endian; turn it round'):
    open_gguf(path)
