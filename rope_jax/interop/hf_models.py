"""Which Hugging Face model types turn q and k, and what their configs omit."""

from __future__ import annotations

import dataclasses
from typing import Any

FULL, SLIDING = 'full_attention', 'sliding_attention'
CHUNKED, NO_ROPE = 'chunked_attention', 'no_rope'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """What the code of a model type knows and its config.json need not say.

  Attributes:
    pairing: which coordinates turn together.
    theta: the base where the config names none; None demands one.
    fraction: the share of coordinates that turn where the config is silent.
    keys: top-level keys about positions that this model type reads, beside
      those that all do (`COMMON`).
    plan: how the layer types follow from the config, see `hf_layers`.
    period: for the plans 'period' and 'no_rope', layers in a period where the
      config is silent.
    still: the layer type that has no rotation, if any.
    local: the key of the sliding layers' own base, and its default.
    window: the window where the config has no key of it; None is no window
      for the plan 'window', and demands one where layers slide.
  """

  pairing: str = 'half'
  theta: float | None = 1e4
  fraction: float = 1.0
  keys: tuple[str, ...] = ()
  plan: str = 'full'
  period: int = 0
  still: str | None = None
  local: tuple[str, float] | None = None
  window: int | None = None


# Keys that any rotary model may have at the top level of its config.
COMMON = frozenset(
  {
    'max_position_embeddings',
    'original_max_position_embeddings',
    'partial_rotary_factor',
    'rope_interleave',
    'rope_interleaved',
    'rope_parameters',
    'rope_scaling',
    'rope_theta',
  }
)
# Several names of one thing; all that are given must agree.
THETA_KEYS = ('rope_theta', 'rotary_emb_base', 'global_rope_theta')
FRACTION_KEYS = ('partial_rotary_factor', 'rotary_pct', 'rope_pct')
# Model types that read `rope_interleave`; the others' pairing is in their code.
INTERLEAVE_KEY = frozenset({'deepseek_v3', 'kimi_k2'})

_MLA: dict[str, Any] = {
  'pairing': 'interleaved',
  'keys': ('qk_rope_head_dim',),
}
_NEOX = ('rotary_pct', 'rotary_emb_base')
_NO_ROPE = ('no_rope_layers', 'no_rope_layer_interval')

# No model type at all: everything must be in the config.
UNNAMED = Model(
  theta=None,
  keys=(*_NEOX, 'rope_pct', 'qk_rope_head_dim', 'attention_chunk_size'),
)

MODELS: dict[str, Model] = {
  'arcee': Model(),
  'bitnet': Model(theta=5e5),
  'chatglm': Model(
    pairing='interleaved', fraction=0.5, keys=('rope_ratio', 'original_rope')
  ),
  'codegen': Model(
    pairing='interleaved', keys=('rotary', 'rotary_dim', 'n_positions')
  ),
  'cohere': Model(pairing='interleaved', theta=5e5),
  'cohere2': Model(
    pairing='interleaved',
    keys=('position_embedding_type', 'rotary_pct'),
    plan='period',
    period=4,
    still=FULL,
  ),
  'deepseek_v2': Model(**_MLA),
  'deepseek_v3': Model(**_MLA),
  'ernie4_5': Model(pairing='interleaved', theta=5e5),
  'ernie4_5_moe': Model(pairing='interleaved', theta=5e5),
  'falcon': Model(keys=('alibi',)),
  'gemma': Model(),
  'gemma2': Model(plan='period', period=2),
  'gemma3_text': Model(
    theta=1e6,
    plan='period',
    period=6,
    keys=('rope_local_base_freq',),
    local=('rope_local_base_freq', 1e4),
  ),
  'gemma4_text': Model(theta=None, plan='period', period=6),
  'glm': Model(pairing='interleaved', fraction=0.5),
  'glm4': Model(pairing='interleaved', fraction=0.5),
  'glm4_moe': Model(fraction=0.5),
  'gpt_neox': Model(fraction=0.25, keys=_NEOX),
  'gpt_oss': Model(theta=1.5e5, plan='period', period=2),
  'gptj': Model(
    pairing='interleaved', keys=('rotary', 'rotary_dim', 'n_positions')
  ),
  'granite': Model(),
  'granitemoe': Model(),
  'helium': Model(pairing='interleaved', theta=1e5),
  'internlm2': Model(),
  'kimi_k2': Model(**_MLA),
  'llama': Model(),
  'llama4_text': Model(
    pairing='interleaved',
    theta=5e5,
    keys=(*_NO_ROPE, 'attention_chunk_size'),
    plan='no_rope',
    period=4,
    still=FULL,
  ),
  'ministral': Model(plan='window', window=4096),
  'mistral': Model(plan='window', window=4096),
  'mixtral': Model(theta=1e6, plan='window'),
  'modernbert': Model(
    theta=1.6e5,
    plan='modernbert',
    keys=('global_rope_theta', 'local_rope_theta', 'position_embedding_type'),
    local=('local_rope_theta', 1e4),
  ),
  'nemotron': Model(fraction=0.5),
  'olmo': Model(),
  'olmo2': Model(),
  'olmo3': Model(
    theta=5e5,
    plan='period',
    period=4,
    local=('rope_theta', 5e5),  # A scaling is for the full layers.
  ),
  'olmoe': Model(),
  'persimmon': Model(fraction=0.5),
  'phi': Model(fraction=0.5),
  'phi3': Model(plan='window'),
  'phimoe': Model(theta=1e6, plan='window'),
  'qwen': Model(keys=(*_NEOX, 'use_dynamic_ntk', 'use_logn_attn')),
  'qwen2': Model(plan='qwen', window=4096),
  'qwen2_moe': Model(plan='qwen2_moe', window=4096),
  'qwen3': Model(plan='qwen', window=4096),
  'qwen3_moe': Model(plan='qwen3_moe', window=4096),
  'seed_oss': Model(),
  'smollm3': Model(
    theta=2e6,
    keys=_NO_ROPE,
    plan='no_rope',
    period=4,
    still=NO_ROPE,
  ),
  'stablelm': Model(fraction=0.25, keys=('rope_pct',)),
  'stablelm_epoch': Model(
    fraction=0.25, keys=('rope_pct', 'rotary_scaling_factor')
  ),
  'starcoder2': Model(plan='window'),
  'vaultgemma': Model(plan='period', period=2),
}
