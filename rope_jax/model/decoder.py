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


def rms_norm(
  x: jax.Array, weight: jax.Array, eps: float, offset: float = 0.0
) -> jax.Array:
  """x / rms(x) x (weight + offset) over the last axis, computed in float32."""
  wide = x.astype(jnp.float32)
  scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
  return (wide * scale * _spread(weight, x, offset)).astype(x.dtype)


def layer_norm(
  x: jax.Array, weight: jax.Array, bias: jax.Array, eps: float
) -> jax.Array:
  """(x - mean) / deviation x weight + bias over the last axis, in float32."""
  wide = x.astype(jnp.float32)
  wide = wide - jnp.mean(wide, axis=-1, keepdims=True)
  scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
  made = wide * scale * _spread(weight, x) + _spread(bias, x)
  return made.astype(x.dtype)


def _spread(weight, x, offset=0.0):
  weight = weight.astype(jnp.float32) + offset if offset else weight
  return weight.reshape((1,) * (x.ndim - weight.ndim) + weight.shape)


def _norm(config: ModelConfig, weights: Weights, name: str, x: jax.Array):
  """The norm of a name over the model's width."""
  eps = config.norm_eps
  if config.norm == 'layer':
    return layer_norm(x, weights[name], weights[f'{name}_bias'], eps)
  return rms_norm(x, weights[name], eps, config.norm_offset)


# Keys, not rotated, and values of every layer: [l, b, s, k, h] each.
KeysValues = tuple[jax.Array, jax.Array]


# What a cache in bfloat16 may be kept as: XLA for CPUs updates arrays of
# bfloat16 by making float32 of the whole.
BITS = jnp.uint16


def _layer(cache_lbskh, layer: Any, dtype: Any) -> jax.Array:
  """The keys or values of a layer."""
  found = cache_lbskh[layer]
  if found.dtype == BITS:
    found = jax.lax.bitcast_convert_type(found, jnp.bfloat16)
  return found.astype(dtype)


def _put(cache_lbskh, new_btkh: jax.Array, layer: Any, context: Context):
  """A cache with a layer's new keys or values in their places."""
  if cache_lbskh.dtype == BITS:
    new_btkh = jax.lax.bitcast_convert_type(new_btkh.astype(jnp.bfloat16), BITS)
  new_btkh = new_btkh.astype(cache_lbskh.dtype)
  if context.held is None:
    row_b1 = jnp.arange(cache_lbskh.shape[1])[:, None]
    at = cache_lbskh.at[layer, row_b1, context.slot_bt]
    return at.set(new_btkh, mode='drop')
  ways = context.ways  # Pieces lie apart: see `stream.Stream`.
  l, b, s, k, h = cache_lbskh.shape
  pieces = cache_lbskh.reshape(l, b, ways, s // ways, k, h)
  new = new_btkh.reshape(1, b, ways, -1, k, h)
  zero = jnp.int32(0)
  start = (
    jnp.asarray(layer, jnp.int32),
    zero,
    zero,
    context.held // ways,
    zero,
    zero,
  )
  return jax.lax.dynamic_update_slice(pieces, new, start).reshape(l, b, s, k, h)


def _attention(config, position, w, params, y_btd, context, layer, cache):
  """What attention writes, and the cache with this layer's keys and values."""
  b, t, _ = y_btd.shape
  h = config.head_dim
  qkv = project(y_btd, w['wqkv'])
  if config.qkv_bias:
    qkv = qkv + w['bqkv'][None, None]
  # Splits, since gradients of slices are padded and added.
  q, k, v = jax.lax.split(qkv, (qkv.shape[3] - 2, 1, 1), axis=3)
  q = q.reshape(b, t, config.heads, h)
  k, v = k[:, :, :, 0], v[:, :, :, 0]
  if config.qk_norm:
    eps, offset = config.norm_eps, config.norm_offset
    q = rms_norm(q, w['q_norm'], eps, offset)
    k = rms_norm(k, w['k_norm'], eps, offset)
  if config.score_scale:
    q = q * np.asarray(config.score_scale * h**0.5, q.dtype)
  if cache is not None:
    keys, values = cache
    keys = _put(keys, k, layer, context)
    values = _put(values, v, layer, context)
    k, v = (_layer(x, layer, q.dtype) for x in (keys, values))
    cache = keys, values
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
    cap=config.score_cap or None,
    mesh=context.mesh,
  )
  made = project(out, w['wo'])
  return made + w['bo'][None, None] if config.out_bias else made, cache


