"""What a configuration is told when its documents are not to be had."""

from __future__ import annotations

import pathlib
from typing import Any

from rope_jax.data.documents import NoSplit
from rope_jax.data.windows import TooShort


def field(config: Any, name: str) -> str:
  """The field that eval.lengths or eval.documents was taken from.

  Example:
    >>> from rope_jax import config as config_lib
    >>> field(config_lib.default(), 'lengths')
    'config.eval.lengths'
  """
  quick = config.quick.get(name)
  taken = not config.full and quick and quick == config.eval[name]
  return f'config.{"quick" if taken else "eval"}.{name}'


def no_split(config: Any, error: NoSplit) -> str:
  """Of a config.data.eval_split that the data set does not have."""
  wanted = config.data
  trained = wanted.train_split.partition('[')[0]
  trains = bool(config.tune or config.methods)
  others = [s for s in error.allowed if not trains or s != trained]
  if others:
    told = f'Use config.data.eval_split={" or ".join(map(repr, others))}'
    told += '.' if trains else ': nothing is trained on it, so any split does.'
  else:
    told = f'That one is trained on (config.data.train_split={trained!r}): '
    told += (
      'give at least three files, or sub-folders train and test.'
      if wanted.name == 'folder'
      else f"share it out, with config.data.train_split='{trained}[:90%]' and "
      f"config.data.eval_split='{trained}[90%:]'."
    )
  return f'config.data.eval_split={wanted.eval_split!r}: {error.reason} {told}'


def too_few(config: Any, name: str, total: int) -> str:
  """Of more documents wanted than the data set has."""
  many = field(config, 'documents')
  told = f'at most {total}' if total else 'another config.data.eval_split'
  return (
    f'{many}={config.eval.documents}: {name} has {_documents(total)}. Use '
    f'{told}, or a data set of more documents.'
  )


def too_short(config: Any, error: TooShort) -> str:
  """Of documents that are shorter than what is to be read of them."""
  lengths = tuple(config.eval.lengths)
  length, many = field(config, 'lengths'), field(config, 'documents')
  count = config.eval.documents
  wanted, value = max(lengths), f'{lengths!r}'
  if config.eval.span:
    length, wanted, value = 'config.eval.span', *[config.eval.span] * 2
  tokens, one = error.longest
  if config.data.name == 'folder':
    one = str(pathlib.Path(config.data.path).expanduser() / one)
  advice = ['longer documents (config.data)']
  if error.fit:
    advice.insert(0, f'{many} of at most {error.fit}')
  if error.reach > 2:
    most = f'{length} of at most {error.reach - 1}'
    if config.eval.span:
      most += ' (a multiple of every length in config.eval.lengths)'
    advice.insert(0, most)
  return (
    f'{length}={value} needs documents of {wanted + 1} tokens ({wanted} to '
    f'predict and one before them), and {many}={count} of them; {error.name} '
    f'has {error.fit}, of {error.total} in all. Its longest, {one}, has '
    f'{tokens} tokens. Use {", or ".join(advice)}.'
  )


def _documents(count: int) -> str:
  return f'{count} document{"" if count == 1 else "s"}'
