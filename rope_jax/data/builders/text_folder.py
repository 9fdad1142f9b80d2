"""A folder of *.txt files that the user names, one document a file."""

import functools
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from rope_jax.data import documents
from rope_jax.data.builders import common


class TextFolder(common.TextBuilder):
  """Every *.txt under a folder, in path order, as UTF-8.

  With sub-folders named train, validation or test, they are the splits;
  otherwise files are split by a hash of their paths. A document's group is the
  first folder it is in (under the split's), or itself where there is none.
  The config's name holds a fingerprint of paths and contents: another folder
  or a changed file is another preparation.

  Args:
    path: the folder.
  """

  VERSION = tfds.core.Version('1.0.0')
  DESCRIPTION = 'A folder of text files.'
  LICENCE = 'Whatever the licence of the files is.'

  def __init__(self, *, path: str | pathlib.Path, **kwargs: Any):
    self.path = checked_folder(path)
    config = tfds.core.BuilderConfig(name=config_name(self.path))
    super().__init__(config=config, **kwargs)

  def source(self) -> Mapping[str, str]:
    return {'path': str(self.path)}

  def records(self) -> Mapping[str, Sequence[common.Record]]:
    files = text_files(self.path)
    ids = [file.relative_to(self.path).as_posix() for file in files]
    named = self._named()
    if named:
      outside = [x for x in ids if x.partition('/')[0] not in named]
      if outside:
        raise ValueError(
          f'path={str(self.path)!r} has the split folders '
          f'{", ".join(named)}, yet {len(outside)} of its {len(ids)} text '
          f'files are outside them, such as {outside[0]!r}; move them into a '
          'split or out of the folder.'
        )
      assigned = {x: x.partition('/')[0] for x in ids}
    else:
      assigned = documents.split_by_hash(ids)
    splits = {split: [] for split in documents.SPLITS}
    for file, x in zip(files, ids, strict=True):
      folders = x.split('/')[bool(named) : -1]
      splits[assigned[x]].append(
        common.Record(
          id=x,
          group=folders[0] if folders else x,
          title=file.stem,
          date='',
          read=functools.partial(read_utf8, file),
        )
      )
    return splits

  def split_rule(self) -> str:
    """Why a split may be missing, in a sentence; '' if none is."""
    if self._named():
      return (
        f'The splits of {self.path} are its sub-folders train, validation and '
        'test, as far as they hold *.txt files.'
      )
    files = len(text_files(self.path))
    if files > 2:
      return ''
    return (
      f'{self.path} holds {files} *.txt file{"s" if files > 1 else ""}, too '
      'few for three splits: of one, all is train; of two, one is test.'
    )

  def _named(self) -> list[str]:
    """The splits that have a sub-folder of their own."""
    return [s for s in documents.SPLITS if (self.path / s).is_dir()]


def checked_folder(path: str | pathlib.Path) -> pathlib.Path:
  """Returns the absolute folder, refusing one that is not there."""
  folder = pathlib.Path(path).expanduser().absolute()
  if not folder.is_dir():
    raise ValueError(
      f'path={str(path)!r} is not a folder; name an existing folder of *.txt '
      'files.'
    )
  return folder


def text_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Lists the *.txt files under a folder in path order; refuses none."""
  files = [file for file in folder.rglob('*.txt') if file.is_file()]
  if not files:
    raise ValueError(
      f'path={str(folder)!r} has no *.txt file, nor has any folder under it; '
      'name a folder of UTF-8 text files.'
    )
  return sorted(files, key=lambda file: file.relative_to(folder).as_posix())


def config_name(folder: pathlib.Path) -> str:
  """Names a folder's present contents: its name and a hash of its texts."""
  digest = hashlib.sha256()
  for file in text_files(folder):
    path = file.relative_to(folder).as_posix().encode()
    digest.update(len(path).to_bytes(8, 'little') + path)
    with open(file, 'rb') as stream:
      digest.update(hashlib.file_digest(stream, 'sha256').digest())
  slug = re.sub(r'[^a-z0-9]+', '_', folder.name.lower()).strip('_') or 'folder'
  return f'{slug[:40]}-{digest.hexdigest()[:16]}'


def read_utf8(file: pathlib.Path) -> str:
  """Reads a file as strict UTF-8, refusing anything else by name and place."""
  raw = file.read_bytes()
  try:
    return raw.decode('utf-8')
  except UnicodeDecodeError as error:
    line = raw.count(b'\n', 0, error.start) + 1
    raise ValueError(
      f'{file} is not UTF-8: byte 0x{raw[error.start]:02x} at offset '
      f'{error.start} (line {line}); convert it, e.g. `iconv -f latin1 -t '
      'utf-8`, or take it out of the folder.'
    ) from error
