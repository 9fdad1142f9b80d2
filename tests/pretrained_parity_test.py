"""Logits of every family and rope type, against transformers and torch."""

import json

import numpy as np
import pretrained_support as support
import pytest

from rope_jax import interop

pytest.importorskip('torch')

WIDE = {'head_dim': 16, 'num_hidden_layers': 4}
SLIDE = {'use_sliding_window': True, 'sliding_window': 9}
BIASES = {'attention_bias': True, 'mlp_bias': True}
FAMILIES = {
  'llama': ('llama', {}),
  'llama_biases': (
    'llama',
    {**BIASES, 'head_dim': 16, 'tie_word_embeddings': True},
  ),
  'mistral': ('mistral', {'sliding_window': 9}),
  'qwen2': ('qwen2', {**SLIDE, 'max_window_layers': 1}),
  'qwen3': ('qwen3', {'head_dim': 16}),
  'qwen3_biases': ('qwen3', {'head_dim': 8, 'attention_bias': True}),
  'smollm3': ('smollm3', {'num_hidden_layers': 4, 'mlp_bias': True}),
  'smollm3_windows': (
    'smollm3',
    {**SLIDE, 'no_rope_layers': [0, 1], 'attention_bias': True},
  ),
  'gpt_neox': ('gpt_neox', {}),
  'gpt_neox_sequential': (
    'gpt_neox',
    {
      'use_parallel_residual': False,
      'rotary_pct': 0.5,
      'attention_bias': False,
      'hidden_act': 'gelu_new',
    },
  ),
  'glm': ('glm', {'head_dim': 16}),
  'glm4': ('glm4', {'head_dim': 16, 'attention_bias': False}),
  'gemma': ('gemma', {'head_dim': 16}),
  'gemma2': (
    'gemma2',
    {
      'head_dim': 16,
      'sliding_window': 9,
      'query_pre_attn_scalar': 24,
      'attn_logit_softcapping': 4.0,
      'final_logit_softcapping': 3.0,
    },
  ),
  'gemma3_text': (
    'gemma3_text',
    {
      **WIDE,
      'sliding_window': 9,
      'sliding_window_pattern': 3,
      'query_pre_attn_scalar': 24,
      'final_logit_softcapping': 3.0,
    },
  ),
  'phi3': ('phi3', {'sliding_window': 9}),
}


def _load_equal(folder, want, tokens=support.TOKENS):
  found = interop.load_pretrained(folder)
  got = support.our_logits(found.model, tokens)
  np.testing.assert_allclose(got, want, atol=1e-4, rtol=0)
  return found


@pytest.mark.parametrize('name', FAMILIES)
def test_family_equals_theirs_and_comes_back(name, tmp_path):
  model_type, fields = FAMILIES[name]
  folder, want = support.saved(tmp_path / 'theirs', model_type, **fields)
  found = _load_equal(folder, want)
  assert found.train_len == 64
  # What is compared depends on the tokens and on where they stand.
  assert np.ptp(want, axis=(0, 1)).min() > 0.1
  interop.save_pretrained(found, tmp_path / 'ours', max_shard_bytes=20_000)
  back = support.torch_loaded(tmp_path / 'ours')
  np.testing.assert_array_equal(support.torch_logits(back), want)


PAIRS = {
  'short_factor': [1.0, 1.1, 1.3, 1.7],
  'long_factor': [1.0, 2.0, 3.0, 4.0],
}
YARN = {'rope_type': 'yarn', 'factor': 4.0}
ROPES = {
  'linear': {'rope_type': 'linear', 'factor': 4.0},
  'dynamic': {'rope_type': 'dynamic', 'factor': 4.0},
  'yarn': YARN,
  'yarn_fields': {
    **YARN,
    'beta_fast': 8.0,
    'beta_slow': 2.0,
    'attention_factor': 1.3,
    'truncate': False,
  },
  'longrope': {'rope_type': 'longrope', 'factor': 4.0, **PAIRS},
  'llama3': {
    'rope_type': 'llama3',
    'factor': 4.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
  },
}
# Family, rope type, and what else its config has. 33 tokens, 16 trained.
SCALED = [
  *(('llama', name, {}) for name in ROPES),
  ('mistral', 'yarn', {'sliding_window': 9}),
  ('qwen2', 'yarn', {}),
  ('qwen3', 'linear', {'head_dim': 8}),
  ('smollm3', 'llama3', {'no_rope_layers': [1, 0]}),
  ('gpt_neox', 'dynamic', {'rotary_pct': 0.5}),
  ('gpt_neox', 'yarn', {'rotary_pct': 0.5}),
  ('glm', 'yarn', {'head_dim': 16}),
  ('glm4', 'dynamic', {'head_dim': 16}),
  ('gemma', 'linear', {'head_dim': 8}),
  ('gemma2', 'yarn', {'head_dim': 8, 'sliding_window': 9}),
  ('phi3', 'longrope', {}),
  ('phi3', 'longrope', {'hidden_size': 64, 'partial_rotary_factor': 0.5}),
]


