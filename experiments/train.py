"""Trains one configuration: python -m experiments.train --config=... ."""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from absl import app, flags
from ml_collections import config_flags

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
  """Runs, and tells a user's mistake in one line without a traceback."""
  if len(argv) > 1:
    print(f'train: no such argument: {" ".join(argv[1:])}', file=sys.stderr)
    return 2
  try:
    result = run(_CONFIG.value, _WORKDIR.value, progress=_PROGRESS.value)
  except (ValueError, FloatingPointError) as error:
    if _ours(error):
      print(f'train: {error}', file=sys.stderr)
      return 2 if isinstance(error, ValueError) else 1
    raise
  row = result.metrics
  print(
    f'step {result.step}: loss {row.get("loss", float("nan")):.4f} nats a '
    f'token; weights in {_WORKDIR.value}/checkpoints/{result.step}'
  )
  return 0


def _ours(error: BaseException) -> bool:
  """Whether the package raised it itself, and not a library beneath it."""
  trace = error.__traceback__
  while trace is not None and trace.tb_next is not None:
    trace = trace.tb_next
  if trace is None:
    return False
  here = pathlib.Path(trace.tb_frame.f_code.co_filename).parent
  return 'rope_jax' in here.parts and 'site-packages' not in here.parts


if __name__ == '__main__':
  flags.mark_flags_as_required(['config', 'workdir'])
  app.run(main)
