"""The shape of a decoder."""

from __future__ import annotations

import dataclasses
import math

from rope_jax.attention import HOWS, fused
from rope_jax.positions import Layout

REMATS = ('none', 'dots', 'full')
DTYPES = ('float32', 'bfloat16')
NORMS = ('rms', 'layer')
MLPS = ('swiglu', 'geglu', 'gelu', 'gelu_tanh')


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
  """The shape of a decoder.

  Attributes:
    vocab: number of token ids.
    layers: number of blocks.
    width: model width d.
    heads: query heads n.
    kv_heads: key and value heads; must divide heads. 0 means heads.
    head_dim: width of a head. 0 means width / heads.
    mlp_dim: inner width of the MLP. 0 means 8/3 width, rounded up to a
      multiple of 64.
    mlp: 'swiglu', silu(gate) x up; 'geglu', the same with GELU (by tanh);
      'gelu' or 'gelu_tanh', one inner half, without a gate.
    norm: 'rms', RMSNorm, or 'layer', LayerNorm with a bias.
    norm_offset: added to the weights of norms: 1 where they are stored less 1
      (Gemma).
    post_norms: norms on what attention and the MLP write, before it is added.
    parallel: attention and MLP both read the block's input (GPT-J), rather than
      one after the other.
    qkv_bias, out_bias, mlp_bias: whether the projections to queries, keys and
      values, from heads, and of the MLP have biases.
    qk_norm: RMSNorm on the queries and keys of each head, before rotation.
    score_scale: factor on q . k; 0 means head_dim^-0.5.
    score_cap: scores become cap tanh(score / cap), before the mask; 0 is none.
    logit_cap: the same of logits.
    tie_embeddings: the output projection is the embedding table.
    scale_embed: token embeddings are multiplied by sqrt(width), so that what a
      Position adds to them meets unit variance.
    norm_eps: epsilon of RMSNorm.
    dtype: of activations and of the weights where they are used; weights are
      stored, and norms, softmax and logits computed, in float32.
    remat: what the backward pass recomputes: 'none', 'dots' (all but matrix
      products with weights) or 'full' (each block from its input).
    scan: loop over the layers in the program, where the layout divides them,
      rather than write each out; compiles faster, runs slower on CPU.
    attention: `how` of `attend`.
  """

  vocab: int
  layers: int
  width: int
  heads: int
  kv_heads: int = 0
  head_dim: int = 0
  mlp_dim: int = 0
  mlp: str = 'swiglu'
  norm: str = 'rms'
  norm_offset: float = 0.0
  post_norms: bool = False
  parallel: bool = False
  qkv_bias: bool = False
  out_bias: bool = False
  mlp_bias: bool = False
  qk_norm: bool = False
  score_scale: float = 0.0
  score_cap: float = 0.0
  logit_cap: float = 0.0
  tie_embeddings: bool = True
  scale_embed: bool = True
  norm_eps: float = 1e-6
  dtype: str = 'float32'
  remat: str = 'none'
  scan: bool = True
  attention: str = 'auto'

  def __post_init__(self):
    for field in ('vocab', 'layers', 'width', 'heads'):
      if getattr(self, field) < 1:
        raise ValueError(f'model.{field}={getattr(self, field)} must be >= 1.')
    if self.head_dim == 0:
      if self.width % self.heads:
        raise ValueError(
          f'model.width={self.width} is not divisible by model.heads='
          f'{self.heads}; change one of them or set model.head_dim.'
        )
      object.__setattr__(self, 'head_dim', self.width // self.heads)
    if self.kv_heads == 0:
      object.__setattr__(self, 'kv_heads', self.heads)
    if self.kv_heads < 1 or self.heads % self.kv_heads:
      raise ValueError(
        f'model.kv_heads={self.kv_heads} must divide model.heads={self.heads}.'
      )
    if self.mlp_dim == 0:
      object.__setattr__(self, 'mlp_dim', -(-8 * self.width // (3 * 64)) * 64)
    for field in ('score_scale', 'score_cap', 'logit_cap'):
      if not 0 <= getattr(self, field) < math.inf:
        raise ValueError(
          f'model.{field}={getattr(self, field)} must be a number > 0, or 0 '
          f'for {"head_dim^-0.5" if field == "score_scale" else "none"}.'
        )
    for field, allowed in (
      ('mlp', MLPS),
      ('norm', NORMS),
      ('remat', REMATS),
      ('dtype', DTYPES),
      ('attention', HOWS),
    ):
      if getattr(self, field) not in allowed:
        raise ValueError(
          f'model.{field}={getattr(self, field)!r} is not one of {allowed}.'
        )

  @property
  def gated(self) -> bool:
    """Whether the MLP has two inner halves, one the gate of the other."""
    return self.mlp in ('swiglu', 'geglu')

  def check(self, layout: Layout) -> None:
    """Raises ValueError if a method of the layout cannot serve this shape."""
    for position in layout:
      position.check(
        heads=self.heads, head_dim=self.head_dim, model_dim=self.width
      )
      reason = None
      if self.attention == 'fused':
        capped = 'model.score_cap caps the scores' if self.score_cap else None
        reason = fused.why_not(position) or capped
      if reason is not None:
        raise ValueError(
          f"model.attention='fused' cannot be had: {reason}. Set 'auto', which "
          'takes the best way for each method.'
        )
