"""Which layers of which model types see a window, as transformers has it."""

import pytest
import transformers

from rope_jax import interop, positions
from rope_jax.interop import hf_models
from rope_jax.positions import local, rope

HEADS = {'hidden_size': 64, 'num_attention_heads': 4}
NOPE = positions.build({'name': 'nope'})


def of_layers(config):
  """The parts of the method of each layer."""
  layers = config['num_hidden_layers']
  layout = interop.layout_from_hf(config)
  methods = [layout[i % len(layout)] for i in range(layers)]
  return [getattr(method, 'parts', (method,)) for method in methods]


def slides(config):
  """Which layers of a config see a window."""
  return [
    any(isinstance(part, local.Local) for part in parts)
    for parts in of_layers(config)
  ]


def windows(config):
  """All the windows of a config's layers."""
  return {
    part.window
    for parts in of_layers(config)
    for part in parts
    if isinstance(part, local.Local)
  }


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
  # Left out, the window is the class's; null, there is none.
  silent = {k: v for k, v in config.items() if k != 'sliding_window'}
  assert slides(silent) == slides(config)
  default = getattr(transformers, kind)(use_sliding_window=True).sliding_window
  assert windows(silent) == {default}
  assert slides({**config, 'sliding_window': None}) == [False] * 7


@pytest.mark.filterwarnings('ignore')
def test_qwen3_moe_slides_everywhere_or_nowhere():
  config = {
    'model_type': 'qwen3_moe',
    'rope_theta': 1e4,
    'use_sliding_window': True,
    'sliding_window': 8,
    'num_hidden_layers': 3,
    **HEADS,
  }
  silent = {k: v for k, v in config.items() if k != 'sliding_window'}
  for one in (config, silent, {**config, 'use_sliding_window': False}):
    # One mask for all layers, by this alone.
    theirs = transformers.AutoConfig.for_model(**one).sliding_window
    assert slides(one) == [theirs is not None] * 3
    assert windows(one) == {theirs} - {None}


@pytest.mark.filterwarnings('ignore')
def test_a_window_left_out_is_that_of_the_class():
  names = [n for n, m in hf_models.MODELS.items() if m.plan == 'window']
  assert {'ministral', 'mistral', 'mixtral', 'phi3'} < set(names)
  for name in names:
    config = {
      'model_type': name,
      'rope_theta': 1e4,
      'num_hidden_layers': 2,
      **HEADS,
    }
    theirs = transformers.AutoConfig.for_model(name).sliding_window
    assert windows(config) == ({theirs} - {None}), name
    assert windows({**config, 'sliding_window': None}) == set()
    assert windows({**config, 'sliding_window': 8}) == {8}


SMOLLM = {
  'model_type': 'smollm3',
  'rope_theta': 5e6,
  'use_sliding_window': True,
  'sliding_window': 8,
  'num_hidden_layers': 6,
  **HEADS,
}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('no_rope_layers', [None, [1, 0, 1, 1, 0, 1]])
@pytest.mark.parametrize('use', [True, False])
@pytest.mark.parametrize('tokens', [8, None])
def test_smollm3_slides_the_layers_that_do_not_turn(
  no_rope_layers, use, tokens
):
  config = {
    **SMOLLM,
    'no_rope_layers': no_rope_layers,
    'use_sliding_window': use,
    'sliding_window': tokens,
  }
  theirs = transformers.AutoConfig.for_model(**config)
  sliding = [t == 'sliding_attention' for t in theirs.layer_types]
  written = theirs.to_dict()
  assert written['layer_types'] == theirs.layer_types
  for one in (config, written):
    assert slides(one) == sliding
    turns = [any(isinstance(p, rope.Rope) for p in x) for x in of_layers(one)]
    assert turns == [bool(turn) for turn in theirs.no_rope_layers]
  assert interop.position_from_hf(written, layer_type='no_rope') == NOPE


@pytest.mark.parametrize(
  'change',
  [
    {'layer_types': ['sliding_attention'] * 6},
    {'layer_types': ['full_attention'] * 6},
    {
      'layer_types': (['full_attention'] * 3 + ['sliding_attention']) * 2,
      'use_sliding_window': False,
    },
  ],
)
def test_smollm3_whose_layer_types_say_otherwise_is_refused(change):
  with pytest.raises(ValueError, match='differ; leave layer_types out'):
    interop.layout_from_hf({**SMOLLM, **change})


def test_keys_of_chunks_that_are_no_positions_are_allowed():
  config = {'model_type': 'llama', 'chunk_size_feed_forward': 0, **HEADS}
  assert isinstance(interop.position_from_hf(config), rope.Rope)
  config = {
    'model_type': 'llama4_text',
    'attention_chunk_size': 64,
    'num_hidden_layers': 4,
    **HEADS,
  }
  assert windows(config) == {64}