@pytest.mark.parametrize(('model_type', 'rope', 'fields'), SCALED)
def test_scaling_equals_theirs_both_ways(model_type, rope, fields, tmp_path):
  """Theirs read here; and put here over a model without it, read there."""
  section, reached = dict(ROPES[rope]), 64
  if rope == 'dynamic':
    reached = 16  # It scales from here on.
  else:
    if rope in ('longrope', 'yarn', 'yarn_fields', 'llama3'):
      section['original_max_position_embeddings'] = 16
    section['rope_theta'] = 10_000.0
  plain = {**fields, 'max_position_embeddings': reached}
  if model_type == 'phi3':
    plain['original_max_position_embeddings'] = 16
  folder, want = support.saved(
    tmp_path / 'theirs', model_type, rope_parameters=section, **plain
  )
  found = _load_equal(folder, want)
  assert found.train_len == (64 if rope == 'linear' else 16)
  unscaled, other = support.saved(tmp_path / 'plain', model_type, **plain)
  assert np.abs(other - want).max() > 1e-2
  base = interop.load_pretrained(unscaled)
  interop.save_pretrained(base, tmp_path / 'ours', position=found.position)
  back = support.torch_loaded(tmp_path / 'ours')
  np.testing.assert_allclose(
    support.torch_logits(back), want, atol=1e-6, rtol=0
  )


def test_longrope_switches_to_its_long_list_past_the_trained_length(tmp_path):
  """A fresh model of theirs for each length: theirs keeps state."""
  section = {**ROPES['longrope'], 'original_max_position_embeddings': 16}
  for tokens in (support.TOKENS[:, :16], support.TOKENS[:, :17]):
    model = support.torch_model(
      'phi3', rope_parameters=section, original_max_position_embeddings=16
    )
    folder = tmp_path / str(tokens.shape[1])
    model.save_pretrained(folder)
    _load_equal(folder, support.torch_logits(model, tokens), tokens)


@pytest.mark.parametrize('rope', ['linear', 'yarn'])
def test_gemma3_scales_its_full_layers_alone(rope, tmp_path):
  section = dict(ROPES[rope], rope_theta=1e6)
  if rope == 'yarn':
    section['original_max_position_embeddings'] = 16
  fields = {**FAMILIES['gemma3_text'][1], 'num_hidden_layers': 3}
  local = {'rope_type': 'default', 'rope_theta': 1e4}
  both = {'full_attention': section, 'sliding_attention': local}
  folder, want = support.saved(
    tmp_path / 'theirs', 'gemma3_text', rope_parameters=both, **fields
  )
  found = _load_equal(folder, want)
  plain, _ = support.saved(tmp_path / 'plain', 'gemma3_text', **fields)
  base = interop.load_pretrained(plain)
  interop.save_pretrained(base, tmp_path / 'ours', position=found.position)
  back = support.torch_loaded(tmp_path / 'ours')
  np.testing.assert_allclose(
    support.torch_logits(back), want, atol=1e-6, rtol=0
  )


@pytest.mark.parametrize('model_type', ['llama', 'gpt_neox', 'phi3', 'glm'])
def test_configs_of_transformers_4_stay_in_their_words(model_type, tmp_path):
  """With `rope_theta` and `rope_scaling`, which 5 reads too."""
  rope = 'longrope' if model_type == 'phi3' else 'yarn'
  section = {**ROPES[rope], 'rope_theta': 2e4}
  section['original_max_position_embeddings'] = 16
  fields = {'head_dim': 16} if model_type == 'glm' else {}
  if model_type == 'gpt_neox':
    fields['rotary_pct'] = 0.5
  if model_type == 'phi3':
    fields['original_max_position_embeddings'] = 16
  model = support.torch_model(model_type, rope_parameters=section, **fields)
  want = support.torch_logits(model)
  model.save_pretrained(tmp_path / 'v5')
  scaled = interop.load_pretrained(tmp_path / 'v5')
  path = tmp_path / 'v5' / 'config.json'
  config = json.loads(path.read_text(encoding='utf-8'))
  del config['rope_parameters']
  neox = model_type == 'gpt_neox'
  old = {'rotary_emb_base' if neox else 'rope_theta': 1e4}
  if neox:
    old['rotary_pct'] = 0.5
  path.write_text(json.dumps({**config, **old}), encoding='utf-8')
  plain = interop.load_pretrained(tmp_path / 'v5')
  interop.save_pretrained(plain, tmp_path / 'v4', position=scaled.position)
  path = tmp_path / 'v4' / 'config.json'
  written = json.loads(path.read_text(encoding='utf-8'))
  assert 'rope_parameters' not in written
  assert written['rope_scaling']['rope_type'] == rope
  again = interop.load_pretrained(tmp_path / 'v4')
  assert again.position == scaled.position
  back = support.torch_loaded(tmp_path / 'v4')
  np.testing.assert_allclose(
    support.torch_logits(back), want, atol=1e-6, rtol=0
  )
