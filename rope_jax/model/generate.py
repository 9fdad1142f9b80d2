"""Generation: a prompt read in chunks, then one token after the other."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.model.decode import Cache, empty_cache, extend
from rope_jax.model.transformer import Transformer, split
from rope_jax.positions import Layout, parts

Array = jax.Array | np.ndarray

CHUNK = 128  # Tokens of the prompts that are read at a time.
_ROOM = 128  # Caches are rounded up to this, so that near lengths share one.


def generate(
  model: Transformer,
  prompt: Array | Sequence[Sequence[int]],
  *,
  steps: int,
  temperature: float = 0.0,
  key: jax.Array | None = None,
  stop: int | None = None,
  length: int | None = None,
  cache_size: int | None = None,
) -> list[np.ndarray]:
  """Continues each prompt by up to `steps` tokens.

  next ~ softmax(logits / temperature), the most likely one at temperature 0

  Prompts may differ in length. They are read in chunks and continued in one
  program on the device; keys are kept un-rotated, so every method decodes as it
  reads. Prompts and steps of other lengths use the same programs until the
  cache has to be larger.

  Args:
    model: a model.
    prompt: sequences of token ids, or int [b, t]; none of them empty.
    steps: tokens to add, >= 1.
    temperature: >= 0; 0 takes the most likely token.
    key: a `jax.random.key`, for a temperature above 0.
    stop: an id after which a sequence ends; it is kept.
    length: tokens of context that a method which depends on them is told;
      None is what each sequence holds so far. A chunk is then read at the
      length that its end has.
    cache_size: tokens that fit; None is what is needed, rounded up.

  Returns:
    The new tokens of each prompt: int32 [<= steps].

  Raises:
    ValueError: an empty prompt; ids outside the vocabulary; a cache or a method
      that ends before the last token; a temperature that needs a key.

  Example:
    >>> from rope_jax import positions
    >>> from rope_jax.model import ModelConfig
    >>> config = ModelConfig(vocab=7, layers=1, width=8, heads=2)
    >>> rope = positions.build({'name': 'rope', 'theta': 1e4})
    >>> model = Transformer(config, (rope,), key=jax.random.key(0))
    >>> [len(row) for row in generate(model, [[1, 2, 3], [4]], steps=5)]
    [5, 5]
  """
  rows = [np.asarray(row) for row in prompt]
  _check(model, rows, steps, temperature, key, length)
  counts = np.array([len(row) for row in rows], np.int32)
  needed = int(counts.max()) + steps
  if cache_size is None:
    cache_size = -(-needed // _ROOM) * _ROOM
  if cache_size < needed:
    raise ValueError(
      f'generate: cache_size={cache_size}, but the longest prompt has '
      f'{counts.max()} tokens and steps={steps}; it must be at least {needed}, '
      'or None.'
    )
  _, weights = split(model)
  cache = empty_cache(model.config, len(rows), cache_size)
  fixed = None if length is None else jnp.full(len(rows), length, jnp.int32)
  last_bv, cache = _read(model, weights, cache, rows, counts, fixed)
  key = jax.random.key(0) if key is None else key
  room = -(-steps // _ROOM) * _ROOM  # Of the program; it stops at `steps`.
  tokens_bt, ends_b, _ = _continue(
    model.config,
    model.layout,
    room,
    weights,
    cache,
    last_bv,
    key,
    jnp.float32(temperature),
    jnp.int32(-1 if stop is None else stop),
    jnp.int32(steps),
    fixed,
  )
  tokens_bt, ends_b = np.asarray(tokens_bt), np.asarray(ends_b)
  return [row[:end] for row, end in zip(tokens_bt, ends_b, strict=True)]


def _check(
  model: Transformer,
  rows: list[np.ndarray],
  steps: int,
  temperature: float,
  key: jax.Array | None,
  length: int | None,
) -> None:
  vocab = model.config.vocab
  if not rows:
    raise ValueError('generate: prompt has no sequences; give at least one.')
  for at, row in enumerate(rows):
    if row.ndim != 1 or not row.size:
      raise ValueError(
        f'generate: prompt {at} has shape {row.shape}; each must be a sequence '
        'of at least one token.'
      )
    if not np.issubdtype(row.dtype, np.integer) or not (
      0 <= row.min() <= row.max() < vocab
    ):
      raise ValueError(
        f'generate: prompt {at} has {row.dtype} ids in [{row.min()}, '
        f'{row.max()}]; they must be integers in [0, {vocab}).'
      )
  if not isinstance(steps, int | np.integer) or steps < 1:
    raise ValueError(f'generate: steps={steps!r} must be an integer >= 1.')
  if not 0 <= temperature < np.inf:
    raise ValueError(
      f'generate: temperature={temperature} must be a number >= 0; 0 takes the '
      'most likely token.'
    )
  if temperature > 0 and key is None:
    raise ValueError(
      f'generate: temperature={temperature} draws tokens; give a key, such as '
      'jax.random.key(0).'
    )
  if key is not None and not (
    isinstance(key, jax.Array)
    and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
  ):
    raise ValueError(
      f'generate: key={key!r} must be one of jax.random.key, such as '
      'jax.random.key(0).'
    )
  needed = max(len(row) for row in rows) + steps
  if length is not None and length < 1:
    raise ValueError(f'generate: length={length} must be >= 1, or None.')
  for position in model.layout:
    for part in parts(position):
      if part.reach is not None and needed > part.reach:
        raise ValueError(
          f'generate: {type(part).__name__} is defined for {part.reach} '
          f'positions, but the longest prompt and steps={steps} make {needed}; '
          'generate fewer.'
        )


def _read(
  model: Transformer,
  weights: Any,
  cache: Cache,
  rows: list[np.ndarray],
  counts: np.ndarray,
  fixed: jax.Array | None,
) -> tuple[jax.Array, Cache]:
  """The logits after each prompt, and the cache with the prompts in it."""
  size = min(CHUNK, cache.size)
  last_bv = jnp.zeros((len(rows), model.config.vocab), jnp.float32)
  for start in range(0, int(counts.max()), size):
    chunk = np.zeros((len(rows), size), np.int32)
    for to, row in zip(chunk, rows, strict=True):
      piece = row[start : start + size]
      to[: len(piece)] = piece
    new = np.clip(counts - start, 0, size)
    last_bv, cache = _read_chunk(
      model.config, model.layout, weights, cache, last_bv, chunk, new, fixed
    )
  return last_bv, cache


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(3, 4))
def _read_chunk(config, layout, weights, cache, last_bv, chunk, new_b, fixed):
  logits, cache = extend(
    config, layout, weights, cache, chunk, new_b=new_b, length_b=fixed
  )
  at_b11 = jnp.maximum(new_b - 1, 0)[:, None, None]
  here_bv = jnp.take_along_axis(logits, at_b11, axis=1)[:, 0]
  return jnp.where((new_b > 0)[:, None], here_bv, last_bv), cache


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _continue(
  config: Any,
  layout: Layout,
  room: int,
  weights: Any,
  cache: Cache,
  last_bv: jax.Array,
  key: jax.Array,
  temperature: jax.Array,
  stop: jax.Array,
  steps: jax.Array,
  fixed: jax.Array | None,
) -> tuple[jax.Array, jax.Array, Cache]:
  """New tokens [b, room], how many of each row are meant, and the cache, which
  is given back so that its memory is used again."""
  batch = last_bv.shape[0]

  def pick(logits_bv, step):
    warm = logits_bv / jnp.where(temperature > 0, temperature, 1.0)
    drawn = jax.random.categorical(jax.random.fold_in(key, step), warm)
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits_bv, axis=-1))

  def more(carry):
    step, _, _, done_b, _, _ = carry
    return (step < steps) & ~jnp.all(done_b)

  def one(carry):
    step, cache, logits_bv, done_b, tokens_bt, ends_b = carry
    next_b = pick(logits_bv, step).astype(jnp.int32)
    tokens_bt = jax.lax.dynamic_update_slice_in_dim(
      tokens_bt, next_b[:, None], step, axis=1
    )
    ends_b = jnp.where(done_b, ends_b, step + 1)
    done_b = done_b | (next_b == stop)
    logits, cache = extend(
      config,
      layout,
      weights,
      cache,
      next_b[:, None],
      new_b=(~done_b).astype(jnp.int32),
      length_b=fixed,
    )
    return step + 1, cache, logits[:, 0], done_b, tokens_bt, ends_b

  start = (
    jnp.int32(0),
    cache,
    last_bv,
    jnp.zeros(batch, bool),
    jnp.zeros((batch, room), jnp.int32),
    jnp.zeros(batch, jnp.int32),
  )
  end = jax.lax.while_loop(more, one, start)
  return end[4], end[5], end[1]
