"""Hugging Face configs: what each says, what is refused, and back again."""

import copy

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from interop_configs import CONFIGS, LLAMA_2, LONG, SHORT

from rope_jax import interop, positions

ROPE = {'name': 'rope', 'theta': 1e4}
YARN = {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}
LLAMA_3 = {
  'name': 'llama3',
  'theta': 5e5,
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'train_len': 8192,
}
DEEPSEEK = {
  **YARN,
  'factor': 40.0,
  'pairing': 'interleaved',
  'mscale': 0.707,
  'mscale_all_dim': 0.707,
}
QWEN = {
  'name': 'compose',
  'parts': [
    {
      'name': 'dynamic_ntk',
      'theta': 1e4,
      'train_len': 8192,
      'variant': 'qwen',
    },
    {'name': 'log_n', 'train_len': 8192},
  ],
}
# What each config is where its layers encode alike.
ALIKE = {
  'llama2': ROPE,
  'yarn_llama2_64k': YARN,
  'codellama': {**ROPE, 'theta': 1e6},
  'llama3.1_8b': LLAMA_3,
  'llama3.2_1b': {**LLAMA_3, 'factor': 32.0},
  'qwen2.5_7b_yarn': {**YARN, 'theta': 1e6, 'factor': 4.0, 'train_len': 32768},
  'qwen3_8b_yarn': {**YARN, 'theta': 1e6, 'factor': 4.0, 'train_len': 32768},
  'qwen_7b': QWEN,
  'mistral_7b_v0.1': ROPE,
  'phi3_mini_128k': {
    'name': 'longrope',
    'theta': 1e4,
    'short_factor': SHORT,
    'long_factor': LONG,
    'train_len': 4096,
    'factor': 32.0,
  },
  'phi3_mini_4k': ROPE,
  'deepseek_v2_lite': DEEPSEEK,
  'deepseek_v3': {**DEEPSEEK, 'mscale': 1.0, 'mscale_all_dim': 1.0},
  'gpt_oss_20b': {**YARN, 'theta': 1.5e5, 'factor': 32.0, 'truncate': False},
  'glm4_9b': {**ROPE, 'fraction': 0.5, 'pairing': 'interleaved'},
  'chatglm3_6b': {**ROPE, 'fraction': 0.5, 'pairing': 'interleaved'},
  'gemma2_9b': ROPE,
  'smollm2_135m': {**ROPE, 'theta': 1e5},
  'stablelm2_1.6b': {**ROPE, 'fraction': 0.25},
  'stablelm_3b': {**ROPE, 'fraction': 0.25},
  'pythia_410m': {**ROPE, 'fraction': 0.25},
  'phi2': {**ROPE, 'fraction': 0.4},
  'gptj_6b': {**ROPE, 'fraction': 0.25, 'pairing': 'interleaved'},
  'command_r': {**ROPE, 'theta': 8e6, 'pairing': 'interleaved'},
  'bloom_560m': {'name': 'alibi'},
  'mpt_7b': {'name': 'alibi'},
  't5_small': {'name': 't5'},
  'gpt2': {'name': 'learned', 'train_len': 1024},
}
NOPE = {'name': 'nope'}


def local(window, kind='sliding'):
  return {'name': 'local', 'window': window, 'kind': kind}


def within(spec, window, kind='sliding'):
  return {'name': 'compose', 'parts': [spec, local(window, kind)]}


SCOUT = {
  **LLAMA_3,
  'factor': 16.0,
  'high_freq_factor': 1.0,
  'pairing': 'interleaved',
}
COHERE = {**ROPE, 'theta': 5e4, 'pairing': 'interleaved'}
GEMMA_3 = [within(ROPE, 1024)] * 5 + [
  {'name': 'linear', 'theta': 1e6, 'factor': 8.0}
]
LAYOUTS = {
  'llama2': [ROPE],
  'mistral_7b_v0.1': [within(ROPE, 4096)],
  'gemma2_9b': [within(ROPE, 4096), ROPE],
  'gemma3_4b': GEMMA_3,
  'gemma3_4b_v5': GEMMA_3,
  'gemma4_like': [within(ROPE, 512)] * 5
  + [{'name': 'p_rope', 'theta': 1e6, 'fraction': 0.25}],
  'gpt_oss_20b': [
    within(ALIKE['gpt_oss_20b'], 128),
    ALIKE['gpt_oss_20b'],
  ],
  'llama4_scout': [within(SCOUT, 8192, 'chunk')] * 3
  + [{'name': 'llama4_temperature', 'floor_scale': 8192, 'attn_scale': 0.1}],
  'smollm3_3b': [{**ROPE, 'theta': 5e6}] * 3 + [NOPE],
  'command_r7b': [within(COHERE, 4096)] * 3 + [NOPE],
  'olmo3_7b': [within({**ROPE, 'theta': 5e5}, 4096)] * 3
  + [
    {
      **YARN,
      'theta': 5e5,
      'factor': 8.0,
      'train_len': 8192,
      'attention_factor': 1.2079441541679836,
    }
  ],
  'modernbert': [{**ROPE, 'theta': 1.6e5}] + [within(ROPE, 65)] * 2,
}


