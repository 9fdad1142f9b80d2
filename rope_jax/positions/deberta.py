"""DeBERTa: content to position and position to content, by clipped distance."""

import dataclasses
import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _tables, base

INDICES = ('code', 'paper')


@functools.lru_cache
def bucket_starts(buckets: int, max_distance: int) -> tuple[int, ...]:
  """The first distance of each logarithmic bucket, from buckets / 2 on.

  With mid = buckets / 2, distance a > mid is in bucket mid + ceil(y) where
  y = (mid - 1) ln(a / mid) / ln((max_distance - 1) / mid): in one above mid + j
  if (a / mid)^(mid - 1) > ((max_distance - 1) / mid)^j, compared exactly.

  Args:
    buckets: even, >= 4.
    max_distance: > mid + 1.

  Returns:
    mid + 1 rising integers: where buckets mid, mid + 1, ... 2 mid start.

  Example:
    >>> bucket_starts(256, 512)[:3], bucket_starts(256, 512)[-2:]
    ((128, 129, 130), (506, 512))
  """
  mid = buckets // 2
  ratio = Fraction(max_distance - 1, mid)
  starts, distance = [mid], mid
  for j in range(mid):
    while Fraction(distance, mid) ** (mid - 1) <= ratio**j:
      distance += 1
    starts.append(distance)
  return tuple(starts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deberta(base.Position):
  """Disentangled attention.

  score(i, j) = (q_i . k_j + q_i . a_r + k_j . b_r) / sqrt(3h),
  r = clip(bucket(i - j) + span, 0, 2 span - 1)

  Each head of each layer has a table a that queries read and a table b that
  keys read, 2 span rows of head_dim. bucket is the distance itself, or, with
  max_distance, the distance up to span / 2 and logarithmic from there on, span
  buckets on either side. Queries and keys meet their table before distances
  pick from the products, so that memory is O((t + s) span).

  Args:
    span: in tokens or buckets, >= 1: half the rows of a table. The `max_
      relative_positions` of DeBERTa, 512, and the `position_buckets` of
      versions 2 and 3, 256.
    max_distance: None, or in tokens, > span / 2 + 1: where logarithmic buckets
      end (512 in versions 2 and 3). Then span is even and >= 4.
    p2c_index: which row of b the pair reads. 'code': that of i - j, as all
      implementations do. 'paper': that of j - i, as eq. 4 says.

  Example:
    >>> Deberta(span=256, max_distance=512).bucket(np.array([5, 300, -400]))
    Array([   5,  207, -233], dtype=int32)

  Source: He et al. 2021, arXiv:2006.03654, eq. 2 to 4; microsoft/DeBERTa,
    `DeBERTa/deberta/disentangled_attention.py` and `da_utils.py`.

  Differs: the original has one table of model_dim for all layers, which each
    projects by matrices of its own; here the projected tables themselves are
    learned. Buckets come from exact integer comparisons, not a logarithm. The
    absolute positions at the top of the original's encoder are not part of it.
  """

  span: int
  max_distance: int | None = None
  p2c_index: str = 'code'

  def __post_init__(self):
    base.require(self, 'span', self.span >= 1, 'a number of tokens >= 1')
    if self.max_distance is not None:
      base.require(
        self,
        'span',
        self.span >= 4 and self.span % 2 == 0,
        'even and >= 4 with max_distance',
      )
      least = self.span // 2 + 1
      base.require(
        self,
        'max_distance',
        self.max_distance > least,
        f'None, or above span / 2 + 1 = {least}',
      )
    base.require(
      self, 'p2c_index', self.p2c_index in INDICES, f'one of {INDICES}'
    )

  def init(self, key, *, heads, head_dim, model_dim):
    del model_dim
    shape = (2 * self.span, heads, head_dim)
    c2p, p2c = jax.random.split(key)
    return {
      'c2p': jax.random.normal(c2p, shape) * head_dim**-0.5,
      'p2c': jax.random.normal(p2c, shape) * head_dim**-0.5,
    }

  def bucket(self, distance: base.Array) -> jax.Array:
    """Signed buckets of int32 distances: of the same shape, within +-span."""
    distance = jnp.clip(jnp.asarray(distance, jnp.int32), -(2**30), 2**30)
    if self.max_distance is None:
      return jnp.clip(distance, -self.span, self.span)
    starts, mid = bucket_starts(self.span, self.max_distance), self.span // 2
    size = np.arange(starts[-1] + 1)
    far = mid + np.searchsorted(starts, size, side='right') - 1
    table = np.where(size <= mid, size, far).astype(np.int32)
    found = jnp.asarray(table)[jnp.minimum(jnp.abs(distance), starts[-1])]
    return jnp.sign(distance) * found

  def _row(self, distance: jax.Array) -> jax.Array:
    return jnp.clip(self.bucket(distance) + self.span, 0, 2 * self.span - 1)

  def bias(self, params, q_btnh, k_bskh, places):
    q_btnh, k_bskh = q_btnh.astype(jnp.float32), k_bskh.astype(jnp.float32)
    c2p_rnh = params['c2p'][:, places.heads]
    p2c_rnh = params['p2c'][:, places.heads]
    rows, n, h = p2c_rnh.shape
    b, s, keys, _ = k_bskh.shape
    distance = places.distance()
    row = self._row(distance)
    c2p = _tables.pick(jnp.einsum('btnh,rnh->bntr', q_btnh, c2p_rnh), row)
    asked_bkgsr = jnp.einsum(
      'bskh,rkgh->bkgsr', k_bskh, p2c_rnh.reshape(rows, keys, n // keys, h)
    )
    if self.p2c_index == 'paper':
      row = self._row(-distance)
    p2c = _tables.pick(
      asked_bkgsr.reshape(b, n, s, rows), jnp.swapaxes(row, 1, 2)
    )
    return (c2p + jnp.swapaxes(p2c, 2, 3)) * h**-0.5

  def scale(self, params, places):
    del params
    shape = (1, places.heads.shape[0], places.q_pos_bt.shape[1])
    return jnp.full(shape, 3**-0.5, jnp.float32)
