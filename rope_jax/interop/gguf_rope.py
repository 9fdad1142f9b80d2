"""How a GGUF file says that positions are scaled, as a `rope_scaling`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rope_jax.interop.gguf_archs import Metadata
from rope_jax.interop.gguf_header import Header

ROPE_TENSORS = (
  'rope_freqs.weight',
  'rope_factors_long.weight',
  'rope_factors_short.weight',
)


def scaling_of(
  header: Header, data: Metadata, config: Mapping[str, Any]
) -> dict[str, Any] | None:
  """The rope section, from metadata and from tensors of divisors."""
  kind = data.get('rope.scaling.type')
  tensors = {
    name: [float(x) for x in header.load(name)]
    for name in ROPE_TENSORS
    if name in header.tensors
  }
  linear = data.get('rope.scale_linear')  # How it was said before.
  if kind is None and linear not in (None, 1.0):
    return {'rope_type': 'linear', 'factor': data.real('rope.scale_linear')}
  amplitude = data.real('rope.scaling.attn_factor', 1.0)
  original = data.get('rope.scaling.original_context_length')
  if kind not in (None, 'none', 'linear', 'yarn', 'longrope'):
    raise data.refuse(
      'rope.scaling.type', 'is not one of none, linear, yarn, longrope.'
    )
  if tensors and kind in ('linear', 'yarn'):
    raise data.refuse(
      'rope.scaling.type',
      f'and the tensors {", ".join(tensors)} scale positions twice, which is '
      'not read.',
    )
  if kind in ('linear', 'yarn') and amplitude != 1:
    raise data.refuse('rope.scaling.attn_factor', f'is not read with {kind}.')
  if kind == 'linear':
    return {'rope_type': 'linear', 'factor': data.real('rope.scaling.factor')}
  if kind == 'yarn':
    return _yarn(data)
  if 'rope_freqs.weight' in tensors:
    if len(tensors) > 1 or amplitude != 1:
      raise ValueError(
        f'{data.where}: rope_freqs.weight together with rope_factors or an '
        'attn_factor is not read.'
      )
    return _llama3(tensors['rope_freqs.weight'], config)
  if kind == 'longrope' or tensors:
    names = ROPE_TENSORS[1:]
    missing = [name for name in names if name not in tensors]
    if missing or original is None:
      missing += ['rope.scaling.original_context_length'] * (original is None)
      raise ValueError(
        f'{data.where}: LongRoPE needs {", ".join(missing)}, which the file '
        'lacks; convert the model anew.'
      )
    return {
      'rope_type': 'longrope',
      'long_factor': tensors[names[0]],
      'short_factor': tensors[names[1]],
      'original_max_position_embeddings': data.whole(
        'rope.scaling.original_context_length'
      ),
      'attention_factor': amplitude,
    }
  if amplitude != 1:
    raise data.refuse('rope.scaling.attn_factor', 'is not read alone.')
  return None


def _yarn(data: Metadata) -> dict[str, Any]:
  if data.get('rope.scaling.yarn_ext_factor', 1.0) not in (1.0, -1.0):
    raise data.refuse(
      'rope.scaling.yarn_ext_factor', 'must be 1: no code of YaRN has others.'
    )
  section = {
    'rope_type': 'yarn',
    'factor': data.real('rope.scaling.factor'),
    'original_max_position_embeddings': data.whole(
      'rope.scaling.original_context_length'
    ),
  }
  for key in ('beta_fast', 'beta_slow'):
    if data.get(f'rope.scaling.yarn_{key}') is not None:
      section[key] = data.real(f'rope.scaling.yarn_{key}')
  return section


def _llama3(divisors: list[float], config: Mapping[str, Any]) -> dict[str, Any]:
  """What makes these divisors: Llama 3's parameters, or the divisors."""
  guess = {'low_freq_factor': 1.0, 'high_freq_factor': 4.0}
  train_len, factor = 8192, max(divisors)
  context = config['max_position_embeddings']
  pairs = len(divisors)
  waves = 2 * math.pi * config['rope_theta'] ** (np.arange(pairs) / pairs)
  keep = np.clip((train_len / waves - 1) / (4 - 1), 0, 1)
  made = 1 / ((1 - keep) / factor + keep)
  fits = factor > 1 and context >= train_len
  if fits and np.allclose(made, divisors, rtol=1e-5, atol=0):
    return {
      'rope_type': 'llama3',
      'factor': factor,
      **guess,
      'original_max_position_embeddings': train_len,
    }
  return {
    'rope_type': 'longrope',
    'long_factor': divisors,
    'short_factor': divisors,
    'original_max_position_embeddings': context,
    'attention_factor': 1.0,
  }
