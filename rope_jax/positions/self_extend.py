"""Self-Extend: far keys by the groups that positions fall into."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from rope_jax.positions import _remap, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfExtend(_remap.Remap):
  """RoPE with exact distances near by and distances of groups far away.

  distance(i, j) = i - j                          where i - j < window,
  distance(i, j) = floor(i / group) - floor(j / group)
                   + window - floor(window / group)   elsewhere

  Needs no training. With a model trained at L tokens no distance exceeds those
  seen in training up to (L - window) group + group floor(window / group)
  tokens: (L - window) group + window where group divides window. The authors
  advise to stay where (1/2 ... 2/3) L > window + (length - window) / group.

  Args:
    group: tokens in a group, >= 1; 1 is RoPE.
    window: tokens before the query, itself included, that keep their distance,
      >= 1.

  Example:
    >>> method = SelfExtend(theta=1e4, group=4, window=8)
    >>> place = base.Places(*5 * [jnp.array([[21]])], total_heads=1)
    >>> [int(v.places.q_pos_bt[0, 0]) for v in method.views(place)]
    [21, 11]

  Source: Jin et al. 2024, arXiv:2401.01325, section 3; datamllab/LongLM,
    `self_extend_patch/Llama.py`.

  Differs: where group does not divide window, the code shifts by
    window - window / group when it reads a prompt, a fraction, and by the
    rounded shift when it decodes; here it is rounded, as whole positions must
    be, for both. The code leaves the shift out of texts shorter than the
    window, which have no far keys.
  """

  relative: ClassVar[bool] = False

  group: int
  window: int

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'group', self.group >= 1, 'a number of tokens >= 1')
    base.require(self, 'window', self.window >= 1, 'a number of tokens >= 1')

  def views(self, places):
    shift = self.window - self.window // self.group
    q_bt = jnp.asarray(places.q_pos_bt) // self.group + shift
    k_bs = jnp.asarray(places.k_pos_bs) // self.group
    return (
      base.View(places, _remap.nearer(self.window)),
      base.View(_remap.at(places, q_bt, k_bs), _remap.farther(self.window)),
    )
