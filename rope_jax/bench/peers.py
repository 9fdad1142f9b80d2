"""Jobs of the bench by PyTorch and transformers, as their users write them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch.nn.attention.flex_attention import (  # pyright: ignore[reportMissingImports]
  create_block_mask,
  flex_attention,
)
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.models.t5.modeling_t5 import T5Attention

from rope_jax.bench import draws, memory

Job = tuple[Callable[[], Any], Callable[[], list[float]]]


def setup() -> None:
  """Called once, before the first job."""
  torch.set_num_threads(len(os.sched_getaffinity(0)))


def _arrays(heads: int, tokens: int, gradient: bool) -> list[torch.Tensor]:
  """q, k, v and d as [1, n, t, h], seen through the [1, t, n, h] that they are
  in memory, as projections make them: what transformers' models do."""
  made = [
    torch.from_numpy(x).transpose(1, 2) for x in draws.attention(heads, tokens)
  ]
  return [x.requires_grad_(gradient) for x in made[:3]] + made[3:]


def _slopes(heads: int) -> torch.Tensor:
  return 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)


def _numbers(out: torch.Tensor, grads: Any, d: torch.Tensor) -> list[float]:
  with torch.no_grad():
    found = [(out * d).sum()] + [(g * d).sum() for g in grads[:3]]
    return [float(x) for x in found + [g.abs().sum() for g in grads[3:]]]


def attention(heads: int, tokens: int, bias: str, gradient: bool) -> Job:
  """`scaled_dot_product_attention`, causal.

  ALiBi's bias is made beforehand with the mask in it; T5's is looked up in its
  table every time, since the table learns.
  """
  q, k, v, d = _arrays(heads, tokens, gradient)
  at = torch.arange(tokens)
  distance = at[:, None] - at[None]
  hidden = distance < 0
  table = torch.from_numpy(draws.table(heads)).requires_grad_(gradient)
  learned: list[torch.Tensor] = [table] if bias == 't5' else []
  whole = None
  if bias == 'alibi':
    whole = -_slopes(heads)[:, None, None] * distance
    whole = whole.masked_fill(hidden, -math.inf)[None]
  bucket = T5Attention._relative_position_bucket(
    -distance,
    bidirectional=False,
    num_buckets=draws.BUCKETS,
    max_distance=draws.FAR,
  )

  def values():
    mask = whole
    if bias == 't5':
      mask = F.embedding(bucket, table).permute(2, 0, 1) * math.sqrt(
        draws.WIDTH
      )
      mask = mask.masked_fill(hidden, -math.inf)[None]
    return F.scaled_dot_product_attention(
      q, k, v, attn_mask=mask, is_causal=mask is None
    )

  def run():
    if not gradient:
      with torch.no_grad():
        return values(), ()
    out = values()
    return out, torch.autograd.grad(out, [q, k, v, *learned], d)

  return run, lambda: _numbers(*run(), d)


def flex(heads: int, tokens: int) -> Job:
  """FlexAttention, compiled, with ALiBi as its score_mod; forward."""
  q, k, v, d = _arrays(heads, tokens, False)
  slopes = _slopes(heads)

  def alibi(score, batch, head, i, j):
    del batch
    return score - slopes[head] * (i - j)

  def causal(batch, head, i, j):
    del batch, head
    return i >= j

  blocks = create_block_mask(causal, None, None, tokens, tokens, device='cpu')
  compiled = torch.compile(flex_attention)

  def run():
    with torch.no_grad():
      return compiled(q, k, v, score_mod=alibi, block_mask=blocks)

  return run, lambda: _numbers(run(), (), d)


def training(layers, width, heads, mlp_dim, vocab, rows, tokens) -> Job:
  """A step of LlamaForCausalLM under AdamW; its check is the weights' number.

  The configuration's shape, attention by sdpa, and the fused optimiser.
  """
  config = LlamaConfig(
    vocab_size=vocab,
    hidden_size=width,
    intermediate_size=mlp_dim,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    max_position_embeddings=tokens,
    tie_word_embeddings=True,
    use_cache=False,
  )
  model = LlamaForCausalLM(config)
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
  ids = draws.batch(rows, tokens, vocab).astype(np.int64)
  inputs, targets = (
    torch.from_numpy(x.copy()) for x in (ids[:, :-1], ids[:, 1:])
  )

  def run():
    optimizer.zero_grad(set_to_none=True)
    loss = model(inputs, labels=targets, shift_labels=targets).loss
    loss.backward()
    optimizer.step()

  weights = sum(x.numel() for x in model.parameters())
  return run, lambda: [float(weights)]


def reading(path: str, tokens: int, warm: int) -> Job:
  """The losses of a text under the same model, in one forward pass."""
  model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
  model = model.eval()
  ids = draws.batch(1, tokens, model.config.vocab_size).astype(np.int64)
  losses: list[float] = []

  def run():
    count = tokens if losses else warm
    text = torch.from_numpy(ids[:, : count + 1])
    with torch.no_grad():
      made = model(text[:, :-1], use_cache=False).logits[0]
      losses.append(float(F.cross_entropy(made, text[0, 1:])))
    return {'peak': memory.peak()}

  return run, lambda: [losses[0]]
