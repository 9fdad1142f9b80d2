"""A run's folder: whose it is, with what it was made, and who is in it now."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

from rope_jax import config as config_lib

# Fields that a resumed run may change: they say how the work is done, shown
# and evaluated, and not what is trained.
FREE = (
  'name',
  'eval',
  'full',
  'quick',
  'methods',
  'seeds',
  'variants',
  'tune',
  'start',  # Its weights are known by their digest, wherever they are.
  'mesh',
  'distributed',
  'data.dir',
  'data.eval_split',
  'model.attention',
  'model.remat',
  'model.scan',
  'train.accumulate',
  'train.checkpoint_every',
  'train.keep',
  'train.log_every',
  'train.step',
  'train.tensorboard',
)
# What work of any kind writes once it has begun.
BEGUN = (
  'checkpoints',
  'metrics.jsonl',
  'runs',
  'nll',
  'base',
  'tuned',
  'zero_shot',
)
PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'numpy',
  'tensorflow-datasets',
  'rope_jax',
)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
  """Writes JSON whole or not at all."""
  path = pathlib.Path(path)
  scratch = path.with_name(f'.{path.name}.{os.getpid()}')
  scratch.write_text(
    json.dumps(value, indent=2, sort_keys=True) + '\n', encoding='utf-8'
  )
  os.replace(scratch, path)


def read_json(path: str | os.PathLike[str]) -> Any:
  """Reads JSON.

  Raises:
    ValueError: the file is no JSON, naming it.
  """
  text = pathlib.Path(path).read_text(encoding='utf-8')
  try:
    return json.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(
      f'{path} is not valid JSON ({error}): it was damaged or edited. Restore '
      'it, or use another workdir.'
    ) from error


def check_owner(
  workdir: str | os.PathLike[str],
  config: Any,
  work: str,
) -> None:
  """Checks that a folder is new, or belongs to this work and configuration.

  A folder with nothing of `BEGUN` in it is anybody's.

  Args:
    workdir: a folder, which need not exist.
    config: a ConfigDict or a plain mapping.
    work: what is to be done there, such as 'a training'.

  Raises:
    ValueError: other work was done there, or it belongs to another
      configuration; names each field that differs, with both values.
  """
  if '://' in str(workdir):
    raise ValueError(
      f'workdir={str(workdir)!r} must be a folder of a file system; mount the '
      'bucket (gcsfuse, s3fs) and give its path.'
    )
  folder = pathlib.Path(workdir)
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'workdir={str(workdir)!r} is a file; name a folder.')
  begun = [name for name in BEGUN if (folder / name).exists()]
  path, versions = folder / 'config.json', folder / 'versions.json'
  if not path.exists():
    if begun:
      raise ValueError(
        f'workdir={str(workdir)!r} holds {" and ".join(begun)} but no '
        'config.json, so nobody knows what was done there. Use another '
        'workdir, or put its config.json back.'
      )
    return
  if not begun and not versions.exists():
    raise ValueError(
      f'workdir={str(workdir)!r} has a config.json that no run of ours wrote, '
      'such as that of a pretrained model. Use another workdir.'
    )
  if not begun:
    return  # A run that never took a step: nothing to protect.
  there = read_json(versions) if versions.exists() else {}
  if there.get('work', work) != work:
    raise ValueError(
      f'workdir={str(workdir)!r} holds {there["work"]}, and this is {work}. '
      'Use another workdir.'
    )
  theirs, ours = read_json(path), config_lib.plain(config)
  found = differences(theirs, ours, FREE)
  if found:
    lines = ''.join(
      f'\n  config.{name}: {_show(a)} there, {_show(b)} here'
      for name, a, b in found
    )
    raise ValueError(
      f'workdir={str(workdir)!r} belongs to another configuration:{lines}\n'
      'Use another workdir, or the configuration it was made with.'
    )


class Missing:
  """Stands for a field that is not there."""

  def __repr__(self) -> str:
    return 'absent'


MISSING = Missing()


def differences(
  theirs: Mapping[str, Any], ours: Mapping[str, Any], free: Iterable[str] = ()
) -> list[tuple[str, Any, Any]]:
  """Fields in which two plain trees differ: (dotted name, theirs, ours).

  >>> differences({'a': {'b': 1}, 'c': 2}, {'a': {'b': 3}, 'c': 4}, ['c'])
  [('a.b', 1, 3)]
  """
  free = set(free)

  def walk(a: Any, b: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if name in free:
      return
    if isinstance(a, Mapping) and isinstance(b, Mapping):
      for key in sorted({*a, *b}):
        path = f'{name}.{key}' if name else key
        yield from walk(a.get(key, MISSING), b.get(key, MISSING), path)
    elif a is MISSING or b is MISSING or a != b:
      yield name, a, b

  return list(walk(theirs, ours, ''))


def _show(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= 80 else f'{text[:77]}...'


def claim(
  workdir: str | os.PathLike[str],
  config: Any,
  work: str,
  about: Mapping[str, Any] | None = None,
) -> None:
  """Makes the folder this configuration's: config.json and versions.json.

  Args:
    workdir: a folder, made if absent.
    config: a ConfigDict or a plain mapping.
    work: as for `check_owner`.
    about: what else versions.json is to hold; 'data' and 'start' must not
      change.

  Raises:
    ValueError: it belongs to other work or another configuration, or the run
      was made with other training data or from other weights.
  """
  check_owner(workdir, config, work)
  folder = pathlib.Path(workdir)
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / 'versions.json'
  now = {'work': work, **versions(), **(about or {})}
  earlier = []
  if path.exists() and any((folder / name).exists() for name in BEGUN):
    then = read_json(path)
    if then.get('data') != now.get('data'):
      raise ValueError(
        f'config.data: the training text is not the one that '
        f'workdir={str(workdir)!r} was trained on ({then.get("data")} there, '
        f'{now.get("data")} now). Restore the text, or use another workdir.'
      )
    if then.get('start') != now.get('start'):
      raise ValueError(
        f'config.start: workdir={str(workdir)!r} began from other weights '
        f'({then.get("start", "drawn ones")} there, '
        f'{now.get("start", "drawn ones")} now). Restore them, or use another '
        'workdir.'
      )
    earlier = then.pop('earlier', [])
    if then != now:
      earlier = [*earlier, then]
  write_json(path, {**now, 'earlier': earlier} if earlier else now)
  write_json(folder / 'config.json', config_lib.plain(config))


def versions() -> dict[str, Any]:
  """What this process runs on: packages, platform, devices, commit, flags."""
  import jax

  found: dict[str, Any] = {
    'python': platform.python_version(),
    'system': platform.platform(),
    'platform': jax.default_backend(),
    'device_kind': jax.devices()[0].device_kind,
    'device_count': jax.device_count(),
    'process_count': jax.process_count(),
    'xla_flags': os.environ.get('XLA_FLAGS', ''),
    'commit': commit(),
  }
  for package in PACKAGES:
    try:
      found[package.replace('-', '_')] = metadata.version(package)
    except metadata.PackageNotFoundError:
      found[package.replace('-', '_')] = None
  return found


def commit() -> str | None:
  """The checkout's git commit, with '+' where files were changed."""
  here = pathlib.Path(__file__).resolve().parents[1]
  if not (here / '.git').exists():
    return None
  git = ['git', '-C', str(here)]
  try:
    head = _output([*git, 'rev-parse', 'HEAD'])
    changed = _output([*git, 'status', '--porcelain', '--untracked-files=no'])
  except (OSError, subprocess.SubprocessError):
    return None
  return head.strip() + ('+' if changed.strip() else '')


def _output(command: list[str]) -> str:
  return subprocess.run(
    command, check=True, capture_output=True, text=True, timeout=10
  ).stdout


@contextlib.contextmanager
def alone(workdir: str | os.PathLike[str]) -> Iterator[None]:
  """Holds the folder against a second run; freed when the process ends.

  Raises:
    ValueError: another process is at work in it now.
  """
  folder = pathlib.Path(workdir)
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / '.lock', 'a', encoding='utf-8') as stream:
    try:
      fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      raise ValueError(
        f'workdir={str(workdir)!r}: another process is at work in it now. '
        'Wait for it, or use another workdir.'
      ) from error
    yield
