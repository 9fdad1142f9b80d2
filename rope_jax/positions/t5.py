"""T5's bias: one learned number per head and logarithmic bucket of distance."""

import dataclasses
import functools
from fractions import Fraction
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import base


@functools.lru_cache
def bucket_starts(buckets: int, max_distance: int) -> tuple[int, ...]:
  """The first distance that falls into each one-sided bucket.

  Distances below buckets/2 have one bucket each; the others are spaced
  logarithmically up to max_distance, by exact rational comparison:
  distance^k >= (buckets/2)^k (2 max_distance / buckets)^j for the j-th of k.

  Args:
    buckets: even, >= 2.
    max_distance: > buckets / 2; farther keys share the last bucket.

  Returns:
    `buckets` integers, rising (a bucket that no integer reaches starts where
    the next one does).

  Example:
    >>> bucket_starts(32, 128)[16:22]
    (16, 19, 21, 24, 27, 31)
  """
  exact = buckets // 2
  count = buckets - exact
  ratio = Fraction(max_distance, exact)
  starts, distance = list(range(exact)), exact
  for j in range(count):
    while Fraction(distance, exact) ** count < ratio**j:
      distance += 1
    starts.append(distance)
  return tuple(starts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class T5(base.Position):
  """T5's relative position bias.

  bias_h(i, j) = sqrt(head_dim) table[bucket(i - j), h]

  Distances below buckets/2 have a bucket each, farther ones share buckets that
  widen logarithmically, and all from max_distance on share the last. One table
  serves all layers, as in T5.

  Args:
    buckets: number of buckets, even, >= 4 (>= 4 on each side if
      bidirectional).
    max_distance: tokens from which on all keys look alike, > buckets / 2.
    bidirectional: half of the buckets for keys after the query.

  Example:
    >>> bucket_starts(32, 128)[-1]
    113

  Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1;
    huggingface/transformers, `T5Attention._relative_position_bucket`.

  Differs: buckets come from exact integer comparisons rather than a float32
    logarithm (equal for the default sizes). T5 leaves out the 1/sqrt(head_dim)
    on scores; here scores keep it and the table is multiplied by
    sqrt(head_dim), as in EleutherAI/gpt-neox (`rpe_scale`) and
    lucidrains/x-transformers. Both describe the same models, but under Adam,
    whose steps do not know the scale of a weight, a bare table learns several
    times more slowly.
  """

  shared: ClassVar[bool] = True

  buckets: int = 32
  max_distance: int = 128
  bidirectional: bool = False

  def __post_init__(self):
    side = self.buckets // 2 if self.bidirectional else self.buckets
    base.require(
      self,
      'buckets',
      side >= 4 and side % 2 == 0,
      'even and >= 4 on each side (a multiple of 4 and >= 8 if bidirectional)',
    )
    base.require(
      self, 'max_distance', self.max_distance > side // 2, f'above {side // 2}'
    )

  def bucket(self, distance: base.Array) -> jax.Array:
    """Buckets of int32 distances (query minus key), of the same shape."""
    side = self.buckets // 2 if self.bidirectional else self.buckets
    starts = bucket_starts(side, self.max_distance)
    table = np.searchsorted(starts, np.arange(starts[-1] + 1), side='right') - 1
    distance = jnp.asarray(distance)
    ahead = distance < 0
    size = jnp.abs(distance) if self.bidirectional else distance
    index = jnp.clip(size, 0, starts[-1])
    found = jnp.asarray(table.astype(np.int32))[index]
    return found + side * ahead if self.bidirectional else found

  def init(self, key, *, heads, head_dim, model_dim):
    del head_dim
    table = jax.random.normal(key, (self.buckets, heads), jnp.float32)
    return {'table': table * model_dim**-0.5}

  def bias(self, params, q_btnh, k_bskh, places):
    del k_bskh
    scale = q_btnh.shape[-1] ** 0.5
    table_nr = params['table'][:, places.heads].T * scale
    bias_nbts = table_nr[:, self.bucket(places.distance())]
    return jnp.moveaxis(bias_nbts, 0, 1).astype(jnp.float32)
