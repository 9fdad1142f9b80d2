"""xPos: RoPE whose pairs also decay with the distance, slow pairs least."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, base, rope

# Exponents of e that queries and keys may have: far from float32's 88, even
# where a query meets a key that comes after it, which the mask then removes.
_MOST = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Xpos(rope.Rope):
  """xPos: extrapolatable position embedding.

  s(i, j) = sum_k zeta_k^((i - j) / scale_base) Re(q_k k_k* e^(1i (i - j) f_k)),
  zeta_k = (2k / r + gamma) / (1 + gamma)

  with q_k and k_k the pairs as complex numbers, r the rotary width, and the
  whole divided by sqrt(head_dim) like any score. Coordinates that do not rotate
  do not decay either.

  A query scaled by zeta^(i / scale_base) and a key by its inverse would leave
  float32 beyond some 35,000 tokens. So the scores are made per tile, in `bias`
  (`rotate` gives zeros): positions count from the middle of the tile's
  queries, and keys so far back that they vanish in float32 do vanish in the
  score. Where the queries of a tile lie further apart than some 24,500 tokens
  (with the defaults) each is its own reference, which is slow. Scores are exact
  in this sense for every key at or before its query, at any position; the
  growth of those after it, which a causal mask hides, is capped.

  Args:
    pairing: 'interleaved' as in the original, or 'half'.
    gamma: how much slow pairs differ from fast ones, > 0; the smaller, the
      faster the fast pairs decay.
    scale_base: tokens per factor zeta, > 0.

  Example:
    >>> Xpos(theta=1e4).zeta(128)[[0, 32, 63]].round(6).tolist()
    [0.285714, 0.642857, 0.988839]

  Source: Sun et al. 2022, arXiv:2212.10554, algorithm 1;
    microsoft/torchscale, `xpos_relative_position.py`.

  Differs: the original counts all positions from the middle of the keys at
    hand, and so overflows in long sequences; where it does not, the scores are
    the same.
  """

  pairing: str = 'interleaved'
  gamma: float = 0.4
  scale_base: float = 512.0

  def __post_init__(self):
    super().__post_init__()
    for field in ('gamma', 'scale_base'):
      value = getattr(self, field)
      base.require(self, field, 0 < value < math.inf, 'a number > 0')

  def zeta(self, rotary_dim: int) -> np.ndarray:
    """What each pair keeps of itself over scale_base tokens: float64 [f]."""
    share = np.arange(0, rotary_dim, 2) / rotary_dim
    return (share + self.gamma) / (1 + self.gamma)

  def rotate(self, params, q_btnh, k_bskh, places):
    del params, places
    return jnp.zeros_like(q_btnh), jnp.zeros_like(k_bskh)

  def _scores(self, q_btnh, k_bskh, q_pos_bt, k_pos_bs, divisor):
    """The scores of queries that lie close together: float32 [b, n, t, s]."""
    head_dim = q_btnh.shape[-1]
    rotary_dim, pairs = self.rotary_dim(head_dim), self.pairs(head_dim)
    frequency_f = self._series(rotary_dim)[:pairs] / divisor
    rate_f = -np.log(self.zeta(rotary_dim)[:pairs]) / self.scale_base / divisor
    rate_11f = rate_f.astype(np.float32)[None, None, :]
    low_b1 = jnp.min(q_pos_bt, axis=1, keepdims=True)
    high_b1 = jnp.max(q_pos_bt, axis=1, keepdims=True)
    middle_b1 = low_b1 + (high_b1 - low_b1) // 2

    def turned(x, pos, sign):
      phase = _phases.phase(pos, frequency_f)
      away = (pos - middle_b1).astype(jnp.float32)[:, :, None]
      size = jnp.exp(jnp.minimum(sign * rate_11f * away, _MOST))
      cos, sin = jnp.cos(phase) * size, jnp.sin(phase) * size
      return rope.turn(x, cos, sin, self.pairing, rotary_dim)

    q, k = turned(q_btnh, q_pos_bt, -1.0), turned(k_bskh, k_pos_bs, 1.0)
    b, t, n, h = q.shape
    s, groups = k.shape[1:3]
    found = jnp.einsum(
      'btkgh,bskh->bkgts',
      q.reshape(b, t, groups, n // groups, h),
      k,
      preferred_element_type=jnp.float32,
    )
    return found.reshape(b, n, t, s) * h**-0.5

  def bias(self, params, q_btnh, k_bskh, places):
    del params
    q_pos_bt, k_pos_bs = (
      jnp.asarray(x) for x in (places.q_pos_bt, places.k_pos_bs)
    )
    count = q_btnh.shape[1]

    def together(q_btnh, k_bskh):
      return self._scores(q_btnh, k_bskh, q_pos_bt, k_pos_bs, places.divisor)

    def one_by_one(q_btnh, k_bskh):
      @jax.checkpoint
      def one(at):
        q, pos = (
          jax.lax.dynamic_slice_in_dim(x, at, 1, axis=1)
          for x in (q_btnh, q_pos_bt)
        )
        return self._scores(q, k_bskh, pos, k_pos_bs, places.divisor)[:, :, 0]

      found_tbns = jax.lax.map(one, jnp.arange(count))
      return jnp.moveaxis(found_tbns, 0, 2)

    if count == 1:
      return together(q_btnh, k_bskh)
    fastest = -math.log(self.zeta(self.rotary_dim(q_btnh.shape[-1]))[0])
    apart_b = jnp.max(q_pos_bt, axis=1).astype(jnp.float32) - jnp.min(
      q_pos_bt, axis=1
    ).astype(jnp.float32)
    most = 2 * _MOST * self.scale_base * places.divisor / fastest
    close = jnp.max(apart_b) <= np.float32(most)
    return jax.lax.cond(close, together, one_by_one, q_btnh, k_bskh)
