"""SIGTERM and SIGINT: noticed between two steps, so that a run can save."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import jax


class Interrupted(SystemExit):
  """A run that was told to stop, and has saved; exits with 128 + the signal.

  Attributes:
    code: 143 for SIGTERM, 130 for SIGINT.
    step: the step it saved at.
  """

  def __init__(self, number: int, step: int):
    super().__init__(128 + number)
    self.step = step


class Signals:
  """Remembers the first SIGTERM or SIGINT; a second one acts as ever.

  Outside the main thread, where Python takes no handlers, it never notices
  any. With several processes, all learn of a SIGTERM at the same step.
  """

  def __init__(self):
    self._number: int | None = None
    self._before: dict[int, Any] = {}

  def __enter__(self) -> Signals:
    main = threading.current_thread() is threading.main_thread()
    if main and jax.process_count() == 1:  # Else JAX's own handler sees it.
      for number in (signal.SIGINT, signal.SIGTERM):
        self._before[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_: object) -> None:
    self._restore()

  def _note(self, number: int, frame: FrameType | None) -> None:
    del frame
    self._number = number
    self._restore()

  def _restore(self) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler or signal.SIG_DFL)
    self._before = {}

  def caught(self, step: int) -> int | None:
    """The signal's number, if one has come; to be asked at every step."""
    if jax.process_count() == 1:
      return self._number
    from jax.experimental import multihost_utils

    if multihost_utils.reached_preemption_sync_point(step):
      return signal.SIGTERM
    return None
