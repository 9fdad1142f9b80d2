"""What each perplexity protocol scores, in words a paper can quote."""

from __future__ import annotations

import re

# One sentence for each protocol; {k} is the number in its name, {all} what is
# scored where it may have none.
PROTOCOLS = {
  'whole': (
    'The document is cut into non-overlapping windows of the length and '
    'every token is scored, those at the start of a window, which have '
    'little context, included.'
  ),
  'last': (
    'The same target tokens, the {k} before every multiple of the longest '
    'length, are scored at every length, while the context before them grows '
    'backwards, so that a curve shows the effect of the context alone.'
  ),
  'slide': (
    'A window of the length advances {k} tokens at a time and only the {k} '
    'new tokens are scored (the first window scores all of its tokens); the '
    'mean is taken over tokens, as in Press et al. (2022).'
  ),
  'prefix': (
    'The beginning of each document alone is read, as many tokens as the '
    'length, and {all}.'
  ),
}

WARNING = (
  'Four code bases mean four different things by "sliding-window '
  'perplexity": they differ in which tokens of a window are scored, in what '
  'the first window contributes, in whether the mean is over tokens or over '
  'windows, and in what becomes of the tail that does not fill a window. '
  'Compare numbers only within one protocol.'
)


# Under tables and pictures of a protocol that `moves`.
CAUTION = (
  'Each length scores other tokens here, so that a difference between two '
  'lengths is partly one of the text: compare schemes within one length.'
)


def moves(protocol: str) -> bool:
  """Whether each length scores other tokens, so that no curve can be read.

  >>> moves('prefix'), moves('prefix(64)'), moves('last(64)')
  (True, True, False)
  """
  return protocol.partition('(')[0] == 'prefix'


def describe(protocol: str) -> str:
  """Says in one sentence what a protocol scores.

  Args:
    protocol: a name such as 'whole', 'last(64)', 'slide(64)'.

  Returns:
    The sentence, or one that admits that the protocol is not described.
  """
  match = re.fullmatch(r'(\w+?)(?:\((?:\w+=)?(\d+)\))?', protocol)
  if not match or match[1] not in PROTOCOLS:
    return 'This protocol is not described here: see the evaluation code.'
  last = f'the last {match[2]} of them are scored, in nearly the whole context'
  every = 'every token is scored, whatever context it has'
  return PROTOCOLS[match[1]].format(
    k=match[2] or 'k', all=last if match[2] else every
  )
