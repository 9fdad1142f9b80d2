"""What is looked at: the frequencies of one method at one length."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rope_jax import positions
from rope_jax.positions import rope


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
  """The pairs of one head, as numbers alone.

  Attributes:
    label: what tables and pictures call it.
    frequency_f: float64 [head_dim / 2], radians per token; 0 for a pair that
      does not turn.
    amplitude: factor on q and on k of the pairs that turn, > 0; scores of these
      pairs grow by its square.
    original_f: the frequencies before any scaling, of the same shape; equal to
      `frequency_f` where nothing is scaled.

  Raises:
    ValueError: no pair; frequencies that are not finite; shapes that differ.
  """

  label: str
  frequency_f: np.ndarray
  amplitude: float = 1.0
  original_f: np.ndarray = None  # pyright: ignore[reportAssignmentType]

  def __post_init__(self):
    given = {'frequency_f': self.frequency_f, 'original_f': self.original_f}
    if self.original_f is None:
      given['original_f'] = self.frequency_f
    for field, values in given.items():
      values = np.array(values, np.float64)
      if values.ndim != 1 or not values.size:
        raise ValueError(
          f'Spectrum {self.label!r}: {field} has shape {values.shape}; it must '
          'be one number per pair of the head: [head_dim / 2].'
        )
      if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(
          f'Spectrum {self.label!r}: {field}[{bad}]={values[bad]}; frequencies '
          'must be finite numbers, in radians per token.'
        )
      values.flags.writeable = False
      object.__setattr__(self, field, values)
    if self.original_f.shape != self.frequency_f.shape:
      raise ValueError(
        f'Spectrum {self.label!r}: original_f has {self.original_f.size} '
        f'numbers, frequency_f {self.frequency_f.size}; give one per pair.'
      )
    if not (0 < self.amplitude < math.inf):
      raise ValueError(
        f'Spectrum {self.label!r}: amplitude={self.amplitude} must be a finite '
        'number > 0.'
      )

  @property
  def head_dim(self) -> int:
    """Twice the number of pairs."""
    return 2 * self.frequency_f.size

  @property
  def wavelength_f(self) -> np.ndarray:
    """Tokens per turn: float64 [head_dim / 2], inf where nothing turns."""
    with np.errstate(divide='ignore'):
      return 2 * np.pi / np.abs(self.frequency_f)

  @property
  def square_f(self) -> np.ndarray:
    """The factor on each pair's part of a score: amplitude^2 where it turns."""
    return np.where(self.frequency_f == 0, 1.0, self.amplitude**2)


def check_head_dim(head_dim: int) -> None:
  """Raises ValueError unless a head of this width has pairs."""
  whole = isinstance(head_dim, int | np.integer)
  if not whole or head_dim < 2 or head_dim % 2:
    raise ValueError(
      f'head_dim={head_dim!r}: coordinates turn in pairs, so it must be an '
      'even integer >= 2.'
    )


def plain(theta: float, head_dim: int, label: str | None = None) -> Spectrum:
  """RoPE's own series, theta^(-2k / head_dim).

  Args:
    theta: base, > 1.
    head_dim: width of a head, even.
    label: what to call it; None is 'theta 10000' and the like.

  Example:
    >>> plain(1e4, 8).frequency_f.round(6)
    array([1.   , 0.1  , 0.01 , 0.001])
  """
  check_head_dim(head_dim)
  position = positions.build({'name': 'rope', 'theta': theta})
  return of(position, head_dim, label=label or f'theta {theta:g}')


