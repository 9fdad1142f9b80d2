"""Documents: lazy random access to whole texts, wherever they come from."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import overload

SPLITS = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class Document:
  """One whole text; `group` is what a split never divides (an author)."""

  id: str
  text: str
  group: str = ''


class Documents(Sequence[Document]):
  """A sequence of documents that reads each one only when it is indexed.

  Args:
    name: what to call it in messages, e.g. 'sotu/speeches[train]'.
    size: how many documents there are.
    read: index in [0, size) -> Document; called anew on every access.
    fingerprint: changes whenever any text or the order may have changed.
    num_bytes: about how many UTF-8 bytes the texts take in all, if known.
    metadata: where the texts come from (package versions, folder, licence).

  Example:
    >>> documents = documents_from_texts(['one text', 'another'])
    >>> len(documents), documents[1].text, documents[-1].id
    (2, 'another', '1')
  """

  def __init__(
    self,
    name: str,
    size: int,
    read: Callable[[int], Document],
    *,
    fingerprint: str,
    num_bytes: int | None = None,
    metadata: dict[str, str] | None = None,
  ):
    self.name = name
    self.fingerprint = fingerprint
    self.num_bytes = num_bytes
    self.metadata = dict(metadata or {})
    self._size = size
    self._read = read

  def __len__(self) -> int:
    return self._size

  @overload
  def __getitem__(self, index: int) -> Document: ...

  @overload
  def __getitem__(self, index: slice) -> 'Documents': ...

  def __getitem__(self, index: int | slice) -> 'Document | Documents':
    if isinstance(index, slice):
      return self._slice(range(self._size)[index])
    if not -self._size <= index < self._size:
      raise IndexError(
        f'document {index} of {self.name}, which has {self._size} documents'
      )
    return self._read(int(index) % self._size)

  def _slice(self, kept: range) -> 'Documents':
    where = f'[{kept.start}:{kept.stop}:{kept.step}]'
    share = len(kept) / max(1, self._size)
    return Documents(
      self.name + where,
      len(kept),
      lambda i: self._read(kept[i]),
      fingerprint=self.fingerprint + where,
      num_bytes=None if self.num_bytes is None else int(self.num_bytes * share),
      metadata=self.metadata,
    )

  def __repr__(self) -> str:
    return f'Documents({self.name!r}, {self._size} documents)'


def documents_from_texts(
  texts: Iterable[str | Document], *, name: str = 'texts'
) -> Documents:
  """Wraps texts that are already in memory.

  Args:
    texts: strings, whose ids and groups become '0', '1', ..., or Documents.
    name: what to call them in messages.

  Returns:
    Documents in the order given.

  Example:
    >>> documents_from_texts(['a', 'b'])
    Documents('texts', 2 documents)
  """
  documents = [
    t if isinstance(t, Document) else Document(str(i), t, str(i))
    for i, t in enumerate(texts)
  ]
  digest = hashlib.sha256()
  num_bytes = 0
  for document in documents:
    for part in (document.id, document.group, document.text):
      raw = part.encode('utf-8')
      digest.update(len(raw).to_bytes(8, 'little') + raw)
    num_bytes += len(document.text.encode('utf-8'))
  return Documents(
    name,
    len(documents),
    documents.__getitem__,
    fingerprint=f'{name}-{digest.hexdigest()[:16]}',
    num_bytes=num_bytes,
  )


def split_by_hash(ids: Iterable[str]) -> dict[str, str]:
  """Assigns about a tenth of the ids to test and to validation each.

  The ids are ranked by SHA-256, so that the assignment depends on the set of
  ids alone, neither on their order nor on Python's hash seed. One id is all
  train; of two, one is test; from three on no split is empty.

  Args:
    ids: distinct document ids.

  Returns:
    id -> 'train', 'validation' or 'test'.

  Example:
    >>> sorted(split_by_hash(['a', 'b', 'c']).values())
    ['test', 'train', 'validation']
  """
  ranked = sorted(ids, key=lambda x: hashlib.sha256(x.encode()).hexdigest())
  size = max(1, round(len(ranked) / 10))
  test = size if len(ranked) > 1 else 0
  validation = size if len(ranked) > 2 else 0
  return {
    x: SPLITS[2]
    if rank < test
    else SPLITS[1]
    if rank < test + validation
    else SPLITS[0]
    for rank, x in enumerate(ranked)
  }


class NoSplit(ValueError):
  """A data set does not have the split that was asked for.

  Attributes:
    allowed: the splits that it has.
    reason: that it has no such split, which it has, and why, for a message.
  """

  def __init__(self, name: str, split: str, allowed: Sequence[str], why: str):
    self.allowed = tuple(allowed)
    have = ', '.join(map(repr, allowed)) or 'none'
    self.reason = f'{name} has no such split; it has {have}.'
    self.reason += f' {why}' if why else ''
    super().__init__(f'split={split!r}: {self.reason} Use one of those.')


def check_split(
  name: str,
  split: str,
  allowed: Sequence[str],
  why: Callable[[], str] = str,
) -> None:
  """Refuses a split that a data set does not have, naming those it has.

  Args:
    name: of the data set.
    split: wanted; a slice such as 'train[:10%]' is of the split before it.
    allowed: the splits that there are.
    why: says how these came about, if that needs to be said.

  Raises:
    NoSplit: the split is not allowed.
  """
  if split.partition('[')[0] not in allowed:
    raise NoSplit(name, split, allowed, why())
