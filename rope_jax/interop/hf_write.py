"""Writes a Position as the entries of a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rope_jax import positions
from rope_jax.interop.hf_rope import KINDS, MAXIMUM, ORIGINAL, PARTIAL

DIALECTS = ('v5', 'v4')

# Fields that transformers has no word for, and the value that it computes.
_UNSAID = {
  'yarn': {'ramp': 'code'},
  'longrope': {'first': 0},
  'dynamic_ntk': {'variant': 'hf'},
  'p_rope': {'partial': 'proportional'},
  't5': {'bidirectional': False},
  'learned': {'beyond': 'error', 'factor': None},
}
_TYPES = {kind.method: name for name, kind in KINDS.items()}
# Models that have a method without a rope section, and how they call fields.
_MODELS: dict[str, tuple[str, Mapping[str, str]]] = {
  'alibi': ('bloom', {}),
  'learned': ('gpt2', {'train_len': 'n_positions'}),
  't5': (
    't5',
    {
      'buckets': 'relative_attention_num_buckets',
      'max_distance': 'relative_attention_max_distance',
    },
  ),
}


def position_to_hf(
  position: positions.Position, dialect: str = 'v5'
) -> dict[str, Any]:
  """The config entries that say a Position to transformers.

  `position_from_hf` of them, alone or written into a config of the same model,
  gives the same Position.

  Args:
    position: a rotary method that transformers has; ALiBi, T5's bias, a learned
      table or the first Qwen's composition, which name a `model_type`.
    dialect: 'v5' (`rope_parameters`) or 'v4' (`rope_theta`, `rope_scaling`).

  Returns:
    Entries of a config.json. Interleaved pairs are `rope_interleave`: a model
    type's code may pair that way without the key, or not read it.

  Raises:
    ValueError: transformers has no word for the method or one of its fields;
      the message names it.

  Example:
    >>> from rope_jax import positions
    >>> position_to_hf(positions.build({
    ...   'name': 'linear', 'theta': 1e4, 'factor': 4.0}))
    {'rope_parameters': {'rope_type': 'linear', 'rope_theta': 10000.0,
      'factor': 4.0}}
  """
  if dialect not in DIALECTS:
    raise ValueError(f'dialect={dialect!r} must be one of {DIALECTS}.')
  specs = [positions.spec(part) for part in positions.parts(position)]
  qwen = _qwen(specs)
  if qwen is not None:
    return qwen
  if len(specs) > 1:
    raise _unsaid('compose', ' + '.join(spec['name'] for spec in specs))
  (spec,) = specs
  name = spec['name']
  if name in _MODELS:
    _check(spec)
    model, words = _MODELS[name]
    return {
      'model_type': model,
      **{key: spec[field] for field, key in words.items()},
    }
  if name not in _TYPES:
    raise _unsaid(name, f'the method {name!r}')
  return _rope(spec, dialect)


def _unsaid(name: str, what: str, instead: str = '') -> ValueError:
  return ValueError(
    f'{name}: transformers has no word for {what}, so no config can say it.'
    + (f' {instead}' if instead else '')
  )


def _check(spec: Mapping[str, Any]) -> None:
  """Raises for a field whose value transformers cannot be told."""
  for field, said in _UNSAID.get(spec['name'], {}).items():
    value = spec.get(field)
    if value != said:
      raise _unsaid(
        spec['name'], f'{field}={value!r}', f'Its own is {field}={said!r}.'
      )


def _rope(spec: dict[str, Any], dialect: str) -> dict[str, Any]:
  name, rope_type = spec['name'], _TYPES[spec['name']]
  _check(spec)
  if spec['partial'] == 'proportional' and name != 'p_rope':
    if name != 'linear' or spec['factor'] == 1:
      simple = name in ('rope', 'linear')
      raise _unsaid(
        name,
        "partial='proportional'",
        'The same method by the name p_rope has one.' if simple else '',
      )
    rope_type = 'proportional'
  kind, entries = KINDS[rope_type], {}
  section = {'rope_type': rope_type, 'rope_theta': spec['theta']}
  if spec['fraction'] != 1 or rope_type == 'proportional':
    section[PARTIAL] = spec['fraction']
  for key in (*kind.required, *kind.optional):
    field = 'train_len' if key == ORIGINAL else key
    if field in spec:
      value = spec[field]
      section[key] = list(value) if isinstance(value, tuple) else value
  if name == 'dynamic_ntk':
    entries[MAXIMUM] = section.pop(ORIGINAL)
  if name == 'longrope':
    _longrope(spec)
  if spec['pairing'] == 'interleaved':
    entries['rope_interleave'] = True
  if dialect == 'v5':
    return {'rope_parameters': section, **entries}
  return _old(section, entries)


def _longrope(spec: Mapping[str, Any]) -> None:
  decided = 'attention_factor' in spec or 'short_mscale' in spec
  if 'factor' not in spec and not decided:
    raise _unsaid('longrope', 'factor=None', 'The same is factor=1.0.')


def _old(section: dict[str, Any], entries: dict[str, Any]) -> dict[str, Any]:
  """The dialect of transformers 4, in which LongRoPE's factor is a ratio."""
  top = {'rope_theta': section.pop('rope_theta'), **entries}
  if PARTIAL in section:
    top[PARTIAL] = section.pop(PARTIAL)
  rope_type = section['rope_type']
  if rope_type == 'longrope':
    top[ORIGINAL] = section.pop(ORIGINAL)
    if 'factor' in section:
      reached = top[ORIGINAL] * section['factor']
      if abs(reached - round(reached)) > 1e-6:
        raise _unsaid(
          'longrope',
          f'factor={section["factor"]!r} in dialect v4, where it is '
          f'{MAXIMUM} / {ORIGINAL}',
          "dialect='v5' has one.",
        )
      top[MAXIMUM] = round(reached)
  plain = rope_type == 'default'
  return {**top, 'rope_scaling': None if plain else section}


def _qwen(specs: list[dict[str, Any]]) -> dict[str, Any] | None:
  """The first Qwen's keys for its dynamic NTK, its log-n, or both."""
  turning = specs[0]
  dynamic = turning.get('variant') == 'qwen'
  logn = len(specs) == 2 and specs[1]['name'] == 'log_n'
  if not (dynamic or logn) or len(specs) > 1 + logn:
    return None
  say: dict[str, Callable | Any] = {
    'the method': turning['name'] in ('dynamic_ntk', 'rope')
    and (dynamic or turning['name'] == 'rope'),
    'pairing': turning.get('pairing') == 'half',
    'partial': turning.get('partial') == 'leading',
    'train_len': not (dynamic and logn)
    or turning['train_len'] == specs[1]['train_len'],
  }
  for what, holds in say.items():
    if not holds:
      value = turning.get(what, turning['name'])
      raise _unsaid('the keys of Qwen', f'{what}={value!r} in {specs}')
  return {
    'model_type': 'qwen',
    'rotary_emb_base': turning['theta'],
    'rotary_pct': turning['fraction'],
    'use_dynamic_ntk': dynamic,
    'use_logn_attn': logn,
    'seq_length': (turning if dynamic else specs[1])['train_len'],
  }
