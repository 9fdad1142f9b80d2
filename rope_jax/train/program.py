"""The compiled step on its devices: how states and batches get on and off."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rope_jax import mesh as meshes
from rope_jax.attention import zigzag
from rope_jax.model import ModelConfig
from rope_jax.positions import Layout
from rope_jax.train import lora
from rope_jax.train import step as steps

Tree = Any


class Batches(Protocol):
  """What hands out batches: a pure function of step and process."""

  def batch(
    self, step: int, process: int = 0, processes: int = 1
  ) -> dict[str, np.ndarray]:
    """Returns one process's rows of one step's batch."""
    ...


def state_shardings(
  mesh: Mesh, train: Any, shape: ModelConfig, layout: Layout
) -> tuple[steps.State, steps.State]:
  """(shapes, shardings) of the state: moments live with their weights."""
  shapes = jax.eval_shape(lambda: steps.init_state(train, shape, layout))
  weights = meshes.weight_shardings(mesh, shapes.weights)
  everywhere = meshes.replicated(mesh)
  optimizer = optax.tree_utils.tree_map_params(
    steps.make_optimizer(train),
    lambda _, sharding: sharding,
    shapes.optimizer,
    lora.parted(weights)[0],
    transform_non_params=lambda _: everywhere,
  )
  return shapes, steps.State(everywhere, weights, optimizer)


def abstract(shapes: Tree, shardings: Tree) -> Tree:
  """Shapes with shardings, to compile for or to restore onto."""
  return jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    shapes,
    shardings,
  )


def abstract_batch(mesh: Mesh, rows: int, train_len: int) -> Tree:
  """What a batch looks like to the compiler."""
  sharding = meshes.batch_sharding(mesh)
  return {
    name: jax.ShapeDtypeStruct(
      (rows, train_len),
      np.float32 if name == 'weight' else np.int32,
      sharding=sharding,
    )
    for name in ('tokens', 'targets', 'position', 'segment', 'weight')
  }


@dataclasses.dataclass(frozen=True)
class Program:
  """A way to run the step.

  Attributes:
    init: the first state, made where it will live, from given weights (which
      are donated, and lie as `weight_shardings` says) or from drawn ones.
    step: jitted; donates the state.
    place: (batches, step) -> that step's batch on the devices.
    targets: the state as a tree of shapes with shardings: to restore onto,
      and, under jit, to compile for.
    save: state -> the tree that is saved, like `targets`.
    load: the inverse of `save`.
    devices: how many it runs on.
  """

  init: Callable[..., Tree]
  step: Any
  place: Callable[[Batches, int], Tree]
  targets: steps.State
  save: Callable[[Tree], steps.State]
  load: Callable[[steps.State], Tree]
  devices: int


def jit_program(
  config: Any, shape: ModelConfig, layout: Layout, mesh: Mesh
) -> Program:
  """The step under jit, on a mesh."""
  train = config.train
  meshes.check_heads(mesh, shape.heads, shape.mlp_dim)
  shapes, shardings = state_shardings(mesh, train, shape, layout)
  rows = meshes.batch_sharding(mesh)
  order, ways = None, mesh.shape['seq']
  if ways > 1:
    order = zigzag(train.train_len, ways)
    shape = dataclasses.replace(shape, attention='ring')

  def place(batches: Batches, step: int) -> Tree:
    if jax.process_count() == 1:
      batch = batches.batch(step)
      if order is not None:
        batch = {name: x[:, order] for name, x in batch.items()}
      return jax.device_put(batch, rows)
    size = (train.batch, train.train_len)
    return _place_parts(batches, step, rows, size, order)

  init = jax.jit(
    lambda start: steps.init_state(train, shape, layout, start),
    out_shardings=shardings,
    donate_argnums=0,
    compiler_options=_quickly(mesh),
  )
  return Program(
    init=lambda start=None: init(start),
    step=jax.jit(
      steps.make_step(train, shape, layout, order=order, mesh=mesh),
      in_shardings=(shardings, rows),
      out_shardings=(shardings, meshes.replicated(mesh)),
      donate_argnums=0,
    ),
    place=place,
    targets=abstract(shapes, shardings),
    save=lambda state: state,
    load=lambda state: state,
    devices=mesh.size,
  )


def _quickly(mesh: Mesh) -> dict[str, int] | None:
  """Options for a program that runs once: on CPU, LLVM takes ten times as long
  to optimise the random numbers of a small model (12 s) as to draw them."""
  if mesh.devices.flat[0].platform != 'cpu':
    return None
  return {'xla_backend_optimization_level': 0}


def _place_parts(
  batches: Batches,
  step: int,
  sharding: NamedSharding,
  shape: tuple[int, int],
  order: np.ndarray | None,
) -> Tree:
  """A batch of which each process makes the rows that its devices hold.

  Asking for rows by where they lie, rather than for "this process's share",
  holds for every order of devices and where a row is on several processes.
  """
  made: dict[int, dict[str, np.ndarray]] = {}
  size = sharding.shard_shape(shape)[0]

  def part(index: Any) -> dict[str, np.ndarray]:
    place = (index[0].start or 0) // size
    if place not in made:
      made[place] = batches.batch(step, place, shape[0] // size)
    batch = made[place]
    if order is not None:
      batch = {name: x[:, order[index[1]]] for name, x in batch.items()}
    return batch

  indices = sharding.addressable_devices_indices_map(shape)
  names = list(part(next(iter(indices.values()))))
  return {
    name: jax.make_array_from_callback(
      shape, sharding, lambda index, name=name: part(index)[name]
    )
    for name in names
  }


def pmap_program(
  config: Any, shape: ModelConfig, layout: Layout, mesh: Mesh
) -> Program:
  """The step under pmap, for those who launch that way: data parallel alone.

  Raises:
    ValueError: a mesh with more than a data axis, or several processes.
  """
  if jax.process_count() > 1 or mesh.size != mesh.shape['data']:
    raise ValueError(
      "config.train.step='pmap' is data parallelism in one process; with "
      f'{jax.process_count()} processes and mesh.fsdp={mesh.shape["fsdp"]}, '
      f'mesh.tensor={mesh.shape["tensor"]}, mesh.seq={mesh.shape["seq"]} use '
      "config.train.step='jit'."
    )
  train = config.train
  devices = list(mesh.devices.flat)
  ways = len(devices)
  shapes = jax.eval_shape(lambda: steps.init_state(train, shape, layout))
  single = jax.sharding.SingleDeviceSharding(devices[0])
  by_device = NamedSharding(
    jax.make_mesh(
      (ways,),
      ('device',),
      axis_types=(jax.sharding.AxisType.Auto,),
      devices=devices,
    ),
    P('device'),
  )

  def load(state: Tree) -> Tree:
    return jax.device_put(
      jax.tree.map(
        lambda x: np.broadcast_to(np.asarray(x)[None], (ways, *x.shape)), state
      ),
      by_device,
    )

  def place(batches: Batches, step: int) -> Tree:
    batch = batches.batch(step)
    return jax.device_put(
      {k: v.reshape(ways, -1, *v.shape[1:]) for k, v in batch.items()},
      by_device,
    )

  return Program(
    init=lambda start=None: load(
      jax.jit(
        lambda start: steps.init_state(train, shape, layout, start),
        compiler_options=_quickly(mesh),
      )(start)
    ),
    step=jax.pmap(
      steps.make_step(train, shape, layout, axis='device'),
      axis_name='device',
      devices=devices,
      donate_argnums=0,
    ),
    place=place,
    targets=abstract(shapes, jax.tree.map(lambda _: single, shapes)),
    save=lambda state: jax.tree.map(lambda x: jnp.asarray(x[0]), state),
    load=load,
    devices=ways,
  )


def make_program(
  config: Any, shape: ModelConfig, layout: Layout, mesh: Mesh
) -> Program:
  """The program that `config.train.step` names."""
  make = {'jit': jit_program, 'pmap': pmap_program}[config.train.step]
  return make(config, shape, layout, mesh)