def _mlp(config: ModelConfig, w: Weights, y_btd: jax.Array) -> jax.Array:
  """What the MLP writes."""
  name = 'gate_up' if config.gated else 'up'
  inner = project(y_btd, w[f'w_{name}'])
  if config.mlp_bias:
    inner = inner + w[f'b_{name}'][None, None]
  if config.mlp == 'swiglu':
    inner = swiglu(inner)
  elif config.mlp == 'geglu':
    inner = jax.nn.gelu(inner[:, :, 0], approximate=True) * inner[:, :, 1]
  else:
    inner = jax.nn.gelu(inner, approximate=config.mlp == 'gelu_tanh')
  made = project(inner, w['w_down'])
  return made + w['b_down'][None, None] if config.mlp_bias else made


def _block(
  config: ModelConfig,
  position: Position,
  weights: Weights,
  params: Any,
  x_btd: jax.Array,
  context: Context,
  layer: Any,
  cache: KeysValues | None,
) -> tuple[jax.Array, KeysValues | None]:
  dtype = x_btd.dtype
  w = {k: v if 'norm' in k else v.astype(dtype) for k, v in weights.items()}

  def written(name, made):
    return _norm(config, w, f'{name}_post_norm', made) if post else made

  post = config.post_norms
  y = _norm(config, w, 'attention_norm', x_btd)
  made, cache = _attention(
    config, position, w, params, y, context, layer, cache
  )
  after = x_btd + written('attention', made)
  y = _norm(config, w, 'mlp_norm', x_btd if config.parallel else after)
  return after + written('mlp', _mlp(config, w, y)), cache


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
    def run(block, params, x_btd, context, layer, cache):
      position = layout[slot]
      return _block(
        config, position, block, params, x_btd, context, layer, cache
      )

    return _rematted(run, config.remat)

  def at(tree, index):
    return jax.tree.map(lambda x: x[index], tree)

  if not config.scan or config.layers % period or config.layers == period:
    for layer in range(config.layers):
      slot, use = layer % period, layer // period
      params = position_params(tree, layout, slot, lambda x, use=use: x[use])
      x_btd, cache = one(slot)(
        at(blocks, layer), params, x_btd, context, layer, cache
      )
    return x_btd, cache
  repeats = config.layers // period
  own, shared = {}, {}
  for slot in range(period):
    for index, part in enumerate(parts(layout[slot])):
      name = home(layout, slot, index)
      if name in tree:
        (shared if part.shared else own)[name] = tree[name]
  stacked = jax.tree.map(
    lambda v: v.reshape(repeats, period, *v.shape[1:]), blocks
  )

  def body(carry, inputs):
    x_btd, cache = carry
    first, block, own_now = inputs
    for slot in range(period):
      params = position_params({**shared, **own_now}, layout, slot, lambda x: x)
      x_btd, cache = one(slot)(
        at(block, slot), params, x_btd, context, first + slot, cache
      )
    return (x_btd, cache), None

  firsts = jnp.arange(0, config.layers, period)
  (x_btd, cache), _ = jax.lax.scan(body, (x_btd, cache), (firsts, stacked, own))
  return x_btd, cache


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
  return _norm(config, weights, 'final_norm', x_btd), cache


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
  return to_logits(x_btd, output_table(config, weights), config.logit_cap)


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
  table = output_table(config, weights)
  return projected_nll(x_btd, table, targets_bt, cap=config.logit_cap)
