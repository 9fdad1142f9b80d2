"""Where two positional methods, or the configs of two models, part."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rope_jax import positions
from rope_jax.interop.hf_read import layout_from_hf

Side = positions.Position | Mapping[str, Any] | positions.Layout
_SAME = 1e-9  # Ratios nearer to 1 are rounding.
_RUN = 8  # Pairs in a row of the table.


@dataclasses.dataclass(frozen=True, eq=False)
class LayerDiff:
  """Where two methods part, in the layers that have this pair of them.

  Attributes:
    layers: which layers of a period.
    a: the one method.
    b: the other.
    fields: (field, a's value, b's value) of the fields that differ.
    frequency_a: float64 [head_dim / 2], radians per token, 0 for a pair that
      does not turn; None for a method that does not turn by frequencies.
    frequency_b: the same of b.
    amplitude: a's amplitude / b's; scores of rotated pairs grow by its square.
    temperature: a's factor on all scores of the last token / b's.
  """

  layers: tuple[int, ...]
  a: positions.Position
  b: positions.Position
  fields: tuple[tuple[str, Any, Any], ...]
  frequency_a: np.ndarray | None
  frequency_b: np.ndarray | None
  amplitude: float
  temperature: float

  @property
  def ratio(self) -> np.ndarray | None:
    """a's frequencies / b's: 1 where equal, inf or 0 where one stands still."""
    a, b = self.frequency_a, self.frequency_b
    if a is None or b is None:
      return None
    with np.errstate(divide='ignore', invalid='ignore'):
      return np.where(a == b, 1.0, a / b)

  @property
  def apart(self) -> np.ndarray | None:
    """By what factor each pair's frequencies part, >= 1."""
    if self.ratio is None:
      return None
    with np.errstate(divide='ignore'):
      return np.maximum(self.ratio, 1 / self.ratio)

  @property
  def pair(self) -> int | None:
    """The pair that parts most."""
    return None if self.apart is None else int(self.apart.argmax())

  @property
  def factor(self) -> float:
    """The most that any pair parts by; inf where only one method turns."""
    if self.apart is None:
      return 1.0 if self.frequency_a is self.frequency_b else math.inf
    return float(self.apart.max())

  @property
  def same(self) -> bool:
    """Whether nothing was found that differs."""
    return (
      not self.fields
      and self.factor - 1 < _SAME
      and abs(self.amplitude - 1) < _SAME
      and abs(self.temperature - 1) < _SAME
    )

  def __str__(self):
    if self.same:
      return 'no difference'
    return '\n'.join([*self._heads(), *self._table()])

  def _heads(self):
    if self.apart is None:
      if self.factor > 1:
        who = 'a' if self.frequency_b is None else 'b'
        yield f'only {who} turns q and k'
    elif self.factor - 1 < _SAME:
      yield 'equal frequencies'
    else:
      yield f'up to {self.factor:.2f}x apart (pair {self.pair})'
    if abs(self.amplitude - 1) >= _SAME:
      yield (
        f'amplitude a/b {self.amplitude:.4f} (scores {self.amplitude**2:.4f})'
      )
    if abs(self.temperature - 1) >= _SAME:
      yield f"last token's scores a/b {self.temperature:.4f}"
    for field, a, b in self.fields:
      yield f'{field}: {a} | {b}'

  def _table(self):
    if self.apart is None or self.factor - 1 < _SAME:
      return
    assert self.ratio is not None
    assert self.frequency_a is not None
    assert self.frequency_b is not None
    yield f'{"pairs":>9}  {"a/b":>15}  {"wavelength a":>21}  wavelength b'
    for first, last in _runs(self.ratio):
      part = slice(first, last + 1)
      yield (
        f'{_span(first, last):>9}  {_between(self.ratio[part], ".4g"):>15}  '
        f'{_waves(self.frequency_a[part]):>21}  '
        f'{_waves(self.frequency_b[part])}'
      )


@dataclasses.dataclass(frozen=True, eq=False)
class Diff:
  """Where two layouts part: one `LayerDiff` per pair of methods that meet.

  Attributes:
    parts: the pairs of methods, in the order of their first layers.
    period: layers after which both layouts repeat.
    context_len: the length compared at, in tokens; None is any trained one.
  """

  parts: tuple[LayerDiff, ...]
  period: int
  context_len: int | None

  @property
  def same(self) -> bool:
    """Whether nothing was found that differs."""
    return all(part.same for part in self.parts)

  @property
  def factor(self) -> float:
    """The most that any pair of any layer parts by."""
    return max(part.factor for part in self.parts)

  def __str__(self):
    if self.same:
      return 'no difference'
    if self.period == 1:
      return str(self.parts[0])
    return '\n'.join(
      f'layers {_listed(part.layers)} of every {self.period}: {part}'
      for part in self.parts
    )