@pytest.mark.parametrize('name', sorted(CONFIGS))
def test_a_real_config_is_one_method_or_says_that_layers_differ(name):
  if name in ALIKE:
    want = positions.build(ALIKE[name])
    assert interop.position_from_hf(CONFIGS[name]) == want
    return
  with pytest.raises(ValueError, match=r'layers differ.*layout_from_hf'):
    interop.position_from_hf(CONFIGS[name])


@pytest.mark.parametrize('name', sorted(LAYOUTS))
def test_layout_of_a_real_config(name):
  got = interop.layout_from_hf(CONFIGS[name])
  assert got == positions.layout(LAYOUTS[name])


def test_every_other_layout_is_one_method():
  for name in set(ALIKE) - set(LAYOUTS) - {'phi3_mini_4k', 'phi3_mini_128k'}:
    layout = interop.layout_from_hf(CONFIGS[name])
    assert layout == (interop.position_from_hf(CONFIGS[name]),), name


def test_one_type_of_layers_can_be_asked_for():
  config = CONFIGS['gemma3_4b']
  of = interop.position_from_hf
  assert of(config, layer_type='sliding_attention') == positions.build(ROPE)
  assert of(config, layer_type='full_attention').theta == 1e6
  with pytest.raises(ValueError, match=r'chunked.*sliding_attention, full'):
    of(config, layer_type='chunked')


def test_the_error_of_layers_that_differ_lists_them():
  with pytest.raises(ValueError, match='sliding_attention: Rope') as error:
    interop.position_from_hf(CONFIGS['gemma3_4b'])
  assert 'full_attention: Linear' in str(error.value)
  assert "layer_type='sliding_attention'" in str(error.value)


def test_reading_changes_nothing_in_the_config():
  for config in CONFIGS.values():
    before = copy.deepcopy(config)
    interop.layout_from_hf(config)
    assert config == before


def test_both_dialects_say_the_same():
  old = CONFIGS['llama3.1_8b']
  section = {**old['rope_scaling'], 'rope_theta': old['rope_theta']}
  kept = {k: v for k, v in old.items() if not k.startswith('rope')}
  new = {**kept, 'rope_parameters': section}
  assert interop.position_from_hf(new) == interop.position_from_hf(old)


def test_qwen2_windows_begin_above_max_window_layers():
  config = {
    **CONFIGS['qwen2.5_7b_yarn'],
    'use_sliding_window': True,
    'max_window_layers': 20,
    'sliding_window': 4096,
  }
  layout = interop.layout_from_hf(config)
  turning = ALIKE['qwen2.5_7b_yarn']
  assert layout[:20] == (positions.build(turning),) * 20
  assert layout[20:] == (positions.build(within(turning, 4096)),) * 8


def test_a_period_whose_ends_are_alike_is_not_cut_further():
  full, sliding = 'full_attention', 'sliding_attention'
  config = {
    **LLAMA_2,
    'layer_types': [full, sliding, full] * 4,
    'sliding_window': 8,
  }
  want = [ROPE, within(ROPE, 8), ROPE]
  assert interop.layout_from_hf(config) == positions.layout(want)


def test_a_share_of_coordinates_is_rounded_down_as_theirs_is():
  config = {**LLAMA_2, 'head_dim': 64, 'partial_rotary_factor': 0.334}
  with pytest.raises(ValueError, match='21'):
    interop.position_from_hf(config)
  config['partial_rotary_factor'] = 0.54  # 34.56: theirs turns 34, not 35.
  frequency, _ = interop.position_from_hf(config).frequencies(64)
  assert np.count_nonzero(frequency) == 17


