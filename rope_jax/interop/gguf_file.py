"""Opens a GGUF file as if it were the folder of a Hugging Face model."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from rope_jax.interop import gguf_config, gguf_tokenizer
from rope_jax.interop.gguf_archs import ARCHS
from rope_jax.interop.gguf_header import Header, open_header
from rope_jax.interop.gguf_rope import ROPE_TENSORS

if TYPE_CHECKING:
  import tokenizers

_BLOCK = re.compile(r'blk\.(\d+)\.(\w+)\.(weight|bias)')
# Names before .weight and .bias, there and here.
_MODEL = {
  'token_embd': 'model.embed_tokens',
  'output_norm': 'model.norm',
  'output': 'lm_head',
}
_ATTENTION = {
  'attn_q': 'self_attn.q_proj',
  'attn_k': 'self_attn.k_proj',
  'attn_v': 'self_attn.v_proj',
  'attn_output': 'self_attn.o_proj',
}
_LLAMA = {
  **_ATTENTION,
  'attn_norm': 'input_layernorm',
  'ffn_norm': 'post_attention_layernorm',
  'ffn_gate': 'mlp.gate_proj',
  'ffn_up': 'mlp.up_proj',
  'ffn_down': 'mlp.down_proj',
}
_QK_NORM = {
  'attn_q_norm': 'self_attn.q_norm',
  'attn_k_norm': 'self_attn.k_norm',
}
_GEMMA = {
  **_LLAMA,
  'post_attention_norm': 'post_attention_layernorm',
  'ffn_norm': 'pre_feedforward_layernorm',
  'post_ffw_norm': 'post_feedforward_layernorm',
}
_BLOCKS = {
  'llama': _LLAMA,
  'qwen2': _LLAMA,
  'qwen3': {**_LLAMA, **_QK_NORM},
  'gemma2': _GEMMA,
  'gemma3': {**_GEMMA, **_QK_NORM},
  'phi3': {
    'attn_qkv': 'self_attn.qkv_proj',
    'attn_output': 'self_attn.o_proj',
    'attn_norm': 'input_layernorm',
    'ffn_norm': 'post_attention_layernorm',
    'ffn_up': 'mlp.gate_up_proj',
    'ffn_down': 'mlp.down_proj',
  },
  'gptneox': {
    'attn_qkv': 'attention.query_key_value',
    'attn_output': 'attention.dense',
    'attn_norm': 'input_layernorm',
    'ffn_norm': 'post_attention_layernorm',
    'ffn_up': 'mlp.dense_h_to_4h',
    'ffn_down': 'mlp.dense_4h_to_h',
  },
}
_NEOX = {
  'token_embd': 'gpt_neox.embed_in',
  'output_norm': 'gpt_neox.final_layer_norm',
  'output': 'embed_out',
}


class GgufSource:
  """The tensors of a GGUF file under Hugging Face names, in that layout.

  Attributes:
    where: the file, for messages.
    no_tokenizer: why the file gave no tokenizer, or None if it did.
  """

  no_tokenizer: str | None = None

  def __init__(self, header: Header, config: dict[str, Any]):
    self.where = header.where
    self._header, self._config = header, config
    self._arch = header.metadata['general.architecture']
    self._stored: dict[str, str] = {}
    for stored in header.tensors:
      if stored not in ROPE_TENSORS:  # They are in the config.
        self._stored[self._named(stored)] = stored
    for name in self._stored:
      self._groups(name)  # Raises for shapes that cannot be undone.

  def shapes(self) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape, by name."""
    tensors = self._header.tensors
    return {name: tensors[at].shape for name, at in self._stored.items()}

  def read(self, name: str) -> np.ndarray:
    """One tensor: float32, or float16 where it is stored so.

    Raises:
      KeyError: the name is not among `shapes`.
      ValueError: packed in a way that the package gguf cannot unpack.
    """
    found = self._header.load(self._stored[name])
    groups = self._groups(name)
    if groups:  # Rows lie as [.., b, a, ..] and are wanted as [.., a, b, ..].
      rest = found.shape[1:]
      found = found.reshape(*groups, -1, *rest).swapaxes(
        *((1, 2) if len(groups) == 3 else (0, 1))
      )
      found = np.ascontiguousarray(found.reshape(-1, *rest))
    if ARCHS[self._arch].norm_offset and name.endswith('norm.weight'):
      found = found.astype(np.float32) - np.float32(1)
    return found

  def _named(self, stored: str) -> str:
    """The Hugging Face name of a tensor."""
    top = _NEOX if self._arch == 'gptneox' else _MODEL
    match = _BLOCK.fullmatch(stored)
    stem, _, end = stored.rpartition('.')
    if match and match[2] in _BLOCKS[self._arch]:
      before = 'gpt_neox' if self._arch == 'gptneox' else 'model'
      return (
        f'{before}.layers.{match[1]}.{_BLOCKS[self._arch][match[2]]}.{match[3]}'
      )
    if stem in top and end in ('weight', 'bias'):
      return f'{top[stem]}.{end}'
    raise ValueError(
      f'{self.where}: the tensor {stored} is not known of architecture '
      f'{self._arch!r}, so that the model would be read wrong; use a file of '
      'the plain model (no experts, adapters or projectors).'
    )

  def _groups(self, name: str) -> tuple[int, ...]:
    """How rows are grouped that must change places; () for none.

    The two numbers after the heads change places: [heads, h/2, 2] pairs of a
    permuted q or k; of a fused projection [3, heads] whole heads.
    """
    kind = name.rpartition('.')[0].rpartition('.')[2]
    config = self._config
    heads = config['num_attention_heads']
    if kind == 'query_key_value':
      groups = (3, heads)
    elif ARCHS[self._arch].permuted and kind in ('q_proj', 'k_proj'):
      if kind == 'k_proj':
        heads = config['num_key_value_heads']
      groups = (heads, config['head_dim'] // 2, 2)
    else:
      return ()
    shape = self._header.tensors[self._stored[name]].shape
    width = config.get('head_dim', config['hidden_size'] // heads)
    rows = math.prod(groups) * (width if len(groups) == 2 else 1)
    if shape[0] != rows:
      raise ValueError(
        f'{self.where}: {self._stored[name]} of shape {shape} must have {rows} '
        f'rows for the {heads} heads of width {width} that the metadata names.'
      )
    return groups


def open_gguf(
  path: str | os.PathLike[str],
) -> tuple[dict[str, Any], GgufSource, tokenizers.Tokenizer | None]:
  """Opens a GGUF file as if it were the folder of a Hugging Face model.

  Llama's queries and keys are stored for interleaved pairs and come back for
  halves; Gemma's norms are stored plus 1; GPT-NeoX's fused projection is stored
  by queries, keys and values and comes back by heads. Only the metadata is
  read here; each tensor when it is asked for.

  Args:
    path: a .gguf file of versions 2 or 3, little-endian, in one piece. It is
      only ever read.

  Returns:
    (config, source, tokenizer): what `config.json` would say; the tensors by
    Hugging Face name; the tokenizer, or None for a kind that is not rebuilt,
    which `source.no_tokenizer` then explains.

  Raises:
    ValueError: a file that is cut off, corrupt, of another version or byte
      order; an architecture, a tensor or metadata that is not read; a
      tokenizer and an embedding of different sizes.

  Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   path = pathlib.Path(folder, 'model.gguf')
    ...   _ = path.write_bytes(b'GGUF' + bytes([1, 0, 0, 0]))
    ...   open_gguf(path)
    Traceback (most recent call last):
    ...
    ValueError: ...model.gguf is GGUF of version 1; versions 2 and 3 are read...

  Source: ggml-org/ggml, `docs/gguf.md`; ggml-org/llama.cpp,
    `convert_hf_to_gguf.py`.
  """
  header = open_header(path)
  config = gguf_config.config_of(header)
  source = GgufSource(header, config)
  tokenizer, source.no_tokenizer = gguf_tokenizer.build(header)
  return config, source, tokenizer
