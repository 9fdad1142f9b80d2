"""Which layer of a Hugging Face model is of which type, and what it sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rope_jax import positions
from rope_jax.interop.hf_models import CHUNKED, FULL, NO_ROPE, SLIDING, Model


def layer_types(config: Mapping[str, Any], model: Model) -> tuple[str, ...]:
  """The type of each layer, or of those of one period.

  `layer_types` of the config, where it is, else what the model type's code
  makes of the other keys.
  """
  planned = _planned(config, model)
  given = config.get('layer_types')
  if given is None:
    return planned
  given = tuple(given)
  if model.plan != 'no_rope':
    return given
  if not _agree(config, model, given, planned):
    raise ValueError(
      f'layer_types={list(given)} and no_rope_layers, from which follows '
      f'{list(planned)}, differ; leave layer_types out.'
    )
  return planned


def _agree(config, model, given, planned) -> bool:
  """Whether layer_types say what follows from no_rope_layers."""
  if model.still != NO_ROPE:
    return not {t for t in given if t != FULL} - set(planned) and (
      CHUNKED not in given or shortest(given) == shortest(planned)
    )
  # SmolLM3's code knows two types; which layers turn is not among them.
  slid = SLIDING if _slides(config, model) else FULL
  theirs = tuple(slid if t == NO_ROPE else t for t in planned)
  return any(
    all(t == want[i % len(want)] for i, t in enumerate(given))
    for want in (planned, theirs)
  )


def _slides(config: Mapping[str, Any], model: Model) -> bool:
  """Whether a model that can be told to slide some of its layers does."""
  tokens = config.get('sliding_window', model.window)
  return bool(config.get('use_sliding_window') and tokens)


def _planned(config: Mapping[str, Any], model: Model) -> tuple[str, ...]:
  if model.plan == 'window':
    tokens = config.get('sliding_window', model.window)
    return (SLIDING if tokens else FULL,)
  if model.plan in ('qwen', 'qwen2_moe', 'qwen3_moe'):
    if not _slides(config, model):
      return (FULL,)
    if model.plan == 'qwen3_moe':
      return (SLIDING,)
    first = whole(config, 'max_window_layers')
    layers = whole(config, 'num_hidden_layers')
    if model.plan == 'qwen':
      return (FULL,) * min(first, layers) + (SLIDING,) * (layers - first)
    return tuple(
      SLIDING if i % 2 == 0 and i < first else FULL for i in range(layers)
    )
  if model.plan == 'period':
    period = config.get('sliding_window_pattern') or model.period
    period = config.get('_sliding_window_pattern') or period
    return (SLIDING,) * (period - 1) + (FULL,)
  if model.plan == 'modernbert':
    period = config.get('global_attn_every_n_layers', 3)
    return (FULL,) + (SLIDING,) * (period - 1)
  if model.plan == 'no_rope':
    turning = FULL if model.still != FULL else CHUNKED
    period = config.get('no_rope_layer_interval') or model.period
    turns = config.get('no_rope_layers') or [1] * (period - 1) + [0]
    if any(turn not in (0, 1) for turn in turns):
      raise ValueError(
        f'no_rope_layers={turns} must have one number per layer: 1 where the '
        'layer turns q and k, 0 where it has no positions.'
      )
    return tuple(turning if turn else str(model.still) for turn in turns)
  return (FULL,)


def whole(config: Mapping[str, Any], key: str) -> int:
  """A key of the config that must be there and be a whole number."""
  value = config.get(key)
  if not isinstance(value, int) or isinstance(value, bool):
    raise ValueError(f'{key}={value!r} must be a whole number; write it.')
  return value


def shortest(layers: tuple) -> tuple:
  """The shortest period of a sequence, whose last repeat may be cut off."""
  for period in range(1, len(layers)):
    if all(layers[i] == layers[i % period] for i in range(len(layers))):
      return layers[:period]
  return layers


def window(
  config: Mapping[str, Any], layer_type: str, model: Model
) -> positions.Position | None:
  """What a layer of this type sees, or None for everything before it."""
  kind, key = 'sliding', 'sliding_window'
  if layer_type == CHUNKED:
    kind, key = 'chunk', 'attention_chunk_size'
  elif layer_type == NO_ROPE:
    if not _slides(config, model):
      return None
  elif layer_type != SLIDING:
    return None
  elif 'local_attention' in config:  # ModernBERT: half on each side, inclusive.
    return _local(whole(config, 'local_attention') // 2 + 1, kind)
  if kind == 'sliding' and key not in config and model.window is not None:
    return _local(model.window, kind)
  if key not in config:
    raise ValueError(
      f'the layers of type {layer_type} need {key}; write its tokens, or null '
      'for none.'
    )
  return None if config[key] is None else _local(whole(config, key), kind)


def _local(tokens: int, kind: str) -> positions.Position:
  return positions.build({'name': 'local', 'window': tokens, 'kind': kind})