SECTION = {
  'rope_type': 'yarn',
  'factor': 4.0,
  'original_max_position_embeddings': 4096,
}
LONGROPE = {
  'rope_type': 'longrope',
  'short_factor': [1.0] * 64,
  'long_factor': [2.0] * 64,
  'original_max_position_embeddings': 4096,
}
REFUSED = [
  # Keys that are not read.
  ({'rope_scaling': {**SECTION, 'betafast': 32}}, 'betafast is not read'),
  ({'rope_scaling': {**SECTION, 'attn_factor': 1.0}}, 'attention_factor'),
  ({'rope_scaling': {'type': 'linear', 'factor': 2.0, 'alpha': 1}}, 'alpha'),
  (
    {'rope_scaling': {'type': 'mrope', 'mrope_section': [1]}},
    "'mrope'.*llama3",
  ),
  ({'rope_thetas': 1e4}, 'rope_thetas=10000.0 is not read'),
  ({'use_logn_attn': True}, 'use_logn_attn=True is not read'),
  ({'alibi': True}, "alibi=True is not read of model_type 'llama'"),
  ({'position_embedding_type': 'x'}, 'position_embedding_type'),
  # Keys that are missing.
  ({'rope_scaling': {'type': 'linear'}}, "needs factor. Write 'factor'"),
  (
    {'rope_scaling': {'rope_type': 'yarn', 'factor': 4.0}},
    r'needs original_max.*trained at.*would take max_position_embeddings=4096',
  ),
  (
    {
      'rope_scaling': {'type': 'dynamic', 'factor': 2.0},
      'max_position_embeddings': None,
    },
    "'dynamic' needs max_position_embeddings",
  ),
  (
    {'rope_scaling': LONGROPE, 'max_position_embeddings': None},
    "'longrope' needs factor",
  ),
  (
    {'rope_scaling': {'rope_type': 'proportional'}},
    'needs partial_rotary_factor',
  ),
  ({'model_type': None}, "names no base: write 'rope_theta'"),
  # Keys that contradict each other.
  (
    {'rope_scaling': SECTION, 'max_position_embeddings': 65536},
    'takes .*=4096 to 16384 tokens, but .*65536. Write factor 16',
  ),
  (
    {'rope_scaling': SECTION, 'max_position_embeddings': 2048},
    'max_position_embeddings=2048 is below',
  ),
  (
    {'rope_scaling': SECTION, 'original_max_position_embeddings': 2048},
    'section=4096 and original_max_position_embeddings=2048 differ',
  ),
  (
    {
      'rope_scaling': {
        'type': 'dynamic',
        'factor': 2.0,
        'original_max_position_embeddings': 2048,
      }
    },
    r'2048 and max_position_embeddings=4096 differ',
  ),
  (
    {
      'rope_scaling': {**LONGROPE, 'factor': 16.0},
      'max_position_embeddings': 131072,
    },
    'factor=16, but .* = 131072 / 4096 = 32',
  ),
  (
    {'rope_scaling': {**SECTION, 'type': 'linear'}},
    "rope_type='yarn' and type='linear' differ",
  ),
  (
    {'rope_theta': 1e4, 'rope_parameters': {'rope_theta': 1e6}},
    'rope_theta=10000.0 and rope_theta of its section=1000000.0 differ',
  ),
  (
    {
      'partial_rotary_factor': 0.5,
      'rope_parameters': {'partial_rotary_factor': 0.25, 'rope_theta': 1e4},
    },
    'partial_rotary_factor=0.5 and partial_rotary_factor of its section=0.25',
  ),
  (
    {
      'rope_scaling': {'type': 'linear', 'factor': 2.0},
      'rope_parameters': {'rope_theta': 1e4},
    },
    'rope_scaling.*and rope_parameters.*differ; keep',
  ),
  ({'rope_scaling': {**SECTION, 'mscale': 1.0}}, 'Write both or neither'),
  ({'rope_interleave': True}, "pairs by 'half'"),
  ({'rope_scaling': 'linear'}, "section 'linear' must be a dictionary"),
  # Values.
  ({'rope_scaling': {**SECTION, 'factor': '4'}}, "factor='4' must be a number"),
  ({'rope_scaling': {**SECTION, 'factor': True}}, 'factor=True must be'),
  ({'rope_scaling': {**SECTION, 'truncate': 0}}, 'truncate=0 must be true or'),
  (
    {
      'rope_scaling': {**SECTION, 'factor': 0.5},
      'max_position_embeddings': None,
    },
    'factor=0.5.*>= 1',
  ),
  (
    {'rope_scaling': {**LONGROPE, 'long_factor': 2.0}},
    'long_factor=2.0 must be a list',
  ),
  (
    {
      'rope_scaling': {
        **LONGROPE,
        'short_factor': [1.0] * 8,
        'long_factor': [1.0] * 8,
      }
    },
    '8 numbers.*64 pairs',
  ),
  # Models.
  ({'model_type': 'bert'}, "model_type='bert' is not a rotary one.*llama.*t5"),
  ({'model_type': 'falcon', 'alibi': True}, 'alibi=True is not read'),
  (
    {
      'model_type': 'mpt',
      'max_position_embeddings': None,
      'attn_config': {'alibi': True, 'alibi_bias_max': 16},
    },
    'alibi_bias_max=16',
  ),
  ({'model_type': 'chatglm', 'original_rope': False}, 'original_rope=False'),
  (
    {
      'model_type': 'qwen',
      'use_dynamic_ntk': True,
      'seq_length': 2048,
      'rope_scaling': {'type': 'linear', 'factor': 2.0},
    },
    'two scalings',
  ),
  ({'model_type': 'qwen', 'use_logn_attn': True}, 'seq_length=None must be'),
  ({'model_type': 'smollm3', 'no_rope_layers': [2, 0]}, 'no_rope_layers'),
  # Layers.
  (
    {
      'rope_parameters': {'full_attention': {'rope_theta': 1e4}},
      'layer_types': ['sliding_attention', 'full_attention'],
    },
    'has no sliding_attention',
  ),
  (
    {
      'rope_parameters': {
        'full_attention': {'rope_theta': 1e4},
        'rope_theta': 1e4,
      }
    },
    'beside them, rope_theta',
  ),
]


