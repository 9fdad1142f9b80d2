"""A lock between processes, so that shared files are prepared only once."""

import contextlib
import fcntl
import os
import pathlib
import re
from collections.abc import Iterator


@contextlib.contextmanager
def lock(folder: str | os.PathLike[str], key: str) -> Iterator[None]:
  """Waits until no other process holds (folder, key), then holds it.

  The lock is a hidden file in the folder; the system lets go of it when a
  process dies. For a folder that is no file system (gs://...) it is in this
  machine's cache and holds only among processes of this machine.

  Args:
    folder: where the shared files are; made if absent.
    key: what is being prepared.
  """
  place = pathlib.Path(folder).expanduser()
  if '://' in str(folder):
    place = pathlib.Path('~/.cache/rope_jax/locks').expanduser()
  place.mkdir(parents=True, exist_ok=True)
  name = re.sub(r'[^A-Za-z0-9.-]+', '_', key)[-120:]
  with open(place / f'.{name}.lock', 'w', encoding='utf-8') as stream:
    fcntl.flock(stream, fcntl.LOCK_EX)
    try:
      yield
    finally:
      fcntl.flock(stream, fcntl.LOCK_UN)
