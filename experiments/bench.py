"""Measures speed and memory: `python -m experiments.bench --suite=attention
--out=DIR`.

Ways of doing one thing are run in turn; read the ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
from importlib import metadata
from typing import Any

from absl import app, flags

from experiments import common
from rope_jax import bench, runtime, workdir
from rope_jax.bench import duel, figures


def run(suite: str, out: str | pathlib.Path) -> pathlib.Path:
  """Runs a suite and prints it; writes OUT/SUITE.json, and where the suite has
  bars OUT/SUITE.md and OUT/SUITE.png.

  Returns:
    The JSON's path.
  """
  out = pathlib.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  found: list[Any] = bench.SUITES[suite].run(print)
  if found and isinstance(found[0], figures.Figure):
    table = figures.table(found)
    print(table)
    (out / f'{suite}.md').write_text(table + '\n', encoding='utf-8')
    title = f'{suite}: rope_jax on {_cores()} CPU cores, float32'
    figures.plot(found, title, out / f'{suite}.png')
    found = figures.rows(found)
  record = {
    'suite': suite,
    'versions': {**workdir.versions(), **_machine()},
    'rows': found,
  }
  path = out / f'{suite}.json'
  path.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
  return path


def _cores() -> int:
  return len(os.sched_getaffinity(0))


def _machine() -> dict[str, Any]:
  """What `workdir.versions` leaves out: cores, and what is compared with."""
  found: dict[str, Any] = {'processor': platform.machine(), 'cores': _cores()}
  for peer in duel.PEERS:
    with contextlib.suppress(metadata.PackageNotFoundError):
      found[peer] = metadata.version(peer)
  return found


def main(argv: list[str]) -> int:
  """Runs the suite of the flags."""

  def work() -> None:
    runtime.use_cpu_alone()
    print(f'wrote {run(flags.FLAGS.suite, flags.FLAGS.out)}')

  return common.guarded('bench', argv, work)


if __name__ == '__main__':
  flags.DEFINE_enum('suite', None, sorted(bench.SUITES), 'What to measure.')
  flags.DEFINE_string('out', None, 'The folder for its figures.')
  flags.mark_flags_as_required(['suite', 'out'])
  app.run(main, flags_parser=runtime.parse_flags)