@pytest.mark.parametrize(('change', 'message'), REFUSED)
def test_refused(change, message):
  with pytest.raises(ValueError, match=message):
    interop.position_from_hf({**LLAMA_2, **change})


def test_windows_and_types_that_a_layout_needs():
  gemma = {**CONFIGS['gemma3_4b']['text_config']}
  del gemma['sliding_window']
  assert interop.position_from_hf(gemma, layer_type='sliding_attention')
  with pytest.raises(ValueError, match='need sliding_window'):
    interop.layout_from_hf(gemma)
  sections = {
    'full_attention': {'rope_theta': 1e6},
    'sliding_attention': {'rope_theta': 1e4},
  }
  with pytest.raises(ValueError, match='write layer_types'):
    interop.layout_from_hf({'rope_parameters': sections})


def test_a_position_key_beside_text_config_is_not_overlooked():
  config = {**CONFIGS['gemma3_4b'], 'rope_theta': 5e5}
  with pytest.raises(ValueError, match=r'rope_theta=5.*outside text'):
    interop.position_from_hf(config, layer_type='full_attention')


def test_other_keys_are_ignored():
  config = {**LLAMA_2, 'torch_dtype': 'float16', 'properties': 1}
  assert interop.position_from_hf(config) == positions.build(ROPE)


# Back again.
thetas = st.floats(1.5, 1e8)
factors = st.floats(1.0, 128.0)
whole = st.integers(1, 64).map(float)
tokens = st.integers(2, 100_000)
shares = st.floats(0.01, 1.0)
some = st.none() | st.floats(0.1, 4.0)
pairs = st.lists(st.floats(0.5, 80.0), min_size=4, max_size=4)
SAYABLE = {
  'rope': {},
  'linear': {'factor': factors},
  'dynamic_ntk': {
    'factor': factors,
    'train_len': tokens,
    'variant': st.just('hf'),
  },
  'yarn': {
    'factor': factors,
    'train_len': tokens,
    'beta_fast': st.floats(8.0, 64.0),
    'beta_slow': st.floats(0.1, 4.0),
    'truncate': st.booleans(),
    'attention_factor': some,
  },
  'longrope': {
    'short_factor': pairs,
    'long_factor': pairs,
    'train_len': tokens,
    'factor': whole,
    'attention_factor': some,
  },
  'llama3': {
    'factor': factors,
    'low_freq_factor': st.floats(0.1, 2.0),
    'high_freq_factor': st.floats(2.0, 8.0),
    'train_len': tokens,
  },
  'p_rope': {},
}


@pytest.mark.parametrize('dialect', ['v5', 'v4'])
@pytest.mark.parametrize('name', SAYABLE)
@hypothesis.given(st.data())
def test_round_trip(name, dialect, data):
  strategy = {
    'theta': thetas,
    'fraction': st.just(1.0) | shares,
    'pairing': st.sampled_from(['half', 'interleaved']),
    **SAYABLE[name],
  }
  spec = {'name': name, **data.draw(st.fixed_dictionaries(strategy))}
  if name == 'yarn' and data.draw(st.booleans()):
    spec |= {'mscale': 0.7, 'mscale_all_dim': 1.1}
  if name == 'linear' and spec['factor'] > 1 and data.draw(st.booleans()):
    spec['partial'] = 'proportional'
  if name == 'longrope' and data.draw(st.booleans()):
    spec |= {'short_mscale': 1.1, 'long_mscale': 1.3, 'attention_factor': None}
  position = positions.build(spec)
  said = interop.position_to_hf(position, dialect)
  assert interop.position_from_hf(said) == position
  # Within the config of a model, whose keys stay.
  model = {
    'model_type': 'cohere' if spec['pairing'] == 'interleaved' else 'llama',
    'max_position_embeddings': None,
  }
  assert interop.position_from_hf({**model, **said}) == position


