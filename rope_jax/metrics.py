"""metrics.jsonl, its TensorBoard mirror, and what the terminal shows."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time
from typing import Any, TextIO

Row = dict[str, float]


def read(path: str | os.PathLike[str]) -> list[Row]:
  """The rows of a metrics.jsonl; a last line that was cut off is left out."""
  path = pathlib.Path(path)
  if not path.exists():
    return []
  rows = []
  lines = path.read_text(encoding='utf-8').splitlines()
  for number, line in enumerate(lines, 1):
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError as error:
      if number < len(lines):
        raise ValueError(
          f'{path}: line {number} is no JSON ({error}); the file was damaged. '
          'Take the line out, or move the file away.'
        ) from error
  return rows


class Writer:
  """Appends rows to workdir/metrics.jsonl, one JSON object a line.

  Args:
    workdir: the run's folder.
    step: the step resumed from; rows after it are dropped, since they will
      be written again.
    tensorboard: whether to mirror the rows to workdir/tensorboard.

  Raises:
    ValueError: tensorboard is asked for and tensorboardX is not installed.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    step: int = 0,
    *,
    tensorboard: bool = False,
  ):
    self._mirror = None
    if tensorboard:
      check_tensorboard()
      from tensorboardX import SummaryWriter

      self._mirror = SummaryWriter(
        str(pathlib.Path(workdir) / 'tensorboard'), purge_step=step + 1
      )
    path = pathlib.Path(workdir) / 'metrics.jsonl'
    kept = [row for row in read(path) if row['step'] <= step]
    scratch = path.with_name(f'.{path.name}.{os.getpid()}')
    scratch.write_text(''.join(map(_line, kept)), encoding='utf-8')
    os.replace(scratch, path)
    self._file: TextIO = open(path, 'a', encoding='utf-8')  # noqa: SIM115

  def write(self, row: Row) -> None:
    """Appends a row, which has a 'step', and flushes it."""
    self._file.write(_line(row))
    self._file.flush()
    if self._mirror:
      for name, value in row.items():
        if name != 'step':
          self._mirror.add_scalar(f'train/{name}', value, int(row['step']))

  def close(self) -> None:
    """Closes the files."""
    self._file.close()
    if self._mirror:
      self._mirror.close()

  def __enter__(self) -> Writer:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()


def _line(row: Row) -> str:
  return json.dumps(row) + '\n'


def check_tensorboard() -> None:
  """Raises ValueError if tensorboardX is not installed."""
  try:
    import tensorboardX  # noqa: F401
  except ImportError as error:
    raise ValueError(
      'config.train.tensorboard=True needs tensorboardX, which is not '
      "installed: pip install -e '.[tensorboard]', or set it to False."
    ) from error


class Progress:
  """Shows a run: a bar in a terminal, else a line now and then, or nothing.

  Args:
    name: what is being trained.
    steps: of the whole run.
    start: the step resumed from.
    show: False says nothing at all.
    stream: where to; stderr if absent.
    lines: about how many lines a run gives where there is no terminal.
  """

  def __init__(
    self,
    name: str,
    steps: int,
    start: int = 0,
    *,
    show: bool = True,
    stream: TextIO | None = None,
    lines: int = 20,
  ):
    self._name, self._steps, self._start = name, steps, start
    self._stream = stream or sys.stderr
    self._show, self._bar = show, None
    self._every = max(1, steps // lines)
    self._said = start
    self._began: float | None = None
    if show and self._stream.isatty():
      from rich import console, progress

      self._bar = progress.Progress(
        progress.TextColumn('{task.description}'),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn('{task.fields[text]}'),
        console=console.Console(file=self._stream),
      )
      self._task = self._bar.add_task(
        name, total=steps, completed=start, text=''
      )

  def __enter__(self) -> Progress:
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    if self._bar:
      self._bar.stop()

  def begin(self) -> None:
    """Starts the clock that the time left is reckoned by."""
    self._began = time.monotonic()

  def say(self, text: str) -> None:
    """Prints a line."""
    if self._bar:
      self._bar.console.print(f'{self._name}: {text}', highlight=False)
    elif self._show:
      print(f'{self._name}: {text}', file=self._stream, flush=True)

  def update(self, row: Row) -> None:
    """Shows a row: step, loss, tokens a second, time left."""
    step = int(row['step'])
    text = f'loss {row["loss"]:.3f}  {row["tokens_per_second"]:,.0f} tokens/s'
    if self._began is not None and step > self._start:
      pace = (time.monotonic() - self._began) / (step - self._start)
      text += f'  {_duration(pace * (self._steps - step))} left'
    if self._bar:
      self._bar.update(self._task, completed=step, text=text)
    elif step - self._said >= self._every or step == self._steps:
      self._said = step
      self.say(f'step {step}/{self._steps}  {text}')


def _duration(seconds: float) -> str:
  whole = round(seconds)
  hours, rest = divmod(whole, 3600)
  if hours:
    return f'{hours}h {rest // 60:02d}m'
  return f'{rest // 60}m {rest % 60:02d}s' if rest >= 60 else f'{rest}s'


def summary(rows: list[Row]) -> dict[str, Any]:
  """The last row of a run, or {}."""
  return dict(rows[-1]) if rows else {}
