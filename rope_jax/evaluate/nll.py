"""The one measurement: nats per target token, of windows under a layout."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rope_jax import mesh as meshes
from rope_jax import model as model_lib
from rope_jax.positions import Layout, Position, _traced, parts

Array = jax.Array | np.ndarray

TOKENS_PER_CALL = 16384  # Of `token_nll`; bounds its memory.


def check_reach(layout: Layout, length: int) -> None:
  """Raises ValueError if a method of the layout ends before `length` tokens."""
  for position in layout:
    for part in parts(position):
      if part.reach is not None and length > part.reach:
        raise ValueError(
          f'{type(part).__name__} is defined for {part.reach} positions, but '
          f'the window has {length} tokens. Read at most {part.reach}, or '
          "choose what happens beyond (`beyond='clip'` or 'interpolate')."
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def compiled(config, layout, mesh, weights, inputs_bt, targets_bt):
  return model_lib.losses(
    config, layout, weights, inputs_bt, targets_bt, mesh=mesh
  )


def traced_layout(
  config: model_lib.ModelConfig, layout: Layout, weights: Any, length: int
) -> tuple[Layout, Any]:
  """The layout with rotary spectra moved into the weights.

  So that every scaling of one model shares one program per length. Exact:
  each sequence is `length` tokens from position 0, which fixes what a
  length-dependent spectrum is.
  """
  traced, own = [], dict(weights.get('position', {}))
  for slot, position in enumerate(layout):
    found, params = _traced.trace(position, config.head_dim, length, slot)
    traced.append(found)
    if params is not None:
      own[f'{slot}.0'] = params
  rest = {k: v for k, v in weights.items() if k != 'position'}
  return tuple(traced), {**rest, 'position': own} if own else rest


def mesh_of(weights: Any) -> Mesh:
  """The mesh that the weights are on; of one device, if on none."""
  found = getattr(jax.tree.leaves(weights)[0], 'sharding', None)
  if isinstance(found, NamedSharding):
    return found.mesh  # pyright: ignore[reportReturnType]
  return Mesh(np.array(jax.devices()[:1]), ('data',))


def rows_multiple(weights: Any) -> int:
  """A batch's rows must be a multiple of this to be spread over the mesh."""
  sizes = dict(mesh_of(weights).shape)
  return sizes.get('data', 1) * sizes.get('fsdp', 1)


def shared(
  config: model_lib.ModelConfig, mesh: Mesh, length: int
) -> tuple[model_lib.ModelConfig, NamedSharding]:
  """How windows of a length lie on a mesh: rows over its data axes, and their
  tokens over 'seq', by rings, if that divides them."""
  rows = meshes.rows_over(mesh)
  tokens, ways = None, dict(mesh.shape).get('seq', 1)
  if ways > 1 and length % (2 * ways) == 0:
    tokens, config = 'seq', dataclasses.replace(config, attention='ring')
  return config, NamedSharding(mesh, PartitionSpec(rows, tokens))


def windows_nll(
  config: model_lib.ModelConfig,
  layout: Layout,
  weights: Any,
  windows_bt: np.ndarray,
) -> np.ndarray:
  """Nats of each token of each window given those before it in the window.

  Args:
    config: the model's shape.
    layout: the methods to read it under.
    weights: its weights; on a mesh, where rows go over its data axes, and
      their tokens over 'seq' if that divides them.
    windows_bt: int32 [b, t + 1] token ids; b a multiple of `rows_multiple`.

  Returns:
    float32 [b, t]: entry i is for token i + 1, whose context is i + 1 tokens.
  """
  length = windows_bt.shape[1] - 1
  check_reach(layout, length)
  layout, weights = traced_layout(config, layout, weights, length)
  mesh = mesh_of(weights['embed'])
  config, sharding = shared(config, mesh, length)
  inputs, targets = (
    jax.make_array_from_callback(part.shape, sharding, part.__getitem__)
    for part in (windows_bt[:, :-1], windows_bt[:, 1:])
  )
  found = compiled(config, layout, mesh, weights, inputs, targets)
  if not found.is_fully_addressable:
    replicated = NamedSharding(mesh, PartitionSpec())
    found = jax.jit(lambda x: x, out_shardings=replicated)(found)
  return np.asarray(found, np.float32)


def token_nll(
  model: model_lib.Transformer,
  tokens_bt: Array,
  *,
  position: Position | Sequence[Position] | None = None,
) -> np.ndarray:
  """Negative log likelihood of each token given those before it in its row.

  Args:
    model: a model.
    tokens_bt: int token ids [b, t], t >= 2; each row is one sequence from
      position 0.
    position: a method (or layout) that replaces every layer's; None keeps the
      model's own.

  Returns:
    np.float32 [b, t - 1], nats; entry i is for token i + 1.

  Raises:
    ValueError: fewer than two tokens; an id outside the vocabulary; a method
      with parameters that the model has not trained, or that ends before t.

  Example:
    >>> from rope_jax import positions
    >>> from rope_jax.model import ModelConfig, Transformer
    >>> config = ModelConfig(vocab=7, layers=1, width=8, heads=2)
    >>> rope = positions.build({'name': 'rope', 'theta': 1e4})
    >>> model = Transformer(config, (rope,), key=jax.random.key(0))
    >>> token_nll(model, np.array([[1, 2, 3, 4]])).shape
    (1, 3)
  """
  tokens_bt = np.asarray(tokens_bt)
  if tokens_bt.ndim != 2 or tokens_bt.shape[1] < 2:
    raise ValueError(
      f'token_nll: tokens of shape {tokens_bt.shape}; must be [b, t] with '
      't >= 2, since the first token has nothing to be predicted from.'
    )
  vocab = model.config.vocab
  if not np.issubdtype(tokens_bt.dtype, np.integer) or (
    tokens_bt.size and not 0 <= tokens_bt.min() <= tokens_bt.max() < vocab
  ):
    raise ValueError(
      f'token_nll: ids must be integers in [0, {vocab}); got '
      f'{tokens_bt.dtype} in [{tokens_bt.min()}, {tokens_bt.max()}].'
    )
  if position is not None:
    layout = (position,) if isinstance(position, Position) else tuple(position)
    model = model_lib.with_layout(model, layout)
  _, weights = model_lib.split(model)
  step = rows_multiple(weights['embed'])
  per_call = max(step, TOKENS_PER_CALL // tokens_bt.shape[1] // step * step)
  found = []
  for first in range(0, len(tokens_bt), per_call):
    rows = tokens_bt[first : first + per_call].astype(np.int32)
    pad = -len(rows) % step
    padded = np.concatenate([rows, np.repeat(rows[:1], pad, axis=0)])
    nll = windows_nll(model.config, model.layout, weights, padded)
    found.append(nll[: len(rows)])
  empty = np.zeros((0, tokens_bt.shape[1] - 1), np.float32)
  return np.concatenate(found) if found else empty
