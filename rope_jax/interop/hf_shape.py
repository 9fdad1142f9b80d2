"""Reads the shape of a model out of a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rope_jax.interop import hf_models
from rope_jax.interop.families import FAMILIES, Family
from rope_jax.interop.hf_read import layout_from_hf
from rope_jax.model import ModelConfig
from rope_jax.positions import Layout, parts

Config = Mapping[str, Any]

# Keys of every family, by the fields of ModelConfig that they are.
_SIZES = {
  'vocab': 'vocab_size',
  'layers': 'num_hidden_layers',
  'width': 'hidden_size',
  'heads': 'num_attention_heads',
  'mlp_dim': 'intermediate_size',
}
_WHOLE = (
  'vocab',
  'layers',
  'width',
  'heads',
  'mlp_dim',
  'kv_heads',
  'head_dim',
)
_FLAGS = ('qkv_bias', 'out_bias', 'mlp_bias', 'tie_embeddings', 'parallel')
# Keys of any config.json that change nothing in the forward pass of one
# sequence: names, training, dropout, caches, tokens, generation.
_IDLE = """
_attn_implementation _attn_implementation_autoset _name_or_path architectures
attention_dropout attn_implementation auto_map bos_token_id
cache_implementation chunk_size_feed_forward classifier_dropout
custom_pipelines dtype early_stopping embd_pdrop eos_token_id finetuning_task
forced_bos_token_id forced_eos_token_id hidden_dropout id2label
initializer_range is_decoder is_llama_config keys_to_ignore_at_inference
label2id language length_penalty license max_length max_window_layers
min_length model_type no_repeat_ngram_size num_beam_groups num_beams
num_return_sequences output_attentions output_hidden_states output_scores
pad_token_id prefix pretraining_tp problem_type repetition_penalty resid_pdrop
return_dict return_dict_in_generate sep_token_id suppress_tokens
task_specific_params temperature tf_legacy_loss tokenizer_class top_k top_p
torch_dtype torchscript transformers.js_config transformers_version typical_p
unsloth_fixed unsloth_version use_bfloat16 use_cache
"""


def family_of(config: Config, where: str) -> Family:
  """The family that a config's `model_type` names.

  Raises:
    ValueError: no such key, or a model type that is not read.
  """
  name = config.get('model_type')
  if name not in FAMILIES:
    inner = isinstance(config.get('text_config'), Mapping)
    raise ValueError(
      f'{where}: model_type={name!r} is not an architecture that is read here; '
      f'those are {", ".join(FAMILIES)}.'
      + (
        ' This one has a text_config: save its language model alone, with that '
        'as its config.json.'
        if inner
        else ''
      )
    )
  return FAMILIES[name]


def read_shape(config: Config, where: str, **run: Any) -> ModelConfig:
  """The shape of the model that a config.json describes.

  Args:
    config: the whole of it.
    where: the file, for messages.
    **run: fields of ModelConfig that no config decides (dtype, attention...).

  Raises:
    ValueError: a model type or a key that is not read and changes what the
      model computes; a value that is missing, or of the wrong kind.
  """
  family = family_of(config, where)
  _known(config, family, where)
  fields: dict[str, Any] = {**family.fixed, **run}
  for field, key in {**_SIZES, **family.read}.items():
    value = config.get(key)
    if value is None and (key in family.silent and key not in _caps(config)):
      value = family.silent[key]
    fields[field] = _value(field, key, value, where)
  act = config.get(family.activation) or family.silent[family.activation]
  if act not in family.mlps:
    raise ValueError(
      f'{where}: {family.activation}={act!r} is not read of model_type '
      f'{config["model_type"]!r}; it must be one of {", ".join(family.mlps)}.'
    )
  fields['mlp'] = family.mlps[act]
  try:
    return ModelConfig(**fields)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from error


def _caps(config: Config) -> set[str]:
  """Caps that the config says are none: null is none, silence is not."""
  return {key for key in config if key.endswith('_logit_softcapping')}


def _value(field: str, key: str, value: Any, where: str) -> Any:
  """A key's value as its field has it."""
  flag = isinstance(value, bool)
  if field in _FLAGS:
    allowed, holds = 'true or false', flag
  elif field in _WHOLE:
    none = field in ('kv_heads', 'head_dim') and value is None
    allowed = 'a whole number > 0'
    holds = none or (isinstance(value, int) and not flag and value > 0)
  else:
    allowed = 'a number > 0' + (' or null' if field.endswith('_cap') else '')
    none = field.endswith('_cap') and value is None
    holds = none or (isinstance(value, (int, float)) and not flag and value > 0)
  if not holds:
    raise ValueError(
      f'{where}: {key}={value!r} must be {allowed}'
      + ('; it is missing, write it.' if value is None else '.')
    )
  if value is None:
    return 0
  return value**-0.5 if field == 'score_scale' else value


