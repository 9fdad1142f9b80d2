"""Compiles a configuration for TPUs or GPUs on a machine that has none.

`python -m experiments.plan --config=configs/base.py --target=tpu-v5e-16` runs
the target's own compiler on the step that `train` jits and on the forward pass
that evaluation jits, and prints what memory each takes of a device.
"""

from __future__ import annotations

import importlib.util
import math
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rope_jax import config as config_lib
from rope_jax import mesh as meshes

GIB = 2**30
# Chips -> how they are wired up, by generation; and memory of a chip in bytes.
_PLANES = {
  1: '1x1',
  4: '2x2',
  8: '2x4',
  16: '4x4',
  32: '4x8',
  64: '8x8',
  128: '8x16',
  256: '16x16',
}
_CUBES = {
  4: '2x2x1',
  8: '2x2x2',
  16: '2x2x4',
  32: '2x4x4',
  64: '4x4x4',
  128: '4x4x8',
}
_TPUS = {
  'v4': (_CUBES, 32 * GIB),
  'v5e': (_PLANES, 16 * GIB),
  'v5p': (_CUBES, 95 * GIB),
  'v6e': (_PLANES, 32 * GIB),
}
# What libtpu asks a TPU machine's metadata server for; nothing here is used
# beyond getting it to load.
_TPU_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',  # Compilers may run side by side.
}


def targets() -> tuple[str, ...]:
  """The names of what can be compiled for."""
  tpus = [
    f'tpu-{kind}-{count}'
    for kind, (shapes, _) in _TPUS.items()
    for count in shapes
  ]
  return (*tpus, *(f'gpu-h100-{count}' for count in (1, 2, 4, 8, 16, 32, 64)))


def missing(target: str) -> str | None:
  """What has to be installed before a target can be compiled for, or None."""
  platform, *_ = _parse(target)
  needed = {
    'tpu': ('libtpu',),
    'gpu': ('jax_cuda12_plugin', 'jax_plugins.xla_cuda12'),
  }[platform]
  absent = [name for name in needed if not _found(name)]
  if absent:
    return f'{" and ".join(absent)}: pip install -e ".[compilers]"'
  return None


def _found(module: str) -> bool:
  try:
    return importlib.util.find_spec(module) is not None
  except ModuleNotFoundError:
    return False


def _parse(target: str) -> tuple[str, str, int]:
  if target not in targets():
    raise ValueError(
      f'target={target!r} is not known; give one of {", ".join(targets())}.'
    )
  platform, kind, count = target.split('-')
  return platform, kind, int(count)


def memory(target: str) -> int:
  """Memory of one of a target's devices, in bytes."""
  platform, kind, _ = _parse(target)
  if platform == 'tpu':
    return _TPUS[kind][1]
  field = 'device_memory_size: '
  return int(_gpu_text(kind).split(field)[1].split()[0])


def _gpu_text(kind: str) -> str:
  path = pathlib.Path(__file__).parent / 'targets' / f'{kind}.txt'
  return path.read_text(encoding='utf-8')


def devices(target: str) -> Sequence[Any]:
  """Devices to put in a mesh and compile for, but not to run on.

  To be called before this process has loaded libtpu otherwise.

  Args:
    target: one of `targets`.

  Raises:
    ValueError: an unknown target, or its compiler is not installed.
  """
  from jax.experimental import topologies

  platform, kind, count = _parse(target)
  absent = missing(target)
  if absent:
    raise ValueError(f'target={target!r} needs {absent}.')
  if platform == 'tpu':
    for name, value in _TPU_ENVIRONMENT.items():
      os.environ.setdefault(name, value)
    shape = _TPUS[kind][0][count]
    found = topologies.get_topology_desc(
      platform='tpu', topology_name=f'{kind}:{shape}'
    )
  else:
    hosts = max(1, count // 8)
    found = topologies.get_topology_desc(
      platform='cuda',
      topology_name='',
      topology=f'1x{hosts}x{count // hosts}',
      target_config=_gpu_text(kind),
    )
  return found.devices


def vocab_of(config: Any) -> int:
  """The vocabulary that config.data.tokenizer asks for, with no data read."""
  kind, _, size = config.data.tokenizer.partition(':')
  return int(size) if kind == 'bpe' else 259


def lower_train(config: Any, mesh: Mesh) -> Any:
  """The step that `train` runs, traced for a mesh's devices."""
  from rope_jax.train import program

  shape = config_lib.model_config(config, vocab_of(config))
  layout = config_lib.layout(config)
  made = program.jit_program(config, shape, layout, mesh)
  batch = program.abstract_batch(
    mesh, config.train.batch, config.train.train_len
  )
  return made.step.lower(made.targets, batch)


def lower_evaluation(config: Any, mesh: Mesh, length: int) -> Any:
  """The forward pass that evaluation runs at a length, traced likewise."""
  from rope_jax import model
  from rope_jax.evaluate import nll
  from rope_jax.train import program

  shape = config_lib.model_config(config, vocab_of(config))
  layout = config_lib.layout(config)
  weights = jax.eval_shape(
    lambda: model.init_weights(jax.random.key(0), shape, layout)
  )
  weights = program.abstract(weights, meshes.weight_shardings(mesh, weights))
  layout, weights = nll.traced_layout(shape, layout, weights, length)
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  rows = max(1, config.eval.tokens // length // ways) * ways
  shape, sharding = nll.shared(shape, mesh, length)
  tokens = jax.ShapeDtypeStruct((rows, length), np.int32, sharding=sharding)
  return nll.compiled.lower(shape, layout, mesh, weights, tokens, tokens)


def report(config: Any, target: str) -> dict[str, Any]:
  """Compiles both programs and says what each takes of a device's memory.

  Args:
    config: a whole configuration.
    target: one of `targets`.

  Returns:
    A mapping with target, devices, mesh, limit_bytes, and under 'train' and
    'evaluate' (at the longest length): bytes (arguments + temporaries + what
    of the outputs does not reuse arguments), argument_bytes, temp_bytes,
    fits and seconds.
  """
  config_lib.check(config)
  found = devices(target)
  rows = config.train.batch // config.train.accumulate
  mesh = meshes.make_mesh(config.mesh, rows, found)
  limit = memory(target)
  length = int(max(config.eval.lengths))
  made: dict[str, Any] = {
    'target': target,
    'devices': mesh.size,
    'mesh': dict(mesh.shape),
    'limit_bytes': limit,
  }
  for name, lower in (
    ('train', lambda: lower_train(config, mesh)),
    ('evaluate', lambda: lower_evaluation(config, mesh, length)),
  ):
    began = time.monotonic()
    used = lower().compile().memory_analysis()
    total = (
      used.argument_size_in_bytes
      + used.temp_size_in_bytes
      + used.output_size_in_bytes
      - used.alias_size_in_bytes
    )
    made[name] = {
      'bytes': total,
      'argument_bytes': used.argument_size_in_bytes,
      'temp_bytes': used.temp_size_in_bytes,
      'fits': math.isfinite(total) and total <= limit,
      'seconds': round(time.monotonic() - began, 1),
    }
  made['evaluate']['length'] = length
  return made
