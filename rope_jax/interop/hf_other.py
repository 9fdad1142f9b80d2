"""What Hugging Face configs say about positions outside their rope sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rope_jax import positions
from rope_jax.interop import hf_layers

Config = Mapping[str, Any]


def standing(config: Config) -> positions.Position:
  """What a layer without rotation does: nothing, or Llama 4's temperature."""
  if config.get('model_type') != 'llama4_text' or not config.get(
    'attn_temperature_tuning', True
  ):
    return positions.build({'name': 'nope'})
  fields = {
    key: config[key]
    for key in ('floor_scale', 'attn_scale')
    if config.get(key) is not None
  }
  return positions.build({'name': 'llama4_temperature', **fields})


def with_qwen(config: Config, spec: dict[str, Any]) -> positions.Position:
  """Builds a spec, with what the first Qwen adds: dynamic NTK and log-n."""
  dynamic = bool(config.get('use_dynamic_ntk'))
  logn = bool(config.get('use_logn_attn'))
  if not (dynamic or logn):
    return positions.build(spec)
  train_len = hf_layers.whole(config, 'seq_length')
  if dynamic:
    if spec['name'] != 'rope':
      raise ValueError(
        f'use_dynamic_ntk=True and a rope section that says {spec["name"]!r}: '
        'two scalings of one spectrum; keep one of them.'
      )
    spec = {
      **spec,
      'name': 'dynamic_ntk',
      'variant': 'qwen',
      'train_len': train_len,
    }
  parts = [spec, {'name': 'log_n', 'train_len': train_len}]
  return positions.compose(*map(positions.build, parts[: 1 + logn]))


def _alibi(config: Config) -> positions.Position:
  del config
  return positions.build({'name': 'alibi'})


_MPT_WORDS = ('rope', 'rotary', 'alibi', 'pos', 'window')


def _mpt(config: Config) -> positions.Position:
  attention = config.get('attn_config') or {}
  if not isinstance(attention, Mapping):
    raise ValueError(f'attn_config={attention!r} must be a dictionary.')
  plain = attention.get('rope') is False  # Its other keys are then not read.
  others = [
    key
    for key, value in attention.items()
    if any(word in key for word in _MPT_WORDS)
    and key not in ('alibi', 'alibi_bias_max')
    and not (plain and key.startswith('rope'))
    and (key, value) != ('sliding_window_size', -1)
  ]
  if others or not attention.get('alibi', True):
    names = ', '.join(['alibi', *others])
    raise ValueError(
      f'attn_config={attention!r}: of model_type mpt only ALiBi is read, which '
      'is all that its code in transformers has; alibi must be true or left '
      f'out, and other keys about positions left out (here: {names}).'
    )
  largest = attention.get('alibi_bias_max', 8)
  if largest != 8:
    raise ValueError(
      f'alibi_bias_max={largest!r}: slopes that end at 2^-{largest} are not '
      'read here; it must be 8.'
    )
  return _alibi(config)


def _t5(config: Config) -> positions.Position:
  return positions.build(
    {
      'name': 't5',
      'buckets': hf_layers.whole(config, 'relative_attention_num_buckets'),
      'max_distance': config.get('relative_attention_max_distance', 128),
    }
  )


def _learned(config: Config) -> positions.Position:
  train_len = hf_layers.whole(config, 'n_positions')
  return positions.build({'name': 'learned', 'train_len': train_len})


# Model types that do not turn q and k: the keys about positions that they
# have, and who reads them.
READERS: dict[str, tuple[tuple[str, ...], Callable]] = {
  'bloom': (('offset_alibi',), _alibi),  # An offset the softmax cancels.
  'gpt2': (('n_positions',), _learned),
  'gpt_bigcode': (('n_positions',), _learned),
  'mpt': (('learned_pos_emb',), _mpt),
  'mt5': ((), _t5),
  't5': (('n_positions',), _t5),
}
