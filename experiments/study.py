"""Runs a study: python -m experiments.study --config=... --workdir=... ."""

from __future__ import annotations

import pathlib
import shlex
import sys
import time
from typing import Any

from absl import app, flags
from ml_collections import config_flags

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

  def study() -> None:
    began = time.monotonic()
    command = f'python -m experiments.study {shlex.join(sys.argv[1:])}'
    paths = run(
      flags.FLAGS.config,
      flags.FLAGS.workdir,
      note=common.note(config_flags.get_config_filename(flags.FLAGS['config'])),
      command=command,
      progress=flags.FLAGS.progress,
    )
    print(paths['table'].read_text(encoding='utf-8'))
    for path in paths.values():
      print(path)
    print(f'done in {(time.monotonic() - began) / 60:.1f} minutes')

  return common.guarded('study', argv, study)


if __name__ == '__main__':
  common.define_flags()
  app.run(main, flags_parser=runtime.parse_flags)
