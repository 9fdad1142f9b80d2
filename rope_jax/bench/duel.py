"""Two processes that take turns: ours, and the libraries users have today."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from rope_jax.bench.timing import Timing, paired

PEERS = ('torch', 'transformers')
# Products of which the fastest is called the peak: rows, inner, columns.
PRODUCTS = ((4096, 1024, 1024), (4096, 256, 768), (2048, 2048, 2048))
_REST = 0.05  # Seconds between runs: threads of the last one go to sleep.


def check_peers() -> None:
  """Raises ValueError if the libraries to compare with are not there."""
  absent = [name for name in PEERS if importlib.util.find_spec(name) is None]
  if absent:
    raise ValueError(
      f'This suite compares with {" and ".join(absent)}, not installed here; '
      "install the extra `bench`: pip install -e '.[bench]'."
    )


class Worker:
  """A process that does jobs of one side, 'ours' or 'peers', and times them.

  A job is a mapping with a key 'job', the name of a function of `ours.py` or
  `peers.py`, and its arguments. What it builds is kept, so that a second call
  only runs it. Settings are flags of that side's `setup`.
  """

  def __init__(self, side: str, *setting: str):
    self._errors = tempfile.TemporaryFile('w+')  # noqa: SIM115
    self._process = subprocess.Popen(
      [sys.executable, '-m', 'rope_jax.bench.worker', side, *setting],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      text=True,
      env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'},
    )

  def run(self, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a job once.

    Returns:
      'seconds', and at its first run 'check', numbers that say what it made.

    Raises:
      RuntimeError: the process failed; with the end of what it said.
    """
    assert self._process.stdin is not None
    assert self._process.stdout is not None
    time.sleep(_REST)
    try:
      self._process.stdin.write(json.dumps(job) + '\n')
      self._process.stdin.flush()
    except BrokenPipeError:
      pass
    line = self._process.stdout.readline()
    if not line:
      self._errors.seek(0)
      said = self._errors.read()[-2000:]
      raise RuntimeError(f'bench: the job {dict(job)} failed:\n{said}')
    return json.loads(line)

  def close(self) -> None:
    """Ends the process."""
    assert self._process.stdin is not None
    assert self._process.stdout is not None
    self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()
    self._errors.close()

  def __enter__(self) -> Worker:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()


def duel(
  case: str,
  ways: Mapping[str, tuple[Worker, Mapping[str, Any]]],
  rounds: int,
  tolerance: float | None = 1e-3,
) -> list[Timing]:
  """Times jobs in turn, having seen that they make the same numbers.

  Args:
    case: what they do.
    ways: name to (the process, its job); the first is what ratios are to.
    rounds: how often each runs, >= 2, after two that warm up.
    tolerance: how far apart, relative to the largest, their checks may be;
      None where they cannot be the same (a training has its own weights).

  Returns:
    A Timing for each way.

  Raises:
    RuntimeError: a job failed, or they do not compute the same.
  """
  checks = {
    way: worker.run(job)['check'] for way, (worker, job) in ways.items()
  }
  if tolerance is not None:
    first, want = next(iter(checks.items()))
    scale = max(np.abs(want).max(), 1e-30)
    for way, check in checks.items():
      gap = np.abs(np.subtract(check, want)).max() / scale
      if not gap < tolerance:
        raise RuntimeError(
          f'bench: {case}: {way} makes {check}, {first} {want}: not the same '
          'computation, so their times cannot be compared.'
        )
  calls = {
    way: lambda worker=worker, job=job: worker.run(job)['seconds']
    for way, (worker, job) in ways.items()
  }
  return paired(case, calls, rounds)


def peak(ours: Worker, rounds: int) -> float:
  """FLOP/s of the fastest of a few float32 matrix products."""
  products: dict[str, Any] = {
    f'{m} x {k} x {n}': (
      ours, {'job': 'matmul', 'rows': m, 'inner': k, 'columns': n},
    )
    for m, k, n in PRODUCTS
  }  # fmt: skip
  timings = duel('matrix products', products, rounds, None)
  return max(
    2 * m * k * n / t.seconds
    for (m, k, n), t in zip(PRODUCTS, timings, strict=True)
  )
