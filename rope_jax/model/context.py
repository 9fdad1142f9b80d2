"""What every layer's attention needs to know about the tokens."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rope_jax.attention import Mask, context_length

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Context:
  """Where the tokens stand, and which of them see which.

  Attributes:
    q_pos_bt, k_pos_bs: positions of the tokens at hand and of the keys.
    q_length_bt, k_length_bs: tokens of context of each one's sequence.
    mask: which key each token sees.
    q_true_bt: positions of the tokens in their text, where q_pos_bt are others
      that training shows; None is q_pos_bt.
    slot_bt: where in a cache the tokens' keys and values go; a slot past the
      end is nowhere. None without a cache.
    held: instead of slots, int32, how many tokens the cache holds, to which
      these are appended; see `stream.Stream`.
    ways: then, the number of pieces that cache and chunks are cut into.
    mesh: what attention is shared out over.
  """

  q_pos_bt: Array
  k_pos_bs: Array
  q_length_bt: Array
  k_length_bs: Array
  mask: Mask
  q_true_bt: Array | None = None
  slot_bt: Array | None = None
  held: Array | None = None
  ways: int = dataclasses.field(default=1, metadata={'static': True})
  mesh: Mesh | None = dataclasses.field(default=None, metadata={'static': True})


def whole(
  tokens_bt: Array,
  pos_bt: Array | None,
  segment_bt: Array | None,
  shown_bt: Array | None = None,
  order_1t: Array | None = None,
  mesh: Mesh | None = None,
) -> Context:
  """The context of whole rows, which see nothing else."""
  if pos_bt is None:
    pos_bt = _count(np.shape(tokens_bt), segment_bt)
  length_bt = context_length(pos_bt, segment_bt)
  return Context(
    q_pos_bt=pos_bt if shown_bt is None else shown_bt,
    k_pos_bs=pos_bt if shown_bt is None else shown_bt,
    q_length_bt=length_bt,
    k_length_bs=length_bt,
    mask=Mask(
      q_segment_bt=segment_bt,
      k_segment_bs=segment_bt,
      q_order_bt=order_1t,
      k_order_bs=order_1t,
    ),
    q_true_bt=None if shown_bt is None else pos_bt,
    mesh=mesh,
  )


def _count(shape: tuple[int, ...], segment_bt: Array | None) -> jax.Array:
  """Positions from 0 on in every row, or in every segment of it."""
  at_bt = jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.int32), shape)
  if segment_bt is None:
    return at_bt
  segment_bt = jnp.asarray(segment_bt)
  new_bt = segment_bt[:, 1:] != segment_bt[:, :-1]
  new_bt = jnp.concatenate([jnp.ones_like(new_bt[:, :1]), new_bt], axis=1)
  start_bt = jax.lax.cummax(jnp.where(new_bt, at_bt, 0), axis=1)
  return at_bt - start_bt
