"""Exact phases: position times frequency modulo one turn, in integers.

A float32 product `pos * frequency` is wrong by up to 2^-24 of itself: 8e-3
radians at position 131,072. Here a frequency is a 64-bit fixed-point number of
turns per token. The product with an int32 position is taken modulo one turn by
the wrap-around of uint32 arithmetic, so nothing grows with the position, and
only the remaining fraction of a turn becomes a float32.
"""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
_HALF = np.uint32(0xFFFF)
# Digits of pi, 10^99 times: 332 bits of it, of which `words_of` needs 256.
_PI = int(
  '31415926535897932384626433832795028841971693993751'
  '05820974944592307816406286208998628034825342117067'
)


def fixed_point(frequency_f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Turns per token, modulo one, as two uint32 words (high, low).

  Args:
    frequency_f: float64 [...], radians per token.

  Returns:
    uint32 arrays of the same shape; the value is (high + low 2^-32) 2^-32.
  """
  turns = np.asarray(frequency_f, np.float64) / (2 * np.pi)
  scaled = (turns - np.floor(turns)) * 2.0**32
  high = np.floor(scaled)
  low = np.floor((scaled - high) * 2.0**32)
  return high.astype(np.uint32), low.astype(np.uint32)


def _multiply_high(a: jax.Array, b: Array) -> jax.Array:
  """The upper 32 bits of the 64-bit product of two uint32 arrays."""
  a1, a0, b1, b0 = a >> 16, a & _HALF, b >> 16, b & _HALF
  middle = a1 * b0 + ((a0 * b0) >> 16)
  other = a0 * b1 + (middle & _HALF)
  return a1 * b1 + (middle >> 16) + (other >> 16)


def phase(pos_bt: Array, frequency_f: np.ndarray) -> jax.Array:
  """Phases in [-pi, pi], wrong by less than 3.2e-7 at |position| <= 2^24.

  Args:
    pos_bt: int32 [b, t], any value.
    frequency_f: float64 numpy [f], radians per token.

  Returns:
    float32 [b, t, f]: `pos * frequency` less a whole number of turns. The
    bound is for frequencies up to 1; it is three float32 roundings near half a
    turn. The rounding of the frequency as float64 turns adds up to about 2e-16
    |position| frequency: 5e-7 at 2^31.

  Example:
    >>> phase(np.array([[3]], np.int32), np.array([0.5, 2 * np.pi]))
    Array([[[1.5, 0. ]]], dtype=float32)
  """
  return phase_of_words(pos_bt, *fixed_point(frequency_f))


def phase_of_words(pos_bt: Array, high_f: Array, low_f: Array) -> jax.Array:
  """The same for the two words of `fixed_point`, which may be traced."""
  pos_bt1 = jnp.asarray(pos_bt, jnp.int32)[:, :, None]
  negative = pos_bt1 < 0
  size = jnp.where(negative, -pos_bt1, pos_bt1).astype(jnp.uint32)
  high, low = high_f[None, None, :], low_f[None, None, :]
  fraction = size * high + _multiply_high(size, low)
  signed = jax.lax.bitcast_convert_type(fraction, jnp.int32)
  angle = signed.astype(jnp.float32) * np.float32(2 * np.pi / 2.0**32)
  return jnp.where(negative, -angle, angle)


@functools.cache
def _turns_per_radian(divisor: float) -> np.ndarray:
  """1 / (2 pi divisor): 160 bits before the binary point and 256 after it."""
  turns = Fraction(10**99, 2 * _PI) / Fraction(divisor)
  bits = int(turns * 2**256) % 2**416
  words = [(bits >> (32 * at)) & 0xFFFFFFFF for at in reversed(range(13))]
  return np.array(words, np.uint32)


def words_of(
  frequency_f: jax.Array, divisor: float = 1.0
) -> tuple[jax.Array, jax.Array]:
  """The words of `fixed_point` for frequencies that are data.

  A float32 is a whole number of 24 bits times a power of two, so its product
  with 1 / 2 pi is one with the right 96 bits of that constant. What is lost is
  less than 2^-63 turns per token: 7e-10 radians at position 2^31.

  Args:
    frequency_f: float32 [f], radians per token, any finite value.
    divisor: > 0, what to divide them by, exactly.

  Returns:
    (high, low), uint32 [f] each.

  Example:
    >>> words_of(jnp.array([0.5]))[0], fixed_point(np.array([0.5]))[0]
    (Array([341782637], dtype=uint32), array([341782637], dtype=uint32))
  """
  table = jnp.asarray(_turns_per_radian(divisor))
  bits = jax.lax.bitcast_convert_type(
    jnp.asarray(frequency_f, jnp.float32), jnp.uint32
  )
  exponent = (bits >> 23) & np.uint32(0xFF)
  leading = jnp.where(exponent > 0, np.uint32(1 << 23), np.uint32(0))
  whole = (bits & np.uint32((1 << 23) - 1)) | leading
  # The value is whole x 2^(exponent - 150): where the bits of the constant
  # that count for less than a turn begin.
  start = jnp.maximum(exponent, np.uint32(1)) + np.uint32(10)
  at, shift = (start >> 5).astype(jnp.int32), start & np.uint32(31)

  def window(word):
    after = (table[at + word + 1] >> 1) >> (np.uint32(31) - shift)
    return (table[at + word] << shift) | after

  first, second, third = window(0), window(1), window(2)
  carried = _multiply_high(whole, third)
  low = whole * second + carried
  overflow = (low < carried).astype(jnp.uint32)
  high = whole * first + _multiply_high(whole, second) + overflow
  negative = (bits >> 31) > 0
  borrow = jnp.where(low == 0, np.uint32(1), np.uint32(0))
  high = jnp.where(negative, ~high + borrow, high)
  low = jnp.where(negative, ~low + np.uint32(1), low)
  return high, low


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def traced_phase(
  pos_bt: Array, frequency_f: jax.Array, divisor: float = 1.0
) -> jax.Array:
  """`phase` for frequencies that are data; differentiable in them.

  Args:
    pos_bt: int32 [b, t], any value.
    frequency_f: float32 [f], radians per token; what is not finite gives NaN.
    divisor: what positions are divided by, exactly.

  Returns:
    float32 [b, t, f], with the bound of `phase`. Its derivative with respect to
    a frequency is the position over the divisor.
  """
  phase_btf = phase_of_words(pos_bt, *words_of(frequency_f, divisor))
  finite_11f = jnp.isfinite(frequency_f)[None, None, :]
  return jnp.where(finite_11f, phase_btf, jnp.nan)


@traced_phase.defjvp
def _traced_phase_jvp(divisor, primals, tangents):
  pos_bt, frequency_f = primals
  pos_bt1 = jnp.asarray(pos_bt)[:, :, None].astype(jnp.float32)
  moved_btf = (pos_bt1 / divisor) * tangents[1][None, None, :]
  return traced_phase(pos_bt, frequency_f, divisor), moved_btf
