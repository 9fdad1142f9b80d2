"""LM-Infinite: the first tokens and a window, with distances capped."""

import dataclasses
from typing import ClassVar

from rope_jax.positions import _remap, base
from rope_jax.positions._area import Area


@dataclasses.dataclass(frozen=True, kw_only=True)
class LmInfinite(_remap.Remap):
  """RoPE under a mask of the shape of a Lambda and a ceiling of distances.

  distance(i, j) = i - j    where i - j < window,
  distance(i, j) = window   where i - j >= window and j < sinks

  and all other keys are not seen. Needs no training, at any length. Sinks are
  the first tokens of a token's own document, by position.

  Args:
    window: tokens, >= 1, the query included; the paper takes the trained
      length, so that the ceiling is one above the distances of training.
    sinks: first tokens that all queries see, >= 0; the paper finds 10 to 100
      to do.

  Example:
    >>> import jax.numpy as jnp
    >>> method = LmInfinite(theta=1e4, window=8)
    >>> place = base.Places(*5 * [jnp.array([[21]])], total_heads=1)
    >>> [int(v.places.q_pos_bt[0, 0]) for v in method.views(place)]
    [21, 8]

  Source: Han et al. 2023, arXiv:2308.16137, section 4; Glaciohound/LM-Infinite,
    `models/lambda_attention.py`.

  Differs: the optional top-k tokens of the middle are not part of it, nor the
    code's triangle_offset (0 in its own conversion of models).
  """

  relative: ClassVar[bool] = False

  window: int
  sinks: int = 10

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'window', self.window >= 1, 'a number of tokens >= 1')
    base.require(self, 'sinks', self.sinks >= 0, 'a number of tokens >= 0')

  def views(self, places):
    sunk = Area(low=self.window, k_high=self.sinks)
    return (
      base.View(places, _remap.nearer(self.window)),
      base.View(_remap.constant(places, self.window), sunk),
    )
