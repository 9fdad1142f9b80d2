"""Measures speed: `python -m experiments.bench --suite=phases --out=DIR`.

Ways of doing one thing are run in turn in one process; read the ratios.
"""

from __future__ import annotations

import json
import pathlib

from absl import app, flags

from experiments import common
from rope_jax import bench, runtime, workdir


def run(suite: str, out: str | pathlib.Path) -> pathlib.Path:
  """Runs a suite, prints its tables and writes OUT/SUITE.json."""
  out = pathlib.Path(out)
  out.mkdir(parents=True, exist_ok=True)
  rows = bench.SUITES[suite](print)
  record = {'suite': suite, 'versions': workdir.versions(), 'rows': rows}
  path = out / f'{suite}.json'
  path.write_text(json.dumps(record, indent=1) + '\n', encoding='utf-8')
  return path


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
