"""Which key each query may see: structure, materialised only per tile."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.attention.rule import NEVER, Rule, Tokens, check_shape

Array = jax.Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
  """Causality, windows, packing and padding, none of them by position.

  Attributes:
    q_segment_bt: int32 segment of each query; a query sees keys of its own
      segment alone. None (with k_segment_bs) is one segment.
    k_segment_bs: int32 segment of each key.
    q_order_bt: int32 [b or 1, t], where each query stands in token order, in
      which keys are 0 ... s - 1. None: the queries are the last t of s tokens.
    k_order_bs: int32 [b or 1, s], where each key stands, if not as they come;
      goes with q_order_bt.
    k_count_b: int32 [b], only the first k_count keys of a sequence exist.
    causal: whether a query sees only keys up to itself in token order.
    window: how many keys a causal query sees at most, itself included.
  """

  q_segment_bt: Array | None = None
  k_segment_bs: Array | None = None
  q_order_bt: Array | None = None
  k_order_bs: Array | None = None
  k_count_b: Array | None = None
  causal: bool = dataclasses.field(default=True, metadata={'static': True})
  window: int | None = dataclasses.field(
    default=None, metadata={'static': True}
  )

  def __post_init__(self):
    if (self.q_segment_bt is None) != (self.k_segment_bs is None):
      raise ValueError(
        'Mask: q_segment_bt and k_segment_bs go together; only '
        f'{"q" if self.k_segment_bs is None else "k"} was given.'
      )
    if self.k_order_bs is not None and self.q_order_bt is None:
      raise ValueError(
        'Mask: k_order_bs without q_order_bt; give where the queries stand too.'
      )
    window = self.window
    if window is not None and (
      not isinstance(window, int) or window < 1 or not self.causal
    ):
      raise ValueError(
        f'Mask: window={window}, causal={self.causal}; a window is a whole '
        'number of tokens >= 1 of a causal mask.'
      )

  def check(self, batch: int, queries: int, keys: int) -> None:
    """Raises ValueError if an array is not of the shape that attention has."""
    queried, keyed = (batch, queries), (batch, keys)
    check_shape('Mask: q_segment_bt', self.q_segment_bt, queried)
    check_shape('Mask: k_segment_bs', self.k_segment_bs, keyed)
    check_shape('Mask: q_order_bt', self.q_order_bt, queried, (1, queries))
    check_shape('Mask: k_order_bs', self.k_order_bs, keyed, (1, keys))
    check_shape('Mask: k_count_b', self.k_count_b, (batch,))

  def order(self, queries: int, keys: int) -> Array:
    """q_order_bt, or its default for these counts: int32 [b or 1, t]."""
    if self.q_order_bt is not None:
      return self.q_order_bt
    if queries > keys and self.causal:
      raise ValueError(
        f'Mask: {queries} queries but {keys} keys; give q_order_bt, or keys '
        'for all the queries.'
      )
    return np.arange(keys - queries, keys, dtype=np.int32)[None]

  def split(
    self, queries: int, keys: int, cap: float | None = None
  ) -> tuple[Rule, Tokens]:
    """The mask as what is static of it and what is said of each token."""
    at = jnp.arange(keys, dtype=jnp.int32)[None]
    k_order = at if self.k_order_bs is None else jnp.asarray(self.k_order_bs)
    if self.k_count_b is not None:
      there = at < jnp.asarray(self.k_count_b)[:, None]
      k_order = jnp.where(there, k_order, NEVER)
    tokens = Tokens(
      q_order_bt=self.order(queries, keys),
      k_order_bs=k_order,
      q_segment_bt=self.q_segment_bt,
      k_segment_bs=self.k_segment_bs,
    )
    return Rule(causal=self.causal, window=self.window, cap=cap), tokens


def context_length(
  pos_bs: Array, segment_bs: Array | None, count_b: Array | None = None
) -> jax.Array:
  """Tokens of context of each token's own sequence: int32 [b, s] or [b, 1].

  From its first position to its last: of the row, or of the token's segment
  where several are packed in a row.

  Args:
    pos_bs: int32 positions.
    segment_bs: int32 segments, or None.
    count_b: int32, only the first `count` tokens of a row exist; None is all.

  >>> context_length(np.array([[0, 1, 2, 7, 8]]), np.array([[1, 1, 1, 2, 2]]))
  Array([[3, 3, 3, 2, 2]], dtype=int32)
  """
  pos_bs = jnp.asarray(pos_bs, jnp.int32)
  count = pos_bs.shape[1]
  exist_bs = jnp.ones(pos_bs.shape, bool)
  if count_b is not None:
    at_1s = jnp.arange(count, dtype=jnp.int32)[None]
    exist_bs = at_1s < jnp.asarray(count_b)[:, None]
  most = np.iinfo(np.int32).max
  last_bs, first_bs = (
    jnp.where(exist_bs, pos_bs, -1),
    jnp.where(exist_bs, pos_bs, most),
  )
  if segment_bs is None:
    last = jnp.max(last_bs, axis=1, keepdims=True)
    first = jnp.min(first_bs, axis=1, keepdims=True)
  else:

    def one(last_s, first_s, segment_s):
      # Ids may be any integers: each is replaced by its rank in the row.
      rank_s = jnp.searchsorted(jnp.sort(segment_s), segment_s)
      last = jax.ops.segment_max(last_s, rank_s, num_segments=count)
      first = jax.ops.segment_min(first_s, rank_s, num_segments=count)
      return last[rank_s], first[rank_s]

    last, first = jax.vmap(one)(last_bs, first_bs, jnp.asarray(segment_bs))
  # Saturates one below 2^31; a sequence of which nothing exists has length 0.
  return jnp.where(last < 0, 0, jnp.minimum(last - first, most - 1) + 1)
