"""How wide the heads of a Hugging Face model are, and which pairs turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rope_jax.interop import hf_layers, hf_models, hf_rope
from rope_jax.interop.hf_models import Model


def head_dim_of(config: Mapping[str, Any]) -> int | None:
  """The width of the part of a head that has positions, if the config says."""
  for key in ('qk_rope_head_dim', 'head_dim', 'kv_channels'):
    if config.get(key) is not None:
      return hf_layers.whole(config, key)
  for width, heads in (
    ('hidden_size', 'num_attention_heads'),
    ('n_embd', 'n_head'),
  ):
    if config.get(width) and config.get(heads):
      return config[width] // config[heads]
  return None


def pairing_of(config: Mapping[str, Any], model: Model) -> str:
  """'half' or 'interleaved': what the code does, or the config says."""
  said = hf_rope.agree(
    {key: config.get(key) for key in ('rope_interleave', 'rope_interleaved')}
  )
  if said is None:
    return model.pairing
  name, pairing = config.get('model_type'), 'interleaved' if said else 'half'
  free = name is None or name in hf_models.INTERLEAVE_KEY
  if not free and pairing != model.pairing:
    raise ValueError(
      f'rope_interleave={said!r}, but the code of model_type {name!r} pairs by '
      f'{model.pairing!r} and does not read it; leave it out.'
    )
  return pairing


def cut(fraction: float, head_dim: int) -> float:
  """A share of coordinates whose number is rounded down, as theirs is."""
  width = int(fraction * head_dim)
  same = width == round(fraction * head_dim)
  return fraction if same else width / head_dim


def fraction_of(
  config: Mapping[str, Any], section: Mapping[str, Any], model: Model
) -> float | None:
  """The share of coordinates that turn, or None where nothing says it."""
  head_dim = head_dim_of(config)
  given = {key: config.get(key) for key in hf_models.FRACTION_KEYS}
  given['partial_rotary_factor of its section'] = section.get(hf_rope.PARTIAL)
  if config.get('rotary_dim') is not None:
    if not head_dim:
      raise ValueError(
        f'rotary_dim={config["rotary_dim"]} needs the width of a head: write '
        'n_embd and n_head.'
      )
    given['rotary_dim / head width'] = config['rotary_dim'] / head_dim
  found = hf_rope.agree(given)
  if found is None and model.fraction != 1:
    return model.fraction
  return found
