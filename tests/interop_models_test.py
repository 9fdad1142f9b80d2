"""What model types' own code makes of keys that look alike."""

import pytest
import transformers

from rope_jax import interop, positions
from rope_jax.positions import rope

HEADS = {'hidden_size': 64, 'num_attention_heads': 4}
NOPE = positions.build({'name': 'nope'})


def slides(config):
  """Which layers of a config see a window."""
  layers = config['num_hidden_layers']
  layout = interop.layout_from_hf(config)
  return [hasattr(layout[i % len(layout)], 'parts') for i in range(layers)]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
  ('name', 'kind'),
  [
    ('qwen2', 'Qwen2Config'),
    ('qwen2_moe', 'Qwen2MoeConfig'),
    ('qwen3', 'Qwen3Config'),
  ],
)
def test_windows_are_on_the_layers_that_transformers_puts_them_on(name, kind):
  fields = {
    'use_sliding_window': True,
    'sliding_window': 8,
    'max_window_layers': 4,
    'num_hidden_layers': 7,
  }
  theirs = getattr(transformers, kind)(**fields).layer_types
  config = {'model_type': name, 'rope_theta': 1e4, **HEADS, **fields}
  assert slides(config) == [t == 'sliding_attention' for t in theirs]
  assert slides({**config, 'use_sliding_window': False}) == [False] * 7


def test_qwen3_moe_slides_everywhere_or_nowhere():
  config = {
    'model_type': 'qwen3_moe',
    'rope_theta': 1e4,
    'use_sliding_window': True,
    'sliding_window': 8,
    'num_hidden_layers': 3,
    **HEADS,
  }
  assert slides(config) == [True] * 3
  assert slides({**config, 'use_sliding_window': False}) == [False] * 3


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(
  ('name', 'kind'), [('mistral', 'MistralConfig'), ('mixtral', 'MixtralConfig')]
)
def test_a_window_left_out_is_that_of_the_class(name, kind):
  (method,) = interop.layout_from_hf(
    {'model_type': name, 'rope_theta': 1e4, **HEADS}
  )
  theirs = getattr(transformers, kind)().sliding_window
  local = [p for p in getattr(method, 'parts', ()) if hasattr(p, 'window')]
  ours = local[0].window if local else None
  assert ours == theirs
  (method,) = interop.layout_from_hf(
    {'model_type': name, 'rope_theta': 1e4, 'sliding_window': None, **HEADS}
  )
  assert not hasattr(method, 'parts')


@pytest.mark.parametrize(
  'attention', [None, {}, {'alibi': True, 'rope': False}]
)
def test_mpt_has_alibi_unless_it_says_otherwise(attention):
  config = {
    'model_type': 'mpt',
    'max_seq_len': 2048,
    'learned_pos_emb': True,
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
      {
        'model_type': 'qwen2',
        'rope_theta': 1e7,
        'dual_chunk_attention_config': {'chunk_size': 262144},
      },
      'dual_chunk_attention_config=.*looks as if it changed positions',
    ),
    (
      {'model_type': 'smollm3', 'use_sliding_window': True},
      r'use_sliding_window=True is not read.*\(False,\)',
    ),
    ({'model_type': 'gptj', 'rotary': False}, 'rotary=False is not read'),
  ],
)
def test_what_cannot_be_told_or_is_not_read_is_refused(config, says):
  with pytest.raises(ValueError, match=says):
    interop.position_from_hf({**HEADS, **config})


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
  plain = 5e5 ** (-(head_dim - 2) / head_dim)
  assert isinstance(method, rope.Rope)
  slowest = method.frequencies(head_dim)[0][-1]
  assert plain / slowest == pytest.approx(last, rel=1e-12)
