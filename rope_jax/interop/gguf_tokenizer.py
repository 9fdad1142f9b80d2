"""Rebuilds the tokenizer that a GGUF file lists: byte-level BPE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rope_jax.interop.gguf_header import Header

if TYPE_CHECKING:
  import tokenizers

_CONTROL, _USER = 3, 4  # Of `tokenizer.ggml.token_type`.

# What text is cut into before merges, in the words of each family.
_LLAMA3 = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
_QWEN2 = _LLAMA3.replace(r'\p{N}{1,3}', r'\p{N}')
# `tokenizer.ggml.pre` -> a regex, 'digits' (each alone, the rest as GPT-2) or
# 'gpt2'.
SPLITS = {
  'gpt-2': 'gpt2',
  'smollm': 'digits',
  'llama-bpe': _LLAMA3,
  'llama3': _LLAMA3,
  'llama-v3': _LLAMA3,
  'qwen2': _QWEN2,
}
# Whose words that are tokens are taken whole, whatever the merges say.
_WHOLE = ('llama-bpe', 'llama3', 'llama-v3')


def build(header: Header) -> tuple[tokenizers.Tokenizer | None, str | None]:
  """The tokenizer of a GGUF file, or why there is none.

  Args:
    header: of the file.

  Returns:
    (tokenizer, None), or (None, reason) for a kind that is not rebuilt. Control
    tokens are special; where the file wants a first token, `encode` with
    special tokens sets it.

  Raises:
    ValueError: lists that contradict each other.

  Differs: Qwen's own tokenizer.json normalises text to NFC first, llama.cpp and
    this do not.
  """
  import tokenizers
  from tokenizers import decoders, models, pre_tokenizers, processors

  said = {
    key.removeprefix('tokenizer.ggml.'): value
    for key, value in header.metadata.items()
  }
  kind, pre = said.get('model'), said.get('pre')
  if kind is None:
    return None, f'{header.where} lists no tokenizer (tokenizer.ggml.model)'
  if kind != 'gpt2':
    return None, (
      f'{header.where} has a tokenizer of model {kind!r}; only byte-level BPE '
      "('gpt2') is rebuilt. Give the model's tokenizer.json"
    )
  if pre not in SPLITS:
    return None, (
      f'{header.where} cuts text by tokenizer.ggml.pre={pre!r}; only '
      f"{', '.join(SPLITS)} are known. Give the model's tokenizer.json"
    )
  tokens = said.get('tokens') or []
  types = said.get('token_type') or [1] * len(tokens)
  ids = {token: index for index, token in enumerate(tokens)}
  merges = [tuple(pair.split(' ', 1)) for pair in said.get('merges') or []]
  _check(header, tokens, types, ids, merges)
  tokenizer = tokenizers.Tokenizer(
    models.BPE(vocab=ids, merges=merges, ignore_merges=pre in _WHOLE)  # pyright: ignore[reportArgumentType]
  )
  level = pre_tokenizers.ByteLevel
  if SPLITS[pre] == 'gpt2':
    steps = [level(add_prefix_space=False)]
  elif SPLITS[pre] == 'digits':
    digits = pre_tokenizers.Digits(individual_digits=True)
    steps = [digits, level(add_prefix_space=False)]
  else:
    cut = pre_tokenizers.Split(tokenizers.Regex(SPLITS[pre]), 'isolated')
    steps = [cut, level(add_prefix_space=False, use_regex=False)]
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)  # pyright: ignore[reportAttributeAccessIssue]
  tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
  for wanted, special in ((_CONTROL, True), (_USER, False)):
    tokenizer.add_tokens(
      [
        tokenizers.AddedToken(token, normalized=False, special=special)
        for token, kind in zip(tokens, types, strict=True)
        if kind == wanted
      ]
    )
  first = said.get('bos_token_id')
  if said.get('add_bos_token') and first is not None:
    bos = tokens[first]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
      single=[bos, '$A'], special_tokens=[(bos, first)]
    )
  return tokenizer, None


def _check(header, tokens, types, ids, merges) -> None:
  """Raises ValueError for lists that contradict each other."""
  where = f'{header.where}: the tokenizer is corrupt: '
  advice = ' Convert the model anew.'
  if len(types) != len(tokens) or len(ids) != len(tokens) or not tokens:
    raise ValueError(
      f'{where}{len(tokens)} tokens, {len(ids)} of them different, have '
      f'{len(types)} types.{advice}'
    )
  for pair in merges:
    if len(pair) != 2 or any(x not in ids for x in (*pair, ''.join(pair))):
      raise ValueError(
        f'{where}the merge {" ".join(pair)!r} is not of two tokens to a third.'
        f'{advice}'
      )
  for key in ('bos', 'eos', 'padding'):
    index = header.metadata.get(f'tokenizer.ggml.{key}_token_id')
    if index is not None and not 0 <= index < len(tokens):
      raise ValueError(
        f'{where}{key}_token_id={index} and there are {len(tokens)} tokens.'
        f'{advice}'
      )
