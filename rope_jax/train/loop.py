"""`train`: checks a configuration and its folder, and runs it to the end."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax

from rope_jax import config as config_lib
from rope_jax import data, metrics
from rope_jax import mesh as meshes
from rope_jax import workdir as workdirs
from rope_jax.checkpoint import Checkpoints
from rope_jax.model import ModelConfig, Weights, check_training
from rope_jax.positions import Layout
from rope_jax.train import inputs, lora, schedule
from rope_jax.train import program as programs
from rope_jax.train import start as starts
from rope_jax.train.run import Run


@dataclasses.dataclass(frozen=True)
class TrainResult:
  """A finished run.

  Attributes:
    config: the model's shape.
    layout: its positional methods.
    weights: on the devices, sharded as in training; low-rank changes are merged
      into them.
    step: how many steps were done in all.
    metrics: the last row of metrics.jsonl.
    resumed_from: the step this call began at.
    compile_seconds: what compiling the step took; 0 if no step was left.
  """

  config: ModelConfig
  layout: Layout
  weights: Weights
  step: int
  metrics: dict[str, float]
  resumed_from: int
  compile_seconds: float


def train(
  config: Any,
  workdir: str | os.PathLike[str],
  *,
  sampler: programs.Batches | None = None,
  vocab: int | None = None,
  progress: bool = True,
) -> TrainResult:
  """Trains a configuration in a folder, from wherever it had got to.

  A run that was stopped, by whatever, goes on to the bit from its newest good
  checkpoint; a finished one returns its weights at once.

  Args:
    config: a whole configuration, see `rope_jax.config.default`.
    workdir: the run's folder: config.json, versions.json, metrics.jsonl,
      checkpoints/.
    sampler: batches to use instead of those of config.data and train.seed.
    vocab: with a sampler, how many ids there are; None is those of the
      tokenizer that config.data names.
    progress: whether to show a bar, or lines where there is no terminal.

  Returns:
    The weights and what was measured last.

  Raises:
    ValueError: anything wrong with the configuration, the data or the
      workdir, before anything is compiled or written.
    Diverged: a loss or gradient that is not finite; nothing of it is saved.
    Interrupted: SIGTERM or SIGINT came; the run has saved.
  """
  config_lib.check(config)
  mesh, start = None, None
  if config.start:
    mesh = _mesh(config)
    start = starts.find(config.start, mesh)
    config = starts.fill(config, start)
  layout = config_lib.layout(config)
  shape = config_lib.model_config(config, vocab=2)
  shape.check(layout)
  lora.check(config.train, shape)
  check_training(layout, config.train.train_len)
  if config.train.tensorboard:
    metrics.check_tensorboard()
  workdirs.check_owner(workdir, config, 'a training')
  mesh = mesh or _mesh(config)
  leader = jax.process_index() == 0
  with workdirs.alone(workdir) if leader else contextlib.nullcontext():
    sampler, vocab, mark = _data(config, workdir, sampler, vocab, start)
    shape = config_lib.model_config(config, vocab)
    stages = [
      programs.make_program(schedule.at_stage(config, s), shape, layout, mesh)
      for s in schedule.stages(config.train)
    ]
    if leader:
      about = {'data': mark, 'mesh': dict(mesh.shape)}
      about |= {'start': start.mark} if start else {}
      workdirs.claim(workdir, config, 'a training', about)
    folder = pathlib.Path(workdir) / 'checkpoints'
    with Checkpoints(folder, config.train.keep) as checkpoints:
      run = Run(
        config,
        workdir,
        stages,
        checkpoints,
        sampler,
        progress,
        start and functools.partial(_begin, config, shape, start.take),
      )
      start = None  # So that a run that is resumed holds no second weights.
      weights = run.go()
  return TrainResult(
    shape,
    layout,
    weights,
    run.step,
    run.last,
    run.resumed_from,
    run.compile_seconds,
  )


def _begin(config: Any, shape: ModelConfig, take: Any) -> Weights:
  return lora.stored(config.train, shape, take())


def _mesh(config: Any) -> jax.sharding.Mesh:
  rows = config.train.batch // config.train.accumulate
  return meshes.make_mesh(config.mesh, rows)


def _data(
  config: Any,
  workdir: Any,
  sampler: programs.Batches | None,
  vocab: int | None,
  start: starts.Start | None,
) -> tuple[programs.Batches, int, str]:
  if sampler is None:
    corpus, tokenizer, mark = inputs.build_corpus(config, workdir, start)
    batches, ids = inputs.build_sampler(config, corpus), tokenizer.vocab
    if start:
      ids = starts.check_vocab(start, ids)
    return batches, ids, mark
  if start:
    vocab = start.shape.vocab
  elif vocab is None:
    vocab = data.make_tokenizer(config.data.tokenizer, workdir=workdir).vocab
  return sampler, vocab, 'given by the caller'
