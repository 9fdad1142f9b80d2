"""Reads the positions out of a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rope_jax import positions
from rope_jax.interop import hf_heads, hf_layers, hf_models, hf_other, hf_rope
from rope_jax.interop.hf_models import COMMON, NO_ROPE, SLIDING, Model

_WORDS = ('rope', 'rotary', 'alibi', 'position', 'logn', 'ntk', 'chunk')
_NO_WORDS = ('propert', 'chunk_size_feed_forward')
_ADVICE = {
  'dual_chunk_attention_config': (
    "transformers ignores it: leave it out for that. vLLM's code has the "
    'distances of the method dual_chunk, with chunk=chunk_size and '
    'local=local_size, which can be built by hand; it also scales keys by the '
    'length and may drop some, which is not read here.'
  )
}

# What a config says of its layers: their types, and how each encodes.
Read = tuple[tuple[str, ...], dict[str, positions.Position]]


def position_from_hf(
  config: Mapping[str, Any], *, layer_type: str | None = None
) -> positions.Position:
  """The positional method of a Hugging Face model, from its config.

  This is how tokens are encoded. Which keys a layer sees (a sliding window,
  chunks) is no encoding: `layout_from_hf` has it.

  Args:
    config: a whole `config.json`, with `rope_theta` and `rope_scaling` as
      transformers 4 writes them or `rope_parameters` as 5 does; of a model with
      a `text_config`, that part is read. Keys that have nothing to do with
      positions are ignored. Without a `model_type`, pairs are (k, k + r/2)
      unless `rope_interleave` is true.
    layer_type: for models whose layers differ, which ones: 'full_attention',
      'sliding_attention', 'chunked_attention', or 'no_rope'.

  Returns:
    A Position, for the part of a head that has positions (`qk_rope_head_dim` of
    DeepSeek). For T5 it is the decoder's.

  Raises:
    ValueError: layers differ and no layer_type is given; a model type that is
      not read; a key about positions that is unknown, missing, or contradicts
      another.

  Example:
    >>> position_from_hf({
    ...   'model_type': 'llama', 'rope_theta': 1e4,
    ...   'rope_scaling': {'rope_type': 'linear', 'factor': 4.0}})
    Linear(theta=10000.0, fraction=1.0, pairing='half', partial='leading',
      factor=4.0)

  Source: huggingface/transformers, `modeling_rope_utils.py` and the
    configurations of the models.

  Differs: transformers warns of unknown keys and of lengths that contradict
    each other, and guesses; here they are errors. The factor on the whole
    scores that DeepSeek derives from `mscale_all_dim`, (0.1 mscale_all_dim
    ln(factor) + 1)^2, is part of its attention and not of the Position.
  """
  _, encodings = _read(config)
  if layer_type is not None:
    if layer_type not in encodings:
      raise ValueError(
        f'layer_type={layer_type!r} is none of the types of these layers: '
        f'{", ".join(encodings)}.'
      )
    return encodings[layer_type]
  if len(set(encodings.values())) > 1:
    found = '; '.join(f'{kind}: {how}' for kind, how in encodings.items())
    first = next(iter(encodings))
    raise ValueError(
      f'the layers differ: {found}. Call interop.layout_from_hf(config) for '
      'one Position per layer, or position_from_hf(config, '
      f'layer_type={first!r}) for one of them.'
    )
  return next(iter(encodings.values()))


def layout_from_hf(config: Mapping[str, Any]) -> positions.Layout:
  """What each layer of a Hugging Face model does with positions.

  Args:
    config: as of `position_from_hf`.

  Returns:
    One Position per layer, cut to the shortest period (whose last repeat the
    model may cut off). A layer that sees a window or a chunk has `local`.

  Raises:
    ValueError: as `position_from_hf`, but for layers that differ.

  Example:
    >>> layout = layout_from_hf({
    ...   'model_type': 'gemma3_text', 'sliding_window': 1024,
    ...   'rope_scaling': {'rope_type': 'linear', 'factor': 8.0}})
    >>> len(layout), layout[-1].theta, layout[0].parts[1].window
    (6, 1000000.0, 1024)
  """
  layers, encodings = _read(config)
  config = _text(config)
  unused = [kind for kind in encodings if kind not in layers]
  if unused and config.get('layer_types') is None:
    raise ValueError(
      f'rope_parameters has {", ".join(unused)}, but the config does not say '
      'which layers those are; write layer_types, one type per layer.'
    )
  model = hf_models.MODELS.get(config.get('model_type', ''), hf_models.UNNAMED)
  seen = {kind: hf_layers.window(config, kind, model) for kind in encodings}
  return hf_layers.shortest(
    tuple(_windowed(encodings[kind], seen[kind]) for kind in layers)
  )


def _windowed(encoding, window):
  nope = positions.build({'name': 'nope'})
  parts = [p for p in (encoding, window) if p not in (None, nope)]
  return positions.compose(*parts) if parts else nope


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
  inner = config.get('text_config')
  return inner if isinstance(inner, Mapping) else config


def _read(config: Mapping[str, Any]) -> Read:
  """The layers' types and what each type does."""
  text = _text(config)
  if text is not config:
    _known(config, 'config.json outside text_config', frozenset(), text)
  name = text.get('model_type')
  if name in hf_other.READERS:
    keys, reader = hf_other.READERS[name]
    _known(text, f'model_type {name!r}', frozenset(keys))
    return ('full_attention',), {'full_attention': reader(text)}
  model = hf_models.UNNAMED if name is None else hf_models.MODELS.get(name)
  if model is None:
    raise ValueError(
      f'model_type={name!r} is not a rotary one that is read here. Those are '
      f'{", ".join(hf_models.MODELS)}; beside them '
      f'{", ".join(hf_other.READERS)} are read. For a model that turns q and k '
      'as one of these does, write its model_type; a config without one is '
      'read by its rope keys alone.'
    )
  _known(text, f'model_type {name!r}', COMMON | set(model.keys))
  _settled(text, model)
  layers = hf_layers.layer_types(text, model)
  section, nested = _sections(text)
  types = dict.fromkeys((*layers, *section) if nested else layers)
  return layers, {kind: _encoding(text, model, kind) for kind in types}


