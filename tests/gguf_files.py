"""Writes tiny GGUF files from models of transformers, as converters do."""

from __future__ import annotations

import pathlib
from typing import Any

import gguf
import numpy as np

HEADS, KV, WIDTH, VOCAB, LAYERS = 4, 2, 64, 64, 2
SHAPE = {
  'hidden_size': WIDTH,
  'intermediate_size': 96,
  'num_hidden_layers': LAYERS,
  'num_attention_heads': HEADS,
  'vocab_size': VOCAB,
  'max_position_embeddings': 256,
}
# Which matrices are packed how; the rest is F32.
PACKED = {
  'attn_q': 'Q8_0',
  'attn_qkv': 'Q8_0',
  'ffn_up': 'Q4_1',
  'ffn_down': 'F16',
}


def tiny(kind: str) -> tuple[Any, dict[str, np.ndarray]]:
  """A random model's config and its tensors by their name there."""
  import torch
  import transformers as hf

  grouped = {**SHAPE, 'num_key_value_heads': KV}
  gemma = {**grouped, 'head_dim': 32, 'sliding_window': 48}
  made = {
    'llama': lambda: hf.LlamaConfig(
      **grouped, rms_norm_eps=1e-5, rope_theta=5e4, tie_word_embeddings=True
    ),
    'qwen2': lambda: hf.Qwen2Config(**grouped, rms_norm_eps=1e-6),
    'qwen3': lambda: hf.Qwen3Config(**grouped, head_dim=32, rope_theta=1e6),
    'gemma2': lambda: hf.Gemma2Config(
      **gemma,
      query_pre_attn_scalar=32,
      attn_logit_softcapping=40.0,
      final_logit_softcapping=20.0,
    ),
    'gemma3': lambda: hf.Gemma3TextConfig(
      **gemma | {'num_hidden_layers': 7}, query_pre_attn_scalar=32
    ),
    'phi3': lambda: hf.Phi3Config(
      **grouped, rms_norm_eps=1e-5, sliding_window=None, pad_token_id=0
    ),
    'gptneox': lambda: hf.GPTNeoXConfig(**SHAPE, rotary_pct=0.5),
  }[kind]()
  torch.manual_seed(0)
  model = hf.AutoModelForCausalLM.from_config(made)
  with torch.no_grad():
    for weight in model.parameters():
      weight.copy_(torch.randn(weight.shape))
  state = {k: v.numpy().copy() for k, v in model.state_dict().items()}
  if made.tie_word_embeddings:
    del state['lm_head.weight']
  if kind == 'gptneox':  # As it is called in files.
    state['embed_out.weight'] = state.pop('lm_head.weight')
  return made, state


def stored(kind: str, name: str, x: np.ndarray, heads: int) -> np.ndarray:
  """What a converter makes of a tensor, row by row."""
  out = x.copy()
  if kind == 'llama' and ('.attn_q.' in name or '.attn_k.' in name):
    size = len(x) // heads
    for head in range(heads):
      for pair in range(size // 2):
        for half in range(2):
          row = head * size + half * (size // 2) + pair
          out[head * size + 2 * pair + half] = x[row]
  if kind == 'gptneox' and '.attn_qkv.' in name:
    size = len(x) // (3 * heads)
    for which in range(3):
      for head in range(heads):
        for row in range(size):
          at = (head * 3 + which) * size + row
          out[(which * heads + head) * size + row] = x[at]
  if kind.startswith('gemma') and name.endswith('norm.weight'):
    out = out + 1
  return out


def metadata(writer: gguf.GGUFWriter, config: Any, kind: str) -> None:
  """What converters say of a model."""
  writer.add_context_length(config.max_position_embeddings)
  writer.add_embedding_length(config.hidden_size)
  writer.add_block_count(config.num_hidden_layers)
  writer.add_feed_forward_length(config.intermediate_size)
  writer.add_head_count(config.num_attention_heads)
  width = config.hidden_size // config.num_attention_heads
  if kind == 'gptneox':
    writer.add_rope_dimension_count(width // 2)
    writer.add_parallel_residual(config.use_parallel_residual)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    return
  writer.add_head_count_kv(config.num_key_value_heads)
  writer.add_layer_norm_rms_eps(config.rms_norm_eps)
  head_dim = getattr(config, 'head_dim', None) or width
  if head_dim != width:
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
  if kind in ('llama', 'phi3'):
    writer.add_rope_dimension_count(head_dim)
  if kind == 'gemma3':
    writer.add_rope_freq_base(
      config.rope_parameters['full_attention']['rope_theta']
    )
  elif kind != 'gemma2':
    writer.add_rope_freq_base(config.rope_parameters['rope_theta'])
  if kind.startswith('gemma'):
    writer.add_sliding_window(config.sliding_window)
  if kind == 'gemma2':
    writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    writer.add_final_logit_softcapping(config.final_logit_softcapping)


def write(
  path: pathlib.Path,
  kind: str,
  config: Any,
  state: dict[str, np.ndarray],
  *,
  tokens: list[str] | None = None,
  packed: dict[str, str] | None = None,
  change: Any = None,
  extra: dict[str, np.ndarray] | None = None,
) -> pathlib.Path:
  """A GGUF file of a model.

  Args:
    path: where.
    kind: the architecture.
    config, state: as `tiny` makes them.
    tokens: the vocabulary, if it has one.
    packed: the kind of matrices by their name there.
    change: called with the writer, after the metadata.
    extra: more tensors.
  """
  writer = gguf.GGUFWriter(path, kind)
  writer.add_name('tiny')
  metadata(writer, config, kind)
  if tokens:
    writer.add_tokenizer_model('gpt2')
    writer.add_tokenizer_pre('smollm')
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges([])
  if change:
    change(writer)
  arch = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == kind)
  names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
  for name, x in state.items():
    stem, _, end = name.rpartition('.')
    there = names.get_name(stem)
    assert there, name
    there = f'{there}.{end}'
    heads = KV if '.attn_k.' in there else HEADS
    x = stored(kind, there, x, heads)
    how = (packed or {}).get(there.split('.')[-2], 'F32')
    if x.ndim == 1:
      how = 'F32'
    how = gguf.GGMLQuantizationType[how]
    writer.add_tensor(there, gguf.quantize(x, how), raw_dtype=how)
  for name, x in (extra or {}).items():
    writer.add_tensor(name, x)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path
