"""A block of the decoder: norms, attention with its cache, the MLP."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.attention import attend
from rope_jax.model.config import ModelConfig
from rope_jax.model.context import Context
from rope_jax.model.project import project
from rope_jax.model.swiglu import swiglu
from rope_jax.model.weights import Weights
from rope_jax.positions import Position


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


def norm(
  config: ModelConfig, weights: Weights, name: str, x: jax.Array
) -> jax.Array:
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


def run_block(
  config: ModelConfig,
  position: Position,
  weights: Weights,
  params: Any,
  x_btd: jax.Array,
  context: Context,
  layer: Any,
  cache: KeysValues | None,
) -> tuple[jax.Array, KeysValues | None]:
  """A block's output, and the cache with its keys and values in it."""
  dtype = x_btd.dtype
  w = {k: v if 'norm' in k else v.astype(dtype) for k, v in weights.items()}

  def written(name, made):
    return norm(config, w, f'{name}_post_norm', made) if post else made

  post = config.post_norms
  y = norm(config, w, 'attention_norm', x_btd)
  made, cache = _attention(
    config, position, w, params, y, context, layer, cache
  )
  after = x_btd + written('attention', made)
  y = norm(config, w, 'mlp_norm', x_btd if config.parallel else after)
  return after + written('mlp', _mlp(config, w, y)), cache
