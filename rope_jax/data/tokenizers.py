"""Tokenizers: bytes by default, or a byte-level BPE trained on the corpus."""

import hashlib
import os
import pathlib
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from rope_jax.data import documents as docs

SPECIALS = ('pad', 'bos', 'eos')


class Tokenizer(Protocol):
  """What training and evaluation need; both kinds below have it.

  `vocab` counts the specials, which come last: pad, bos, eos. No text encodes
  to a special, and a special stands for no text. `prefix` are the ids that a
  model expects before every text: a document's tokens begin with them.
  """

  vocab: int
  pad: int
  bos: int
  eos: int
  prefix: tuple[int, ...]

  def encode(self, text: str) -> np.ndarray:
    """Text -> int32 [tokens], without specials."""
    ...

  def decode(self, ids: Any) -> str:
    """Ids -> text; specials vanish, broken UTF-8 becomes U+FFFD."""
    ...

  def byte_lengths(self, ids: Any) -> np.ndarray:
    """Ids -> int32 of the same shape: UTF-8 bytes that each stands for."""
    ...

  def fingerprint(self) -> str:
    """Changes whenever any text may encode differently."""
    ...


class ByteTokenizer:
  """UTF-8 bytes are ids 0 to 255; pad 256, bos 257, eos 258.

  Example:
    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode('né')
    array([110, 195, 169], dtype=int32)
    >>> tokenizer.decode([110, 195, 169, tokenizer.eos])
    'né'
  """

  vocab, pad, bos, eos = 259, 256, 257, 258
  prefix = ()

  def encode(self, text: str) -> np.ndarray:
    return np.frombuffer(text.encode('utf-8'), np.uint8).astype(np.int32)

  def decode(self, ids: Any) -> str:
    ids = _checked(ids, self.vocab)
    return ids[ids < 256].astype(np.uint8).tobytes().decode('utf-8', 'replace')

  def byte_lengths(self, ids: Any) -> np.ndarray:
    return (_checked(ids, self.vocab) < 256).astype(np.int32)

  def fingerprint(self) -> str:
    return 'bytes'


class BPETokenizer:
  """A byte-level BPE; the specials are ids after those of the file.

  Every text comes back exactly: nothing is normalised, there is no unknown
  token, and a special's name in a text is only text.

  Args:
    json: the contents of a byte-level tokenizer.json of `tokenizers`.

  Example:
    >>> texts = docs.documents_from_texts(['low lower lowest'] * 3)
    >>> tokenizer = BPETokenizer.train(texts, vocab=265)
    >>> tokenizer.byte_lengths(tokenizer.encode('lowest'))
    array([3, 1, 2], dtype=int32)
  """

  def __init__(self, json: str):
    import tokenizers

    self._json = json
    self._bpe = tokenizers.Tokenizer.from_str(json)
    size = self._bpe.get_vocab_size()
    self.vocab = size + len(SPECIALS)
    self.pad, self.bos, self.eos = range(size, self.vocab)
    self.prefix = ()
    # A byte-level token is written with one character a byte.
    lengths = [len(self._bpe.id_to_token(i) or '') for i in range(size)]
    self._lengths = np.array([*lengths, 0, 0, 0], np.int32)

  @classmethod
  def train(
    cls, documents: Iterable[docs.Document], *, vocab: int
  ) -> 'BPETokenizer':
    """Learns merges from documents, which should be the train split.

    Args:
      documents: what to learn from.
      vocab: ids in all with the 3 specials, at least 259; fewer come out if
        the documents have no more pairs to merge.

    Returns:
      The tokenizer.

    Raises:
      ValueError: vocab is below 259.
    """
    import tokenizers

    if vocab < 256 + len(SPECIALS):
      raise ValueError(
        f'vocab={vocab}: a byte-level BPE needs at least 259 (256 bytes and 3 '
        'specials); give more.'
      )
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    level = tokenizers.pre_tokenizers.ByteLevel
    bpe.pre_tokenizer = level(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    bpe.train_from_iterator(
      (document.text for document in documents),
      tokenizers.trainers.BpeTrainer(
        vocab_size=vocab - len(SPECIALS),
        initial_alphabet=level.alphabet(),
        show_progress=False,
      ),
    )
    return cls(bpe.to_str())

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> 'BPETokenizer':
    """Reads a tokenizer.json that `save` wrote."""
    return cls(pathlib.Path(path).read_text(encoding='utf-8'))

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes tokenizer.json, whole or not at all."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f'.{path.name}.{os.getpid()}')
    scratch.write_text(self._json, encoding='utf-8')
    os.replace(scratch, path)

  def encode(self, text: str) -> np.ndarray:
    return np.array(self._bpe.encode(text).ids, np.int32)

  def decode(self, ids: Any) -> str:
    ids = _checked(ids, self.vocab)
    return self._bpe.decode(ids[ids < self.pad].tolist())

  def byte_lengths(self, ids: Any) -> np.ndarray:
    return self._lengths[_checked(ids, self.vocab)]

  def fingerprint(self) -> str:
    return f'bpe-{hashlib.sha256(self._json.encode()).hexdigest()[:16]}'


def make_tokenizer(
  spec: str,
  *,
  train: Iterable[docs.Document] | None = None,
  workdir: str | os.PathLike[str] | None = None,
) -> ByteTokenizer | BPETokenizer:
  """Makes the tokenizer that a config names.

  Args:
    spec: 'bytes', or 'bpe:VOCAB' with VOCAB ids in all, at least 259.
    train: for a BPE, the documents to learn from, if the workdir has none.
    workdir: for a BPE, where tokenizer.json is kept: read if there, so that a
      resumed run has the same ids, written otherwise.

  Returns:
    The tokenizer.

  Raises:
    ValueError: an unknown spec, a BPE with nothing to learn from, or a
      tokenizer.json of another size.

  Example:
    >>> make_tokenizer('bytes').vocab
    259
  """
  if spec == 'bytes':
    return ByteTokenizer()
  kind, _, size = spec.partition(':')
  if kind != 'bpe' or not size.isdecimal():
    raise ValueError(
      f"tokenizer={spec!r} is not one we know: use 'bytes' or 'bpe:VOCAB', "
      "e.g. 'bpe:8192'."
    )
  vocab = int(size)
  path = pathlib.Path(workdir) / 'tokenizer.json' if workdir else None
  if path and path.exists():
    tokenizer = BPETokenizer.load(path)
    # Fewer come out of a small corpus; more cannot.
    if tokenizer.vocab > vocab:
      raise ValueError(
        f'tokenizer={spec!r}, yet {path} has {tokenizer.vocab} ids: it belongs '
        'to another run; use its size or another workdir.'
      )
    return tokenizer
  if train is None:
    raise ValueError(
      f'tokenizer={spec!r}: train is missing; a BPE is learnt from the train '
      'split.'
    )
  tokenizer = BPETokenizer.train(train, vocab=vocab)
  if path:
    tokenizer.save(path)
  return tokenizer


def _checked(ids: Any, vocab: int) -> np.ndarray:
  ids = np.asarray(ids, np.int64)
  if ids.size and not 0 <= ids.min() <= ids.max() < vocab:
    raise ValueError(
      f'ids reach from {ids.min()} to {ids.max()}; this tokenizer has 0 to '
      f'{vocab - 1}.'
    )
  return ids
