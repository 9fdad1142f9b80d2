"""Source code of the installed packages, one document a sub-package."""

import functools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from rope_jax.data import documents
from rope_jax.data.builders import common

# A folder or module that is a test or serves one.
TEST = re.compile(r'(^|_)(tests?|testing|conftest)(_|$)')
PACKAGES = ('jax', 'numpy', 'scipy', 'flax', 'optax')


class PythonSource(common.TextBuilder):
  """Python files of jax, numpy, scipy, flax and optax, without their tests.

  A document is a package's own modules or one top-level sub-package, its files
  in path order, each under a comment with its path; an internal `_src` folder
  is looked through. Documents are split by a hash of their ids. What is inside
  depends on what is installed, so the config is named after the versions: two
  environments never share a preparation.
  """

  VERSION = tfds.core.Version('1.0.0')
  DESCRIPTION = 'Source code of scientific Python packages.'
  HOMEPAGE = 'https://pypi.org'
  LICENCE = 'Apache-2.0 (jax, flax, optax) and BSD-3-Clause (numpy, scipy).'

  def __init__(self, *, config: Any = None, **kwargs: Any):
    super().__init__(config=config or current_config(), **kwargs)

  def source(self) -> Mapping[str, str]:
    return {package: common.package_version(package) for package in _present()}

  def records(self) -> Mapping[str, Sequence[common.Record]]:
    found: dict[str, tuple[pathlib.Path, list[pathlib.Path]]] = {}
    for package in _present():
      folder = common.package_dir(package, package)
      for path in _python_files(folder):
        parts = path.relative_to(folder).parts[:-1]
        depth = 2 if parts[:1] == ('_src',) else 1
        key = '/'.join((package, *parts[:depth]))
        found.setdefault(key, (folder.parent, []))[1].append(path)
    assigned = documents.split_by_hash(found)
    splits = {split: [] for split in documents.SPLITS}
    for key, (root, paths) in sorted(found.items()):
      package = key.partition('/')[0]
      splits[assigned[key]].append(
        common.Record(
          id=key,
          group=package,
          title=f'{key} {common.package_version(package)}',
          date='',
          read=functools.partial(_read, root, paths),
        )
      )
    return splits


def current_config() -> tfds.core.BuilderConfig:
  """Returns a config named after the installed versions."""
  name = '-'.join(f'{p}{common.package_version(p)}' for p in _present())
  return tfds.core.BuilderConfig(name=name, description='Installed versions.')


def _present() -> list[str]:
  return [p for p in PACKAGES if common.package_version(p) != '0.0.0']


def _python_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  for path in sorted(folder.rglob('*.py')):
    parts = path.relative_to(folder).with_suffix('').parts
    if not any(TEST.search(part) for part in parts):
      yield path


def _read(root: pathlib.Path, paths: Sequence[pathlib.Path]) -> str:
  return ''.join(
    f'# {path.relative_to(root).as_posix()}\n'
    f'{path.read_bytes().decode("utf-8")}\n'
    for path in paths
  )
