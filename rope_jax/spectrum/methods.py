"""Methods as they are named on a command line or in a config.json."""

from __future__ import annotations

import ast
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from rope_jax import interop, positions


def parsed(words: str) -> positions.Position:
  """A method from 'name:field=value,field=value', a JSON spec, or a config.

  Args:
    words: a method's name and fields; the JSON of a spec; or the path of a
      Hugging Face config.json, of a model whose layers all have one method.

  Raises:
    ValueError: what is said of a bad spec, or that there is no such file.

  Example:
    >>> parsed('yarn:theta=1e4,factor=16,train_len=4096').factor
    16.0
  """
  if words.endswith('.json'):
    layout = interop.layout_from_hf(config(words))
    turning = list(dict.fromkeys(p for p in layout if turns(p)))
    if len(turning) != 1:
      raise ValueError(
        f'{words}: its layers have {len(turning)} methods that turn; name one '
        'as name:field=value.'
      )
    return turning[0]
  return positions.build(_spec(words))


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


def turns(position: positions.Position) -> bool:
  """Whether a method turns q and k by frequencies."""
  return hasattr(getattr(position, 'turning', position), 'frequencies')


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
