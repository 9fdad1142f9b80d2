"""StreamingLLM: the first tokens and a window, at positions in the cache."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from rope_jax.positions import _remap, base
from rope_jax.positions._area import Area


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streaming(_remap.Remap):
  """RoPE over the first tokens (sinks) and the last ones, and no others.

  distance(i, j) = min(i, sinks + window - 1) - j   where j < sinks,
  distance(i, j) = i - j                 where j >= sinks and i - j < window

  and all other keys are not seen. These are the distances in a cache that
  keeps the sinks and the last `window` tokens and numbers what it holds. Needs
  no training, at any length, if sinks + window is at most the trained length.
  Sinks are the first tokens of a token's own document, by position.

  Args:
    window: tokens, >= 1, the query included.
    sinks: first tokens that all queries see, >= 0.

  Example:
    >>> method = Streaming(theta=1e4, window=8)
    >>> place = base.Places(*5 * [jnp.array([[21]])], total_heads=1)
    >>> [int(v.places.q_pos_bt[0, 0]) for v in method.views(place)]
    [21, 11]

  Source: Xiao et al. 2023, arXiv:2309.17453, section 3.2; mit-han-lab/
    streaming-llm, `StartRecentKVCache`.

  Differs: the code's window is of the keys before the query: its recent_size
    is window - 1. Its evaluation goes on with the cache of the document before
    (the sinks are those of the first document); here every document has its
    own sinks.
  """

  relative: ClassVar[bool] = False

  window: int
  sinks: int = 4

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'window', self.window >= 1, 'a number of tokens >= 1')
    base.require(self, 'sinks', self.sinks >= 0, 'a number of tokens >= 0')

  def views(self, places):
    last = self.sinks + self.window - 1
    q_bt = jnp.minimum(jnp.asarray(places.q_pos_bt), last)

    return (
      base.View(places, Area(high=self.window, k_low=self.sinks)),
      base.View(
        _remap.at(places, q_bt, places.k_pos_bs), Area(k_high=self.sinks)
      ),
    )
