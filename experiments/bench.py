"""Measures speed and memory: `python -m experiments.bench --suite=attention
--out=DIR`.

Ways of doing one thing are run in turn; read the ratios.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
from typing import Any

from absl import app, flags

from experiments import common
from rope_jax import bench, runtime, workdir
from rope_jax.bench import figures


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
    figures.tell(found, print)
    table = figures.table(found) + '\n'
    (out / f'{suite}.md').write_text(table, encoding='utf-8')
    figures.plot(found, _title(suite), out / f'{suite}.png')
    found = figures.rows(found)
  record = {'suite': suite, 'machine': _machine(), 'rows': found}
  record['versions'] = workdir.versions()
  path = out / f'{suite}.json'
  path.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
  return path


def _machine() -> dict[str, Any]:
  return {
    'processor': platform.machine(),
    'cores': len(os.sched_getaffinity(0)),
    'system': platform.platform(),
  }


def _title(suite: str) -> str:
  return (
    f'{suite}: rope_jax on {len(os.sched_getaffinity(0))} CPU cores, float32'
  )


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