def _known(config: Config, family: Family, where: str) -> None:
  """Raises for a key that may change what is computed and is not read."""
  name = config['model_type']
  known = {
    *_IDLE.split(),
    *_SIZES.values(),
    *family.read.values(),
    *family.layers,
    *hf_models.COMMON,
    *hf_models.MODELS[name].keys,
    family.activation,
  }
  for key, value in config.items():
    if key in known or value is None or value is False:
      continue
    if key == 'quantization_config':
      raise ValueError(
        f'{where}: quantization_config: quantized weights are read from .gguf '
        'files alone. Dequantize the model first, or give such a file.'
      )
    if key in family.settled:
      if value in family.settled[key]:
        continue
      allowed = f'it must be one of {family.settled[key]}, or left out.'
    else:
      allowed = 'leave it out if it does not change what the model computes.'
    raise ValueError(
      f'{where}: {key}={value!r} is not read of model_type {name!r}; {allowed}'
    )


def read_layout(config: Config, shape: ModelConfig, where: str) -> Layout:
  """What each layer does with positions.

  Raises:
    ValueError: as `layout_from_hf`; a rope type that the model's code has not;
      lists of layers of the wrong length.
  """
  family = family_of(config, where)
  for key in ('layer_types', 'no_rope_layers'):
    given = config.get(key)
    if given is not None and len(given) != shape.layers:
      raise ValueError(
        f'{where}: {key} has {len(given)} entries, but num_hidden_layers='
        f'{shape.layers}; it must have one for each layer.'
      )
  for key in ('rope_scaling', 'rope_parameters'):
    section = config.get(key)
    if family.ropes and isinstance(section, Mapping):
      kind = section.get('rope_type', section.get('type')) or 'default'
      if kind not in family.ropes:
        raise ValueError(
          f'{where}: {key} says {kind!r}, but model_type '
          f'{config["model_type"]!r} has {", ".join(family.ropes)} alone in '
          'transformers, which would read it as another.'
        )
  read = {*hf_models.COMMON, *hf_models.MODELS[config['model_type']].keys}
  # What a config denies and no code reads (Qwen 2.5: use_mrope) is not asked.
  asked = {k: v for k, v in config.items() if v is not False or k in read}
  asked['head_dim'] = shape.head_dim  # Which may be in the code alone.
  try:
    layout = layout_from_hf(asked)
  except ValueError as error:
    raise ValueError(f'{where}: {error}') from error
  shape.check(layout)
  return layout


def train_len_of(config: Config, layout: Layout, where: str) -> int:
  """The tokens a model was trained at, before any scaling of its positions.

  The `train_len` of its methods (`original_max_position_embeddings`) where they
  have one, else `max_position_embeddings`.
  """
  found = {
    part.train_len  # pyright: ignore[reportAttributeAccessIssue]
    for position in layout
    for part in parts(position)
    if getattr(part, 'train_len', None)
  }
  said = config.get('max_position_embeddings')
  tokens = min(found) if found else said
  if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
    raise ValueError(
      f'{where}: max_position_embeddings={said!r} must be the tokens that the '
      'model was trained at, a whole number > 0; write it.'
    )
  return tokens
