"""Trains one configuration: python -m experiments.train --config=... ."""

from __future__ import annotations

from typing import Any

from absl import app, flags

from experiments import common
from rope_jax import runtime


def run(config: Any, workdir: Any, *, progress: bool = True) -> Any:
  """Sets up JAX and trains; see `rope_jax.train.train`.

  Args:
    config: a whole configuration.
    workdir: the run's folder.
    progress: whether to show how far it is.

  Returns:
    A TrainResult.
  """
  runtime.setup(config)
  from rope_jax import train

  return train.train(config, workdir, progress=progress)


def main(argv: list[str]) -> int:
  """Trains what the flags say and prints where the weights are."""

  def work() -> None:
    given = flags.FLAGS
    result = run(given.config, given.workdir, progress=given.progress)
    row = result.metrics
    print(
      f'step {result.step}: loss {row.get("loss", float("nan")):.4f} nats a '
      f'token; weights in {given.workdir}/checkpoints/{result.step}'
    )

  return common.guarded('train', argv, work)


if __name__ == '__main__':
  common.define_flags()
  app.run(main, flags_parser=runtime.parse_flags)
