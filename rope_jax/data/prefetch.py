"""Makes the next batches in a thread while the device works on this one."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar('T')


class Prefetch(Generic[T]):
  """Iterates over (step, batch), a few batches ahead of its consumer.

  Args:
    make: step -> batch, called in the thread, once a step, in order.
    start: the first step.
    stop: the step after the last; runs on forever if absent.
    depth: how many batches may wait, at least 1.
    place: batch -> what the consumer gets, also called in the thread, for
      example `lambda batch: jax.device_put(batch, sharding)`.

  Raises:
    ValueError: depth is below 1.
    Whatever `make` or `place` raised, when its step is asked for.

  Example:
    >>> with Prefetch(lambda step: step * step, 2, 5) as batches:
    ...   list(batches)
    [(2, 4), (3, 9), (4, 16)]
  """

  def __init__(
    self,
    make: Callable[[int], Any],
    start: int = 0,
    stop: int | None = None,
    *,
    depth: int = 2,
    place: Callable[[Any], T] | None = None,
  ):
    if depth < 1:
      raise ValueError(f'depth={depth}: give at least 1 batch.')
    self._queue: queue.Queue[tuple[int, Any, BaseException | None] | None] = (
      queue.Queue(maxsize=depth)
    )
    self._closed = threading.Event()
    self._done = False
    self._thread = threading.Thread(
      target=self._work,
      args=(make, start, stop, place),
      name='rope_jax-prefetch',
      daemon=True,
    )
    self._thread.start()

  def __iter__(self) -> Iterator[tuple[int, T]]:
    return self

  def __next__(self) -> tuple[int, T]:
    if self._done or self._closed.is_set():
      raise StopIteration
    item = self._queue.get()
    if item is None:
      self.close()
      raise StopIteration
    step, batch, error = item
    if error is not None:
      self.close()
      raise error
    return step, batch

  def __enter__(self) -> 'Prefetch[T]':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def close(self) -> None:
    """Stops the thread, waits for it and drops what waits; may be repeated."""
    self._done = True
    self._closed.set()
    while True:
      try:
        self._queue.get_nowait()
      except queue.Empty:
        break
    self._thread.join()
    # Wakes a consumer that waits in another thread.
    with contextlib.suppress(queue.Full):
      self._queue.put_nowait(None)

  def _work(
    self,
    make: Callable[[int], Any],
    start: int,
    stop: int | None,
    place: Callable[[Any], T] | None,
  ) -> None:
    step = start
    while stop is None or step < stop:
      try:
        batch = make(step)
        item = (step, place(batch) if place else batch, None)
      except BaseException as error:  # Raised again in the consumer.
        item = (step, None, error)
      if not self._put(item) or item[2] is not None:
        return
      step += 1
    self._put(None)

  def _put(self, item: tuple[int, Any, BaseException | None] | None) -> bool:
    """Waits for room; gives up once the consumer has closed."""
    while not self._closed.is_set():
      try:
        self._queue.put(item, timeout=0.05)
        return True
      except queue.Full:
        continue
    return False
