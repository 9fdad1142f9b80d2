"""What sets two methods apart: their pairs, and so their decay curves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from rope_jax import interop, positions
from rope_jax.interop.compare import Side
from rope_jax.positions import dynamic_ntk, ntk_by_parts, yarn
from rope_jax.spectrum import spectra, sums, violation
from rope_jax.spectrum.spectra import Spectrum

SHARE = 0.01  # Of the number of pairs: a difference of curves worth a line.

# The field that tells a paper's method from what code runs, its values, and
# what other fields must be under some of them.
_FIELDS: dict[str, tuple[str, tuple[str, ...], dict[str, dict[str, Any]]]] = {
  'dynamic_ntk': (
    'variant',
    dynamic_ntk.VARIANTS,
    {'paper': {'factor': None}, 'qwen': {'factor': None}},
  ),
  'dynamic_yarn': ('ramp', yarn.RAMPS, {}),
  'ntk_by_parts': ('variant', ntk_by_parts.VARIANTS, {}),
  'yarn': ('ramp', yarn.RAMPS, {}),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Apart:
  """What sets two methods apart in some layers. See `apart`.

  Attributes:
    diff: their fields and frequencies; `diff.layers` says where they meet.
    period: layers after which both layouts repeat.
    a: the one's spectrum.
    b: the other's.
    length: distances below it were looked at, tokens.
    threshold: the difference of sums of cosines that counts, > 0.
    largest: the largest |difference| of the sums.
    at: the distance of it, tokens.
    sums: a's sum of cosines there, and b's.
    first: the first distance whose sums differ by more than `threshold`, or
      None.
    negative_a: the first distance at which a's sum is below 0, or None.
    negative_b: the same of b.
  """

  diff: interop.LayerDiff
  period: int
  a: Spectrum
  b: Spectrum
  length: int
  threshold: float
  largest: float
  at: int
  sums: tuple[float, float]
  first: int | None
  negative_a: int | None
  negative_b: int | None

  @property
  def same(self) -> bool:
    """Whether the curves are equal, but for rounding."""
    bounds = (sums.rounding(x, self.length) for x in (self.a, self.b))
    return self.largest <= sum(bounds)

  def __str__(self):
    lines = [str(self.diff)]
    if self.period > 1:
      layers = ', '.join(map(str, self.diff.layers))
      lines[0] = f'layers {layers} of every {self.period}: {lines[0]}'
    about = f'sums of cosines below {self.length:,} tokens'
    if self.same:
      lines.append(f'{about}: equal')
    else:
      lines += [
        f'{about}, {self.a.head_dim // 2} pairs:',
        f'  up to {self.largest:.4g} apart, at {self.at:,} '
        f'(a {self.sums[0]:.4g}, b {self.sums[1]:.4g})',
        f'  more than {self.threshold:.4g} apart first {_at(self.first)}',
      ]
    one, other = _at(self.negative_a), _at(self.negative_b)
    lines.append(f'  below zero first: a {one}, b {other}')
    return '\n'.join(lines)


def apart(
  a: Side,
  b: Side,
  head_dim: int,
  length: int,
  context_len: int | None = None,
  share: float = SHARE,
) -> tuple[Apart, ...]:
  """What sets two methods apart, and what that does to their decay curves.

  largest = max_m |B_a(m) - B_b(m)|,   B(m) = sum_k a_k^2 cos(m f_k)

  over all whole distances 0 <= m < length; amplitudes count. Curves are over
  the distances that pairs turn by: what a re-mapping (`self_extend`, `rerope`)
  pretends of them is not looked at.

  Args:
    a: a Position, a layout of them, or a Hugging Face config.
    b: the other.
    head_dim: width of a head that both are compared at, even.
    length: distances are below it, tokens, >= 1; a million takes about 0.2 s.
    context_len: tokens of context for methods that depend on it; None is
      `length`.
    share: of the number of pairs: by how much curves must differ to count in
      `first`, > 0.

  Returns:
    An Apart for each pair of methods that meet in the layers, where both turn,
    in the order of their first layers. `str` of it is a table of the pairs,
    and lines about the curves.

  Raises:
    ValueError: a number out of range; no layer where both turn.

  Example:
    >>> spec = {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}
    >>> code, paper = (
    ...   positions.build({**spec, **fields})
    ...   for fields in variants('yarn').values())
    >>> print(str(apart(code, paper, 128, 65536)[0]))
    up to 3.04x apart (pair 38)
    ramp: code | paper
    ...
    sums of cosines below 65,536 tokens, 64 pairs:
      up to 26.14 apart, at 60,864 (a -6.15, b 19.99)
      more than 0.64 apart first at 23
      below zero first: a at 11,671, b at 15,037
  """
  spectra.check_head_dim(head_dim)
  sums.check_length(length)
  if not 0 < share < np.inf:
    raise ValueError(
      f'share={share!r} must be a number > 0, a share of the pairs, such as '
      f'{SHARE}.'
    )
  context_len = int(length) if context_len is None else context_len
  if not isinstance(context_len, int | np.integer) or context_len < 1:
    raise ValueError(
      f'context_len={context_len!r} must be a whole number of tokens >= 1, or '
      'None for `length`.'
    )
  diff = interop.diff(a, b, head_dim=head_dim, context_len=context_len)
  both = [
    part
    for part in diff.parts
    if part.frequency_a is not None and part.frequency_b is not None
  ]
  if not both:
    names = ' and '.join(
      dict.fromkeys(
        spectra.described(x) for part in diff.parts for x in (part.a, part.b)
      )
    )
    raise ValueError(
      f'{names}: in no layer do both turn by frequencies, so there are no '
      'curves to compare; `interop.diff` compares their fields.'
    )
  return tuple(
    _apart(part, diff.period, head_dim, int(length), context_len, share)
    for part in both
  )


def variants(name: str) -> dict[str, dict[str, Any]]:
  """The methods that go by one name, as the fields that tell them apart.

  Args:
    name: of a method whose paper and code differ, or which has several forms.

  Returns:
    The fields to put into a spec, by the variant's name; those that are None
    are to be left out, as `positions.build` does.

  Raises:
    ValueError: a method that has no variants.

  Example:
    >>> variants('yarn')
    {'code': {'ramp': 'code'}, 'paper': {'ramp': 'paper'}}
  """
  if name not in _FIELDS:
    raise ValueError(
      f'name={name!r} has no variants of its frequencies; those that do are '
      f'{", ".join(_FIELDS)}.'
    )
  field, values, others = _FIELDS[name]
  return {value: {field: value, **others.get(value, {})} for value in values}


def variants_apart(
  spec: Mapping[str, Any],
  head_dim: int,
  length: int,
  context_len: int | None = None,
  share: float = SHARE,
) -> dict[tuple[str, str], Apart]:
  """What sets the variants of one method apart, two by two.

  Args:
    spec: of the method, with or without the field that tells variants apart.
    head_dim: see `apart`, as for the rest.
    length: tokens.
    context_len: tokens.
    share: of the number of pairs.

  Returns:
    (one, other) -> Apart, for each two of `variants`.

  Raises:
    ValueError: a method that has no variants; what `apart` or a method says.

  Example:
    >>> spec = {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 2048,
    ...         'factor': 2.0}
    >>> for names, found in variants_apart(spec, 128, 4096).items():
    ...   print(*names, f'{found.diff.factor:.2f}x')
    paper hf 1.50x
    paper qwen 1.50x
    hf qwen 1.00x
  """
  built = {
    value: positions.build({**spec, **fields})
    for value, fields in variants(spec.get('name', '')).items()
  }
  return {
    (one, other): apart(
      built[one], built[other], head_dim, length, context_len, share
    )[0]
    for one, other in itertools.combinations(built, 2)
  }


def _apart(part, period, head_dim, length, context_len, share) -> Apart:
  a, b = (spectra.of(x, head_dim, context_len) for x in (part.a, part.b))
  threshold = share * head_dim / 2
  largest, at, there, first = -1.0, 0, (0.0, 0.0), None
  for (start, a_m), (_, b_m) in zip(
    sums.cosine_blocks(a, length), sums.cosine_blocks(b, length), strict=True
  ):
    gap_m = np.abs(a_m - b_m)
    peak = int(gap_m.argmax())
    if gap_m[peak] > largest:
      largest, at = float(gap_m[peak]), start + peak
      there = float(a_m[peak]), float(b_m[peak])
    if first is None and gap_m[peak] > threshold:
      first = start + int((gap_m > threshold).argmax())
  return Apart(
    diff=part,
    period=period,
    a=a,
    b=b,
    length=length,
    threshold=threshold,
    largest=largest,
    at=at,
    sums=there,
    first=first,
    negative_a=violation.first_violation(a, length),
    negative_b=violation.first_violation(b, length),
  )


def _at(distance: int | None) -> str:
  return 'nowhere' if distance is None else f'at {distance:,}'