@pytest.mark.parametrize(
  'spec',
  [
    {'name': 'alibi'},
    {'name': 't5', 'buckets': 16, 'max_distance': 64},
    {'name': 'learned', 'train_len': 77},
    QWEN,
    QWEN['parts'][0],
    {'name': 'compose', 'parts': [ROPE, {'name': 'log_n', 'train_len': 99}]},
  ],
)
@pytest.mark.parametrize('dialect', ['v5', 'v4'])
def test_round_trip_of_what_a_model_type_says(spec, dialect):
  position = positions.build(spec)
  said = interop.position_to_hf(position, dialect)
  assert interop.position_from_hf(said) == position


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ({**YARN, 'ramp': 'paper'}, "ramp='paper'.*Its own is ramp='code'"),
    (
      {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 64},
      "variant='paper'.*'hf'",
    ),
    (
      {
        'name': 'longrope',
        'theta': 1e4,
        'short_factor': [1.0],
        'long_factor': [2.0],
        'train_len': 64,
        'first': 4,
      },
      'first=4',
    ),
    (
      {
        'name': 'longrope',
        'theta': 1e4,
        'short_factor': [1.0],
        'long_factor': [2.0],
        'train_len': 64,
      },
      'factor=None.*factor=1.0',
    ),
    ({**ROPE, 'partial': 'proportional', 'fraction': 0.5}, 'p_rope'),
    ({**YARN, 'partial': 'proportional', 'fraction': 0.5}, "'proportional'"),
    ({'name': 'ntk', 'theta': 1e4, 'factor': 2.0}, "the method 'ntk'"),
    ({'name': 'nope'}, "the method 'nope'"),
    ({'name': 't5', 'bidirectional': True}, 'bidirectional=True'),
    ({'name': 'learned', 'train_len': 8, 'beyond': 'clip'}, "beyond='clip'"),
    (within(ROPE, 64), r'rope \+ local'),
    (
      {
        'name': 'compose',
        'parts': [YARN, {'name': 'log_n', 'train_len': 64}],
      },
      'keys of Qwen.*yarn',
    ),
  ],
)
def test_what_cannot_be_said_is_named(spec, message):
  with pytest.raises(ValueError, match=message):
    interop.position_to_hf(positions.build(spec))


@pytest.mark.parametrize(
  ('name', 'new', 'old'),
  [
    ('pythia_410m', {'partial_rotary_factor': 0.25}, None),
    (
      'llama3.1_8b',
      CONFIGS['llama3.1_8b']['rope_scaling'],
      CONFIGS['llama3.1_8b']['rope_scaling'],
    ),
  ],
)
def test_entries_of_both_dialects(name, new, old):
  position = interop.position_from_hf(CONFIGS[name])
  said = interop.position_to_hf(position)
  section = {'rope_type': 'default', 'rope_theta': position.theta, **new}
  assert said == {'rope_parameters': section}
  said = interop.position_to_hf(position, 'v4')
  top = {'rope_theta': position.theta, 'rope_scaling': old}
  assert said == top | (new if old is None else {})


def test_entries_of_lengths():
  phi = interop.position_from_hf(CONFIGS['phi3_mini_128k'])
  said = interop.position_to_hf(phi, 'v4')
  assert said['max_position_embeddings'] == 131072
  assert said['original_max_position_embeddings'] == 4096
  assert 'original_max_position_embeddings' not in said['rope_scaling']
  spec = {**ROPE, 'name': 'dynamic_ntk', 'variant': 'hf', 'factor': 2.0}
  dynamic = positions.build({**spec, 'train_len': 2048})
  for dialect in ('v5', 'v4'):
    said = interop.position_to_hf(dynamic, dialect)
    assert said['max_position_embeddings'] == 2048


def test_a_fractional_length_cannot_be_said_in_the_old_dialect():
  spec = {**ALIKE['phi3_mini_128k'], 'factor': 1.0003}
  position = positions.build(spec)
  assert interop.position_to_hf(position)['rope_parameters']['factor'] == 1.0003
  with pytest.raises(ValueError, match=r'factor=1.0003 in dialect v4'):
    interop.position_to_hf(position, 'v4')
  with pytest.raises(ValueError, match="dialect='v6' must be one of"):
    interop.position_to_hf(position, 'v6')
