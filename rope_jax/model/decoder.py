"""The forward pass: pure functions of config, layout and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rope_jax.attention import attend
from rope_jax.model.config import ModelConfig
from rope_jax.model.context import Context, whole
from rope_jax.model.loss import projected_nll, to_logits
from rope_jax.model.project import project
from rope_jax.model.swiglu import swiglu
from rope_jax.model.weights import Weights, home, position_params
from rope_jax.positions import Layout, Position, parts

Array = jax.Array | np.ndarray


def rms_norm(x: jax.Array, weight: jax.Array, eps: float) -> jax.Array:
  """x / rms(x) x weight over the last axis, computed in float32."""
  wide = x.astype(jnp.float32)
  scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
  shape = (1,) * (x.ndim - weight.ndim) + weight.shape
  return (wide * scale * weight.reshape(shape)).astype(x.dtype)


# Keys, not rotated, and values of the layers so far: [l, b, s, k, h] each.
KeysValues = tuple[jax.Array, jax.Array]


def _put(cache_bskh: jax.Array, new_btkh: jax.Array, slot_bt: Array):
  row_b1 = jnp.arange(cache_bskh.shape[0])[:, None]
  new_btkh = new_btkh.astype(cache_bskh.dtype)
  return cache_bskh.at[row_b1, slot_bt].set(new_btkh, mode='drop')


def _block(
  config: ModelConfig,
  position: Position,
  weights: Weights,
  params: Any,
  x_btd: jax.Array,
  context: Context,
  cache: KeysValues | None,
) -> tuple[jax.Array, KeysValues | None]:
  dtype = x_btd.dtype
  w = {k: v if 'norm' in k else v.astype(dtype) for k, v in weights.items()}
  y = rms_norm(x_btd, w['attention_norm'], config.norm_eps)
  b, t, _ = y.shape
  h = config.head_dim
  qkv = project(y, w['wqkv'])
  # Splits, since gradients of slices are padded and added.
  q, k, v = jax.lax.split(qkv, (qkv.shape[3] - 2, 1, 1), axis=3)
  q = q.reshape(b, t, config.heads, h)
  k, v = k[:, :, :, 0], v[:, :, :, 0]
  if config.qk_norm:
    q = rms_norm(q, w['q_norm'], config.norm_eps)
    k = rms_norm(k, w['k_norm'], config.norm_eps)
  if cache is not None:
    assert context.slot_bt is not None
    k, v = (
      _put(old, new, context.slot_bt)
      for old, new in zip(cache, (k, v), strict=True)
    )
    cache = (k, v)
  out = attend(
    position,
    params,
    q,
    k,
    v,
    q_pos_bt=context.q_pos_bt,
    k_pos_bs=context.k_pos_bs,
    q_length_bt=context.q_length_bt,
    k_length_bs=context.k_length_bs,
    q_true_bt=context.q_true_bt,
    k_true_bs=context.q_true_bt,
    mask=context.mask,
    how=config.attention,
    mesh=context.mesh,
  )
  x_btd = x_btd + project(out, w['wo'])
  y = rms_norm(x_btd, w['mlp_norm'], config.norm_eps)
  inner = swiglu(project(y, w['w_gate_up']))
  return x_btd + project(inner, w['w_down']), cache


def _rematted(function: Callable, remat: str) -> Callable:
  if remat == 'none':
    return function
  policy = (
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    if remat == 'dots'
    else None
  )
  return jax.checkpoint(function, policy=policy)


def _layers(
  config: ModelConfig,
  layout: Layout,
  weights: Weights,
  x_btd: jax.Array,
  context: Context,
  cache: KeysValues | None,
) -> tuple[jax.Array, KeysValues | None]:
  """All blocks, written out or as a scan over repeats of the layout."""
  blocks, tree = weights['blocks'], weights.get('position', {})
  period = len(layout)

  def one(slot):
    def run(block, params, x_btd, context, cache):
      return _block(config, layout[slot], block, params, x_btd, context, cache)

    return _rematted(run, config.remat)

  def at(tree, index):
    return jax.tree.map(lambda x: x[index], tree)

  def stack(caches):
    return jax.tree.map(lambda *x: jnp.stack(x), *caches)

  if not config.scan or config.layers % period or config.layers == period:
    caches = []
    for layer in range(config.layers):
      slot, use = layer % period, layer // period
      params = position_params(tree, layout, slot, lambda x, use=use: x[use])
      x_btd, kept = one(slot)(
        at(blocks, layer), params, x_btd, context, at(cache, layer)
      )
      caches.append(kept)
    return x_btd, stack(caches)
  repeats = config.layers // period
  own, shared = {}, {}
  for slot in range(period):
    for index, part in enumerate(parts(layout[slot])):
      name = home(layout, slot, index)
      if name in tree:
        (shared if part.shared else own)[name] = tree[name]
  stacked, caches = jax.tree.map(
    lambda v: v.reshape(repeats, period, *v.shape[1:]), (blocks, cache)
  )

  def body(x_btd, inputs):
    block, own_now, before = inputs
    after = []
    for slot in range(period):
      params = position_params({**shared, **own_now}, layout, slot, lambda x: x)
      x_btd, kept = one(slot)(
        at(block, slot), params, x_btd, context, at(before, slot)
      )
      after.append(kept)
    return x_btd, stack(after)

  x_btd, caches = jax.lax.scan(body, x_btd, (stacked, own, caches))
  return x_btd, jax.tree.map(
    lambda v: v.reshape(config.layers, *v.shape[2:]), caches
  )


def run_layers(
  config: ModelConfig,
  layout: Layout,
  weights: Weights,
  tokens_bt: Array,
  context: Context,
  cache: KeysValues | None = None,
) -> tuple[jax.Array, KeysValues | None]:
  """States [b, t, d] of tokens in a context, after the last norm, and the cache
  with them in it."""
  dtype = jnp.dtype(config.dtype)
  scale = config.width**0.5 if config.scale_embed else 1.0
  x_btd = (weights['embed'][jnp.asarray(tokens_bt)] * scale).astype(dtype)
  done, tree = [], weights.get('position', {})
  for slot, position in enumerate(layout):  # Each equal part runs once.
    for index, part in enumerate(parts(position)):
      if part not in done:
        done.append(part)
        params = tree.get(home(layout, slot, index), {}) if part.shared else {}
        x_btd = part.embed(params, x_btd, context.q_pos_bt)
  x_btd, cache = _layers(config, layout, weights, x_btd, context, cache)
  return rms_norm(x_btd, weights['final_norm'], config.norm_eps), cache


def output_table(config: ModelConfig, weights: Weights) -> jax.Array:
  """The table [v, d] whose products with states are the logits."""
  return weights['embed'] if config.tie_embeddings else weights['unembed'].T


def forward(
  config: ModelConfig,
  layout: Layout,
  weights: Weights,
  tokens_bt: Array,
  pos_bt: Array | None = None,
  segment_bt: Array | None = None,
  shown_bt: Array | None = None,
) -> jax.Array:
  """Logits of the next token after each token.

  Args:
    config: the model's shape; static.
    layout: the positional methods, repeated over the layers; static.
    weights: as `init_weights` makes them.
    tokens_bt: int32 ids in [0, vocab).
    pos_bt: int32 positions; None counts from 0 in every row, and in every
      segment of it.
    segment_bt: int32 ids of the documents packed in a row, each in one piece;
      a token sees its own segment alone. None is one document a row.
    shown_bt: int32 positions that training shows in place of pos_bt, see
      `train_positions`. Windows, temperatures and lengths go by pos_bt still.

  Returns:
    float32 [b, t, v].
  """
  context = whole(tokens_bt, pos_bt, segment_bt, shown_bt)
  x_btd, _ = run_layers(config, layout, weights, tokens_bt, context)
  return to_logits(x_btd, output_table(config, weights))


def losses(
  config: ModelConfig,
  layout: Layout,
  weights: Weights,
  tokens_bt: Array,
  targets_bt: Array,
  pos_bt: Array | None = None,
  segment_bt: Array | None = None,
  *,
  shown_bt: Array | None = None,
  order_1t: Array | None = None,
  mesh: Mesh | None = None,
) -> jax.Array:
  """Nats of each target after its token, with no logits kept; see
  `projected_nll`.

  Args:
    config, layout, weights, tokens_bt, pos_bt, segment_bt, shown_bt: as in
      `forward`.
    targets_bt: int32 ids.
    order_1t: int32, where in its row each token stands, for rows placed in
      another order (`attention.zigzag`); positions must be given then.
    mesh: what attention is shared out over; None is one device.

  Returns:
    float32 [b, t].
  """
  context = whole(tokens_bt, pos_bt, segment_bt, shown_bt, order_1t, mesh)
  x_btd, _ = run_layers(config, layout, weights, tokens_bt, context)
  return projected_nll(x_btd, output_table(config, weights), targets_bt)
