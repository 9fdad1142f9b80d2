"""One rope section of a Hugging Face config, as the spec of a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

ORIGINAL = 'original_max_position_embeddings'
MAXIMUM = 'max_position_embeddings'
PARTIAL = 'partial_rotary_factor'

# Keys that every section may have.
SHARED = ('rope_type', 'type', 'rope_theta', PARTIAL)


@dataclasses.dataclass(frozen=True)
class Kind:
  """A `rope_type`: the method it is, and the keys of its section.

  Keys are named as the method's fields, but for `ORIGINAL`, its `train_len`.

  Attributes:
    method: its name.
    required: keys that decide what the method computes.
    optional: keys that have the method's default.
    idle: keys that configs have and no code reads.
  """

  method: str
  required: tuple[str, ...] = ()
  optional: tuple[str, ...] = ()
  idle: tuple[str, ...] = ()


KINDS = {
  'default': Kind('rope'),
  'linear': Kind('linear', ('factor',)),
  'dynamic': Kind('dynamic_ntk', ('factor',), (ORIGINAL,)),
  'yarn': Kind(
    'yarn',
    ('factor', ORIGINAL),
    (
      'attention_factor',
      'beta_fast',
      'beta_slow',
      'truncate',
      'mscale',
      'mscale_all_dim',
    ),
    ('finetuned',),
  ),
  'longrope': Kind(
    'longrope',
    ('short_factor', 'long_factor', ORIGINAL),
    ('factor', 'attention_factor', 'short_mscale', 'long_mscale'),
  ),
  'llama3': Kind(
    'llama3', ('factor', 'low_freq_factor', 'high_freq_factor', ORIGINAL)
  ),
  'proportional': Kind('p_rope', (PARTIAL,), ('factor',)),
}
ALIASES = {'su': 'longrope'}


def kind_of(section: Mapping[str, Any]) -> str:
  """The `rope_type` of a section, which older configs call `type`."""
  given = {
    key: ALIASES.get(section[key], section[key])
    for key in ('rope_type', 'type')
    if section.get(key) is not None
  }
  if len(set(given.values())) > 1:
    raise ValueError(
      f'rope section: rope_type={section["rope_type"]!r} and type='
      f'{section["type"]!r} differ; keep rope_type alone.'
    )
  kind = next(iter(given.values()), 'default')
  if kind not in KINDS:
    raise ValueError(
      f'rope section: rope_type={kind!r} is not read here; it must be one of '
      f'{", ".join(KINDS)} (or su, the old name of longrope).'
    )
  return kind


def spec_of(
  section: Mapping[str, Any],
  *,
  theta: float | None,
  fraction: float | None,
  pairing: str,
  maximum: int | None,
  original: int | None,
) -> dict[str, Any]:
  """The spec of the method that a rope section describes.

  Args:
    section: a `rope_scaling`, a `rope_parameters` or one layer type's part of
      it; entries that are None count as left out.
    theta: the base, which the caller has found.
    fraction: the share of coordinates that turn, if the config says it.
    pairing: 'half' or 'interleaved'.
    maximum: the config's `max_position_embeddings`, if it has it.
    original: the `original_max_position_embeddings` beside the section.

  Raises:
    ValueError: an unknown or missing key; two that contradict each other.
  """
  section = {k: v for k, v in section.items() if v is not None}
  name = kind_of(section)
  kind = KINDS[name]
  known = (*SHARED, *kind.required, *kind.optional, *kind.idle)
  unknown = sorted(set(section) - set(known))
  if unknown:
    raise ValueError(
      f'rope section of rope_type {name!r}: {", ".join(unknown)} is not read '
      f'there; leave it out. It has {", ".join(dict.fromkeys(known))}.'
    )
  if ORIGINAL in known:
    original = agree(
      {f'{ORIGINAL} of the section': section.get(ORIGINAL), ORIGINAL: original}
    )
    if original is not None:
      section[ORIGINAL] = original
  if fraction is not None:
    section[PARTIAL] = fraction
  for key in kind.required:
    if key not in section:
      raise ValueError(
        f'rope section of rope_type {name!r} needs {key}.'
        + _advice(key, maximum)
      )
  if theta is None:
    raise ValueError("the config names no base: write 'rope_theta': 10000.0.")
  section['rope_theta'] = theta
  fields = {
    'train_len' if key == ORIGINAL else key: _plain(key, section[key])
    for key in (*kind.required, *kind.optional)
    if key in section and key != PARTIAL
  }
  _lengths(name, fields, maximum)
  spec = {
    'name': kind.method,
    'theta': _plain('rope_theta', theta),
    'fraction': _plain(PARTIAL, section.get(PARTIAL, 1.0)),
    'pairing': pairing,
    **fields,
  }
  if name == 'dynamic':
    return {**spec, 'variant': 'hf', 'train_len': maximum}
  if name == 'proportional':
    factor = spec.pop('factor', 1.0)
    if factor != 1:
      spec |= {'name': 'linear', 'factor': factor, 'partial': 'proportional'}
  return spec


def agree(given: Mapping[str, Any]) -> Any:
  """The one value that several keys give, or None where none does."""
  found = {key: value for key, value in given.items() if value is not None}
  values = list(found.values())
  if any(value != values[0] for value in values):
    both = ' and '.join(f'{key}={value!r}' for key, value in found.items())
    raise ValueError(f'{both} differ, and say one thing; keep one of them.')
  return values[0] if values else None


def _plain(key: str, value: Any) -> Any:
  """A value of the type that the method's field has."""
  if key in ('short_factor', 'long_factor'):
    if not isinstance(value, (list, tuple)):
      raise ValueError(f'{key}={value!r} must be a list of numbers.')
    return tuple(_plain('factor', x) for x in value)
  if key == 'truncate':
    allowed, holds = 'true or false', isinstance(value, bool)
  elif key == ORIGINAL:
    whole = isinstance(value, (int, float)) and int(value) == value
    allowed, holds = 'a whole number of tokens', whole and value > 0
  else:
    # In transformers a zero of these counts as left out: nobody means that.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    allowed, holds = 'a number > 0', number and value > 0
  if not holds:
    raise ValueError(f'{key}={value!r} must be {allowed}.')
  if key == 'truncate':
    return value
  return int(value) if key == ORIGINAL else float(value)


