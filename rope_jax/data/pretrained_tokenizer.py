"""The tokenizer of a pretrained model, as training and evaluation use it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from rope_jax.data.tokenizers import _checked

if TYPE_CHECKING:
  import tokenizers

_BYTE = re.compile(r'<0x([0-9A-Fa-f]{2})>')
_SPACE = '\u2581'  # How sentencepiece writes a space.


class PretrainedTokenizer:
  """A `tokenizers.Tokenizer` with the interface of `data.Tokenizer`.

  Text is only text: a special token's name in it is cut up like any other, and
  specials stand for no bytes. Byte-level kinds bring every text back exactly
  (less what their own normalizer changes); sentencepiece kinds with byte
  fallback do too.

  Args:
    tokenizer: what the model came with; it is copied, not changed.
    vocab: ids of the model's embedding, at least as many as the tokenizer's;
      None is as many. Ids beyond the tokenizer's stand for no text.
    bos: the id before a text; None takes the last of `prefix`, else eos.
    eos: the id after a text; None takes bos, else the first special token.
    pad: the id of padding; None takes eos.

  Attributes:
    prefix: ids that the model expects before every text, often none or bos;
      `encode` leaves them out.

  Raises:
    ValueError: more tokens than ids; a tokenizer of another kind; no special
      token at all.

  Example:
    >>> import tokenizers
    >>> bpe = tokenizers.Tokenizer(tokenizers.models.BPE(
    ...   vocab={'Ã': 0, '©': 1, 'n': 2, 'Ã©': 3, '<s>': 4},
    ...   merges=[('Ã', '©')]))
    >>> bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    ...   add_prefix_space=False)
    >>> bpe.decoder = tokenizers.decoders.ByteLevel()
    >>> wrapped = PretrainedTokenizer(bpe, bos=4)
    >>> wrapped.byte_lengths(wrapped.encode('né'))
    array([1, 2], dtype=int32)
  """

  def __init__(
    self,
    tokenizer: tokenizers.Tokenizer,
    *,
    vocab: int | None = None,
    bos: int | None = None,
    eos: int | None = None,
    pad: int | None = None,
  ):
    import tokenizers

    source = tokenizer.to_str()
    self._inner = tokenizers.Tokenizer.from_str(source)
    self._inner.no_truncation()
    self._inner.no_padding()
    self.prefix = _before(self._inner)
    self._inner.encode_special_tokens = True
    size = 1 + max(self._inner.get_vocab().values())
    self.vocab = size if vocab is None else vocab
    if size > self.vocab:
      raise ValueError(
        f'tokenizer and vocabulary disagree: the tokenizer has {size} ids and '
        f'the model {self.vocab}; take the tokenizer of this very model.'
      )
    kind = json.loads(source)
    self._strips = False
    added = {token['id']: token for token in kind['added_tokens']}
    self._texts = self._written(kind, added)
    self._lengths = np.array([len(text) for text in self._texts], np.int32)
    special = [i for i, token in sorted(added.items()) if token['special']]
    ends = [i for i in (eos, bos, *special[:1]) if i is not None]
    if not ends:
      raise ValueError(
        'the tokenizer has no special token to end a text with; give eos.'
      )
    self.eos = ends[0]
    self.bos = [self.eos, *self.prefix][-1] if bos is None else bos
    self.pad = self.eos if pad is None else pad
    _checked([self.eos, self.bos, self.pad], self.vocab)
    digest = hashlib.sha256(f'{source}|{self.vocab}'.encode()).hexdigest()
    self._fingerprint = f'pretrained-{digest[:16]}'

  def _written(
    self, kind: dict[str, Any], added: dict[int, Any]
  ) -> list[bytes]:
    """What each id stands for."""
    decoder = json.dumps(kind.get('decoder'), ensure_ascii=False)
    byte_level = '"ByteLevel"' in decoder
    if not byte_level and _SPACE not in decoder:
      raise ValueError(_no_kind(kind.get('decoder')))
    letters = _alphabet() if byte_level else {}
    texts = [b''] * self.vocab
    for token, index in self._inner.get_vocab().items():
      if index in added:
        texts[index] = b'' if added[index]['special'] else token.encode()
      elif byte_level and all(c in letters for c in token):
        texts[index] = bytes(letters[c] for c in token)
      elif not byte_level and (found := _BYTE.fullmatch(token)):
        texts[index] = bytes.fromhex(found[1])
      elif not byte_level:
        texts[index] = token.replace(_SPACE, ' ').encode()
      # Any other is a name that no text encodes to.
    if not byte_level:
      first = self._inner.encode('a', add_special_tokens=False).tokens
      self._strips = bool(first) and first[0].startswith(_SPACE)
    return texts

  def encode(self, text: str) -> np.ndarray:
    """Text -> int32 [tokens], without specials: a model that was trained with
    them expects `prefix` before the ids of a whole text."""
    return np.array(
      self._inner.encode(text, add_special_tokens=False).ids, np.int32
    )

  def decode(self, ids: Any) -> str:
    """Ids from the beginning of a text -> text; specials vanish."""
    ids = _checked(ids, self.vocab).ravel()
    found = b''.join(self._texts[i] for i in ids.tolist())
    if self._strips and found.startswith(b' '):
      found = found[1:]
    return found.decode('utf-8', 'replace')

  def byte_lengths(self, ids: Any) -> np.ndarray:
    """Ids -> int32 of the same shape: UTF-8 bytes that each stands for.

    The last axis is the beginning of a text: a space that a sentencepiece kind
    has put before it is no byte of its first token.
    """
    ids = _checked(ids, self.vocab)
    found = self._lengths[ids]
    if self._strips and ids.size:
      # The first that is text.
      first = np.argmax(found > 0, axis=-1, keepdims=True)
      spaced = np.array([text.startswith(b' ') for text in self._texts])
      lead = np.take_along_axis(spaced[ids], first, -1)
      np.put_along_axis(
        found, first, np.take_along_axis(found, first, -1) - lead, -1
      )
    return found

  def fingerprint(self) -> str:
    """Changes whenever any text may encode differently."""
    return self._fingerprint


def _no_kind(decoder: dict[str, Any] | None) -> str:
  """That nobody knows which bytes the tokens of a tokenizer stand for."""
  has = 'no decoder'
  if decoder:
    steps = decoder.get('decoders', [decoder])
    has = f'a decoder of type {", ".join(step["type"] for step in steps)}'
  return (
    f'the tokenizer has {has}, so it is of no kind that is read: byte-level '
    'BPE (its decoder is ByteLevel), or sentencepiece with byte fallback (its '
    f"decoder replaces '{_SPACE}' by a space). Take the tokenizer.json that "
    'the model was published with; one that you have trained needs the decoder '
    'of its kind, such as tokenizer.decoder = tokenizers.decoders.ByteLevel(), '
    'before it is saved.'
  )


def _before(tokenizer: tokenizers.Tokenizer) -> tuple[int, ...]:
  """What a tokenizer puts before a text, and not what it puts after it."""
  text = tokenizer.encode('a', add_special_tokens=False).ids
  whole = tokenizer.encode('a').ids
  ends = range(len(whole) - len(text) + 1)
  at = next((i for i in ends if whole[i : i + len(text)] == text), 0)
  return tuple(whole[:at])


def _alphabet() -> dict[str, int]:
  """The character that byte-level tokenizers write for each byte.

  A byte that prints in Latin-1 stands for itself; the others, in order, for the
  characters from U+0100 on.
  """
  shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
  hidden = [byte for byte in range(256) if byte not in shown]
  return {chr(byte): byte for byte in shown} | {
    chr(256 + at): byte for at, byte in enumerate(hidden)
  }
