"""The metadata of a GGUF file as the `config.json` of a Hugging Face model."""

from __future__ import annotations

from typing import Any

from rope_jax.interop.gguf_archs import (
  FINAL_CAP,
  SCORE_CAP,
  SHAPE,
  WINDOW,
  Metadata,
)
from rope_jax.interop.gguf_header import Header
from rope_jax.interop.gguf_rope import scaling_of


def config_of(header: Header) -> dict[str, Any]:
  """The config of the model in a GGUF file.

  Args:
    header: of the file.

  Returns:
    What its `config.json` would say, as far as it decides what is computed.

  Raises:
    ValueError: an architecture that is not read; metadata that is missing, of
      the wrong type, or not known.

  Source: ggml-org/llama.cpp, `convert_hf_to_gguf.py` and the graph of each
    architecture.

  Differs: YaRN's amplitude and the two lists of LongRoPE are what transformers
    makes of them. Llama 3's parameters are not in the file, only the divisors
    that follow from them: those of Llama 3.1 to 3.3 are recognised, and others
    become a `longrope` of two equal lists.
  """
  data = Metadata(header)
  arch = data.arch
  config: dict[str, Any] = {'model_type': arch.model_type}
  config |= {key: data.whole(said) for key, said in SHAPE.items()}
  heads = config['num_attention_heads']
  config['num_key_value_heads'] = data.whole('attention.head_count_kv', heads)
  head_dim = data.whole(
    'attention.key_length', max(1, config['hidden_size'] // heads)
  )
  if data.whole('attention.value_length', head_dim) != head_dim:
    raise data.refuse(
      'attention.value_length',
      f'differs from attention.key_length={head_dim}, which no model read here '
      'has.',
    )
  config['head_dim'] = head_dim
  config[arch.eps[0]] = data.real(arch.eps[1])
  config[arch.act[0]] = arch.act[1]
  config['vocab_size'] = _vocab(header, data)
  config['tie_word_embeddings'] = 'output.weight' not in header.tensors
  for name in ('bos', 'eos', 'padding'):
    found = header.metadata.get(f'tokenizer.ggml.{name}_token_id')
    config[f'{"pad" if name == "padding" else name}_token_id'] = found
  turning = data.whole('rope.dimension_count', head_dim)
  if turning > head_dim or (turning < head_dim and not arch.partial):
    raise data.refuse(
      'rope.dimension_count',
      f'must be the {head_dim} coordinates of a head in architecture '
      f'{data.name!r}.',
    )
  default = 1e6 if data.name == 'gemma3' else 1e4
  config['rope_theta'] = data.real('rope.freq_base', default)
  scaling = scaling_of(header, data, config)
  if scaling:
    config['rope_scaling'] = scaling
  _own(header, data, config, turning / head_dim)
  return config


def _vocab(header: Header, data: Metadata) -> int:
  """Rows of the embedding, which the tokens must fill."""
  embed = header.tensors.get('token_embd.weight')
  if embed is None:
    raise ValueError(
      f'{data.where} has no tensor token_embd.weight: it holds no whole model '
      '(a vocabulary, an adapter or a projector alone?).'
    )
  rows = embed.shape[0]
  tokens = header.metadata.get('tokenizer.ggml.tokens')
  said = {'tokenizer.ggml.tokens has': len(tokens) if tokens else None}
  said[f'{data.name}.vocab_size is'] = data.get('vocab_size')
  for key, value in said.items():
    if value is not None and value != rows:
      raise ValueError(
        f'{data.where}: tokenizer and vocabulary disagree: {key} {value} and '
        f'token_embd.weight has {rows} rows. Convert the model anew.'
      )
  return rows


def _own(
  header: Header, data: Metadata, config: dict[str, Any], fraction: float
) -> None:
  """What only some architectures have."""
  names, layers = header.tensors, config['num_hidden_layers']
  if data.name == 'llama':
    if data.get('expert_count'):
      raise data.refuse(
        'expert_count', 'is a mixture of experts, which is not read.'
      )
    config['attention_bias'] = 'blk.0.attn_q.bias' in names
    config['mlp_bias'] = 'blk.0.ffn_up.bias' in names
  elif data.name == 'qwen3':
    config['attention_bias'] = 'blk.0.attn_q.bias' in names
  elif data.name in ('gemma2', 'gemma3'):
    # As llama.cpp has it: the largest of each scales by width / heads.
    largest = layers == {'gemma2': 46, 'gemma3': 62}[data.name]
    config['query_pre_attn_scalar'] = (
      config['hidden_size'] // config['num_attention_heads']
      if largest
      else config['head_dim']
    )
    config['sliding_window'] = data.whole(WINDOW)
    for key in (FINAL_CAP, SCORE_CAP):
      needed = data.name == 'gemma2' or data.get(key)
      config[key] = data.real(key) if needed else None
  elif data.name == 'phi3':
    config['sliding_window'] = data.get(WINDOW) or None
    if fraction < 1:
      config['partial_rotary_factor'] = fraction
    del config['head_dim']  # Of hidden_size, always.
  elif data.name == 'gptneox':
    config['rotary_pct'] = fraction
    config['rotary_emb_base'] = config.pop('rope_theta')
    config['use_parallel_residual'] = bool(
      data.get('use_parallel_residual', True)
    )
    del config['num_key_value_heads'], config['head_dim']
  if data.name == 'gemma3':
    config['rope_local_base_freq'] = data.real('rope.freq_base_swa', 1e4)
    pattern = data.get('attention.sliding_window_pattern', 6)
    if isinstance(pattern, list):
      config['layer_types'] = [
        'sliding_attention' if slides else 'full_attention'
        for slides in pattern
      ]
    else:
      config['sliding_window_pattern'] = pattern
