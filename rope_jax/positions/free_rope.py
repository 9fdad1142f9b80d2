"""RoPE with any spectrum: frequencies given one by one, or learned."""

import dataclasses
import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, _turn, base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreeRope(base.Position):
  """RoPE with a spectrum of its own, for search and tuning.

  x'_k = amplitude (x_k cos(p f_k) - x_k' sin(p f_k)),
  x'_k' = amplitude (x_k' cos(p f_k) + x_k sin(p f_k))

  for the frequencies given, pairs (k, k') as in `rope`. With `learned` they are
  the first value of a parameter, float32, that training moves: each layer has
  its own set. Phases are exact modulo a turn for such frequencies too, at any
  int32 position, and their derivative is the position.

  Args:
    frequency: radians per token, one number per pair of the head, 0 for a pair
      that does not turn; any sequence of numbers.
    amplitude: factor on q and on k, > 0.
    pairing: 'half' or 'interleaved'.
    learned: whether the frequencies are parameters.

  Raises:
    ValueError: a field out of range; not one frequency per pair of the head.

  Example:
    >>> method = FreeRope(frequency=rope.series(1e4, 8), learned=True)
    >>> method.frequencies(8)[0].round(6)
    array([1.   , 0.1  , 0.01 , 0.001])
    >>> method.init(None, heads=2, head_dim=8, model_dim=16)['frequency'].shape
    (4,)

  Source: Su et al. 2021, arXiv:2104.09864, eq. 34, with free theta_i.
  """

  rotary: ClassVar[bool] = True

  frequency: tuple[float, ...]
  amplitude: float = 1.0
  pairing: str = 'half'
  learned: bool = False

  def __post_init__(self):
    values = rope.as_floats(self, 'frequency')
    base.require(
      self, 'frequency', all(map(math.isfinite, values)), 'finite numbers'
    )
    base.require(
      self, 'amplitude', 0 < self.amplitude < math.inf, 'a number > 0'
    )
    base.require(
      self, 'pairing', self.pairing in rope.PAIRINGS, f'one of {rope.PAIRINGS}'
    )

  def check(self, *, heads, head_dim, model_dim):
    self.frequencies(head_dim)

  def frequencies(
    self, head_dim: int, context_len: float | None = None
  ) -> tuple[np.ndarray, float]:
    """The spectrum as given; see `Rope.frequencies`."""
    del context_len
    if 2 * len(self.frequency) != head_dim:
      raise ValueError(
        f'FreeRope: frequency has {len(self.frequency)} numbers for a head_dim '
        f'of {head_dim}; give one for each of its {head_dim // 2} pairs, 0 '
        'where a pair shall not turn.'
      )
    return np.array(self.frequency), float(self.amplitude)

  def init(self, key, *, heads, head_dim, model_dim):
    del key, heads, model_dim
    frequency_f, _ = self.frequencies(head_dim)
    if not self.learned:
      return {}
    return {'frequency': jnp.asarray(frequency_f, jnp.float32)}

  def rotate(self, params, q_btnh, k_bskh, places):
    head_dim, by = q_btnh.shape[-1], places.divisor
    frequency_f, amplitude = self.frequencies(head_dim)

    def waves(pos_bt, length_bt):
      del length_bt
      if self.learned:
        phase = _phases.traced_phase(pos_bt, params['frequency'], by)
      else:
        phase = _phases.phase(pos_bt, frequency_f / by)
      return _turn.waves(phase, amplitude)

    return _turn.turn_both(
      waves, q_btnh, k_bskh, places, self.pairing, head_dim
    )
