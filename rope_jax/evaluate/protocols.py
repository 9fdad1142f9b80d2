"""Perplexity protocols: which windows they need, which targets they count.

A window of length L that starts at token a of a document gives L losses: entry
i is for token a + i + 1, predicted from the i + 1 tokens of the window before
it. Each protocol is a choice of windows and of entries:

whole     windows at 0, L, 2L, ...; every entry.
last(k)   windows that end at every multiple of the longest length; the last k
          entries. The same targets at every length: the context grows
          backwards.
slide(s)  windows at 0, s, 2s, ...; every entry of the first, the last s of the
          others. Every token has at least L - s of context but in the first
          window (Press et al. 2022, token-weighted).
prefix    the window at 0 alone; every entry. One causal pass over a long text
          gives it for all lengths, unless the method reads the length
          (Position.by_length): what long evaluations of large models use.
prefix(k) the same window; its last k entries.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Protocol

import numpy as np

# Where a run's configuration has them, for messages.
_PROTOCOLS = 'config.eval.protocols'
_LENGTHS = 'config.eval.lengths (config.quick.lengths with config.full=False)'


@dataclasses.dataclass(frozen=True)
class Counted:
  """The entries that a protocol counts.

  Attributes:
    start: int [c], where each counted window starts in its document.
    first: int [c], the first entry that counts; all later ones count too.
  """

  start: np.ndarray
  first: np.ndarray


class Reduction(Protocol):
  """A protocol: what it counts at one length of a document's span."""

  def counted(self, length: int, span: int, longest: int) -> Counted: ...


@dataclasses.dataclass(frozen=True)
class Whole:
  """Non-overlapping windows, every token."""

  def counted(self, length: int, span: int, longest: int) -> Counted:
    del longest
    start = np.arange(0, span - length + 1, length)
    return Counted(start, np.zeros_like(start))


@dataclasses.dataclass(frozen=True)
class Last:
  """The same last `k` targets at every length."""

  k: int

  def counted(self, length: int, span: int, longest: int) -> Counted:
    if self.k > length:
      raise ValueError(
        f'protocol last({self.k}) counts more targets than a window of '
        f'{length} tokens has; use last(k) with k <= {length} in '
        f'{_PROTOCOLS}, or windows of at least {self.k} in {_LENGTHS}.'
      )
    end = np.arange(longest, span + 1, longest)
    return Counted(end - length, np.full_like(end, length - self.k))


@dataclasses.dataclass(frozen=True)
class Slide:
  """A window that advances by `stride` and counts what is new."""

  stride: int

  def counted(self, length: int, span: int, longest: int) -> Counted:
    del longest
    if self.stride > length or (span - length) % self.stride:
      raise ValueError(
        f'protocol slide({self.stride}) does not fit windows of {length} '
        f'tokens in a span of {span}: the stride must be at most {length} and '
        f'divide {span - length}. Change {_PROTOCOLS}, {_LENGTHS} or '
        'config.eval.span.'
      )
    start = np.arange(0, span - length + 1, self.stride)
    first = np.full_like(start, length - self.stride)
    first[0] = 0
    return Counted(start, first)


@dataclasses.dataclass(frozen=True)
class Prefix:
  """The beginning of each document: its last `k` targets, or all with 0."""

  k: int = 0

  def counted(self, length: int, span: int, longest: int) -> Counted:
    del span, longest
    if self.k > length:
      raise ValueError(
        f'protocol prefix({self.k}) counts more targets than a window of '
        f'{length} tokens has; use prefix(k) with k <= {length} in '
        f'{_PROTOCOLS}, or windows of at least {self.k} in {_LENGTHS}.'
      )
    first = length - self.k if self.k else 0
    return Counted(np.array([0]), np.array([first]))


def parse(name: str) -> Reduction:
  """A protocol from its name.

  >>> parse('last(64)')
  Last(k=64)
  """
  match = re.fullmatch(r'(whole|last|slide|prefix)(?:\(([1-9][0-9]*)\))?', name)
  if match:
    kind, number = match.groups()
    if kind == 'prefix':
      return Prefix(int(number or 0))
    if kind == 'whole' and number is None:
      return Whole()
    if kind != 'whole' and number is not None:
      return Last(int(number)) if kind == 'last' else Slide(int(number))
  raise ValueError(
    f'protocol {name!r} ({_PROTOCOLS}) is not one of whole, last(k), '
    'slide(stride), prefix, prefix(k) with a number of tokens, such as '
    'last(64).'
  )


def starts(
  names: tuple[str, ...], length: int, span: int, longest: int
) -> np.ndarray:
  """All windows of one length that the protocols need: rising int starts.

  'whole' is among them unless the beginnings of documents are: the losses by
  position are read off windows that start at multiples of the length.
  """
  chosen: list[Reduction] = [parse(n) for n in names]
  if not any(isinstance(one, Prefix) for one in chosen):
    chosen.append(Whole())
  wanted = [one.counted(length, span, longest).start for one in chosen]
  return np.unique(np.concatenate(wanted))
