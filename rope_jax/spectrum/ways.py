"""Ways to compute position x frequency, as code bases do."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import ml_dtypes
import numpy as np

from rope_jax.positions import _phases
from rope_jax.spectrum.spectra import Spectrum

_SPLIT = 1024  # Low parts of positions, in 'split'.

# Ways to compute a phase. Each takes a spectrum and int64 positions [t] and
# returns float64 [t, f], radians, of exactly what it computed.


def _product(pos_t: np.ndarray, frequency_f: np.ndarray) -> np.ndarray:
  """A float32 product, or one in what type both have."""
  return (pos_t[:, None] * frequency_f).astype(np.float64)


def _float32(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  return _product(
    pos_t.astype(np.float32), spectrum.frequency_f.astype(np.float32)
  )


def _float32_inverse(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  return _product(pos_t.astype(np.float32), inverse_frequency(spectrum))


def _bfloat16_frequency(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  frequency_f = _bfloat16_of(spectrum.frequency_f).astype(np.float32)
  return _product(pos_t.astype(np.float32), frequency_f)


def _bfloat16_position(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  return _product(
    _bfloat16_of(pos_t).astype(np.float32),
    spectrum.frequency_f.astype(np.float32),
  )


def _bfloat16(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  return _product(_bfloat16_of(pos_t), _bfloat16_of(spectrum.frequency_f))


def _split(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  return _joined(pos_t, spectrum.frequency_f)


def _split_float32(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  return _joined(
    pos_t.astype(np.float32), spectrum.frequency_f.astype(np.float32)
  )


def _exact(spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
  words = _phases.fixed_point(spectrum.frequency_f)
  phase_btf = _compiled()(pos_t[None].astype(np.int32), *words)
  return np.asarray(phase_btf, np.float64)[0]


@functools.cache
def _compiled() -> Callable[..., jax.Array]:
  """`_phases.phase`, as one program: op by op, each shape takes a second."""
  return jax.jit(_phases.phase_of_words)


def _bfloat16_of(values: np.ndarray) -> np.ndarray:
  return values.astype(np.float32).astype(ml_dtypes.bfloat16)


def _joined(pos_t: np.ndarray, frequency_f: np.ndarray) -> np.ndarray:
  """The phase of waves joined from those of a high and a low part."""
  low_t = np.mod(pos_t, _SPLIT)

  def waves(part_t):
    phase_tf = part_t[:, None] * frequency_f
    return (
      np.cos(phase_tf).astype(np.float32),
      np.sin(phase_tf).astype(np.float32),
    )

  (far_cos, far_sin), (cos, sin) = waves(pos_t - low_t), waves(low_t)
  return np.arctan2(
    (far_sin * cos + far_cos * sin).astype(np.float64),
    (far_cos * cos - far_sin * sin).astype(np.float64),
  )


def inverse_frequency(spectrum: Spectrum) -> np.ndarray:
  """The frequencies as made by float32 powers: float32 [f].

  1 / theta^e times frequency / original, each step rounded to float32

  theta is that of a series with the original's slowest pair, so for RoPE over
  the whole head e is 2k / head_dim, as in the code bases.

  Example:
    >>> from rope_jax.spectrum import spectra
    >>> found = inverse_frequency(spectra.plain(1e4, 128))
    >>> theirs = np.float32(1) / np.float32(1e4) ** (
    ...   np.arange(0, 128, 2, np.float32) / np.float32(128))
    >>> bool((found == theirs).all())
    True

  Source: huggingface/transformers, `inv_freq` of `LlamaRotaryEmbedding`.
  """
  frequency_f, original_f = spectrum.frequency_f, spectrum.original_f
  turns = original_f != 0
  size_f = np.abs(original_f[turns])
  found = frequency_f.astype(np.float32)
  if not size_f.size:
    return found
  theta = 2.0  # Any base will do where there is no series.
  if size_f.size > 1 and size_f.min() < 1:
    theta = float(size_f.min() ** (-size_f.size / (size_f.size - 1)))
  power = (-np.log(size_f) / math.log(theta)).astype(np.float32)
  ratio = (frequency_f[turns] / size_f).astype(np.float32)
  found[turns] = np.float32(1) / np.float32(theta) ** power * ratio
  return found


@dataclasses.dataclass(frozen=True)
class Way:
  """A way to compute position x frequency.

  Attributes:
    said: how it does.
    compute: (spectrum, int64 positions [t]) -> float64 [t, f], radians.
    whole: whether its phases still have their whole turns.
  """

  said: str
  compute: Callable[[Spectrum, np.ndarray], np.ndarray]
  whole: bool = True

  def __call__(self, spectrum: Spectrum, pos_t: np.ndarray) -> np.ndarray:
    return self.compute(spectrum, pos_t)


WAYS: dict[str, Way] = {
  'float32': Way('float32 frequency x float32 position', _float32),
  'float32_inverse': Way(
    'the same, of 1 / theta^(2k / head_dim) in float32', _float32_inverse
  ),
  'bfloat16_frequency': Way(
    'frequency rounded to bfloat16, product in float32', _bfloat16_frequency
  ),
  'bfloat16_position': Way(
    'position rounded to bfloat16, product in float32', _bfloat16_position
  ),
  'bfloat16': Way('both and their product in bfloat16', _bfloat16),
  'split_float32': Way(
    f'position = {_SPLIT} a + b, waves of two float32 products joined in '
    'float32',
    _split_float32,
    whole=False,
  ),
  'split': Way(
    f'position = {_SPLIT} a + b, waves from float64 tables joined in float32',
    _split,
    whole=False,
  ),
  'exact': Way('rope_jax: 64-bit turns', _exact, whole=False),
}
