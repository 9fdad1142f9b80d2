"""What a configuration trains on: text, tokenizer, sampler."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import Any

from rope_jax import data
from rope_jax.data.documents import NoSplit
from rope_jax.train import schedule
from rope_jax.train.start import Start


def build_corpus(
  config: Any,
  workdir: str | os.PathLike[str] | None = None,
  start: Start | None = None,
) -> tuple[data.Corpus, data.Tokenizer, str]:
  """Loads and tokenises the training text of a configuration.

  Args:
    config: a whole configuration.
    workdir: where a BPE tokenizer is kept.
    start: what the weights begin from, whose tokenizer is used.

  Returns:
    (corpus, tokenizer, a fingerprint of text and tokenizer).

  Raises:
    ValueError: an unknown data set or tokenizer.
  """
  wanted = config.data
  try:
    documents = data.load_split(wanted, wanted.train_split)
  except NoSplit as error:
    raise ValueError(
      f'config.data.train_split={wanted.train_split!r}: {error.reason}'
    ) from error
  if start is not None and start.own_tokenizer is not None:
    tokenizer = start.own_tokenizer()
  else:
    if start is not None and workdir is not None:
      share_tokenizer(start.path, workdir)
    tokenizer = data.make_tokenizer(
      wanted.tokenizer, train=documents, workdir=workdir
    )
  corpus = data.tokenize(documents, tokenizer)
  return corpus, tokenizer, f'{documents.fingerprint}|{tokenizer.fingerprint()}'


def share_tokenizer(
  source: str | os.PathLike[str], workdir: str | os.PathLike[str]
) -> None:
  """Gives a run the BPE that a study or another run learnt, if any."""
  learnt = pathlib.Path(source) / 'tokenizer.json'
  own = pathlib.Path(workdir) / 'tokenizer.json'
  if learnt.exists() and not own.exists():
    own.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(learnt, own)


def build_sampler(config: Any, corpus: data.Corpus) -> schedule.Staged:
  """The batches of a configuration, whose order train.seed decides.

  Raises:
    ValueError: no document of the corpus has train.train_len tokens.
  """
  stages = schedule.stages(config.train)
  return schedule.Staged(corpus, stages, config.train.seed)
