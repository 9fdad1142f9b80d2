"""What model types' own code makes of keys that look alike."""

import pytest

from rope_jax import interop, positions
from rope_jax.positions import rope

HEADS = {'hidden_size': 64, 'num_attention_heads': 4}


@pytest.mark.parametrize('learned', [True, False, None])
@pytest.mark.parametrize(
  'attention',
  [
    None,
    {},
    {'alibi': True, 'rope': False},
    {'rope': False, 'rope_theta': 10000, 'sliding_window_size': -1},
  ],
)
def test_mpt_has_alibi_unless_it_says_otherwise(attention, learned):
  config = {
    'model_type': 'mpt',
    'max_seq_len': 2048,
    'learned_pos_emb': learned,
    'attn_config': attention,
  }
  assert interop.position_from_hf(config) == positions.build({'name': 'alibi'})


@pytest.mark.parametrize('name', ['gptj', 'codegen'])
def test_gptj_says_that_it_is_rotary(name):
  config = {
    'model_type': name,
    'rotary': True,
    'rotary_dim': 8,
    'n_embd': 64,
    'n_head': 4,
    'n_positions': 2048,
  }
  method = interop.position_from_hf(config)
  spec = positions.spec(method)
  assert (spec['fraction'], spec['pairing']) == (0.5, 'interleaved')


@pytest.mark.parametrize(
  ('config', 'says'),
  [
    (
      {'model_type': 'chatglm', 'rope_ratio': 4, 'original_rope': True},
      r"rope_ratio=4 means two things.*'rope_theta': 40000\.0.*'factor': 4\.0",
    ),
    (
      {'model_type': 'mpt', 'attn_config': {'alibi': False}},
      'only ALiBi is read',
    ),
    (
      {'model_type': 'mpt', 'attn_config': {'rope': True, 'rope_theta': 1e4}},
      'here: alibi, rope, rope_theta',
    ),
    (
      {'model_type': 'mpt', 'attn_config': {'rope_theta': 1e4}},
      'here: alibi, rope_theta',
    ),
    (
      {'model_type': 'mpt', 'attn_config': {'learned_pos_emb': True}},
      'here: alibi, learned_pos_emb',
    ),
    (
      {'model_type': 'mpt', 'attn_config': {'sliding_window_size': 64}},
      'here: alibi, sliding_window_size',
    ),
    ({'model_type': 'mpt', 'attn_config': 'torch'}, 'must be a dictionary'),
    (
      {
        'model_type': 'qwen2',
        'rope_theta': 1e7,
        'dual_chunk_attention_config': {
          'chunk_size': 262144,
          'local_size': 8192,
          'original_max_position_embeddings': 262144,
        },
      },
      'dual_chunk_attention_config=.*chunk=chunk_size and local=local_size.*'
      'scales keys',
    ),
    (
      {'model_type': 'qwen2', 'chunked_attention': 64},
      'chunked_attention=64 is not read',
    ),
    (
      {'model_type': 'llama', 'attention_chunk_size': 64},
      'attention_chunk_size=64 is not read',
    ),
    ({'model_type': 'gptj', 'rotary': False}, 'rotary=False is not read'),
  ],
)
def test_what_cannot_be_told_or_is_not_read_is_refused(config, says):
  with pytest.raises(ValueError, match=says):
    interop.position_from_hf({**HEADS, **config})


def test_both_readings_of_chatglms_ratio_can_be_written():
  config = {
    'model_type': 'chatglm',
    'kv_channels': 128,
    'original_rope': True,
    'seq_length': 32768,
  }
  plain = interop.position_from_hf({**config, 'rope_ratio': 1})
  assert plain == interop.position_from_hf(config)
  based = interop.position_from_hf({**config, 'rope_theta': 40000.0})
  assert positions.spec(based) == {**positions.spec(plain), 'theta': 4e4}
  section = {'rope_type': 'linear', 'factor': 4.0}
  divided = interop.position_from_hf({**config, 'rope_scaling': section})
  want = {**positions.spec(plain), 'name': 'linear', 'factor': 4.0}
  assert divided == positions.build(want)


@pytest.mark.parametrize(
  ('size', 'factor', 'last'), [(4096, 8.0, 8.0), (2048, 32.0, 32.0)]
)
def test_a_whole_llama_config_reads(size, factor, last):
  """Llama 3.1 8B and 3.2 1B, with all that their config.json has."""
  config = {
    'architectures': ['LlamaForCausalLM'],
    'attention_bias': False,
    'attention_dropout': 0.0,
    'bos_token_id': 128000,
    'eos_token_id': 128001,
    'hidden_act': 'silu',
    'hidden_size': size,
    'initializer_range': 0.02,
    'intermediate_size': 14336,
    'max_position_embeddings': 131072,
    'mlp_bias': False,
    'model_type': 'llama',
    'num_attention_heads': 32,
    'num_hidden_layers': 32,
    'num_key_value_heads': 8,
    'pretraining_tp': 1,
    'rms_norm_eps': 1e-05,
    'rope_scaling': {
      'factor': factor,
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      'original_max_position_embeddings': 8192,
      'rope_type': 'llama3',
    },
    'rope_theta': 500000.0,
    'tie_word_embeddings': False,
    'torch_dtype': 'bfloat16',
    'transformers_version': '4.43.0.dev0',
    'use_cache': True,
    'vocab_size': 128256,
  }
  method = interop.position_from_hf(config)
  assert method == positions.build(
    {
      'name': 'llama3',
      'theta': 5e5,
      'factor': factor,
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      'train_len': 8192,
    }
  )
  head_dim = size // 32
  same = {**config, 'head_dim': head_dim}  # As Llama 3.2 writes it.
  assert interop.position_from_hf(same) == method
  plain = 5e5 ** (-(head_dim - 2) / head_dim)
  assert isinstance(method, rope.Rope)
  slowest = method.frequencies(head_dim)[0][-1]
  assert plain / slowest == pytest.approx(last, rel=1e-12)
