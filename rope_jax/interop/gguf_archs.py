"""Which architectures are read from GGUF, and what their metadata may say."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from rope_jax.interop.gguf_header import Header


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arch:
  """A `general.architecture`: the model type it is, and how it is stored.

  Attributes:
    model_type: its name at Hugging Face.
    eps: the config's key of the norms' epsilon, and the metadata's.
    act: the config's key of the activation, and its name.
    permuted: rows of queries and keys are stored for interleaved pairs.
    norm_offset: what the file has added to the weights of RMSNorms.
    partial: fewer coordinates than a head has may turn.
    keys: metadata that this architecture has, beside those that all have.
  """

  model_type: str
  eps: tuple[str, str] = ('rms_norm_eps', 'attention.layer_norm_rms_epsilon')
  act: tuple[str, str] = ('hidden_act', 'silu')
  permuted: bool = False
  norm_offset: float = 0.0
  partial: bool = False
  keys: tuple[str, ...] = ()


_GELU = ('hidden_activation', 'gelu_pytorch_tanh')
WINDOW = 'attention.sliding_window'
FINAL_CAP, SCORE_CAP = 'final_logit_softcapping', 'attn_logit_softcapping'
ARCHS = {
  'llama': Arch(model_type='llama', permuted=True, keys=('expert_count',)),
  'qwen2': Arch(model_type='qwen2'),
  'qwen3': Arch(model_type='qwen3'),
  'gemma2': Arch(
    model_type='gemma2',
    act=_GELU,
    norm_offset=1.0,
    keys=(WINDOW, FINAL_CAP, SCORE_CAP),
  ),
  'gemma3': Arch(
    model_type='gemma3_text',
    act=_GELU,
    norm_offset=1.0,
    keys=(
      WINDOW,
      FINAL_CAP,
      'rope.freq_base_swa',
      'attention.sliding_window_pattern',
    ),
  ),
  'phi3': Arch(model_type='phi3', partial=True, keys=(WINDOW,)),
  'gptneox': Arch(
    model_type='gpt_neox',
    eps=('layer_norm_eps', 'attention.layer_norm_epsilon'),
    act=('hidden_act', 'gelu'),
    partial=True,
    keys=('use_parallel_residual',),
  ),
}
SHAPE = {
  'hidden_size': 'embedding_length',
  'num_hidden_layers': 'block_count',
  'num_attention_heads': 'attention.head_count',
  'intermediate_size': 'feed_forward_length',
  'max_position_embeddings': 'context_length',
}
_SCALING = (
  'type',
  'factor',
  'original_context_length',
  'finetuned',
  'attn_factor',
  'yarn_beta_fast',
  'yarn_beta_slow',
  'yarn_ext_factor',
)
_KEYS = (
  *SHAPE.values(),
  'attention.head_count_kv',
  'attention.key_length',
  'attention.value_length',
  'rope.dimension_count',
  'rope.freq_base',
  'rope.scale_linear',
  'vocab_size',
  'tensor_data_layout',
  *(f'rope.scaling.{key}' for key in _SCALING),
)


class Metadata:
  """What the metadata says of the architecture."""

  def __init__(self, header: Header):
    self.where, self._all = header.where, header.metadata
    self.name = self._all.get('general.architecture')
    if self.name not in ARCHS:
      raise ValueError(
        f'{self.where}: general.architecture={self.name!r} is not read from '
        f'GGUF; read are {", ".join(ARCHS)}. If the model is on Hugging Face '
        'as safetensors, give that folder.'
      )
    self.arch = ARCHS[self.name]
    known = {*_KEYS, *self.arch.keys, self.arch.eps[1]}
    for key in self._all:
      prefix, _, rest = key.partition('.')
      if prefix == self.name and rest not in known:
        raise ValueError(
          f'{self.where}: {key}={self._all[key]!r} is not read of architecture '
          f'{self.name!r} and may change what the model computes. Use a file '
          'without it, or the Hugging Face folder of the model.'
        )

  def get(self, key: str, default: Any = None) -> Any:
    return self._all.get(f'{self.name}.{key}', default)

  def whole(self, key: str, default: int | None = None) -> int:
    """A number of things, which a list may give for each layer alike."""
    value = self.get(key, default)
    if isinstance(value, list) and len(set(value)) == 1:
      value = value[0]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
      raise ValueError(
        f'{self.where}: {self.name}.{key}={value!r} must be a whole number >= '
        '1, the same for all layers; convert the model anew.'
      )
    return value

  def real(self, key: str, default: float | None = None) -> float:
    value = self.get(key, default)
    if (
      not isinstance(value, (int, float))
      or not math.isfinite(value)
      or not value
    ):
      raise ValueError(
        f'{self.where}: {self.name}.{key}={value!r} must be a number other '
        'than 0; convert the model anew.'
      )
    # Written as float32: 1e-5 comes as 9.999999747378752e-06.
    return float(np.format_float_positional(np.float32(value), unique=True))

  def refuse(self, key: str, why: str) -> ValueError:
    return ValueError(
      f'{self.where}: {self.name}.{key}={self.get(key)!r} {why}'
    )
