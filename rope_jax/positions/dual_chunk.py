"""Dual-chunk attention: distances within, to the last and to older chunks."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from rope_jax.positions import _remap, base
from rope_jax.positions._area import Area


@dataclasses.dataclass(frozen=True, kw_only=True)
class DualChunk(_remap.Remap):
  """Dual-chunk attention (DCA): RoPE by positions within chunks.

  distance(i, j) = pretended(i) - j mod c,   c = chunk - local,
  pretended(i) = i mod c                  for keys of the query's chunk,
  pretended(i) = min(i mod c + c, chunk)  for keys of the chunk before,
  pretended(i) = min(2c - 1, chunk)       for keys of older chunks

  where tokens i and j are in one chunk if floor(i / c) = floor(j / c). Needs
  no training. No distance is above chunk, at any length, and keys up to
  `local` tokens away keep theirs. The authors take chunk = 3/4 of the trained
  length and local = 1/16 or 1/8 of it.

  Args:
    chunk: tokens, > 1: the largest distance; below the trained length.
    local: tokens, in [1, chunk): up to here distances stay exact across the
      border of two chunks.

  Example:
    >>> method = DualChunk(theta=1e4, chunk=12, local=4)
    >>> place = base.Places(*5 * [jnp.array([[21]])], total_heads=1)
    >>> [int(v.places.q_pos_bt[0, 0]) for v in method.views(place)]
    [5, 12, 12]

  Source: An et al. 2024, arXiv:2402.17463, section 3; HKUNLP/ChunkLlama,
    `chunkllama_attn_replace.py`.

  Differs: the paper's largest position is the trained length less one, the
    code's is chunk; here it is the code's. Some releases of the code also let
    an amplitude grow with the length, which the keys already in the cache do
    not have; that is not part of it: compose it with a method that has one. A
    key of a later chunk than the query's is not seen, even without a causal
    mask.
  """

  relative: ClassVar[bool] = False

  chunk: int
  local: int

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'chunk', self.chunk > 1, 'a number of tokens > 1')
    base.require(
      self,
      'local',
      1 <= self.local < self.chunk,
      f'a number of tokens in [1, chunk={self.chunk})',
    )

  def views(self, places):
    c = self.chunk - self.local
    q_bt = jnp.asarray(places.q_pos_bt) % c
    k_bs = jnp.asarray(places.k_pos_bs) % c

    following_bt = jnp.minimum(q_bt + c, self.chunk)
    older_bt = jnp.full_like(q_bt, min(2 * c - 1, self.chunk))
    return (
      base.View(_remap.at(places, q_bt, k_bs), Area(low=0, high=1, unit=c)),
      base.View(
        _remap.at(places, following_bt, k_bs), Area(low=1, high=2, unit=c)
      ),
      base.View(_remap.at(places, older_bt, k_bs), Area(low=2, unit=c)),
    )
