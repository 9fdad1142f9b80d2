"""Runs a study: python -m experiments.study --config=... --workdir=... ."""

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
  """Sets up JAX and runs a study; see `rope_jax.study.run`."""
  runtime.setup(config)
  from rope_jax import study

  return study.run(
    config, workdir, note=note, command=command, progress=progress
  )


def main(argv: list[str]) -> int:
  """Runs the study of the flags and prints its tables."""
  return common.report_run('study', argv, run)


if __name__ == '__main__':
  common.define_flags()
  app.run(main, flags_parser=runtime.parse_flags)
