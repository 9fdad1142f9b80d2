"""LoRA: low-rank changes of the blocks' matrices, the only weights trained."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp

from rope_jax.model import ModelConfig, Weights

SCALE = 2.0  # alpha / rank, with alpha = 2 rank.
FACTORS = ('lora_a', 'lora_b')
# Axes of a block's matrix that are read, after that of the layers; 1 for most.
_READ = {'wo': 2}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
  """A matrix and its change, merged where the decoder casts its weights.

  So that a layer's matrix is merged within the layer: no merged copy of all of
  them is held, nor a gradient of that size.

  Attributes:
    base: [..., *read, *written], with a layer axis in front or without.
    a: [..., *read, r].
    b: [..., r, *written].
  """

  base: jax.Array
  a: jax.Array
  b: jax.Array

  def astype(self, dtype: Any) -> jax.Array:
    """base + (alpha / rank) a b, added in float32; of one layer."""
    change = jnp.tensordot(self.a, self.b, 1)
    return (self.base.astype(jnp.float32) + SCALE * change).astype(dtype)


def rank(train: Any) -> int:
  """The rank that `train.weights` asks for; 0 where all weights are trained.

  Raises:
    ValueError: neither 'all' nor 'lora:RANK' with a rank >= 1.
  """
  if train.weights == 'all':
    return 0
  match = re.fullmatch(r'lora:([1-9][0-9]*)', str(train.weights))
  if not match:
    raise ValueError(
      f"config.train.weights={train.weights!r} must be 'all' or 'lora:RANK' "
      "with a rank >= 1, such as 'lora:8'."
    )
  return int(match[1])


def check(train: Any, shape: ModelConfig) -> None:
  """Raises ValueError if the factors would be no smaller than a matrix."""
  r = rank(train)
  sides = {
    'width': shape.width,
    'heads x model.head_dim': shape.heads * shape.head_dim,
    'mlp_dim': shape.mlp_dim,
  }
  name, least = min(sides.items(), key=lambda pair: pair[1])
  if r >= least:
    raise ValueError(
      f'config.train.weights={train.weights!r}: a rank of {r} is not low for '
      f'matrices of model.{name}={least}; give a rank below {least}, or '
      "'all'."
    )


def begin(
  train: Any, shape: ModelConfig, weights: Weights, key: jax.Array
) -> Weights:
  """The weights to train, with factors that change nothing yet.

  W' = W + (alpha / r) A B,   alpha = 2 r,   A ~ N(0, 1 / r),   B = 0

  for each matrix of the blocks, as what is read x what is written. With a
  variance of 1 / r an update of B moves W' about as far at every rank, and
  twice as far as the same learning rate moves W itself. A matrix is kept in
  model.dtype, in which it is used; all else stays as it is.

  Args:
    train: a config's `train` section.
    shape: the model's shape.
    weights: as `init_weights` makes them.
    key: to draw A with.

  Returns:
    The weights; for a rank also 'lora_a' {name: float32 [l, *read, r]} and
    'lora_b' {name: float32 [l, r, *written]}.

  Source: Hu et al. 2021, arXiv:2106.09685, section 4.1.

  Differs: every matrix of a block is changed, queries, keys and values
    together; there, those of queries and values. Norms, biases, embeddings and
    what a method learns stay as they are.
  """
  r = rank(train)
  if not r:
    return weights
  weights = stored(train, shape, weights)
  a, b = {}, {}
  for index, name in enumerate(_matrices(weights)):
    matrix = weights['blocks'][name]
    read = 1 + _READ.get(name, 1)
    draw = jax.random.fold_in(key, index)
    a[name] = jax.random.normal(draw, (*matrix.shape[:read], r)) / math.sqrt(r)
    b[name] = jnp.zeros((matrix.shape[0], r, *matrix.shape[read:]))
  return {**weights, 'lora_a': a, 'lora_b': b}


def _matrices(weights: Weights) -> list[str]:
  return sorted(name for name in weights['blocks'] if name.startswith('w'))


def stored(train: Any, shape: ModelConfig, weights: Weights) -> Weights:
  """The weights in the types in which they are kept: see `begin`."""
  if not rank(train):
    return weights
  blocks = dict(weights['blocks'])
  for name in _matrices(weights):
    blocks[name] = blocks[name].astype(shape.dtype)
  return {**weights, 'blocks': blocks}


def parted(weights: Weights) -> tuple[Weights, Weights]:
  """(what training changes, what it leaves alone)."""
  if FACTORS[0] not in weights:
    return weights, {}
  fixed = {k: v for k, v in weights.items() if k not in FACTORS}
  return {k: weights[k] for k in FACTORS}, fixed


def joined(weights: Weights) -> Weights:
  """The weights as the decoder reads them: each matrix with its change."""
  if FACTORS[0] not in weights:
    return weights
  a, b = (weights[name] for name in FACTORS)
  blocks = dict(weights['blocks'])
  for name in a:
    blocks[name] = LowRank(blocks[name], a[name], b[name])
  return {**parted(weights)[1], 'blocks': blocks}


def merged(weights: Weights) -> Weights:
  """Plain weights, float32, with the changes added; see `begin`."""
  if FACTORS[0] not in weights:
    return weights

  def plain(leaf: Any) -> Any:
    if not isinstance(leaf, LowRank):
      return leaf
    made = jax.vmap(lambda x: x.astype(jnp.float32))(leaf)
    return jax.device_put(made, leaf.base.sharding)

  return jax.tree.map(
    plain, joined(weights), is_leaf=lambda x: isinstance(x, LowRank)
  )
