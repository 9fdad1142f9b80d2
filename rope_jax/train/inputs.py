"""What a configuration trains on: text, tokenizer, sampler."""

from __future__ import annotations

import os
from typing import Any

from rope_jax import data


def build_sampler(
  config: Any, workdir: str | os.PathLike[str] | None = None
) -> tuple[data.Sampler, data.Tokenizer, str]:
  """Loads, tokenises and packs the training text of a configuration.

  Args:
    config: a whole configuration.
    workdir: where a BPE tokenizer is kept.

  Returns:
    (sampler, tokenizer, a fingerprint of text and tokenizer).

  Raises:
    ValueError: an unknown data set or tokenizer, or no document of
      train.train_len tokens.
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
  sampler = data.Sampler(
    corpus,
    train_len=config.train.train_len,
    batch=config.train.batch,
    seed=config.train.seed,
  )
  mark = f'{documents.fingerprint}|{tokenizer.fingerprint()}'
  return sampler, tokenizer, mark