def of(
  position: positions.Position,
  head_dim: int,
  context_len: int | None = None,
  label: str | None = None,
) -> Spectrum:
  """The spectrum of a method that turns q and k by frequencies.

  Args:
    position: any rotary method, or a composition that has one.
    head_dim: width of a head, even.
    context_len: tokens of context, for methods that depend on it; None is any
      length up to the trained one.
    label: what to call it; None is the method's own words.

  Raises:
    ValueError: the method turns nothing, or by more than its frequencies;
      head_dim does not suit it.
  """
  check_head_dim(head_dim)
  turning: Any = getattr(position, 'turning', position)
  label = label or described(position)
  if turning is None or not hasattr(turning, 'frequencies'):
    raise ValueError(
      f'{label}: this method turns nothing by frequencies, so it has no '
      'spectrum; give a rotary one, such as rope, yarn or p_rope.'
    )
  if not getattr(turning, 'spectral', True) or _remaps(position):
    raise ValueError(
      f'{label}: this method turns by more than its frequencies (it re-maps '
      'positions, or grows with them), so its spectrum alone would mislead; '
      'give its rotary part, such as rope.'
    )
  frequency_f, amplitude = turning.frequencies(head_dim, context_len)
  original_f = frequency_f
  if isinstance(turning, rope.Rope):
    original_f = _original(turning, head_dim)
  return Spectrum(label, frequency_f, amplitude, original_f)


def of_layout(
  layout: Sequence[positions.Position],
  head_dim: int,
  context_len: int | None = None,
) -> tuple[tuple[tuple[int, ...], Spectrum], ...]:
  """The different spectra of a model's layers.

  Returns:
    ((layers, spectrum), ...): each method that turns once, in the order of its
    first layer; layers that turn nothing are left out.

  Raises:
    ValueError: no layer turns.
  """
  met = turning_layers(layout)
  if not met:
    names = ', '.join(sorted({described(p) for p in layout}))
    raise ValueError(
      f'no layer of this layout turns by frequencies ({names}), so it has no '
      'spectrum.'
    )
  return tuple(
    (tuple(layers), of(position, head_dim, context_len))
    for position, layers in met.items()
  )


def turning_layers(
  layout: Sequence[positions.Position],
) -> dict[positions.Position, list[int]]:
  """Each method of a layout that turns by frequencies, and its layers."""
  met: dict[positions.Position, list[int]] = {}
  for layer, position in enumerate(layout):
    if hasattr(getattr(position, 'turning', position), 'frequencies'):
      met.setdefault(position, []).append(layer)
  return met


def described(position: positions.Position) -> str:
  """A short label: the name, and the fields that are not the defaults.

  >>> spec = {'name': 'linear', 'theta': 1e4, 'factor': 4.0}
  >>> described(positions.build(spec))
  'linear theta=10000 factor=4'
  """
  parts = getattr(position, 'parts', (position,))
  return ' + '.join(_described(part) for part in parts)


def _described(position: positions.Position) -> str:
  said = [positions.spec(position)['name'].rpartition(':')[2]]
  for field in dataclasses.fields(position):
    value = getattr(position, field.name)
    if value is None or value == field.default:
      continue
    if isinstance(value, tuple):
      text = f'{len(value)} numbers'
    else:
      text = f'{value:g}' if isinstance(value, float) else str(value)
    said.append(f'{field.name}={text}')
  return ' '.join(said)


def _remaps(position: positions.Position) -> bool:
  """Whether some tokens pretend to stand elsewhere than they do."""
  q_pos = np.array([[100_000]], np.int32)
  k_pos = np.array([[0, 50_000, 99_000, 100_000]], np.int32)
  length = np.full((1, 1), 100_001, np.int32)
  places = positions.Places(
    q_pos, k_pos, length, length, heads=np.zeros(1, np.int32), total_heads=1
  )
  return any(
    view.places.divisor != 1
    or not np.array_equal(
      np.asarray(view.places.distance()), q_pos - k_pos[None]
    )
    for view in position.views(places)
  )


def _original(turning: rope.Rope, head_dim: int) -> np.ndarray:
  """RoPE's series of the method's own theta: float64 [head_dim / 2]."""
  original_f = np.zeros(head_dim // 2)
  pairs = turning.pairs(head_dim)
  series_f = rope.series(turning.theta, turning.rotary_dim(head_dim))
  original_f[:pairs] = series_f[:pairs]
  return original_f
