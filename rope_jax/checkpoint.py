"""Checkpoints of a run: asynchronous, sealed, restored onto shardings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

log = logging.getLogger('rope_jax')

# A checkpoint's seal: size and digest of each of its files.
SEAL = 'files.json'


class Damaged(ValueError):
  """A checkpoint that cannot be trusted."""


class Checkpoints:
  """The checkpoints under a folder, one sub-folder a step.

  A checkpoint appears under its own name only when it is whole, and is then
  sealed with the digests of its files, so that a damaged one is noticed. One
  that was cut short or is damaged is moved to `<folder>_broken`, never
  deleted.

  Args:
    folder: made if absent, when something is saved.
    keep: how many to keep, the newest.
    read_only: neither save nor move anything.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    keep: int = 1,
    *,
    read_only: bool = False,
  ):
    self.folder = pathlib.Path(folder).absolute()
    self._keep, self._read_only = keep, read_only
    self._open: Any = None
    self._sealing: threading.Thread | None = None
    self._error: BaseException | None = None
    if not read_only and jax.process_index() == 0 and self.folder.exists():
      for path in sorted(self.folder.iterdir()):
        if path.is_dir() and not path.name.isdecimal():
          self._set_aside(path, 'it was cut short while it was written')
    _barrier('checkpoints')

  def steps(self) -> list[int]:
    """The steps there are whole checkpoints of, rising."""
    if not self.folder.exists():
      return []
    return sorted(
      int(p.name)
      for p in self.folder.iterdir()
      if p.name.isdecimal() and (p / '_CHECKPOINT_METADATA').exists()
    )

  def save(
    self, step: int, items: Mapping[str, Any], about: Mapping[str, Any]
  ) -> None:
    """Begins to save; the arrays may be donated as soon as this returns.

    Args:
      step: greater than any step saved so far.
      items: name -> tree of arrays.
      about: plain values to keep with them.
    """
    self.wait()
    with _quiet():
      response = self._manager().save_checkpointables_async(
        step, dict(items), custom_metadata=dict(about), force=True
      )

    def finish() -> None:
      try:
        with _quiet():
          response.result()
        if jax.process_index() == 0:
          _seal(self.folder / str(step))
      except BaseException as error:  # Raised again by `wait`.
        self._error = error

    self._sealing = threading.Thread(target=finish, name='rope_jax-save')
    self._sealing.start()

  def wait(self) -> None:
    """Waits until what is being saved is on disk."""
    if self._sealing:
      self._sealing.join()
      self._sealing = None
    if self._error:
      error, self._error = self._error, None
      raise error

  def close(self) -> None:
    """Waits, and lets go of everything."""
    try:
      self.wait()
    finally:
      if self._open:
        self._open.close()
        self._open = None

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def about(self, step: int) -> dict[str, Any]:
    """The plain values that were kept with a checkpoint."""
    path = self.folder / str(step) / '_CHECKPOINT_METADATA'
    try:
      return json.loads(path.read_text(encoding='utf-8'))['custom_metadata']
    except (OSError, ValueError, KeyError) as error:
      raise Damaged(f'{path}: {error}') from error

  def restore(
    self, targets: Mapping[str, Any]
  ) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
    """Restores the newest good checkpoint, saying so if it passes one over.

    Args:
      targets: name -> tree of jax.ShapeDtypeStruct with shardings; names left
        out are not read.

    Returns:
      (step, name -> tree, what was kept with it), or None if there is none.

    Raises:
      ValueError: there are checkpoints, and not one is good.
    """
    bad = []
    for step in reversed(self.steps()):
      path = self.folder / str(step)
      why, found, about = '', {}, {}
      try:
        if jax.process_index() == 0:
          _check_seal(path)
        about = self.about(step)
        with _quiet():
          found = dict(
            self._manager().load_checkpointables(step, dict(targets))
          )
      except Exception as error:
        why = f'{type(error).__name__}: {error}'.splitlines()[0][:300]
      if _all_agree(not why):
        return step, found, about
      bad.append(f'{path} ({why or "damaged, says another process"})')
      log.warning(
        'checkpoint %s is damaged (%s); falling back to the one before it',
        path,
        why,
      )
      self._reopen()
      if not self._read_only and jax.process_index() == 0:
        self._set_aside(path, why)
      _barrier(f'broken {step}')
    if bad:
      raise ValueError(
        f'no checkpoint under {self.folder} can be restored: '
        f'{"; ".join(bad)}. Nothing was deleted. Put a good one back, or '
        'train again in another workdir.'
      )
    return None

  def _manager(self) -> Any:
    if self._open is None:
      from orbax.checkpoint import v1 as ocp

      policy: Any = ocp.training.preservation_policies.LatestN(self._keep)
      self._open = ocp.training.Checkpointer(
        str(self.folder), preservation_policy=policy
      )
    return self._open

  def _reopen(self) -> None:
    """The list of steps is read when the manager opens."""
    if self._open:
      self._open.close()
      self._open = None

  def _set_aside(self, path: pathlib.Path, why: str) -> None:
    broken = self.folder.with_name(f'{self.folder.name}_broken')
    broken.mkdir(exist_ok=True)
    number = 0
    while (target := broken / f'{path.name}.{number}').exists():
      number += 1
    path.rename(target)
    log.warning('moved %s to %s: %s', path, target, why)


def _files(path: pathlib.Path) -> Iterator[pathlib.Path]:
  for file in sorted(path.rglob('*')):
    if file.is_file() and file != path / SEAL:
      yield file


def _digest(file: pathlib.Path) -> list[Any]:
  with open(file, 'rb') as stream:
    digest = hashlib.file_digest(stream, 'sha256').hexdigest()
  return [file.stat().st_size, digest]


def _seal(path: pathlib.Path) -> None:
  found = {str(f.relative_to(path)): _digest(f) for f in _files(path)}
  scratch = path.parent.with_name(f'.{SEAL}.{os.getpid()}')
  scratch.write_text(json.dumps(found), encoding='utf-8')
  os.replace(scratch, path / SEAL)


def _check_seal(path: pathlib.Path) -> None:
  """Raises Damaged if a file is not what it was when it was sealed.

  One without a seal is whole, but its run was killed within moments of
  writing it; it is taken if it can be read.
  """
  if not (path / SEAL).exists():
    return
  try:
    sealed = json.loads((path / SEAL).read_text(encoding='utf-8'))
  except ValueError as error:
    raise Damaged(f'{path / SEAL} is damaged') from error
  for name, (size, digest) in sealed.items():
    file = path / name
    if not file.exists():
      raise Damaged(f'{name} is missing')
    if file.stat().st_size != size or _digest(file)[1] != digest:
      raise Damaged(f'{name} is not what was written')


def _barrier(name: str) -> None:
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(name)


def _all_agree(mine: bool) -> bool:
  if jax.process_count() == 1:
    return mine
  from jax.experimental import multihost_utils

  return bool(np.all(multihost_utils.process_allgather(np.array(mine))))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps Orbax's notes on every save and load out of the log."""
  absl = logging.getLogger('absl')
  level = absl.level
  absl.setLevel(logging.ERROR)
  try:
    yield
  finally:
    absl.setLevel(level)
