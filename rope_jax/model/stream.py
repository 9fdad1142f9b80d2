"""Losses of long texts, chunk after chunk, over a cache split over devices."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rope_jax import mesh as meshes
from rope_jax.attention import Mask, zigzag
from rope_jax.attention.rule import NEVER
from rope_jax.model.block import BITS
from rope_jax.model.config import ModelConfig
from rope_jax.model.context import Context
from rope_jax.model.decoder import output_table, run_layers
from rope_jax.model.loss import projected_nll
from rope_jax.model.weights import Weights
from rope_jax.positions import Layout

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stream:
  """Un-rotated keys, and values, of a text that is read in chunks.

  Every chunk is shared out over the `ways` devices in the `order` of `zigzag`,
  and each device keeps its share of all chunks: so each has as much to look at,
  in what has been read before and in the chunk itself.

  Attributes:
    k_lbskh, v_lbskh: room for `size` tokens, those of device 0 first;
      bfloat16 as the bits it has, uint16.
    count: int32 scalar, tokens read so far, a multiple of `chunk`.
    chunk: tokens that are read at a time.
    ways: devices of the mesh's axis 'seq'.
  """

  k_lbskh: jax.Array
  v_lbskh: jax.Array
  count: jax.Array
  chunk: int = dataclasses.field(metadata={'static': True})
  ways: int = dataclasses.field(metadata={'static': True})

  @property
  def size(self) -> int:
    """Tokens that fit."""
    return self.k_lbskh.shape[2]

  def rewound(self) -> Stream:
    """The same room, with nothing read."""
    zero = jax.device_put(jnp.int32(0), self.count.sharding)
    return dataclasses.replace(self, count=zero)

  @property
  def order(self) -> np.ndarray:
    """Which token of a chunk stands at each place of it: int32 [chunk]."""
    if self.chunk % (2 * self.ways):
      return np.arange(self.chunk, dtype=np.int32)
    return zigzag(self.chunk, self.ways)

  def positions(self) -> jax.Array:
    """Which token of the text each place is for: int32 [1, s]."""
    at = jnp.arange(self.size, dtype=jnp.int32)
    share, piece = self.size // self.ways, self.chunk // self.ways
    way, inside = at // share, at % share
    chunk, rest = inside // piece, inside % piece
    held = jnp.asarray(self.order)[way * piece + rest]
    return (chunk * self.chunk + held)[None]


def empty_stream(
  config: ModelConfig,
  batch: int,
  size: int,
  *,
  chunk: int,
  mesh: Mesh,
  dtype: str = '',
) -> Stream:
  """A stream with room for `size` tokens of each of `batch` texts.

  Args:
    config: the model's shape.
    batch: texts that are read at a time.
    size: tokens of each, rounded up to whole chunks.
    chunk: tokens read at a time; a multiple of the mesh's 'seq'.
    mesh: what the cache is split over: rows over 'data' and 'fsdp', tokens over
      'seq'.
    dtype: of the keys and values that are kept; '' is that of the model.

  Raises:
    ValueError: a batch, size or chunk below 1, or one that does not divide.
  """
  ways = dict(mesh.shape).get('seq', 1)
  over = math.prod(mesh.shape[axis] for axis in meshes.rows_over(mesh))
  if batch % over:
    raise ValueError(
      f'empty_stream: batch={batch} must be a multiple of the {over} devices '
      "of the mesh's 'data' and 'fsdp'."
    )
  if batch < 1 or size < 1 or chunk < 1 or chunk % ways:
    raise ValueError(
      f'empty_stream: batch={batch}, size={size}, chunk={chunk} must be >= 1, '
      f"and the chunk a multiple of the {ways} devices of the mesh's 'seq'."
    )
  size = -(-size // chunk) * chunk
  shape = (config.layers, batch, size, config.kv_heads, config.head_dim)
  sharding = NamedSharding(mesh, P(None, *meshes.batch_sharding(mesh).spec))
  kind = dtype or config.dtype
  kind = BITS if kind == 'bfloat16' else kind
  make = jax.jit(lambda: jnp.zeros(shape, kind), out_shardings=sharding)
  count = jax.device_put(jnp.int32(0), NamedSharding(mesh, P()))
  return Stream(make(), make(), count, chunk=chunk, ways=ways)


def stream_losses(
  config: ModelConfig,
  layout: Layout,
  weights: Weights,
  stream: Stream,
  tokens_bt: Array,
  targets_bt: Array,
  *,
  length: Array,
  mesh: Mesh | None = None,
) -> tuple[jax.Array, Stream]:
  """Nats of each target of the next chunk of texts, and the stream after it.

  Equal to `losses` over the whole texts. What is computed, and its memory but
  for the cache, is the same for every chunk.

  Args:
    config, layout, weights: as in `losses`.
    stream: what has been read.
    tokens_bt: int32, the next `stream.chunk` tokens of each text.
    targets_bt: int32, the ids that follow each.
    length: int32 scalar, tokens of the whole texts: what a method reads that
      depends on the context's length.
    mesh: what the stream was made for; None is one device.

  Returns:
    (float32 [b, t], the stream with the chunk in it). Losses of a chunk for
    which there is no room are NaN.

  Raises:
    ValueError: tokens that are not one chunk, or, outside of jit, a chunk for
      which there is no room.
  """
  batch, count = tokens_bt.shape
  if count != stream.chunk or batch != stream.k_lbskh.shape[1]:
    raise ValueError(
      f'stream_losses: tokens {tokens_bt.shape} for a stream of '
      f'{stream.k_lbskh.shape[1]} texts that reads {stream.chunk} tokens at a '
      'time; pad the last chunk.'
    )
  known = not isinstance(stream.count, core.Tracer)
  if known and int(stream.count) + count > stream.size:
    raise ValueError(
      f'stream_losses: {int(stream.count)} tokens have been read of a stream '
      f'with room for {stream.size}, and {count} more do not fit; make the '
      'stream larger, or rewind it.'
    )
  order = stream.order
  tokens_bt, targets_bt = tokens_bt[:, order], targets_bt[:, order]
  order_1t = stream.count + order[None]
  last = jnp.asarray(length, jnp.int32) - 1  # Where padding stands too.
  pos_bt = jnp.broadcast_to(jnp.minimum(order_1t, last), (batch, count))
  key_1s = stream.positions()
  there_1s = key_1s < stream.count + count
  length_11 = jnp.full((1, 1), length, jnp.int32)
  context = Context(
    q_pos_bt=pos_bt,
    k_pos_bs=jnp.broadcast_to(jnp.minimum(key_1s, last), (batch, stream.size)),
    q_length_bt=length_11,
    k_length_bs=length_11,
    mask=Mask(
      q_order_bt=order_1t,
      k_order_bs=jnp.where(there_1s, key_1s, NEVER),
    ),
    held=stream.count,
    ways=stream.ways,
    mesh=mesh,
  )
  x_btd, kept = run_layers(
    dataclasses.replace(config, attention=_way(config, stream)),
    layout,
    weights,
    tokens_bt,
    context,
    (stream.k_lbskh, stream.v_lbskh),
  )
  assert kept is not None
  table = output_table(config, weights)
  nll_bt = projected_nll(x_btd, table, targets_bt, cap=config.logit_cap)
  nll_bt = jnp.where(stream.count + count <= stream.size, nll_bt, jnp.nan)
  after = dataclasses.replace(
    stream, k_lbskh=kept[0], v_lbskh=kept[1], count=stream.count + count
  )
  return nll_bt[:, np.argsort(order)], after


def _way(config: ModelConfig, stream: Stream) -> Any:
  """How to attend: what needs whole rows of queries cannot be had."""
  if stream.ways > 1:
    return 'spread'
  return 'auto' if config.attention in ('fused', 'ring') else config.attention
