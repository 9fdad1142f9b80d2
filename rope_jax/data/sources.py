"""Opens a data set by name: our corpora, a folder, any prepared TFDS set."""

import contextlib
import difflib
import functools
import importlib
import io
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from rope_jax.data import documents as docs
from rope_jax.data import locks, quiet

PACKAGE = 'rope_jax.data.builders'
# name -> (builder, its configs with the default first).
BUILDERS = {
  'sotu': ('sotu:Sotu', ('speeches', 'presidents')),
  'kjv': ('kjv:Kjv', ('whole', 'books')),
  'python_source': ('python_source:PythonSource', ()),
  'folder': ('text_folder:TextFolder', ()),
}
TEXT_KEYS = ('text', 'book_text', 'content', 'document', 'article', 'wiki_text')
ID_KEYS = ('id', 'book_id', 'wikidata_id', 'url', 'title')


def names() -> tuple[str, ...]:
  """Returns the names `load_documents` knows, beside 'tfds:NAME'."""
  configured = [
    f'{name}/{config}'
    for name, (_, configs) in BUILDERS.items()
    for config in configs[1:]
  ]
  return tuple(sorted([*BUILDERS, *configured, 'pydoc']))


def load_documents(
  name: str,
  split: str,
  *,
  config: str | None = None,
  path: str | os.PathLike[str] | None = None,
  data_dir: str | os.PathLike[str] | None = None,
  text_key: str | None = None,
) -> docs.Documents:
  """Opens one split of a data set as whole documents.

  Our own corpora are prepared on first use, which is quick and safe against
  other processes doing the same; a public TFDS set is read as it was prepared.

  Args:
    name: 'sotu', 'sotu/presidents', 'kjv', 'kjv/books', 'python_source',
      'folder' (needs `path`), 'pydoc' (needs no package), or
      'tfds:NAME[/CONFIG][:VERSION]'.
    split: 'train', 'validation' or 'test', or whatever a TFDS set has; TFDS
      slices such as 'train[:10%]' work except for 'pydoc'.
    config: the part after the slash, if it is not in the name.
    path: the folder of *.txt files, for 'folder' alone.
    data_dir: where prepared sets are; TFDS_DATA_DIR or
      ~/.cache/rope_jax/tfds if absent or empty.
    text_key: for 'tfds:' alone, the feature that is the text; found by name
      if absent.

  Returns:
    The documents, read from disk as they are indexed.

  Raises:
    ValueError: an unknown name, config or split (`documents.NoSplit`); a data
      package that is not installed; a TFDS set that is not prepared; a file
      that is not UTF-8.

  Example:
    >>> documents = load_documents('pydoc', 'train')
    >>> documents[0].id
    'topics-00'
  """
  if name.startswith('tfds:'):
    _refuse(name, path=path)
    wanted = name.removeprefix('tfds:')
    if config:
      bare, colon, version = wanted.partition(':')
      wanted = f'{bare}/{config}{colon}{version}'
    return _public(wanted, split, data_dir, text_key or None)
  _refuse(name, text_key=text_key)
  base, _, inline = name.partition('/')
  if base != 'folder':
    _refuse(name, path=path)
  if base == 'pydoc' and not inline and not config:
    return _pydoc(split)
  if base not in BUILDERS:
    raise ValueError(_unknown(name))
  module, configs = BUILDERS[base]
  if inline and config and inline != config:
    raise ValueError(
      f'name={name!r} and config={config!r} disagree; give the config once.'
    )
  config = inline or config or (configs[0] if configs else None)
  if config and config not in configs:
    raise ValueError(
      f'config={config!r}: {base} has '
      + (f'the configs {", ".join(configs)}.' if configs else 'no configs.')
      + _did_you_mean(config, configs)
    )
  arguments: dict[str, Any] = {'config': config} if config else {}
  if base == 'folder':
    if not path:
      raise ValueError(
        "path is missing: name='folder' needs path, a folder of *.txt files."
      )
    arguments = {'path': path}
  return _own(module, arguments, base, split, data_dir)


def load_split(section: Any, split: str) -> docs.Documents:
  """One split of the data set that a configuration's `data` section names."""
  return load_documents(
    section.name,
    split,
    path=section.path,
    data_dir=section.dir,
    text_key=section.text_key,
  )


def default_data_dir() -> pathlib.Path:
  """Returns TFDS_DATA_DIR, or ~/.cache/rope_jax/tfds."""
  return pathlib.Path(
    os.environ.get('TFDS_DATA_DIR') or '~/.cache/rope_jax/tfds'
  ).expanduser()


def _refuse(name: str, **arguments: Any) -> None:
  for key, value in arguments.items():
    if value:
      raise ValueError(f'{key}={value!r} means nothing for {name!r}; drop it.')


def _unknown(name: str) -> str:
  return (
    f'name={name!r} is not a data set we know: {", ".join(names())}, or '
    f"'tfds:NAME' for a TFDS set you have prepared."
    f'{_did_you_mean(name, names())}'
  )


def _did_you_mean(word: str, known: tuple[str, ...]) -> str:
  close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
  return f' Did you mean {close[0]!r}?' if close else ''


