"""Positional methods: `names`, `build` a method from its spec, `spec` back."""

import dataclasses
import difflib
import functools
import importlib
import inspect
import numbers
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rope_jax.positions._compose import Compose, compose, parts
from rope_jax.positions._layouts import every, irope, local_global
from rope_jax.positions.base import (
  Params,
  Places,
  Position,
  View,
  overrides,
)

__all__ = [
  'Compose',
  'Layout',
  'Params',
  'Places',
  'Position',
  'View',
  'build',
  'compose',
  'every',
  'fields',
  'irope',
  'layout',
  'local_global',
  'method',
  'names',
  'overrides',
  'parts',
  'spec',
]

# One Position per layer, repeated over the layers of a model.
Layout = tuple[Position, ...]


@functools.cache
def names() -> tuple[str, ...]:
  """The methods that ship: one file of this folder each, in sorted order.

  >>> {'alibi', 'nope', 'rope', 't5', 'yarn'} <= set(names())
  True
  """
  files = pathlib.Path(__file__).parent.glob('*.py')
  stems = {file.stem for file in files if not file.stem.startswith('_')}
  return tuple(sorted(stems - {'base'}))


def method(name: str) -> type[Position]:
  """The class of a method's file, or of 'pkg.module:Class'.

  >>> method('rope').__name__
  'Rope'
  """
  if ':' in name:
    module_name, class_name = name.split(':', 1)
    found = getattr(importlib.import_module(module_name), class_name, None)
    if not (inspect.isclass(found) and issubclass(found, Position)):
      raise ValueError(f'name={name!r}: {class_name} is no Position there.')
    return found
  if name not in names():
    close = difflib.get_close_matches(name, names(), 1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(
      f'name={name!r} is no positional method.{hint} Known: '
      f"{', '.join(names())}, 'compose', or 'pkg.module:Class'."
    )
  module = importlib.import_module(f'{__name__}.{name}')
  (found,) = (
    member
    for label, member in inspect.getmembers(module, inspect.isclass)
    if issubclass(member, Position)
    and member.__module__ == module.__name__
    and not label.startswith('_')
  )
  return found


def fields(name: str) -> tuple[str, ...]:
  """The fields of a method, by its name.

  >>> fields('linear')
  ('theta', 'fraction', 'pairing', 'partial', 'factor')
  """
  return tuple(f.name for f in dataclasses.fields(method(name)))


def build(spec: Mapping[str, Any]) -> Position:
  """Builds a method from its name and fields.

  Args:
    spec: `name` is one of `names()`, 'compose' (with `parts`, a sequence of
      specs), or 'pkg.module:Class' for a method outside this package; the
      other entries are its fields. Entries that are None are left out.

  Returns:
    A Position.

  Raises:
    ValueError: an unknown name; a missing or unknown field, named together
      with those the method has; a value out of its range.

  Example:
    >>> build({'name': 't5', 'buckets': 16})
    T5(buckets=16, max_distance=128, bidirectional=False)
  """
  given = {k: v for k, v in dict(spec).items() if v is not None}
  name = given.pop('name', None)
  if not isinstance(name, str):
    raise ValueError(
      f'a position spec needs a name; got {dict(spec)!r}. Known: '
      f'{", ".join(names())}.'
    )
  if name == 'compose':
    if set(given) != {'parts'} or isinstance(given['parts'], (Mapping, str)):
      raise ValueError(
        f"'compose' takes `parts` alone, a sequence of specs; got {given!r}."
      )
    return compose(*(build(part) for part in given['parts']))
  kind = method(name)
  known = {f.name: f for f in dataclasses.fields(kind)}
  required = {
    k
    for k, f in known.items()
    if f.default is dataclasses.MISSING
    and f.default_factory is dataclasses.MISSING
  }
  unknown, missing = set(given) - set(known), required - set(given)
  if unknown or missing:
    parts = []
    if missing:
      parts.append(f'needs {", ".join(sorted(missing))}')
    if unknown:
      parts.append(f'has no {", ".join(sorted(unknown))}')
    raise ValueError(
      f'position {name!r} {" and ".join(parts)}. Its fields: '
      f'{", ".join(known) or "none"}. (A config that changes `name` alone '
      "keeps the old method's fields: set those to None.)"
    )
  values = {k: _plain(name, k, known[k].type, v) for k, v in given.items()}
  return kind(**values)


def _plain(name: str, field: str, annotation: Any, value: Any) -> Any:
  """A value as the field's annotated plain type (4 as 4.0 for a float, numpy
  scalars as Python's); rejects what is not of that type."""
  text = annotation if isinstance(annotation, str) else _type_name(annotation)
  text = text.removesuffix(' | None')
  kinds: dict[str, tuple[type, Any]] = {
    'float': (numbers.Real, float),
    'int': (numbers.Integral, int),
    'str': (str, str),
    'bool': (bool, bool),
  }
  if text not in kinds:
    return value
  wanted, make = kinds[text]
  if isinstance(value, np.ndarray | jax.Array) and value.ndim == 0:
    value = value.item()
  if not isinstance(value, wanted) or (
    isinstance(value, bool) and wanted is not bool
  ):
    raise ValueError(
      f'position {name!r}: {field}={value!r} is {type(value).__name__}; '
      f'{field} must be {text}.'
    )
  return make(value)


def _type_name(annotation: Any) -> str:
  return getattr(annotation, '__name__', None) or str(annotation)


def spec(position: Position) -> dict[str, Any]:
  """The spec that builds this Position: `build(spec(p)) == p`.

  >>> spec(build({'name': 'linear', 'theta': 1e4, 'factor': 2.0}))['factor']
  2.0
  """
  if isinstance(position, Compose):
    return {'name': 'compose', 'parts': [spec(p) for p in position.parts]}
  kind = type(position)
  package, _, stem = kind.__module__.rpartition('.')
  if kind is Position:
    name = 'nope'
  elif package == __name__ and stem in names():
    name = stem
  else:
    name = f'{kind.__module__}:{kind.__qualname__}'
  values = {
    f.name: getattr(position, f.name) for f in dataclasses.fields(position)
  }
  return {'name': name, **{k: v for k, v in values.items() if v is not None}}


def layout(
  specs: Mapping[str, Any] | Position | Sequence[Mapping[str, Any] | Position],
) -> Layout:
  """One spec or Position, or a sequence of them, as a layout.

  >>> layout([{'name': 'rope', 'theta': 1e4}, {'name': 'nope'}])[1]
  Nope()
  """
  if isinstance(specs, (Mapping, Position)) or hasattr(specs, 'items'):
    specs = [specs]  # pyright: ignore[reportAssignmentType]
  built = tuple(s if isinstance(s, Position) else build(s) for s in specs)  # pyright: ignore[reportGeneralTypeIssues, reportArgumentType]
  if not built:
    raise ValueError('a layout needs at least one position; got none.')
  return built
