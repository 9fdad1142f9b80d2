"""What the code of each family of models computes from its config.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rope_jax.interop.tensors import Names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
  """What a model type's code knows and its config.json need not say.

  Attributes:
    architecture: the class that `architectures` names.
    names: what its tensors are called.
    fixed: fields of ModelConfig that its code decides.
    read: fields of ModelConfig by the keys that decide them.
    silent: what keys are taken to be where the config is silent; None of
      `head_dim` is hidden_size / num_attention_heads, of
      `num_key_value_heads` num_attention_heads, of a cap none.
    activation: the key of the MLP's activation.
    mlps: ModelConfig's `mlp` by its value.
    layers: keys from which `layout_from_hf` reads what each layer sees.
    settled: keys of which only these values are read.
    ropes: the rope types that its code in transformers has; None is all.
    original: whether its code has an original_max_position_embeddings of its
      own, which wins over that of the rope section.
  """

  architecture: str
  names: Names = dataclasses.field(default_factory=Names)
  fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  read: Mapping[str, str] = dataclasses.field(default_factory=dict)
  silent: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  activation: str = 'hidden_act'
  mlps: Mapping[str, str] = dataclasses.field(
    default_factory=lambda: {'silu': 'swiglu', 'swish': 'swiglu'}
  )
  layers: tuple[str, ...] = ()
  settled: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
  ropes: tuple[str, ...] | None = None
  original: bool = False


_RMS = {
  'norm_eps': 'rms_norm_eps',
  'tie_embeddings': 'tie_word_embeddings',
  'kv_heads': 'num_key_value_heads',
  'head_dim': 'head_dim',
}
_BIASED = {'qkv_bias': 'attention_bias', 'out_bias': 'attention_bias'}
_PLAIN = {
  'rms_norm_eps': 1e-6,
  'tie_word_embeddings': False,
  'num_key_value_heads': None,
  'head_dim': None,
  'attention_bias': False,
  'mlp_bias': False,
  'hidden_act': 'silu',
}
_FIXED = {'scale_embed': False}
_WINDOWED = ('sliding_window', 'use_sliding_window', 'max_window_layers')
_GLM = {
  **_PLAIN,
  'num_key_value_heads': 2,
  'head_dim': 128,
  'rms_norm_eps': 1.5625e-7,
  'attention_bias': True,
}
_GEMMA_FIXED = {'norm_offset': 1.0, 'scale_embed': True}
_GEMMA = {
  **_PLAIN,
  'num_key_value_heads': 4,
  'head_dim': 256,
  'tie_word_embeddings': True,
  'hidden_act': 'gelu_pytorch_tanh',
  'hidden_activation': 'gelu_pytorch_tanh',
}
_TANH = ('gelu_pytorch_tanh', 'gelu')
_QK = {'q_norm': 'self_attn.q_norm', 'k_norm': 'self_attn.k_norm'}
_SANDWICH = Names(
  norms={
    'attention_norm': 'input_layernorm',
    'attention_post_norm': 'post_attention_layernorm',
    'mlp_norm': 'pre_feedforward_layernorm',
    'mlp_post_norm': 'post_feedforward_layernorm',
    **_QK,
  }
)
_ROWS = Names(gate_up='mlp.gate_up_proj')

FAMILIES: dict[str, Family] = {
  'llama': Family(
    architecture='LlamaForCausalLM',
    fixed=_FIXED,
    read={**_RMS, **_BIASED, 'mlp_bias': 'mlp_bias'},
    silent=_PLAIN,
  ),
  'mistral': Family(
    architecture='MistralForCausalLM',
    fixed=_FIXED,
    read=_RMS,
    silent={**_PLAIN, 'num_key_value_heads': 8},
    layers=('sliding_window',),
  ),
  'qwen2': Family(
    architecture='Qwen2ForCausalLM',
    fixed={**_FIXED, 'qkv_bias': True},
    read=_RMS,
    silent={**_PLAIN, 'num_key_value_heads': 32},
    layers=(*_WINDOWED, 'layer_types'),
  ),
  'qwen3': Family(
    architecture='Qwen3ForCausalLM',
    fixed={**_FIXED, 'qk_norm': True},
    read={**_RMS, **_BIASED},
    silent={**_PLAIN, 'num_key_value_heads': 32, 'head_dim': 128},
    layers=(*_WINDOWED, 'layer_types'),
  ),
  'smollm3': Family(
    architecture='SmolLM3ForCausalLM',
    fixed=_FIXED,
    read={**_RMS, **_BIASED, 'mlp_bias': 'mlp_bias'},
    silent={**_PLAIN, 'num_key_value_heads': 4, 'tie_word_embeddings': True},
    layers=(*_WINDOWED, 'layer_types'),
  ),
  'gpt_neox': Family(
    architecture='GPTNeoXForCausalLM',
    names=Names(
      embed='gpt_neox.embed_in',
      final_norm='gpt_neox.final_layer_norm',
      unembed='embed_out',
      layer='gpt_neox.layers.{}.',
      qkv='attention.query_key_value',
      by_head=True,
      o='attention.dense',
      up='mlp.dense_h_to_4h',
      down='mlp.dense_4h_to_h',
      norms={
        'attention_norm': 'input_layernorm',
        'mlp_norm': 'post_attention_layernorm',
      },
      aliases={'embed_out.weight': 'lm_head.weight'},
    ),
    fixed={**_FIXED, 'norm': 'layer', 'mlp_bias': True},
    read={
      **_BIASED,
      'norm_eps': 'layer_norm_eps',
      'tie_embeddings': 'tie_word_embeddings',
      'parallel': 'use_parallel_residual',
    },
    silent={
      'layer_norm_eps': 1e-5,
      'tie_word_embeddings': False,
      'use_parallel_residual': True,
      'attention_bias': True,
      'hidden_act': 'gelu',
    },
    mlps={
      'gelu': 'gelu',
      'gelu_fast': 'gelu_tanh',
      'gelu_new': 'gelu_tanh',
      'gelu_pytorch_tanh': 'gelu_tanh',
    },
  ),
  'glm': Family(
    architecture='GlmForCausalLM',
    names=_ROWS,
    fixed=_FIXED,
    read={**_RMS, 'qkv_bias': 'attention_bias'},
    silent=_GLM,
  ),
  'glm4': Family(
    architecture='Glm4ForCausalLM',
    names=dataclasses.replace(
      _ROWS,
      norms={
        'attention_norm': 'input_layernorm',
        'attention_post_norm': 'post_self_attn_layernorm',
        'mlp_norm': 'post_attention_layernorm',
        'mlp_post_norm': 'post_mlp_layernorm',
      },
    ),
    fixed={**_FIXED, 'post_norms': True},
    read={**_RMS, 'qkv_bias': 'attention_bias'},
    silent=_GLM,
  ),
  'gemma': Family(
    architecture='GemmaForCausalLM',
    fixed=_GEMMA_FIXED,
    read={**_RMS, **_BIASED},
    silent={**_GEMMA, 'num_key_value_heads': 16},
    # Its first configs say 'gelu' and mean the one by tanh.
    mlps=dict.fromkeys(_TANH, 'geglu'),
    settled={'hidden_activation': ('gelu_pytorch_tanh',)},
  ),
  'gemma2': Family(
    architecture='Gemma2ForCausalLM',
    names=_SANDWICH,
    fixed={**_GEMMA_FIXED, 'post_norms': True},
    read={
      **_RMS,
      **_BIASED,
      'score_scale': 'query_pre_attn_scalar',
      'score_cap': 'attn_logit_softcapping',
      'logit_cap': 'final_logit_softcapping',
    },
    silent={
      **_GEMMA,
      'query_pre_attn_scalar': 256,
      'attn_logit_softcapping': 50.0,
      'final_logit_softcapping': 30.0,
    },
    activation='hidden_activation',
    mlps={'gelu_pytorch_tanh': 'geglu'},
    layers=('sliding_window', 'layer_types'),
    settled={'hidden_act': _TANH},
  ),
  'gemma3_text': Family(
    architecture='Gemma3ForCausalLM',
    names=_SANDWICH,
    fixed={**_GEMMA_FIXED, 'post_norms': True, 'qk_norm': True},
    read={
      **_RMS,
      **_BIASED,
      'score_scale': 'query_pre_attn_scalar',
      'logit_cap': 'final_logit_softcapping',
    },
    silent={
      **_GEMMA,
      'query_pre_attn_scalar': 256,
      'final_logit_softcapping': None,
    },
    activation='hidden_activation',
    mlps={'gelu_pytorch_tanh': 'geglu'},
    layers=(
      'sliding_window',
      'layer_types',
      'sliding_window_pattern',
      '_sliding_window_pattern',
    ),
    settled={'hidden_act': _TANH},
  ),
  'phi3': Family(
    architecture='Phi3ForCausalLM',
    names=dataclasses.replace(_ROWS, qkv='self_attn.qkv_proj'),
    fixed=_FIXED,
    read=_RMS,
    silent={**_PLAIN, 'rms_norm_eps': 1e-5},
    layers=('sliding_window',),
    settled={'interpolate_factor': (1,), 'full_attn_mod': (1,)},
    ropes=('default', 'longrope', 'su'),
    original=True,
  ),
}
