"""One optimizer step: a pure function of the state and the batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from rope_jax import model
from rope_jax.model import ModelConfig, Weights
from rope_jax.positions import Layout
from rope_jax.train import lora
from rope_jax.train.schedule import learning_rate

Array = jax.Array | np.ndarray
Batch = dict[str, Array]
Metrics = dict[str, jax.Array]
StepFunction = Callable[['State', Batch], tuple['State', Metrics]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """What training changes.

  Attributes:
    step: int32, how many steps have been done.
    weights: as `init_weights` makes them, float32; see `lora.begin` for those
      of low-rank training.
    optimizer: the state of the optax transformation, of what is trained alone.
  """

  step: Any
  weights: Weights
  optimizer: Any


def decays(weights: Weights) -> Any:
  """Which weights decay: the matrices, not norms, biases nor a method's
  parameters."""

  def one(path: tuple[Any, ...], leaf: Any) -> bool:
    del leaf
    names = [entry.key for entry in path]
    bias = names[-1].startswith('b') or 'norm' in names[-1]
    return names[0] != 'position' and not bias

  return jax.tree_util.tree_map_with_path(one, weights)


def make_optimizer(train: Any) -> optax.GradientTransformation:
  """AdamW after clipping by the global norm; see `learning_rate`, `decays`."""
  return optax.chain(
    optax.clip_by_global_norm(train.clip),
    optax.adamw(
      lambda step: learning_rate(train, step),
      b1=train.beta1,
      b2=train.beta2,
      weight_decay=train.weight_decay,
      mask=decays,
    ),
  )


def init_state(
  train: Any, shape: ModelConfig, layout: Layout, start: Weights | None = None
) -> State:
  """The state before the first step; a pure function of train.seed and start.

  Args:
    train: a config's `train` section.
    shape: the model's shape.
    layout: its positional methods.
    start: weights to begin from; None draws them.
  """
  key = jax.random.key(train.seed)
  if start is None:
    start = model.init_weights(key, shape, layout)
  weights = lora.begin(train, shape, start, jax.random.fold_in(key, 1))
  optimizer = make_optimizer(train).init(lora.parted(weights)[0])
  return State(jnp.zeros((), jnp.int32), weights, optimizer)


def nll_sum(
  shape: ModelConfig,
  layout: Layout,
  weights: Weights,
  batch: Batch,
  order_1t: Array | None = None,
  mesh: Mesh | None = None,
) -> jax.Array:
  """Sum over tokens of weight x negative log likelihood, in nats."""
  nll = model.losses(
    shape,
    layout,
    weights,
    batch['tokens'],
    batch['targets'],
    batch['position'],
    batch['segment'],
    shown_bt=batch.get('shown'),
    order_1t=order_1t,
    mesh=mesh,
  )
  return jnp.sum(nll * batch['weight'])


def make_step(
  train: Any,
  shape: ModelConfig,
  layout: Layout,
  *,
  axis: str | None = None,
  order: np.ndarray | None = None,
  mesh: Mesh | None = None,
) -> StepFunction:
  """The function of one step, to be jitted (or pmapped).

  loss = sum(weight nll) / sum(weight), both over the whole batch: over all
  pieces of an accumulated step and all devices.

  Args:
    train: a config's `train` section.
    shape: the model's shape.
    layout: its positional methods.
    axis: name of the pmapped axis that splits the batch; None under jit. Under
      pmap a method that draws training positions draws its own on each device.
    order: int32 [t], the place in its row of each token of a batch, where rows
      are shared out over devices; None is as they come.
    mesh: what shares rows out.

  Returns:
    (state, batch) -> (state, metrics), with float32 scalars loss,
    grad_norm (before clipping), learning_rate and tokens (sum of weights).
  """
  optimizer = make_optimizer(train)

  def total(x: Any) -> Any:
    return jax.lax.psum(x, axis) if axis else x

  def step(state: State, batch: Batch) -> tuple[State, Metrics]:
    key = jax.random.fold_in(jax.random.key(train.seed), state.step)
    if axis:
      key = jax.random.fold_in(key, jax.lax.axis_index(axis))
    pos = jnp.asarray(batch['position'])
    pos = pos if order is None else pos[:, np.argsort(order)]
    shown = model.train_positions(layout, key, pos)
    if shown is not None:
      shown = shown if order is None else jnp.asarray(shown)[:, order]
      batch = {**batch, 'shown': shown}
    tokens = total(jnp.sum(batch['weight']))
    scale = 1 / jnp.where(tokens > 0, tokens, 1)

    trained, fixed = lora.parted(state.weights)

    def part(trained: Weights, piece: Batch) -> jax.Array:
      at = None if order is None else order[None]
      weights = lora.joined({**fixed, **trained})
      return nll_sum(shape, layout, weights, piece, at, mesh) * scale

    one = jax.value_and_grad(part)
    if train.accumulate == 1:
      loss, grads = one(trained, batch)
    else:
      loss, grads = _accumulated(one, trained, batch, train.accumulate)
    loss, grads = total((loss, grads))
    metrics = {
      'loss': loss,
      'grad_norm': optax.tree.norm(grads),
      'learning_rate': learning_rate(train, state.step),
      'tokens': tokens,
    }
    updates, memory = optimizer.update(grads, state.optimizer, trained)
    trained = cast(Weights, optax.apply_updates(trained, updates))
    return State(state.step + 1, {**fixed, **trained}, memory), metrics

  return step


def _accumulated(
  one: Callable[[Weights, Batch], tuple[jax.Array, Weights]],
  weights: Weights,
  batch: Batch,
  pieces: int,
) -> tuple[jax.Array, Weights]:
  """The sum of `one` over pieces of the batch, worked off one after another."""

  def cut(x: Array) -> jax.Array:
    # Piece i has rows i, i + pieces, ...: each device keeps its own rows.
    x = jnp.asarray(x)
    return x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1)

  def add(so_far: Any, piece: Batch) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, so_far, one(weights, piece)), None

  zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, weights))
  return jax.lax.scan(add, zero, jax.tree.map(cut, batch))[0]
