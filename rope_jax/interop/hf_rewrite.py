"""Writes other positions into a Hugging Face config of the same model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from rope_jax import positions
from rope_jax.interop import hf_layers, hf_models
from rope_jax.interop.families import FAMILIES, Family
from rope_jax.interop.hf_rope import MAXIMUM, ORIGINAL, PARTIAL
from rope_jax.interop.hf_shape import read_layout
from rope_jax.interop.hf_write import position_to_hf
from rope_jax.model import ModelConfig
from rope_jax.positions import Layout, Position

Config = Mapping[str, Any]
# What may say how positions are encoded, and is written anew.
_ROPE_KEYS = (
  'rope_theta',
  'rope_scaling',
  'rope_parameters',
  'rope_interleave',
  'rope_interleaved',
  'rope_local_base_freq',
  'rotary_emb_base',
  'rotary_pct',
  ORIGINAL,
  PARTIAL,
)


def with_layout(
  config: Config, shape: ModelConfig, layout: Layout, where: str
) -> dict[str, Any]:
  """A config.json that says a layout, or the same one if it does so already.

  Args:
    config: the config of the model.
    shape: its shape.
    layout: what its layers do with positions now.
    where: for messages.

  Returns:
    A copy of the config, of which `layout_from_hf` makes the layout. In the
    words of transformers 4, which 5 reads too, unless the config was in those
    of 5 or 4 has none for it.

  Raises:
    ValueError: transformers has no word for a method, or the model type's code
      does not read it.
  """
  wanted = [layout[i % len(layout)] for i in range(shape.layers)]
  if _layers(read_layout(config, shape, where), shape) == wanted:
    return dict(copy.deepcopy(config))
  kinds = _kinds(config, shape, wanted)
  dialects = ('v5',) if config.get('rope_parameters') else ('v4', 'v5')
  failure: ValueError | None = None
  for dialect in dialects:
    try:
      made = _written(config, kinds, dialect)
      got = _layers(read_layout(made, shape, where), shape)
    except ValueError as error:
      failure = error
      continue
    if got == wanted:
      return made
    layer = next(i for i, one in enumerate(wanted) if got[i] != one)
    failure = ValueError(
      f'layer {layer} would be read as {got[layer]} and is {wanted[layer]}. '
      'Windows, layers without rotation and which pairs turn are in the code '
      'of a model type; give a layout that keeps them, as '
      'evaluate.variants.layout_under makes of a method.'
    )
  raise ValueError(
    f'{where}: its layout cannot be written for model_type '
    f'{config["model_type"]!r}: {failure}'
  ) from failure


def _layers(layout: Layout, shape: ModelConfig) -> list[Position]:
  return [layout[i % len(layout)] for i in range(shape.layers)]


def _kinds(
  config: Config, shape: ModelConfig, wanted: list[Position]
) -> dict[str, Position]:
  """How the layers of each type encode, windows left out; those that do not
  rotate are not there."""
  model = hf_models.MODELS[config['model_type']]
  types = hf_layers.layer_types(config, model)
  found: dict[str, Position] = {}
  for layer in range(shape.layers):
    parts = [
      part
      for part in positions.parts(wanted[layer])
      if positions.spec(part)['name'] not in ('local', 'nope')
    ]
    if not parts:
      continue
    kind, encoding = types[layer % len(types)], positions.compose(*parts)
    if found.setdefault(kind, encoding) != encoding:
      raise ValueError(
        f'layer {layer} is {encoding}, and another layer of the same type, '
        f'{kind}, is {found[kind]}; a config has one method for each type.'
      )
  return found


def _written(
  config: Config, kinds: Mapping[str, Position], dialect: str
) -> dict[str, Any]:
  """The config with the methods of its layers' types, in one dialect."""
  model = hf_models.MODELS[config['model_type']]
  family = FAMILIES[config['model_type']]
  made = {
    key: copy.deepcopy(value)
    for key, value in config.items()
    if key not in _ROPE_KEYS
  }
  said = {
    kind: _entries(position, model, family, dialect)
    for kind, position in kinds.items()
  }
  if not said:
    raise ValueError('no layer rotates, which no config can say.')
  if len(set(kinds.values())) == 1 and model.local is None:
    return {**made, **next(iter(said.values()))}
  full = said.get(hf_models.FULL, {})
  if dialect == 'v4':
    if model.local is None:
      raise ValueError('rope_scaling is one for all layers.')
    slid = said.get(hf_models.SLIDING, {})
    if slid.get('rope_scaling') is not None:
      raise ValueError('rope_scaling is for the full layers alone.')
    if slid:
      slid = {model.local[0]: slid['rope_theta']}
    return {**made, **full, **slid}
  others = {k: v for one in said.values() for k, v in one.items()}
  others['rope_parameters'] = {
    kind: one['rope_parameters'] for kind, one in said.items()
  }
  return {**made, **others}


def _entries(
  position: Position, model: hf_models.Model, family: Family, dialect: str
) -> dict[str, Any]:
  """What a config says of one method, with what its model type needs."""
  entries = position_to_hf(position, dialect)
  if 'model_type' in entries:
    raise ValueError(
      f'{positions.spec(position)} is what model_type '
      f'{entries["model_type"]!r} has, and no other.'
    )
  said = entries.get('rope_interleave', False)
  if (model.pairing == 'interleaved') == said:
    entries.pop('rope_interleave', None)  # The code pairs that way unasked.
  section = entries.get('rope_parameters')
  fraction = getattr(position, 'fraction', 1.0)
  if model.fraction != 1:
    at, key = (entries, PARTIAL) if section is None else (section, PARTIAL)
    fraction = at.pop(PARTIAL, fraction)
    if section is None and 'rotary_pct' in model.keys:
      key = 'rotary_pct'
    at[key] = fraction
  if section is None and 'rotary_emb_base' in model.keys:
    entries['rotary_emb_base'] = entries.pop('rope_theta')
  spec = positions.spec(position)
  if section and ORIGINAL in section and family.original:
    entries[ORIGINAL] = section[ORIGINAL]
  if {'factor', 'train_len'} <= spec.keys() and MAXIMUM not in entries:
    # How far it reaches is factor x original, where both are said.
    entries[MAXIMUM] = int(spec['factor'] * spec['train_len'] + 1e-6)
  return entries
