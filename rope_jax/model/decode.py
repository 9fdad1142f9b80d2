"""Decoding with a cache of un-rotated keys: prefill, chunks, single tokens."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.attention import Mask
from rope_jax.model.config import ModelConfig
from rope_jax.model.context import Context
from rope_jax.model.decoder import output_table, run_layers
from rope_jax.model.loss import to_logits
from rope_jax.model.weights import Weights
from rope_jax.positions import Layout

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
  """What decoding remembers of each sequence of a batch.

  Keys are kept as they were before any rotation, so that a method may turn
  them by positions or a length that it learns of later.

  Attributes:
    k_lbskh: keys, not rotated.
    v_lbskh: values.
    count_b: int32, tokens that each sequence holds so far: the position of its
      next one.
  """

  k_lbskh: jax.Array
  v_lbskh: jax.Array
  count_b: jax.Array

  @property
  def size(self) -> int:
    """Tokens that fit."""
    return self.k_lbskh.shape[2]


def empty_cache(config: ModelConfig, batch: int, size: int) -> Cache:
  """A cache with room for `size` tokens of each of `batch` sequences.

  >>> config = ModelConfig(vocab=11, layers=2, width=8, heads=2)
  >>> empty_cache(config, 3, 16).k_lbskh.shape
  (2, 3, 16, 2, 4)
  """
  if batch < 1 or size < 1:
    raise ValueError(
      f'empty_cache: batch={batch} and size={size} must be >= 1.'
    )
  shape = (config.layers, batch, size, config.kv_heads, config.head_dim)
  keys, values = (jnp.zeros(shape, config.dtype) for _ in range(2))
  return Cache(keys, values, jnp.zeros(batch, jnp.int32))


def extend(
  config: ModelConfig,
  layout: Layout,
  weights: Weights,
  cache: Cache,
  tokens_bt: Array,
  *,
  new_b: Array | None = None,
  length_b: Array | None = None,
) -> tuple[jax.Array, Cache]:
  """Appends tokens to the sequences of a cache: a prompt, a chunk, or one each.

  Equal to `forward` over the whole sequences, however they are cut and however
  their lengths differ. A method that depends on the context length reads
  `length_b`: with the default, a step at length l sees all keys as at length l,
  while states of earlier tokens were computed at theirs; with a fixed length it
  equals a `forward` pass over that many tokens.

  Args:
    config: the model's shape; static.
    layout: the positional methods; static.
    weights: as `init_weights` makes them.
    cache: what the sequences hold.
    tokens_bt: int32 ids; rows may be padded at their end.
    new_b: int32, how many of a row's tokens are real, in [0, t]; None is all.
    length_b: int32, tokens of context that each sequence is read as having;
      None is what it holds after this call.

  Returns:
    (logits of the next token after each token, float32 [b, t, v]; the cache
    with the tokens in it). Logits after padding mean nothing. Logits of a
    token for which the cache has no room are NaN.

  Raises:
    ValueError: shapes that do not fit, or more tokens than the cache can hold.

  Example:
    >>> from rope_jax import model, positions
    >>> config = ModelConfig(vocab=11, layers=2, width=8, heads=2)
    >>> layout = positions.layout({'name': 'rope', 'theta': 1e4})
    >>> weights = model.init_weights(jax.random.key(0), config, layout)
    >>> cache = empty_cache(config, 1, 16)
    >>> logits, cache = extend(
    ...   config, layout, weights, cache, np.array([[1, 2, 3]]))
    >>> logits.shape, cache.count_b
    ((1, 3, 11), Array([3], dtype=int32))
  """
  tokens_bt = jnp.asarray(tokens_bt)
  if tokens_bt.ndim != 2:
    raise ValueError(f'extend: tokens {tokens_bt.shape} must be [b, t].')
  batch, count = tokens_bt.shape
  if cache.count_b.shape != (batch,) or count > cache.size:
    raise ValueError(
      f'extend: tokens {tokens_bt.shape} for a cache of '
      f'{cache.count_b.shape[0]} sequences of up to {cache.size} tokens; give '
      'one row a sequence, and make the cache larger or the chunk shorter.'
    )
  for name, x in (('new_b', new_b), ('length_b', length_b)):
    if x is not None and np.shape(x) != (batch,):
      raise ValueError(
        f'extend: {name} is {np.shape(x)}; it must be [b] = ({batch},).'
      )
  if isinstance(new_b, np.ndarray) and not (
    new_b.min() >= 0 and new_b.max() <= count
  ):
    raise ValueError(
      f'extend: new_b={new_b.tolist()} of rows of {count} tokens; each must be '
      f'in [0, {count}].'
    )
  index_1t = jnp.arange(count, dtype=jnp.int32)[None]
  pos_bt = cache.count_b[:, None] + index_1t
  new_b = jnp.full(batch, count, jnp.int32) if new_b is None else new_b
  new_b = jnp.asarray(new_b, jnp.int32)
  total_b = cache.count_b + new_b
  length_b1 = (total_b if length_b is None else jnp.asarray(length_b))[:, None]
  key_1s = jnp.arange(cache.size, dtype=jnp.int32)[None]
  context = Context(
    q_pos_bt=pos_bt,
    k_pos_bs=jnp.broadcast_to(key_1s, (batch, cache.size)),
    q_length_bt=length_b1,
    k_length_bs=length_b1,
    mask=Mask(q_order_bt=pos_bt, k_count_b=total_b),
    slot_bt=jnp.where(index_1t < new_b[:, None], pos_bt, cache.size),
  )
  if config.attention in ('fused', 'ring'):  # Neither knows a cache.
    config = dataclasses.replace(config, attention='auto')
  x_btd, kept = run_layers(
    config, layout, weights, tokens_bt, context, (cache.k_lbskh, cache.v_lbskh)
  )
  assert kept is not None
  table = output_table(config, weights)
  logits_btv = to_logits(x_btd, table, config.logit_cap)
  fits_bt1 = (pos_bt < cache.size)[:, :, None]
  return jnp.where(fits_bt1, logits_btv, jnp.nan), Cache(*kept, total_b)
