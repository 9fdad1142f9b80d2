"""T5's bias: one learned number per head and logarithmic bucket of distance."""

import dataclasses
import functools
from fractions import Fraction
from typing import ClassVar

import jax
import jax.numpy as jnp

from rope_jax.positions import _curve, base


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
class T5(_curve.Curve):
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

  def init(self, key, *, heads, head_dim, model_dim):
    del head_dim
    table = jax.random.normal(key, (self.buckets, heads), jnp.float32)
    return {'table': table * model_dim**-0.5}

  def coefficients(self, params, heads, total, head_dim):
    del total
    return params['table'][:, heads].T * head_dim**0.5

  def curve(self, c, distance, q_pos, product):
    del q_pos, product
    side = self.buckets // 2 if self.bidirectional else self.buckets
    starts = bucket_starts(side, self.max_distance)

    def steps(size, table):
      # From the farthest bucket inwards: one comparison a bucket, no gather.
      found = table[-1]
      for start, value in zip(starts[:0:-1], table[-2::-1], strict=True):
        found = jnp.where(size >= start, found, value)
      return found

    if not self.bidirectional:
      return steps(distance, c)
    size = jnp.abs(distance)
    return jnp.where(distance < 0, steps(size, c[side:]), steps(size, c[:side]))
