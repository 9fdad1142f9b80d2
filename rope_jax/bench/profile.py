"""Where a program's time goes, by kind of work."""

from __future__ import annotations

import collections
import pathlib
import re
import tempfile
from collections.abc import Callable
from typing import Any

import jax

# The first that fits, by the operation's name and where it comes from.
_KINDS = (
  ('waiting for other devices and adding up gradients', r'^all-|^collective'),
  ('attention tiles', r'shard_map'),
  ('matrix products', r'dot_general'),
  ('copies: joining, splitting, turning', r'^(copy|concat|bitcast_(pad|trans)|'
   r'.*(pad|transpose|concatenate|slice)_?.*fusion|wrapped_(copy|transpose))'),
  ('element by element: norms, SwiGLU, RoPE, AdamW', r''),
)  # fmt: skip


def kind(name: str, source: str) -> str:
  """The kind of work of an operation.

  >>> kind('all-reduce.3', 'jit(step)/reduce_sum')
  'waiting for other devices and adding up gradients'
  """
  return next(
    k for k, form in _KINDS
    if re.search(form, name if form.startswith('^') else source)
  )  # fmt: skip


def kinds(
  run: Callable[[], Any], program: str, times: int = 3
) -> dict[str, float]:
  """Seconds of each kind of work in a run, the mean over devices.

  Args:
    run: runs a compiled program once, and waits for it.
    program: its text, which says where each operation comes from.
    times: how often to run it.

  Returns:
    By kind, the largest first; the kinds of `_KINDS`.
  """
  sources = {}
  for line in program.splitlines():
    found = re.match(r'\s*(?:ROOT )?%?([\w.\-]+) = (.*)', line)
    if found:
      source = re.search(r'op_name="([^"]*)"', found[2])
      sources[found[1]] = source[1] if source else ''
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      for _ in range(times):
        run()
    (path,) = pathlib.Path(folder).rglob('*.xplane.pb')
    data = jax.profiler.ProfileData.from_file(str(path))
    total: dict[str, float] = collections.defaultdict(float)
    for plane in data.planes:
      for line in plane.lines:
        for name, seconds in _outermost(line):
          total[kind(name, sources.get(name, ''))] += seconds
  share = times * jax.device_count()
  ordered = sorted(total.items(), key=lambda item: -item[1])
  return {name: seconds / share for name, seconds in ordered}


def _outermost(line: Any) -> list[tuple[str, float]]:
  """(operation, seconds) of a thread's events that are within no other."""
  events = []
  for event in line.events:
    name = dict(event.stats).get('hlo_op')
    if name is not None:
      events.append((event.start_ns, event.duration_ns, str(name)))
  found, end = [], -1.0
  for start, duration, name in sorted(events, key=lambda e: (e[0], -e[1])):
    if start >= end:
      found.append((name, duration / 1e9))
      end = start + duration
  return found
