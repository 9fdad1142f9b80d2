"""A process of the bench: a job a line on stdin, its time a line on stdout."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time


def main(side: str, *setting: str) -> None:
  """Does jobs of `ours.py` or `peers.py` until stdin ends."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # What libraries print is not an answer.
  jobs = importlib.import_module(f'rope_jax.bench.{side}')
  jobs.setup(**dict.fromkeys(setting, True))
  built = {}
  for line in sys.stdin:
    job, answer = json.loads(line), {}
    key = json.dumps(job, sort_keys=True)
    if key not in built:
      run, check = getattr(jobs, job.pop('job'))(**job)
      built[key] = run
      run()
      answer['check'] = check()
    start = time.perf_counter()
    more = built[key]()
    answer['seconds'] = time.perf_counter() - start
    if isinstance(more, dict):
      answer.update(more)
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
