"""Reads the weights of a run, for evaluation."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import jax
from ml_collections import config_dict

from rope_jax import config as config_lib
from rope_jax import mesh as meshes
from rope_jax import model
from rope_jax import workdir as workdirs
from rope_jax.checkpoint import Checkpoints
from rope_jax.model import ModelConfig, Weights
from rope_jax.positions import Layout
from rope_jax.train import lora


def load_weights(
  workdir: str | os.PathLike[str], mesh: jax.sharding.Mesh | None = None
) -> tuple[ModelConfig, Layout, Weights, int]:
  """The weights of a run's newest good checkpoint; changes nothing on disk.

  Low-rank changes are merged into them.

  Args:
    workdir: the folder of a run that has saved.
    mesh: where to put them, sharded by name; None is the first device.

  Returns:
    (the model's shape, its layout, the weights, how many steps they have had).

  Raises:
    ValueError: no run, or no good checkpoint, is there.
  """
  folder = pathlib.Path(workdir)
  if not (folder / 'config.json').exists():
    raise ValueError(
      f'workdir={str(workdir)!r} has no config.json: no run was made there. '
      'Give the folder of one.'
    )
  config = read_config(workdir)
  layout = config_lib.layout(config)
  with Checkpoints(folder / 'checkpoints', read_only=True) as checkpoints:
    steps = checkpoints.steps()
    if not steps:
      raise ValueError(
        f'workdir={str(workdir)!r} has no checkpoint yet. Train it first: '
        f'python -m experiments.train --config=... --workdir={workdir}'
      )
    vocab = int(checkpoints.about(steps[-1])['vocab'])
    shape = config_lib.model_config(config, vocab)
    key = jax.random.key(0)
    weights = jax.eval_shape(
      lambda: lora.begin(
        config.train, shape, model.init_weights(key, shape, layout), key
      )
    )
    if mesh is None:
      single = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
      shardings = jax.tree.map(lambda _: single, weights)
    else:
      shardings = meshes.weight_shardings(mesh, weights)
    targets = jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
      weights,
      shardings,
    )
    found = checkpoints.restore({'weights': targets})
  if found is None:
    raise ValueError(
      f'workdir={str(workdir)!r}: its checkpoints vanished while they were '
      'read; try again.'
    )
  step, items, _ = found
  return shape, layout, lora.merged(items['weights']), step


def read_config(workdir: str | os.PathLike[str]) -> Any:
  """A run's config.json as a ConfigDict, with defaults for newer fields."""
  config = config_lib.default()
  with config.ignore_type():
    _update(config, workdirs.read_json(pathlib.Path(workdir) / 'config.json'))
  return config


def _update(config: config_dict.ConfigDict, found: dict[str, Any]) -> None:
  for key, value in found.items():
    known = config.get(key)
    if isinstance(known, config_dict.ConfigDict) and isinstance(value, dict):
      _update(known, value)
    elif isinstance(value, list):
      config[key] = tuple(value)
    else:
      config[key] = value
