"""What a configuration trains on: text, tokenizer, sampler."""

from __future__ import annotations

import os
from typing import Any

from rope_jax import data


def build_corpus(
  config: Any, workdir: str | os.PathLike[str] | None = None
) -> tuple[data.Corpus, data.Tokenizer, str]:
  """Loads and tokenises the training text of a configuration.

  Args:
    config: a whole configuration.
    workdir: where a BPE tokenizer is kept.

  Returns:
    (corpus, tokenizer, a fingerprint of text and tokenizer).

  Raises:
    ValueError: an unknown data set or tokenizer.
  """
  wanted = config.data
  documents = data.load_documents(
    wanted.name,
    wanted.train_split,
    path=wanted.path,
    data_dir=wanted.dir,
    text_key=wanted.text_key,
  )
  tokenizer = data.make_tokenizer(
    wanted.tokenizer, train=documents, workdir=workdir
  )
  corpus = data.tokenize(documents, tokenizer)
  return corpus, tokenizer, f'{documents.fingerprint}|{tokenizer.fingerprint()}'


def build_sampler(config: Any, corpus: data.Corpus) -> data.Sampler:
  """The batches of a configuration, whose order train.seed decides.

  Raises:
    ValueError: no document of the corpus has train.train_len tokens.
  """
  return data.Sampler(
    corpus,
    train_len=config.train.train_len,
    batch=config.train.batch,
    seed=config.train.seed,
  )