def diff(
  a: Side, b: Side, *, head_dim: int = 128, context_len: int | None = None
) -> Diff:
  """Where two positional methods part: pairs, amplitudes, fields, by layer.

  Args:
    a: a Position, a layout of them, or a Hugging Face config.
    b: the other.
    head_dim: width of a head that both are compared at.
    context_len: tokens of context for methods that depend on it; None is any
      length that they were trained at.

  Returns:
    A Diff; `str` of it is a small table (wavelengths in tokens).

  Example:
    >>> from rope_jax import positions
    >>> yarn = {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}
    >>> code, paper = (
    ...   positions.build({**yarn, 'ramp': ramp}) for ramp in ('code', 'paper'))
    >>> print(str(diff(code, paper)).splitlines()[0])
    up to 3.04x apart (pair 38)
  """
  sides = _layout(a), _layout(b)
  period = math.lcm(*map(len, sides))
  met: dict[tuple[positions.Position, positions.Position], list[int]] = {}
  for layer in range(period):
    one, other = (side[layer % len(side)] for side in sides)
    met.setdefault((one, other), []).append(layer)
  return Diff(
    tuple(
      _compare(*pair, tuple(layers), head_dim, context_len)
      for pair, layers in met.items()
    ),
    period,
    context_len,
  )


def _layout(side: Side) -> positions.Layout:
  if isinstance(side, positions.Position):
    return (side,)
  if isinstance(side, Mapping):
    return layout_from_hf(side)
  return positions.layout(side)


def _compare(a, b, layers, head_dim, context_len) -> LayerDiff:
  (turn_a, grow_a), (turn_b, grow_b) = (
    _spectrum(x, head_dim, context_len) for x in (a, b)
  )
  sharp = [temperature(x, context_len) for x in (a, b)]
  say_a, say_b = _said(a), _said(b)
  return LayerDiff(
    layers=layers,
    a=a,
    b=b,
    fields=tuple(
      (field, say_a.get(field, '-'), say_b.get(field, '-'))
      for field in dict.fromkeys((*say_a, *say_b))
      if say_a.get(field, '-') != say_b.get(field, '-')
    ),
    frequency_a=turn_a,
    frequency_b=turn_b,
    amplitude=grow_a / grow_b,
    temperature=sharp[0] / sharp[1],
  )


def _spectrum(position, head_dim, context_len):
  turning = getattr(position, 'turning', position)
  if not hasattr(turning, 'frequencies'):
    return None, 1.0
  return turning.frequencies(head_dim, context_len)


def temperature(position: positions.Position, context_len: int | None) -> float:
  """The factor on the scores of the last of context_len tokens, one head.

  1 for a context of None, and for a method that learns its factor.
  """
  learns = positions.overrides(position, 'init')
  scales = positions.overrides(position, 'scale')
  if context_len is None or learns or not scales:
    return 1.0
  last = np.full((1, 1), context_len - 1, np.int32)
  length = np.full((1, 1), context_len, np.int32)
  places = positions.Places(
    last, last, length, length, heads=np.zeros(1, np.int32), total_heads=1
  )
  scale = position.scale({}, places)
  return 1.0 if scale is None else float(scale[0, 0, 0])


def _said(position: positions.Position) -> dict[str, Any]:
  """Every field by its name; of several parts also by the part's."""
  specs = [positions.spec(p) for p in getattr(position, 'parts', (position,))]
  said: dict[str, Any] = {'method': ' + '.join(s['name'] for s in specs)}
  for spec in specs:
    for field, value in spec.items():
      if field != 'name':
        label = f'{spec["name"]}.{field}' if field in said else field
        said[label] = value
  return said


def _runs(ratio: np.ndarray) -> list[tuple[int, int]]:
  """Runs of pairs that are equal, and of at most `_RUN` that are not."""
  runs: list[tuple[int, int]] = []
  equal = np.abs(ratio - 1) < _SAME
  for pair in range(len(ratio)):
    if runs and equal[pair] == equal[runs[-1][0]]:
      first, last = runs[-1]
      if equal[pair] or last - first + 1 < _RUN:
        runs[-1] = (first, pair)
        continue
    runs.append((pair, pair))
  return runs


def _span(first: int, last: int) -> str:
  return str(first) if first == last else f'{first}-{last}'


def _between(values: np.ndarray, form: str) -> str:
  low, high = (format(float(x), form) for x in (values.min(), values.max()))
  return low if low == high else f'{low}-{high}'


def _waves(frequency: np.ndarray) -> str:
  with np.errstate(divide='ignore'):
    waves = np.where(frequency == 0, np.inf, 2 * np.pi / np.abs(frequency))
  return _between(waves, '.6g')


def _listed(layers: tuple[int, ...]) -> str:
  return ', '.join(map(str, layers))
