"""RoPE: rotates pairs of coordinates of q and k by position x frequency."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, _turn, base

PAIRINGS = ('half', 'interleaved')
PARTIALS = ('leading', 'proportional')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rope(base.Position):
  """Rotary position embedding; the parent of every RoPE scaling.

  x'_k = x_k cos(p f_k) - x_k' sin(p f_k),
  x'_k' = x_k' cos(p f_k) + x_k sin(p f_k),   f_k = theta^(-2k / r)

  for r = fraction x head_dim rotated coordinates, where the pair (k, k') is
  (k, k + r/2) with pairing 'half' (NeoX, Llama in HF layout) and (2k, 2k + 1)
  with 'interleaved' (GPT-J, Llama as Meta ships it). Phases are exact modulo a
  turn at any int32 position (`_phases.py`); the rotation is done in float32.

  Args:
    theta: base of the geometric series of frequencies, > 1.
    fraction: share of the coordinates that rotate, in (0, 1].
    pairing: 'half' or 'interleaved'.
    partial: which ones rotate where fraction < 1. 'leading': the leading
      coordinates, over which alone the series runs (`rotary_pct`).
      'proportional': the series runs over the whole head and its fastest pairs
      turn (p-RoPE), each paired as in a whole head.

  Raises:
    ValueError: a field out of range; an odd number of rotated coordinates.

  Example:
    >>> frequency, amplitude = Rope(theta=1e4).frequencies(8)
    >>> frequency.round(6), amplitude
    (array([1.   , 0.1  , 0.01 , 0.001]), 1.0)

  Source: Su et al. 2021, arXiv:2104.09864, eq. 34; EleutherAI/gpt-neox,
    `rotary_pct`, for 'leading'.
  """

  rotary: ClassVar[bool] = True

  theta: float
  fraction: float = 1.0
  pairing: str = 'half'
  partial: str = 'leading'

  def __post_init__(self):
    base.require(
      self, 'theta', 1 < self.theta < math.inf, 'a base above 1, such as 1e4'
    )
    base.require(self, 'fraction', 0 < self.fraction <= 1, 'a share in (0, 1]')
    base.require(
      self, 'pairing', self.pairing in PAIRINGS, f'one of {PAIRINGS}'
    )
    base.require(
      self, 'partial', self.partial in PARTIALS, f'one of {PARTIALS}'
    )

  def rotary_dim(self, head_dim: int) -> int:
    """Coordinates that the series runs over: even, >= 2."""
    whole = self.partial == 'proportional'
    rotary_dim = head_dim if whole else round(self.fraction * head_dim)
    if rotary_dim < 2 or rotary_dim % 2 or self.pairs(head_dim) < 1:
      raise ValueError(
        f'{type(self).__name__}: fraction={self.fraction:g} of head_dim='
        f'{head_dim} rotates {round(self.fraction * head_dim)} coordinates, '
        'but they turn in pairs: choose a head_dim and fraction whose product '
        'is an even number >= 2.'
      )
    return rotary_dim

  def pairs(self, head_dim: int) -> int:
    """How many pairs of a head turn, the first ones of the series."""
    if self.partial == 'proportional':  # Rounds down, as the code bases do.
      return int(self.fraction * head_dim) // 2
    return round(self.fraction * head_dim) // 2

  def check(self, *, heads, head_dim, model_dim):
    self.frequencies(head_dim)

  def _series(self, rotary_dim: int) -> np.ndarray:
    """The unscaled frequencies: float64 [rotary_dim / 2]."""
    return series(self.theta, rotary_dim)

  def _scaled(
    self, rotary_dim: int, context_len: float | None
  ) -> tuple[np.ndarray, float]:
    """What a scaling overrides: the rotated pairs' spectrum."""
    del context_len
    return self._series(rotary_dim), 1.0

  def frequencies(
    self, head_dim: int, context_len: float | None = None
  ) -> tuple[np.ndarray, float]:
    """The spectrum: what each pair of a head turns by, per token.

    Args:
      head_dim: width of a head.
      context_len: tokens in the sequence, for methods that depend on it; None
        is any length up to the trained one.

    Returns:
      (frequency, amplitude): float64 [head_dim / 2] in radians per token, zero
      for pairs that do not rotate, and the factor on cos and sin of both q and
      k, so that scores of rotated pairs grow by amplitude^2.

    Raises:
      ValueError: head_dim and fraction do not give pairs.
    """
    rotary_dim, pairs = self.rotary_dim(head_dim), self.pairs(head_dim)
    scaled, amplitude = self._scaled(rotary_dim, context_len)
    frequency = np.zeros((head_dim + 1) // 2)
    frequency[:pairs] = scaled[:pairs]
    return frequency, float(amplitude)

  def drift(self, rotary_dim: int, length_bt: base.Array) -> jax.Array | None:
    """What the context length adds to the frequencies: float32 [b, t, f].

    None for a spectrum that does not depend on the length.
    """
    del rotary_dim, length_bt
    return None

  def gain(self, length_bt: base.Array) -> jax.Array | None:
    """What the context length multiplies the amplitude by: float32 [b, t, 1].

    None for an amplitude that does not depend on the length.
    """
    del length_bt
    return None

  @property
  def spectral(self) -> bool:
    """Whether a token turns by `frequencies` at its context length alone."""
    kind = type(self)
    return kind.rotate is Rope.rotate and kind._waves is Rope._waves

  def _phase(
    self, pos_bt: base.Array, length_bt: base.Array, head_dim: int, by: float
  ) -> jax.Array:
    """What each token's pairs turn by: float32 [b, t, f], radians."""
    rotary_dim, pairs = self.rotary_dim(head_dim), self.pairs(head_dim)
    frequency_f, _ = self._scaled(rotary_dim, None)
    phase_btf = _phases.phase(pos_bt, frequency_f[:pairs] / by)
    drift_btf = self.drift(rotary_dim, length_bt)
    if drift_btf is None:
      return phase_btf
    pos_bt1 = jnp.asarray(pos_bt)[:, :, None].astype(jnp.float32)
    return phase_btf + pos_bt1 * (drift_btf[:, :, :pairs] / by)

  def _waves(
    self, pos_bt: base.Array, length_bt: base.Array, head_dim: int, by: float
  ) -> _turn.Waves:
    _, amplitude = self._scaled(self.rotary_dim(head_dim), None)
    phase_btf = self._phase(pos_bt, length_bt, head_dim, by)
    gain_bt1 = self.gain(length_bt)
    grown = amplitude if gain_bt1 is None else amplitude * gain_bt1
    return _turn.waves(phase_btf, grown)

  def rotate(self, params, q_btnh, k_bskh, places):
    del params
    head_dim, by = q_btnh.shape[-1], places.divisor

    def waves(pos_bt, length_bt):
      return self._waves(pos_bt, length_bt, head_dim, by)

    width = self.rotary_dim(head_dim)
    return _turn.turn_both(waves, q_btnh, k_bskh, places, self.pairing, width)


def by_spectrum(position: base.Position) -> bool:
  """Whether `frequencies` at its context length is all that a method does."""
  return (
    isinstance(position, Rope)
    and position.spectral
    and not any(
      base.overrides(position, hook)
      for hook in ('init', *base.HOOKS)
      if hook != 'rotate'
    )
  )


def series(theta: float, rotary_dim: int) -> np.ndarray:
  """theta^(-2k / rotary_dim) for each pair k: float64 [rotary_dim / 2]."""
  return theta ** (-np.arange(0, rotary_dim, 2) / rotary_dim)


def ntk_theta(theta: float, factor: float, rotary_dim: int) -> float:
  """The base whose slowest frequency is the old one's divided by `factor`.

  >>> round(ntk_theta(1e4, 2.0, 128), 4)
  20221.2617
  """
  if rotary_dim <= 2:
    raise ValueError(
      f'rotary width {rotary_dim}: NTK scaling keeps the fastest pair and '
      'slows the slowest, so it needs at least two pairs (a rotary width >= 4).'
    )
  return theta * math.pow(factor, rotary_dim / (rotary_dim - 2))


def as_floats(method: base.Position, field: str) -> tuple[float, ...]:
  """Turns a field given as any sequence of numbers into a tuple of floats."""
  given = getattr(method, field)
  try:
    values = tuple(float(x) for x in given)
  except (TypeError, ValueError):
    values = ()
  base.require(method, field, len(values) > 0, 'a sequence of numbers')
  object.__setattr__(method, field, values)
  return values
