"""Methods as they are named on a command line, or in a config.json."""

from __future__ import annotations

import ast
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from rope_jax import interop, positions


def parsed(words: str) -> positions.Position:
  """A method from 'name:field=value,field=value', or the JSON of a spec.

  Raises:
    ValueError: what is said of a bad spec.

  Example:
    >>> parsed('yarn:theta=1e4,factor=16,train_len=4096').factor
    16.0
  """
  return positions.build(_spec(words))


def expanded(words: str, head_dim: int) -> dict[str, positions.Position]:
  """A method by its words, or those of a model's layers that turn, by label.

  Args:
    words: as `parsed` takes them, or the path of a Hugging Face config.json.
    head_dim: what the config's heads must be, where it says.

  Raises:
    ValueError: what is said of a bad spec or config; no such file; heads of
      another width; no layer that turns.
  """
  if not words.endswith('.json'):
    return {words: parsed(words)}
  given = config(words)
  width = given.get('head_dim')
  if width is None and given.get('hidden_size'):
    width = given['hidden_size'] // (given.get('num_attention_heads') or 1)
  if width is not None and width != head_dim:
    raise ValueError(
      f'{words}: its heads are {width} wide, but head_dim={head_dim}; say '
      f'--head_dim={width}.'
    )
  met: dict[positions.Position, list[int]] = {}
  for layer, position in enumerate(interop.layout_from_hf(given)):
    if hasattr(getattr(position, 'turning', position), 'frequencies'):
      met.setdefault(position, []).append(layer)
  if not met:
    raise ValueError(f'{words}: no layer turns q and k by frequencies.')
  if len(met) == 1:
    return {words: next(iter(met))}
  return {
    f'{words} layers {", ".join(map(str, layers))}': position
    for position, layers in met.items()
  }


def config(path: str) -> Mapping[str, Any]:
  """A whole config.json.

  Raises:
    ValueError: no such file, or not the JSON of an object.
  """
  try:
    found = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except OSError as error:
    raise ValueError(f'{path}: cannot be read ({error.strerror}).') from None
  except ValueError as error:
    raise ValueError(f'{path}: is not JSON ({error}).') from None
  if not isinstance(found, dict):
    raise ValueError(f'{path}: holds no object; give a whole config.json.')
  return found


def scaled(theta: float, train_len: int, target_len: int) -> dict[str, str]:
  """Specs of a base and its usual scalings to a length, by name.

  >>> list(scaled(1e4, 4096, 65536))
  ['rope', 'linear', 'ntk', 'yarn', 'llama3']
  """
  base = f'theta={theta!r}'
  found = {'rope': f'rope:{base}'}
  factor = target_len / train_len
  if factor > 1:
    by = f'{base},factor={factor!r}'
    found |= {
      'linear': f'linear:{by}',
      'ntk': f'ntk:{by}',
      'yarn': f'yarn:{by},train_len={train_len}',
      'llama3': f'llama3:{by},train_len={train_len},low_freq_factor=1.0,'
      'high_freq_factor=4.0',
    }
  return found


def _spec(words: str) -> dict[str, Any]:
  if words.lstrip().startswith('{'):
    try:
      return json.loads(words)
    except ValueError as error:
      raise ValueError(f'{words}: is not JSON ({error}).') from None
  name, _, fields = words.partition(':')
  spec: dict[str, Any] = {'name': name}
  for field in filter(None, fields.split(',')):
    key, equals, value = field.partition('=')
    if not equals:
      raise ValueError(
        f'{words}: {field!r} is no field=value; write such as '
        'yarn:theta=1e4,factor=16,train_len=4096.'
      )
    spec[key.strip()] = _value(value.strip())
  return spec


def _value(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
