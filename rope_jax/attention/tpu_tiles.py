"""What the TPU kernels of attention share: a tile's scores, masks and curves.

Queries stand in the rows of a tile and keys in its columns, or the other way
round ('swapped') in the kernel that sums over queries. What is known of tokens
is an int32 array [8, tokens]; the side that stands in rows turns its part into
columns once, and keeps them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from rope_jax.attention.rule import NEVER, Rule
from rope_jax.positions._area import Area
from rope_jax.positions._curve import Curve

LANES = 128
INFO = 8  # Rows of what is known of a token: a multiple of the sublanes.
POS, ORDER, SEGMENT, REAL = range(4)
KNOWN = 4  # How many of them are in use.
_STRIP = 32  # Rows of a tile whose curves are differentiated at a time.

Known = Callable[[int], jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Static:
  """What the kernels of one call are specialised by.

  Attributes:
    curves: the biases.
    counts: how many coefficients each has.
    with_codes: which of them read products of codes.
    learns: whether the coefficients have a gradient.
    rule: the mask's.
    area: the pairs that a window by position leaves; None is all.
    segments: whether tokens have segments.
    group: query heads of a key head.
    blocks: (queries, keys) of a tile.
    scale: on the products.
    exact: whether products are of float32.
    interpret: whether to run on any platform, slowly.
  """

  curves: tuple[Curve, ...]
  counts: tuple[int, ...]
  with_codes: tuple[bool, ...]
  learns: bool
  rule: Rule
  area: Area | None
  segments: bool
  group: int
  blocks: tuple[int, int]
  scale: float
  exact: bool
  interpret: bool

  @property
  def columns(self) -> int:
    """Lanes that hold all coefficients of a head."""
    return max(1, -(-sum(self.counts) // LANES)) * LANES

  @property
  def coded(self) -> int:
    """How many curves read products of codes."""
    return sum(self.with_codes)


@dataclasses.dataclass(frozen=True)
class Call:
  """The arrays of one call, of whole blocks.

  Attributes:
    static: what the kernels are specialised by.
    by_query: first and past the last block of keys of each block of queries,
      int32 [b or 1, i] each.
    by_key: the same the other way round.
    packed: the coefficients, float32 [n, c].
    q_info, k_info: int32 [b or 1, 8, t or s].
    q, k, v: [b, n or k, t or s, h].
    codes: float32 [b or 1, t or s, w], of queries and of keys in turn.
  """

  static: Static
  by_query: tuple[jax.Array, jax.Array]
  by_key: tuple[jax.Array, jax.Array]
  packed: jax.Array
  q_info: jax.Array
  k_info: jax.Array
  q: jax.Array
  k: jax.Array
  v: jax.Array
  codes: tuple[jax.Array, ...]

  @property
  def arrays(self) -> tuple[jax.Array, ...]:
    """In the order of the specs."""
    return (
      self.packed, self.q_info, self.k_info, self.q, self.k, self.v, *self.codes
    )  # fmt: skip

  def _specs(self, q: Any, k: Any) -> list[Any]:
    """Specs of `arrays`, where q and k say (row, head, block) from the grid."""
    bq, bk = self.static.blocks
    h = self.q.shape[3]

    def deep(where):
      return lambda *at: (*where(*at), 0)

    def info(where, rows):
      def index(*at):
        row, _, block = where(*at)
        return row_of(row, rows), 0, block

      return index

    def code(where, rows):
      def index(*at):
        row, _, block = where(*at)
        return row_of(row, rows), block, 0

      return index

    specs = [
      pl.BlockSpec(memory_space=pltpu.SMEM),
      pl.BlockSpec((1, INFO, bq), info(q, self.q_info.shape[0])),
      pl.BlockSpec((1, INFO, bk), info(k, self.k_info.shape[0])),
      pl.BlockSpec((1, 1, bq, h), deep(q)),
      pl.BlockSpec((1, 1, bk, h), deep(k)),
      pl.BlockSpec((1, 1, bk, h), deep(k)),
    ]
    for at, x in enumerate(self.codes):
      block, where = ((bq, q), (bk, k))[at % 2]
      specs.append(
        pl.BlockSpec((1, block, x.shape[2]), code(where, x.shape[0]))
      )
    return specs

  def specs_by_query(self) -> list[Any]:
    """Of a grid (row, head, block of queries, block of keys)."""

    def q(r, m, i, j, first, last):
      del j, first, last
      return r, m, i

    def k(r, m, i, j, first, last):
      at = row_of(r, first.shape[0])
      low, high = first[at, i], last[at, i]
      # Nothing new is fetched for a tile in which there is nothing to see.
      near = jnp.clip(j, low, jnp.maximum(high - 1, low))
      return r, jax.lax.div(m, self.static.group), near

    return self._specs(q, k)

  def specs_by_key(self, head: Any, near: Any) -> list[Any]:
    """Of a grid (row, key head, block of keys, head and block of queries)."""

    def q(r, m, j, step, first, last):
      return r, head(m, step), near(r, j, step, first, last)

    def k(r, m, j, step, first, last):
      del step, first, last
      return r, m, j

    return self._specs(q, k)


def row_of(row: Any, rows: int) -> Any:
  """Where a row's entry is: all rows may share one."""
  return 0 if rows == 1 else row