def _known(config, where, keys, inner=None) -> None:
  """Raises for a top-level key that looks positional and is not read."""
  for key, value in config.items():
    bare = key
    for idle in _NO_WORDS:
      bare = bare.replace(idle, '')
    looks = any(word in bare for word in _WORDS)
    if not looks or key in keys or value is None:
      continue
    if inner is not None and inner.get(key) == value:
      continue
    if key in _ADVICE:
      raise ValueError(
        f'{key}={value!r} is not read of {where}: {_ADVICE[key]}'
      )
    raise ValueError(
      f'{key}={value!r} is not read of {where}, but looks as if it changed '
      'positions. Leave it out if it does not'
      + (f'; read are {", ".join(sorted(keys))}.' if keys else '.')
    )


# Keys with the values that are read.
_SETTLED = {
  'alibi': (False,),  # Falcon's is added before the division by sqrt(head_dim).
  'original_rope': (True,),
  'rotary': (True,),
  # What ModernBERT has, without having such a thing, and Cohere 2.
  'position_embedding_type': ('absolute', 'rope_gptj'),
  'rotary_scaling_factor': (1.0,),
}


def _settled(config, model) -> None:
  ratio = config.get('rope_ratio')
  if ratio not in (None, 1):
    raise ValueError(
      f'rope_ratio={ratio!r} means two things: ChatGLM3-128k and GLM-4 scale '
      f"their base by it (write 'rope_theta': {10_000 * ratio:.1f} in its "
      "place), ChatGLM2-32k divides positions by it (write 'rope_scaling': "
      f"{{'rope_type': 'linear', 'factor': {float(ratio)}}}). The config does "
      'not say which.'
    )
  for key, allowed in _SETTLED.items():
    given = config.get(key)
    if key in model.keys and given is not None and given not in allowed:
      raise ValueError(
        f'{key}={given!r} is not read of model_type {config["model_type"]!r}; '
        f'it must be one of {allowed}.'
      )


def _sections(config) -> tuple[Mapping[str, Any], bool]:
  """The rope section, and whether it has one for each layer type."""
  old, new = config.get('rope_scaling'), config.get('rope_parameters')
  if old and new and dict(old) != dict(new):
    raise ValueError(
      f'rope_scaling={old!r} and rope_parameters={new!r} differ; keep '
      'rope_parameters (transformers 5) or rope_scaling (4).'
    )
  section = new or old or {}
  if not isinstance(section, Mapping):
    raise ValueError(f'the rope section {section!r} must be a dictionary.')
  nested = any(isinstance(part, Mapping) for part in section.values())
  plain = [
    key
    for key, part in section.items()
    if part is not None and not isinstance(part, Mapping)
  ]
  if nested and plain:
    raise ValueError(
      f'rope_parameters has layer types and, beside them, {", ".join(plain)}; '
      'write those inside of each layer type.'
    )
  return section, nested


def _encoding(config, model: Model, kind: str) -> positions.Position:
  """What layers of one type do with positions."""
  section, own = _sections(config)
  if own:
    if kind not in section and kind != NO_ROPE:
      raise ValueError(
        f'rope_parameters has no {kind}, which some layers are; it has '
        f'{", ".join(section)}. Write the types that layer_types names.'
      )
    section = section.get(kind)
  if section is None or kind in (model.still, NO_ROPE):
    return hf_other.standing(config)
  keys, default = hf_models.THETA_KEYS, model.theta
  if model.local is not None and kind == SLIDING:
    (*keys,), default = model.local[:1], model.local[1]
    section = section if own else {}  # A scaling is for the other layers.
  base = hf_rope.agree(
    {
      **{key: config.get(key) for key in keys},
      'rope_theta of its section': section.get('rope_theta'),
    }
  )
  base = default if base is None else base
  head_dim = hf_heads.head_dim_of(config)
  spec = hf_rope.spec_of(
    section,
    theta=base,
    fraction=hf_heads.fraction_of(config, section, model),
    pairing=hf_heads.pairing_of(config, model),
    maximum=config.get('max_position_embeddings'),
    original=config.get('original_max_position_embeddings'),
  )
  if head_dim and 'partial' not in spec and spec['name'] != 'p_rope':
    # Transformers rounds the number of coordinates down.
    spec['fraction'] = hf_heads.cut(spec['fraction'], head_dim)
  position = hf_other.with_qwen(config, spec)
  if head_dim:
    position.frequencies(head_dim)  # Raises what does not fit.  # pyright: ignore[reportAttributeAccessIssue]
  return position
