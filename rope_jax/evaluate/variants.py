"""Variants: the same trained weights read under other rotary methods."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rope_jax import positions
from rope_jax.positions import Layout, Position
from rope_jax.positions.rope import Rope, by_spectrum

AS_TRAINED = 'none'
AUTO = 'auto'  # A factor of eval_len / train_len, at least 1.
_SHARE = re.compile(r'([0-9]+(?:\.[0-9]+)?)x')  # Of the trained length.


def resolve(
  spec: Mapping[str, Any], trained: Rope, *, train_len: int, eval_len: int
) -> Position:
  """A variant's spec, completed from the trained method, at one length.

  What the spec leaves out is taken over: theta, fraction, pairing and partial
  from the trained method, train_len from the training. A factor of 'auto'
  becomes max(1, eval_len / train_len), and a number of tokens such as '0.5x'
  that share of train_len. 'compose' does so part by part.

  Raises:
    ValueError: what is no spec, a spec that does not build, or a method that
      learns parameters.

  Example:
    >>> trained = Rope(theta=1e4)
    >>> resolve({'name': 'linear', 'factor': 'auto'}, trained, train_len=128,
    ...         eval_len=512).factor
    4.0
  """
  if not isinstance(spec, Mapping) or not isinstance(spec.get('name'), str):
    raise ValueError(
      f'{spec!r} is no spec of a method; give its name and fields, such as '
      "{'name': 'linear', 'factor': 'auto'}."
    )
  if spec['name'] == 'compose':
    parts = spec.get('parts')
    if not parts or isinstance(parts, (Mapping, str)):
      raise ValueError(
        f"'compose' has parts={parts!r}; give specs of methods, such as "
        "({'name': 'yarn', 'factor': 'auto'}, {'name': 'log_n'})."
      )
    sizes = {'train_len': train_len, 'eval_len': eval_len}
    return positions.compose(*(resolve(p, trained, **sizes) for p in parts))
  fields = {k: v for k, v in dict(spec).items() if v is not None}
  known = positions.fields(str(fields.get('name')))
  inherited = {
    'theta': trained.theta,
    'fraction': trained.fraction,
    'pairing': trained.pairing,
    'partial': trained.partial,
    'train_len': train_len,
  }
  for name, value in inherited.items():
    if name in known:
      fields.setdefault(name, value)
  if fields.get('factor') == AUTO:
    fields['factor'] = max(1.0, eval_len / train_len)
  for name, value in fields.items():
    share = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if share:
      fields[name] = max(1, round(float(share[1]) * train_len))
  built = positions.build(fields)
  shape = {'heads': 2, 'head_dim': 8, 'model_dim': 16}
  learnt = jax.eval_shape(lambda: built.init(jax.random.key(0), **shape))
  if jax.tree.leaves(learnt):
    raise ValueError(
      f'a variant reads trained weights, and {fields["name"]!r} learns '
      'parameters of its own: train it, as one of config.methods.'
    )
  return built


def layout_under(
  spec: Mapping[str, Any] | None,
  layout: Layout,
  *,
  train_len: int,
  eval_len: int,
) -> Layout | None:
  """The layout of a variant, or None if it has no plain RoPE to replace.

  Args:
    spec: the variant; None is the layout as trained.
    layout: the methods of the training.
    train_len: the trained length.
    eval_len: tokens in a window.
  """
  if spec is None:
    return layout
  under = tuple(
    _under(spec, p, train_len=train_len, eval_len=eval_len) for p in layout
  )
  return under if _plain(layout) else None


def _plain(layout: Layout) -> bool:
  return any(type(p) is Rope for q in layout for p in positions.parts(q))


def _under(spec: Mapping[str, Any], position: Position, **lengths: int):
  """A method with its plain RoPE, or that among its parts, replaced."""
  if type(position) is Rope:
    found = resolve(spec, position, **lengths)
    if all(_only_scales(part) for part in positions.parts(found)):
      raise ValueError(
        f'{spec["name"]!r} changes temperatures alone, and in the place of '
        "RoPE it leaves nothing that tells positions; give {'name': 'compose', "
        "'parts': ({'name': 'rope'}, ...)} with it."
      )
    return found
  if isinstance(position, positions.Compose):
    return positions.compose(
      *(_under(spec, part, **lengths) for part in position.parts)
    )
  return position


def _only_scales(position: Position) -> bool:
  """Whether a method has temperatures and no other effect on scores."""
  kind, hooks = type(position), ('embed', 'rotate', 'bias', 'values', 'views')
  return kind.scale is not Position.scale and all(
    getattr(kind, hook) is getattr(Position, hook) for hook in hooks
  )


def same_scores(
  a: Layout, b: Layout, head_dim: int, length: int, other: int | None = None
) -> bool:
  """Whether two layouts give the tokens of a window the same scores.

  Known for equal methods and for rotary ones of equal spectra, alone or as
  parts of compositions; otherwise False.

  Args:
    a, b: the layouts.
    head_dim: width of a head.
    length: tokens of the window that `a` reads.
    other: of the window that `b` reads, which begins as that of `a` does; None
      is the same.
  """
  other = length if other is None else other

  def equal(p: Position, q: Position) -> bool:
    if p == q and (other == length or not p.by_length):
      return True
    parts_p, parts_q = positions.parts(p), positions.parts(q)
    if len(parts_p) > 1 or len(parts_q) > 1:
      return len(parts_p) == len(parts_q) and all(map(equal, parts_p, parts_q))
    if not (by_spectrum(p) and by_spectrum(q)):
      return False
    assert isinstance(p, Rope)
    assert isinstance(q, Rope)
    if any(
      getattr(p, field) != getattr(q, field)
      for field in ('pairing', 'fraction', 'partial')
    ):
      return False
    frequency_p, amplitude_p = p.frequencies(head_dim, length)
    frequency_q, amplitude_q = q.frequencies(head_dim, other)
    return amplitude_p == amplitude_q and np.array_equal(
      frequency_p, frequency_q
    )

  return len(a) == len(b) and all(map(equal, a, b))


def describe(layout: Layout) -> list[dict[str, Any]]:
  """The specs of a layout, for the record."""
  return [positions.spec(p) for p in layout]


def shown(variant: str) -> str:
  """What a reader calls a variant: 'as trained' for 'none'."""
  return 'as trained' if variant == AS_TRAINED else variant


@dataclasses.dataclass(frozen=True)
class Skipped:
  """A cell that was not measured, and why."""

  variant: str
  length: int
  reason: str
