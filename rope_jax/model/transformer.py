"""The NNX shell around the functional decoder."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from flax import nnx

from rope_jax import positions
from rope_jax.model.config import ModelConfig
from rope_jax.model.decoder import forward
from rope_jax.model.weights import Weights, init_positions, init_weights
from rope_jax.positions import Layout

Array = jax.Array | np.ndarray


class Transformer(nnx.Module):
  """A decoder with a layout of positional methods over its layers.

  Pre-norm RMSNorm, SwiGLU, grouped-query attention.

  Args:
    config: its shape.
    layout: positional methods, repeated over the layers.
    key: a `jax.random.key` to draw the weights with.

  Example:
    >>> config = ModelConfig(vocab=11, layers=2, width=8, heads=2)
    >>> rope = positions.build({'name': 'rope', 'theta': 1e4})
    >>> model = Transformer(config, (rope,), key=jax.random.key(0))
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 11)
  """

  def __init__(self, config: ModelConfig, layout: Layout, *, key: jax.Array):
    self.config = config
    self.layout = positions.layout(layout)
    weights = init_weights(key, config, self.layout)
    self.weights = nnx.data(jax.tree.map(nnx.Param, weights))

  def __call__(
    self,
    tokens_bt: Array,
    *,
    pos_bt: Array | None = None,
    segment_bt: Array | None = None,
  ) -> jax.Array:
    """Logits float32 [b, t, v]; see `forward`."""
    weights = split(self)[1]
    return forward(
      self.config, self.layout, weights, tokens_bt, pos_bt, segment_bt
    )


def split(model: Transformer) -> tuple[Any, Weights]:
  """The module as (graph, weights): a static value and a plain tree."""
  graph, state = nnx.split(model)
  return graph, nnx.to_pure_dict(state)['weights']


def merge(graph: Any, weights: Weights) -> Transformer:
  """The module again, with these weights (arrays or tracers)."""
  return nnx.merge(graph, nnx.State({'weights': weights}))


def with_layout(model: Transformer, layout: Layout) -> Transformer:
  """The same weights under other positional methods.

  Args:
    model: a model.
    layout: the methods to read it under.

  Returns:
    A model that shares the weights' arrays.

  Raises:
    ValueError: a method has parameters that the model has not trained.
  """
  layout = positions.layout(layout)
  model.config.check(layout)
  _, weights = split(model)
  wanted = jax.eval_shape(
    lambda: init_positions(jax.random.key(0), model.config, layout)
  )
  have = weights.get('position', {})
  kept = {name: have[name] for name in wanted if name in have}
  if _shapes(wanted) != _shapes(kept):
    names = ', '.join(type(p).__name__ for p in layout)
    raise ValueError(
      f'{names} learns parameters {_shapes(wanted)}, but the model was trained '
      f'with {_shapes(have)}. Read it under a method that learns nothing, or '
      'train the model with this one.'
    )
  rest = {k: v for k, v in weights.items() if k != 'position'}
  tree = {**rest, 'position': kept} if kept else rest
  other = nnx.clone(model)
  other.layout = layout
  other.weights = nnx.data(jax.tree.map(nnx.Param, tree))
  return other


def _shapes(tree: Any) -> Any:
  return jax.tree.map(lambda x: x.shape, tree)
