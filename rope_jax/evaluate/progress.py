"""What the terminal shows while a model is measured."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rope_jax.evaluate.cells import Progress


@contextlib.contextmanager
def bar(name: str, *, show: bool = True) -> Iterator[Progress]:
  """A bar in a terminal, a line every ten seconds elsewhere, or nothing.

  Args:
    name: what is being measured.
    show: False says nothing at all.

  Yields:
    A function of (what, tokens done, tokens in all).
  """
  if not show:
    yield lambda what, done, total: None
  elif sys.stderr.isatty():
    from rich import console, progress

    with progress.Progress(
      progress.TextColumn('{task.description}'),
      progress.BarColumn(),
      progress.TaskProgressColumn(),
      progress.TimeRemainingColumn(),
      progress.TextColumn('{task.fields[what]}'),
      console=console.Console(file=sys.stderr),
    ) as shown:
      task = shown.add_task(name, total=None, what='')

      def update(what: str, done: int, total: int) -> None:
        shown.update(task, completed=done, total=total, what=what)

      yield update
  else:
    began = said = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
      nonlocal said
      now = time.monotonic()
      if now - said >= 10 or done >= total:
        said = now
        print(
          f'{name}: {done / total:.0%} after {now - began:.0f} s ({what})',
          file=sys.stderr,
          flush=True,
        )

    yield tell
