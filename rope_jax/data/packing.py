"""Tokenises documents into one array of ids with the documents' offsets."""

import dataclasses
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from rope_jax.data import documents as docs
from rope_jax.data import locks, tokenizers

# Text up to this size is tokenised into memory on every start, where that
# takes no more than a second or two; the rest is kept on disk.
BYTES_IN_MEMORY = 256 * 2**20
SLOW_BYTES_IN_MEMORY = 2 * 2**20


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Token ids of all documents in a row; `offsets` says where each begins.

  Args:
    tokens: unsigned integers [n], possibly a memory-mapped file.
    offsets: int64 [documents + 1], from 0 to n, never falling.
    name: what to call it in messages.
  """

  tokens: np.ndarray
  offsets: np.ndarray
  name: str = 'corpus'

  def __len__(self) -> int:
    return len(self.offsets) - 1

  def document(self, index: int) -> np.ndarray:
    """Returns one document's ids, int32 [tokens], with prefix and eos."""
    start, end = self.offsets[index], self.offsets[index + 1]
    return np.asarray(self.tokens[start:end], np.int32)


def tokenize(
  documents: docs.Documents,
  tokenizer: tokenizers.Tokenizer,
  *,
  eos: bool = True,
  cache_dir: str | os.PathLike[str] | None = None,
  progress: bool = False,
) -> Corpus:
  """Tokenises whole documents; a slow job is done once and kept on disk.

  The ids of a big corpus, or of one under a slow tokenizer, go to a file as
  they come, which is then memory-mapped: memory use does not grow with the
  corpus. The file is named after the fingerprints of documents and tokenizer
  and appears whole or not at all.

  Args:
    documents: what to tokenise.
    tokenizer: how.
    eos: whether to append tokenizer.eos to each document.
    cache_dir: where such files are kept; ~/.cache/rope_jax/tokens if absent
      or empty.
    progress: whether to show a bar while a file is written.

  Returns:
    The corpus.

  Example:
    >>> documents = docs.documents_from_texts(['ab', 'c'])
    >>> corpus = tokenize(documents, tokenizers.ByteTokenizer())
    >>> corpus.tokens, corpus.offsets
    (array([ 97,  98, 258,  99, 258], dtype=uint16), array([0, 3, 5]))
  """
  dtype = np.uint16 if tokenizer.vocab <= 2**16 else np.uint32
  fast = isinstance(tokenizer, tokenizers.ByteTokenizer)
  limit = BYTES_IN_MEMORY if fast else SLOW_BYTES_IN_MEMORY
  if documents.num_bytes is not None and documents.num_bytes <= limit:
    parts = list(_encoded(documents, tokenizer, eos, dtype))
    tokens = np.concatenate([np.zeros(0, dtype), *parts])
    return Corpus(tokens, _offsets(map(len, parts)), documents.name)
  key = f'{documents.fingerprint}|{tokenizer.fingerprint()}|{eos}|1'
  key += f'|{tokenizer.prefix}' if tokenizer.prefix else ''
  root = pathlib.Path(cache_dir or '~/.cache/rope_jax/tokens').expanduser()
  folder = root / hashlib.sha256(key.encode()).hexdigest()[:24]
  if not folder.exists():
    with locks.lock(root, folder.name):
      if not folder.exists():
        parts = _encoded(documents, tokenizer, eos, dtype)
        _write(folder, _shown(parts, documents, progress))
  offsets = np.load(folder / 'offsets.npy')
  file = folder / 'tokens.bin'
  tokens = (
    np.memmap(file, dtype, 'r') if file.stat().st_size else np.zeros(0, dtype)
  )
  if len(tokens) != offsets[-1]:
    raise ValueError(
      f'{file} holds {len(tokens)} ids where its index says {offsets[-1]}: it '
      f'was damaged; delete {folder} and start again.'
    )
  return Corpus(tokens, offsets, documents.name)


def _write(folder: pathlib.Path, parts: Iterator[np.ndarray]) -> None:
  """Fills a folder under another name and renames it when it is whole."""
  scratch = folder.with_name(f'.writing-{folder.name}')
  shutil.rmtree(scratch, ignore_errors=True)  # Left by a process that died.
  scratch.mkdir()
  try:
    lengths = []
    with open(scratch / 'tokens.bin', 'wb') as file:
      for part in parts:
        file.write(part.tobytes())
        lengths.append(len(part))
    np.save(scratch / 'offsets.npy', _offsets(lengths))
    scratch.rename(folder)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def _encoded(
  documents: docs.Documents,
  tokenizer: tokenizers.Tokenizer,
  eos: bool,
  dtype: type[np.unsignedinteger],
) -> Iterator[np.ndarray]:
  for document in documents:
    ids = tokenizer.encode(document.text)
    ends = [tokenizer.eos] if eos else []
    parts = (np.asarray(p, dtype) for p in (tokenizer.prefix, ids, ends))
    yield np.concatenate([*parts])


def _offsets(lengths: Iterator[int] | list[int]) -> np.ndarray:
  return np.cumsum([0, *lengths], dtype=np.int64)


def _shown(
  parts: Iterator[np.ndarray], documents: docs.Documents, progress: bool
) -> Iterator[np.ndarray]:
  if not progress:
    yield from parts
    return
  import rich.progress

  yield from rich.progress.track(
    parts, f'Tokenising {documents.name}', total=len(documents)
  )
