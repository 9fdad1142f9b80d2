"""The tree of weights: how it is drawn, and where each method keeps its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax import positions
from rope_jax.model.config import ModelConfig
from rope_jax.positions import Compose, Layout, parts

Weights = dict[str, Any]


def _normal(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
  return jax.random.normal(key, shape, jnp.float32) * fan_in**-0.5


def init_weights(
  key: jax.Array, config: ModelConfig, layout: Layout
) -> Weights:
  """Draws the weights: float32, those of the blocks stacked over the layers.

  'wqkv' [l, d, k, n/k + 2, h] has for each key head its query heads, its key
  and its value; 'w_gate_up' [l, d, 2, m] the gate and the inner half of a gated
  MLP, 'w_up' [l, d, m] the inner half of a plain one. A bias of 'wX' is 'bX'.

  Projections have variance 1 / fan-in; those that write to the residual stream
  a further 1 / (2 layers). A method's own parameters are under 'position', by
  slot of the layout, and no other shape depends on the layout: so the same
  weights can be read under another one.
  """
  config.check(layout)
  l, d, n, k, h, m = (
    config.layers,
    config.width,
    config.heads,
    config.kv_heads,
    config.head_dim,
    config.mlp_dim,
  )
  keys = iter(jax.random.split(key, 16))
  residual = 2 * l
  wq, wk, wv = (_normal(next(keys), (l, d, x, h), d) for x in (n, k, k))
  heads = (wq.reshape(l, d, k, n // k, h), wk[:, :, :, None], wv[:, :, :, None])
  blocks = {
    'wqkv': jnp.concatenate(heads, axis=3),
    'wo': _normal(next(keys), (l, n, h, d), n * h * residual),
  }
  gated = config.gated
  up = [_normal(next(keys), (l, d, m), d) for _ in range(1 + gated)]
  blocks |= {'w_gate_up': jnp.stack(up, axis=2)} if gated else {'w_up': up[0]}
  blocks['w_down'] = _normal(next(keys), (l, m, d), m * residual)
  if config.qkv_bias:
    blocks['bqkv'] = jnp.zeros((l, k, n // k + 2, h))
  if config.out_bias:
    blocks['bo'] = jnp.zeros((l, d))
  if config.mlp_bias:
    inner = {'b_gate_up': (l, 2, m)} if gated else {'b_up': (l, m)}
    for name, shape in (*inner.items(), ('b_down', (l, d))):
      blocks[name] = jnp.zeros(shape)
  for name in norms(config):
    blocks |= _norm(config, name, (l, d))
  if config.qk_norm:
    one = np.float32(1 - config.norm_offset)
    blocks |= {name: jnp.full((l, h), one) for name in ('q_norm', 'k_norm')}
  weights: Weights = {
    'embed': _normal(next(keys), (config.vocab, d), d),
    'blocks': blocks,
    **_norm(config, 'final_norm', (d,)),
  }
  own = init_positions(next(keys), config, layout)
  if own:  # An empty dict would not survive `nnx.split`.
    weights['position'] = own
  if not config.tie_embeddings:
    weights['unembed'] = _normal(next(keys), (d, config.vocab), d)
  return weights


def norms(config: ModelConfig) -> tuple[str, ...]:
  """The norms of a block over the model's width."""
  before = ('attention_norm', 'mlp_norm')
  after = ('attention_post_norm', 'mlp_post_norm')
  return before + after if config.post_norms else before


def _norm(config: ModelConfig, name: str, shape: tuple[int, ...]) -> Weights:
  made = {name: jnp.full(shape, 1 - config.norm_offset, jnp.float32)}
  if config.norm == 'layer':
    made[f'{name}_bias'] = jnp.zeros(shape)
  return made


def _slots(config: ModelConfig, layout: Layout) -> list[list[int]]:
  """The layers that each slot of the layout serves."""
  return [
    list(range(slot, config.layers, len(layout))) for slot in range(len(layout))
  ]


def init_positions(
  key: jax.Array, config: ModelConfig, layout: Layout
) -> dict[str, Any]:
  """Parameters of the methods, by 'slot.part' of the layout.

  A part with `shared` has one set, that of the first slot that holds an equal
  part; any other has one for each layer of its slot, stacked. Parts that learn
  nothing are absent.
  """
  found: dict[str, Any] = {}
  shape = {
    'heads': config.heads,
    'head_dim': config.head_dim,
    'model_dim': config.width,
  }
  for slot, layers in enumerate(_slots(config, layout)):
    for index, part in enumerate(parts(layout[slot])):
      name = home(layout, slot, index)
      if name in found or not layers:
        continue
      part_key = jax.random.fold_in(jax.random.fold_in(key, slot), index)

      def init(one, part=part):
        return part.init(one, **shape)

      if part.shared:
        params = init(part_key)
      else:
        if positions.overrides(part, 'embed') and jax.tree.leaves(
          jax.eval_shape(init, part_key)
        ):
          raise ValueError(
            f'{type(part).__name__} learns parameters for `embed`, which runs '
            'once, before the first layer: set its class attribute shared=True.'
          )
        params = jax.vmap(init)(jax.random.split(part_key, len(layers)))
      if jax.tree.leaves(params):
        found[name] = params
  return found


def home(layout: Layout, slot: int, index: int) -> str:
  """Under which name a part's parameters are kept."""
  part = parts(layout[slot])[index]
  if part.shared:
    for other in range(slot):
      for i, candidate in enumerate(parts(layout[other])):
        if candidate == part:
          return f'{other}.{i}'
  return f'{slot}.{index}'


def position_params(
  tree: dict[str, Any],
  layout: Layout,
  slot: int,
  pick: Callable[[jax.Array], jax.Array],
) -> Any:
  """A slot's parameters for one layer: `pick` takes it out of a stack."""
  found = []
  for index, part in enumerate(parts(layout[slot])):
    params = tree.get(home(layout, slot, index), {})
    if not part.shared:
      params = jax.tree.map(pick, params)
    found.append(params)
  return tuple(found) if isinstance(layout[slot], Compose) else found[0]
