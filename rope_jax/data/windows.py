"""Chooses the documents that an evaluation reads, and refuses short ones."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from rope_jax.data import documents as docs
from rope_jax.data import tokenizers


@dataclasses.dataclass(frozen=True, eq=False)
class EvalDocument:
  """The first `length` tokens of a document.

  Args:
    id: the document's id.
    group: the document's group.
    tokens: int32 [length].
    bytes_per_token: int32 [length], UTF-8 bytes each token stands for; the
      sum over the targets turns nats into bits per byte.
  """

  id: str
  group: str
  tokens: np.ndarray
  bytes_per_token: np.ndarray


class TooShort(ValueError):
  """Fewer documents than wanted have as many tokens as wanted.

  Args:
    name: of the documents.
    found: (tokens, id) of every document.
    length: tokens wanted of each.
    count: documents wanted.

  Attributes:
    fit: how many documents are long enough.
    longest: (tokens, id) of the longest document, (0, '') if there is none.
    reach: tokens that `count` documents have; 0 if there are not so many.
  """

  def __init__(
    self, name: str, found: Sequence[tuple[int, str]], length: int, count: int
  ):
    ranked = sorted((tokens for tokens, _ in found), reverse=True)
    self.name, self.total = name, len(found)
    self.fit = sum(tokens >= length for tokens in ranked)
    self.longest = max(found, key=lambda one: one[0], default=(0, ''))
    self.reach = ranked[count - 1] if len(ranked) >= count else 0
    advice = ['a data set of longer documents']
    if self.reach:
      advice.insert(0, f'length <= {self.reach} for {count} documents')
    if self.fit:
      advice.insert(0, f'count <= {self.fit} at this length')
    super().__init__(
      f'length={length}: only {self.fit} of the {len(found)} documents of '
      f'{name} have that many tokens and count={count} are wanted; the longest '
      f'has {self.longest[0]}. Use {", or ".join(advice)}.'
    )


def evaluation_documents(
  documents: docs.Documents,
  tokenizer: tokenizers.Tokenizer,
  *,
  length: int,
  count: int,
  seed: int | None = None,
) -> list[EvalDocument]:
  """Takes the beginnings of `count` documents of at least `length` tokens.

  The documents are spread over the groups: no group gives a second document
  before every group that has one gave its first. Where only some groups can
  give, they are evenly spaced in the order of the documents. A document begins
  with the tokenizer's `prefix`, which stands for no bytes. To score `length`
  targets, ask for length + 1 tokens.

  Args:
    documents: usually the test or validation split.
    tokenizer: the model's.
    length: tokens wanted of each document, at least 2.
    count: documents wanted, at least 1.
    seed: if given, groups, and documents within them, are first shuffled.

  Returns:
    `count` documents in the order of the data set, the same ones for the same
    arguments; their ids say which.

  Raises:
    TooShort: fewer than `count` documents are long enough.
    ValueError: a length or count that is too small.

  Example:
    >>> documents = docs.documents_from_texts(['long enough', 'short'])
    >>> tokenizer = tokenizers.ByteTokenizer()
    >>> chosen = evaluation_documents(documents, tokenizer, length=8, count=1)
    >>> chosen[0].id, tokenizer.decode(chosen[0].tokens)
    ('0', 'long eno')
  """
  if length < 2 or count < 1:
    raise ValueError(
      f'length={length}, count={count}: give at least 2 tokens (one to read, '
      'one to predict) and at least 1 document.'
    )
  long_enough: list[EvalDocument] = []
  found = []
  for document in documents:
    parts = tokenizer.prefix, tokenizer.encode(document.text)
    ids = np.concatenate([np.asarray(part, np.int32) for part in parts])
    found.append((len(ids), document.id))
    if len(ids) >= length:
      ids = ids[:length]
      long_enough.append(
        EvalDocument(
          document.id, document.group, ids, tokenizer.byte_lengths(ids)
        )
      )
  if len(long_enough) < count:
    raise TooShort(documents.name, found, length, count)
  chosen = _spread([d.group for d in long_enough], count, seed)
  return [long_enough[i] for i in chosen]


def _spread(groups: Sequence[str], count: int, seed: int | None) -> list[int]:
  """Chooses `count` indices, round by round over the groups."""
  members: dict[str, list[int]] = {}
  for index, group in enumerate(groups):
    members.setdefault(group, []).append(index)
  queues = list(members.values())
  if seed is not None:
    random = np.random.RandomState(seed)
    random.shuffle(queues)
    for queue in queues:
      random.shuffle(queue)
  chosen: list[int] = []
  level = 0
  while len(chosen) < count:
    offered = [queue[level] for queue in queues if level < len(queue)]
    wanted = count - len(chosen)
    if wanted < len(offered):
      places = (np.arange(wanted) * len(offered)) // wanted
      offered = [offered[place] for place in places]
    chosen += offered
    level += 1
  return sorted(chosen)
