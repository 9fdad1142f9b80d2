"""How much memory a call takes, as Linux counts it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any


def _status(field: str) -> int:
  text = pathlib.Path('/proc/self/status').read_text(encoding='utf-8')
  line = next(x for x in text.splitlines() if x.startswith(field + ':'))
  return 1024 * int(line.split()[1])


def extra(run: Callable[[], Any]) -> int:
  """Bytes by which a call raises the process's resident memory at its peak.

  What the call returns counts; what was there before does not.
  """
  pathlib.Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')
  before = _status('VmRSS')
  kept = run()
  peak = _status('VmHWM')
  del kept
  return peak - before


def peak() -> int:
  """The most bytes that the process has had resident since it began."""
  return _status('VmHWM')