def _pydoc(split: str) -> docs.Documents:
  """Python's own reference manual: 40 documents of 4 to 63 KB."""
  docs.check_split('pydoc', split, docs.SPLITS)
  if split not in docs.SPLITS:
    raise ValueError(
      f"split={split!r}: 'pydoc' cannot be sliced; slice the documents instead."
    )
  topics = importlib.import_module('pydoc_data.topics').topics
  # Each topic, from the longest on, joins what is the shortest document yet.
  bins: list[list[str]] = [[] for _ in range(40)]
  for key in sorted(topics, key=lambda key: (-len(topics[key]), key)):
    min(bins, key=lambda b: sum(len(topics[k]) for k in b)).append(key)
  members = {f'topics-{i:02d}': keys for i, keys in enumerate(bins)}
  assigned = docs.split_by_hash(members)
  return docs.documents_from_texts(
    [
      docs.Document(x, '\n'.join(topics[key] for key in keys), x)
      for x, keys in members.items()
      if assigned[x] == split
    ],
    name=f'pydoc[{split}]',
  )


def _own(
  module: str,
  arguments: Mapping[str, Any],
  name: str,
  split: str,
  data_dir: str | os.PathLike[str] | None,
) -> docs.Documents:
  where = str(data_dir) if data_dir else str(default_data_dir())
  file, _, builder_name = module.partition(':')
  with quiet.quiet():
    make = functools.partial(
      getattr(importlib.import_module(f'{PACKAGE}.{file}'), builder_name),
      data_dir=where,
      file_format='array_record',
      **arguments,
    )
    builder = make()
    if not builder.info.splits:  # Not prepared when the builder was made.
      with locks.lock(where, builder.info.full_name):
        builder = make()  # Another process may have finished meanwhile.
        if not builder.info.splits:
          with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
  return _open(builder, name, split, 'text', 'id', 'group')


def _public(
  name: str,
  split: str,
  data_dir: str | os.PathLike[str] | None,
  text_key: str | None,
) -> docs.Documents:
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import read_only_builder

  home = pathlib.Path('~/tensorflow_datasets').expanduser()  # TFDS's default.
  places = [str(data_dir)] if data_dir else [str(default_data_dir()), str(home)]
  builder = None
  for place in places:
    with contextlib.suppress(tfds.core.DatasetNotFoundError), quiet.quiet():
      builder = read_only_builder.builder_from_files(name, data_dir=place)
      break
  if builder is None:
    bare = re.split('[/:]', name)[0]
    raise ValueError(
      f"name='tfds:{name}' is not prepared under {' or '.join(places)}. Once, "
      'in any environment with TensorFlow: `pip install tensorflow-cpu '
      f'tensorflow-datasets`, then `tfds build {bare} '
      f'--file_format=array_record --data_dir={places[0]}`. Then `python -m '
      f"experiments.train --config.data.name='tfds:{name}' "
      f'--config.data.dir={places[0]}`; reading needs no TensorFlow.'
    )
  file_format = builder.info.file_format
  if file_format is None or file_format.value != 'array_record':
    raise ValueError(
      f"name='tfds:{name}' is prepared in {builder.data_path} as "
      f'{getattr(file_format, "value", file_format)}, which cannot be read at '
      'random; convert it with `tfds convert_format --root_data_dir '
      f'{builder.data_path} --out_file_format array_record --out_path DIR` or '
      'build it with `--file_format=array_record`.'
    )
  features: Any = builder.info.features
  keys = list(features or ())
  found = [k for k in ((text_key,) if text_key else TEXT_KEYS) if k in keys]
  if not found:
    raise ValueError(
      f"text_key={text_key!r}: 'tfds:{name}' has the features "
      f'{", ".join(keys)}; set text_key to the one that is the text.'
    )
  ids = [key for key in ID_KEYS if key in keys and key != found[0]]
  return _open(builder, f'tfds:{name}', split, found[0], *ids[:1])


def _open(
  builder: Any,
  name: str,
  split: str,
  text_key: str,
  id_key: str | None = None,
  group_key: str | None = None,
) -> docs.Documents:
  info = builder.info
  why = getattr(builder, 'split_rule', str)
  docs.check_split(name, split, list(info.splits), why)
  try:
    part = info.splits[split]
    with quiet.quiet():
      source = builder.as_data_source(split=split)
  except (ValueError, AssertionError, KeyError) as error:
    raise ValueError(
      f'split={split!r} of {name} cannot be read: {error}'
    ) from error
  stem = split.partition('[')[0]
  whole = info.splits[stem]

  def read(index: int) -> docs.Document:
    row = source[index]
    id_ = _text(row[id_key]) if id_key else f'{split}-{index}'
    try:
      text = _text(row[text_key])
    except UnicodeDecodeError as error:
      raise ValueError(
        f'{name}, split {split!r}, document {id_!r}: feature {text_key!r} is '
        f'not UTF-8 text ({error}).'
      ) from error
    return docs.Document(id_, text, _text(row[group_key]) if group_key else id_)

  size = len(source)
  share = size / max(1, whole.num_examples)
  return docs.Documents(
    f'{name}[{split}]',
    size,
    read,
    # The name, config and version, and the size as TFDS recorded it.
    fingerprint=f'{info.full_name}[{split}]-{part.num_examples}-'
    f'{int(whole.num_bytes)}-{text_key}',
    num_bytes=int(whole.num_bytes * share),
    metadata={
      'dataset': info.full_name,
      'split': split,
      **{k: str(v) for k, v in dict(info.metadata or {}).items()},
    },
  )


def _text(value: Any) -> str:
  return value.decode('utf-8') if isinstance(value, bytes) else str(value)
