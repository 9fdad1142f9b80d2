"""Trains one configuration: python -m experiments.train --config=... ."""

from __future__ import annotations

from typing import Any

from absl import app, flags
from ml_collections import config_flags

from experiments import common
from rope_jax import runtime

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'A file of configs/; --config.train.steps=10 overrides.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, "The run's folder.")
_PROGRESS = flags.DEFINE_bool('progress', True, 'Show how far it is.')


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
    result = run(_CONFIG.value, _WORKDIR.value or '', progress=_PROGRESS.value)
    row = result.metrics
    print(
      f'step {result.step}: loss {row.get("loss", float("nan")):.4f} nats a '
      f'token; weights in {_WORKDIR.value}/checkpoints/{result.step}'
    )

  return common.guarded('train', argv, work)


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main, flags_parser=runtime.parse_flags)
