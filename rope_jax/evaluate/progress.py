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

  Where it was told of nothing by the end, since all was there already, it says
  so.

  Args:
    name: what is being measured.
    show: False says nothing at all.

  Yields:
    A function of (what, tokens done, tokens in all), to be called after work
    was done.
  """
  if not show:
    yield lambda what, done, total: None
    return
  kind = _Bar if sys.stderr.isatty() else _Lines
  shown = kind(name)
  with contextlib.closing(shown):
    yield shown.tell
    if not shown.told:
      _say(f'{name}: nothing is left to do')
    else:
      shown.finish()


def _say(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


class _Lines:
  """A line every ten seconds, and one at the end."""

  def __init__(self, name: str):
    self.told, self._whole = False, False
    self._name = name
    self._began = self._said = time.monotonic()

  def tell(self, what: str, done: int, total: int) -> None:
    """Says how far it is, if it is time."""
    self.told = True
    now = time.monotonic()
    if now - self._said >= 10 or (done >= total and not self._whole):
      self._said, self._whole = now, done >= total
      took = f'after {now - self._began:.0f} s'
      _say(f'{self._name}: {done / total:.0%} {took} ({what})')

  def finish(self) -> None:
    """Says that it is done, if the last line does not: the rest was there."""
    if not self._whole:
      took = f'after {time.monotonic() - self._began:.0f} s'
      _say(f'{self._name}: 100% {took} (the rest was there)')

  def close(self) -> None:
    """Nothing: its lines stay."""


class _Bar:
  """A bar that appears with the first word."""

  def __init__(self, name: str):
    from rich import console, progress

    self.told, self._total = False, 0
    self._shown = progress.Progress(
      progress.TextColumn('{task.description}'),
      progress.BarColumn(),
      progress.TaskProgressColumn(),
      progress.TimeRemainingColumn(),
      progress.TextColumn('{task.fields[what]}'),
      console=console.Console(file=sys.stderr),
    )
    self._task = self._shown.add_task(name, total=None, what='')

  def tell(self, what: str, done: int, total: int) -> None:
    """Moves the bar."""
    if not self.told:
      self._shown.start()
    self.told = True
    self._total = total
    self._shown.update(self._task, completed=done, total=total, what=what)

  def finish(self) -> None:
    """Fills the bar: the rest was there."""
    self._shown.update(self._task, completed=self._total)

  def close(self) -> None:
    """Leaves the bar as it is."""
    if self.told:
      self._shown.stop()
