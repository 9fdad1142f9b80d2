"""The forward pass: pure functions of config, layout and weights."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rope_jax.model.block import KeysValues, norm, run_block
from rope_jax.model.config import ModelConfig
from rope_jax.model.context import Context, whole
from rope_jax.model.loss import projected_nll, to_logits
from rope_jax.model.weights import Weights, home, position_params
from rope_jax.positions import Layout, parts

Array = jax.Array | np.ndarray


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
      return run_block(
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
  return norm(config, weights, 'final_norm', x_btd), cache


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
