"""xPos: RoPE whose pairs also decay with the distance, slow pairs least."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, _turn, base, rope

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

  def _rates(self, head_dim: int) -> np.ndarray:
    """What each coordinate decays by: float64 [h], nats per token."""
    rotary_dim, pairs = self.rotary_dim(head_dim), self.pairs(head_dim)
    rate_f = -np.log(self.zeta(rotary_dim)[:pairs]) / self.scale_base
    first, second = np.arange(pairs), np.arange(pairs) + rotary_dim // 2
    if self.pairing == 'interleaved':
      first, second = 2 * first, 2 * first + 1
    rate_h = np.zeros(head_dim)
    rate_h[first] = rate_h[second] = rate_f
    return rate_h

  def bias(self, params, q_btnh, k_bskh, places):
    del params
    head_dim, count, dtype = q_btnh.shape[-1], q_btnh.shape[1], q_btnh.dtype
    rotary_dim, pairs = self.rotary_dim(head_dim), self.pairs(head_dim)
    frequency_f = self._series(rotary_dim)[:pairs] / places.divisor
    rate_h = self._rates(head_dim) / places.divisor
    rate_11h = rate_h.astype(np.float32)[None, None, :]
    q_pos_bt, k_pos_bs = (
      jnp.asarray(x) for x in (places.q_pos_bt, places.k_pos_bs)
    )

    def turned(x, pos):
      phase, x = _phases.phase(pos, frequency_f), x.astype(jnp.float32)
      return _turn.turn(x, _turn.waves(phase), self.pairing, rotary_dim)

    def scores(q, k, q_pos_bt):
      """Of queries that lie close together: float32 [b, n, t, s]."""
      low_b1 = jnp.min(q_pos_bt, axis=1, keepdims=True)
      high_b1 = jnp.max(q_pos_bt, axis=1, keepdims=True)
      middle_b1 = low_b1 + (high_b1 - low_b1) // 2

      def sized(x, pos, sign):
        away = (pos - middle_b1).astype(jnp.float32)[:, :, None]
        size = jnp.exp(jnp.minimum(sign * rate_11h * away, _MOST))
        return (x * size[:, :, None, :]).astype(dtype)

      q, k = sized(q, q_pos_bt, -1.0), sized(k, k_pos_bs, 1.0)
      b, t, n, h = q.shape
      s, groups = k.shape[1:3]
      found = jnp.einsum(
        'btkgh,bskh->bkgts',
        q.reshape(b, t, groups, n // groups, h),
        k,
        preferred_element_type=jnp.float32,
      )
      return found.reshape(b, n, t, s) * h**-0.5

    def together(q, k):
      return scores(q, k, q_pos_bt)

    def one_by_one(q, k):
      @jax.checkpoint
      def one(at):
        q1, pos = (
          jax.lax.dynamic_slice_in_dim(x, at, 1, axis=1) for x in (q, q_pos_bt)
        )
        return scores(q1, k, pos)[:, :, 0]

      return jnp.moveaxis(jax.lax.map(one, jnp.arange(count)), 0, 2)

    q, k = turned(q_btnh, q_pos_bt), turned(k_bskh, k_pos_bs)
    if count == 1:
      return together(q, k)
    first_b, last_b = (
      x(q_pos_bt, axis=1).astype(jnp.float32) for x in (jnp.min, jnp.max)
    )
    decay = jnp.max(last_b - first_b) * np.float32(rate_h.max())
    return jax.lax.cond(decay <= 2 * _MOST, together, one_by_one, q, k)
