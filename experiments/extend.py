"""Extends a model that is there: python -m experiments.extend --config=...
--workdir=... .

With config.tune, by training on under each of its schemes; else as it is, under
every variant, at every length.
"""

from __future__ import annotations

import pathlib
from typing import Any

from absl import app

from experiments import common
from rope_jax import runtime


def run(
  config: Any,
  workdir: str,
  *,
  note: str = '',
  command: str = '',
  progress: bool = True,
) -> dict[str, pathlib.Path]:
  """Sets up JAX and runs an extension; see `rope_jax.extend`."""
  runtime.setup(config, keep=bool(config.tune))
  from rope_jax.extend import tune, zero_shot

  way = tune if config.tune else zero_shot
  return way.run(config, workdir, note=note, command=command, progress=progress)


def main(argv: list[str]) -> int:
  """Runs the extension of the flags and prints its table."""
  return common.report_run('extend', argv, run)


if __name__ == '__main__':
  common.define_flags()
  app.run(main, flags_parser=runtime.parse_flags)