def _advice(key: str, maximum: int | None) -> str:
  if key == ORIGINAL:
    taken = f' (transformers would take {MAXIMUM}={maximum})' if maximum else ''
    return f' Write the tokens the model was trained at{taken}.'
  return f' Write {key!r} with its value.'


def _lengths(name: str, fields: dict[str, Any], maximum: int | None) -> None:
  """Checks the lengths, and fills in the factor of LongRoPE."""
  if name == 'dynamic':
    if maximum is None:
      raise ValueError(
        f"rope_type 'dynamic' needs {MAXIMUM}: the tokens the model was "
        'trained at. Write it beside the section.'
      )
    train_len = fields.pop('train_len', maximum)
    if train_len != maximum:
      raise ValueError(
        f"rope_type 'dynamic': {ORIGINAL}={train_len} and {MAXIMUM}={maximum} "
        f'differ. It scales from {MAXIMUM} on, so write the tokens the model '
        f'was trained at there, and leave {ORIGINAL} out.'
      )
    return
  if name == 'yarn' and ('mscale' in fields) != ('mscale_all_dim' in fields):
    raise ValueError(
      "rope_type 'yarn': mscale and mscale_all_dim act together; one alone has "
      'no effect in transformers. Write both or neither.'
    )
  if 'train_len' not in fields:
    return
  train_len, factor = fields['train_len'], fields.get('factor')
  decided = 'attention_factor' in fields or 'short_mscale' in fields
  if maximum is None:
    if name == 'longrope' and factor is None and not decided:
      raise ValueError(
        "rope_type 'longrope' needs factor for its amplitude. Write it, or "
        f'{MAXIMUM} beside the section.'
      )
    return
  if maximum < train_len:
    raise ValueError(
      f'{MAXIMUM}={maximum} is below {ORIGINAL}={train_len}, which it extends; '
      f'write {ORIGINAL} as the tokens of training before the extension.'
    )
  reached = maximum / train_len
  if name == 'yarn' and factor and reached > factor * (1 + 1e-6):
    raise ValueError(
      f"rope_type 'yarn': factor={factor:g} takes {ORIGINAL}={train_len} to "
      f'{factor * train_len:g} tokens, but {MAXIMUM}={maximum}. Write factor '
      f'{reached:g}, or a smaller {MAXIMUM}.'
    )
  if name == 'longrope' and not decided:
    if factor is None:
      fields['factor'] = reached
    elif abs(factor - reached) > 1e-6 * reached:
      raise ValueError(
        f"rope_type 'longrope': factor={factor:g}, but {MAXIMUM} / {ORIGINAL} "
        f'= {maximum} / {train_len} = {reached:g}, and transformers has taken '
        f'either. Leave factor out, or write {reached:g}.'
      )