def dot(static: Static, x: jax.Array, y: jax.Array, axes: str) -> jax.Array:
  """A float32 product of two matrices; 'nt' is with the second transposed."""
  dims = {'nn': ((1,), (0,)), 'nt': ((1,), (1,))}[axes]
  return jax.lax.dot_general(
    x,
    y,
    (dims, ((), ())),
    precision=jax.lax.Precision.HIGHEST if static.exact else None,
    preferred_element_type=jnp.float32,
  )


def column(row: jax.Array) -> jax.Array:
  """[1, x] as [x, 128], the same in all lanes."""
  return jnp.transpose(jnp.broadcast_to(row, (LANES, row.shape[1])))


def columns_of(ref: Any) -> Known:
  """What is known of the tokens that stand in rows: [tokens, 1] each."""
  return lambda at: ref[at][:, :1]


def rows_of(ref: Any) -> Known:
  """What is known of the tokens that stand in columns: [1, tokens] each."""
  return lambda at: ref[0, at : at + 1]


def coefficients(static: Static, ref: Any, head: Any) -> list[list[jax.Array]]:
  """Of each curve, the numbers of a head."""
  found, at = [], 0
  for count in static.counts:
    found.append([ref[head, at + c] for c in range(count)])
    at += count
  return found


def code_products(
  static: Static, codes: Sequence[Any], *, swapped: bool
) -> list[jax.Array | None]:
  """For each curve that reads them, the products of codes over the tile."""
  found: list[jax.Array | None] = []
  pairs = iter(range(0, len(codes), 2))
  for has in static.with_codes:
    if not has:
      found.append(None)
      continue
    at = next(pairs)
    q, k = codes[at][0], codes[at + 1][0]
    x, y = (k, q) if swapped else (q, k)
    exact = dataclasses.replace(static, exact=True)
    found.append(dot(exact, x, y, 'nt'))
  return found


def _bias(static, given, distance, q_pos, products) -> Any:
  total: Any = None
  for curve, c, product in zip(static.curves, given, products, strict=True):
    found = curve.curve(c, distance, q_pos, product)
    total = found if total is None else total + found
  return total


def scores(
  static: Static,
  q_th: jax.Array,
  k_sh: jax.Array,
  q: Known,
  k: Known,
  given: Sequence[Sequence[jax.Array]],
  products: Sequence[jax.Array | None],
  *,
  swapped: bool = False,
) -> jax.Array:
  """A tile of what the softmax is taken of: float32, -inf where unseen."""
  x, y = (k_sh, q_th) if swapped else (q_th, k_sh)
  found = dot(static, x, y, 'nt') * static.scale
  if static.curves:
    distance = q(POS) - k(POS)
    found = found + _bias(static, given, distance, q(POS), products)
  rule = static.rule
  seen = k(ORDER) != NEVER
  if rule.causal:
    seen = seen & (k(ORDER) <= q(ORDER))
  if rule.window is not None:
    seen = seen & (k(ORDER) > q(ORDER) - rule.window)
  if static.segments:
    seen = seen & (k(SEGMENT) == q(SEGMENT))
  if static.area is not None:
    seen = seen & static.area.holds(q(REAL), k(REAL))
  return jnp.where(seen, found, -jnp.inf)


def pull(
  static: Static,
  given: Sequence[Sequence[jax.Array]],
  tile: tuple[Any, Sequence[Any]],
  q_column: Any,
  k_pos: jax.Array,
) -> jax.Array:
  """The gradient of a head's coefficients from one tile: [1, columns].

  Args:
    static: the call's.
    given: from `coefficients`.
    tile: references to the scores' gradient [queries, keys], and to the
      products of codes of each curve, or None.
    q_column: reference to what is known of the queries.
    k_pos: int32 [1, keys].
  """
  d_ref, product_refs = tile
  rows = d_ref.shape[0]
  strip = _STRIP if rows % _STRIP == 0 else rows
  lane = jax.lax.broadcasted_iota(jnp.int32, (1, static.columns), 1)

  def step(at, total):
    here = pl.ds(at * strip, strip)
    q_pos = q_column[POS, here, :][:, :1]
    products = [None if r is None else r[here, :] for r in product_refs]

    def go(given):
      return _bias(static, given, q_pos - k_pos, q_pos, products)

    (found,) = jax.vjp(go, [list(c) for c in given])[1](d_ref[here, :])
    for index, value in enumerate(v for c in found for v in c):
      total = total + jnp.where(lane == index, value, 0.0)
    return total

  zero = jnp.zeros((1, static.columns), jnp.float32)
  return jax.lax.fori_loop(0, rows // strip, step, zero)
