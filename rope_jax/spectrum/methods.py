"""Methods as they are named on a command line, or in a config.json."""

from __future__ import annotations

import ast
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from rope_jax import interop, positions
from rope_jax.interop import hf_heads
from rope_jax.spectrum import spectra


def parsed(words: str) -> positions.Position:
  """A method from 'name:field=value,field=value', or the JSON of a spec.

  Raises:
    ValueError: what is said of a bad spec.

  Example:
    >>> parsed('yarn:theta=1e4,factor=16,train_len=4096').factor
    16.0
  """
  if words.endswith('.json'):
    raise ValueError(
      f'{words}: a method is wanted here, such as yarn:theta=1e4,factor=16,'
      'train_len=4096, not a config.'
    )
  return positions.build(_spec(words))


def side(words: str, head_dim: int) -> positions.Position | positions.Layout:
  """A method by its words, or the layout of a config.json.

  Args:
    words: as `parsed` takes them, or the path of a Hugging Face config.json.
    head_dim: what the config's heads must be, where it says.

  Raises:
    ValueError: what is said of a bad spec or config, with the file's name;
      heads of another width.
  """
  if not words.endswith('.json'):
    return parsed(words)
  given = config(words)
  try:
    layout = interop.layout_from_hf(given)
    width = hf_heads.head_dim_of(given.get('text_config') or given)
  except (TypeError, ValueError) as error:
    raise ValueError(f'{words}: {error}') from None
  if width is not None and width != head_dim:
    raise ValueError(
      f'{words}: its heads turn {width} coordinates, but head_dim={head_dim}; '
      f'say --head_dim={width}.'
    )
  return layout


def expanded(words: str, head_dim: int) -> dict[str, positions.Position]:
  """What turns of a method or a model's layers, by label; see `side`.

  Raises:
    ValueError: as `side`; no layer that turns.
  """
  found = side(words, head_dim)
  if isinstance(found, positions.Position):
    return {words: found}
  met = spectra.turning_layers(found)
  if not met:
    raise ValueError(f'{words}: no layer turns q and k by frequencies.')
  if len(met) == 1:
    return {words: next(iter(met))}
  return {
    f'{words} layers {", ".join(map(str, layers))}': position
    for position, layers in met.items()
  }


def trained(words: str, head_dim: int) -> dict[str, float]:
  """What a method or config says of the model: `theta` and `train_len`.

  The theta is that of the last spectrum, of layers that see all tokens; the
  length a scaling's own, or the config's.
  """
  position = list(expanded(words, head_dim).values())[-1]
  turning = getattr(position, 'turning', position)
  found: dict[str, float] = {}
  for field in ('theta', 'train_len'):
    value = getattr(turning, field, None)
    if value is not None:
      found[field] = value
  if words.endswith('.json') and 'train_len' not in found:
    given = config(words)
    length = (given.get('text_config') or given).get('max_position_embeddings')
    if length is not None:
      found['train_len'] = int(length)
  return found


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
  # Commas within brackets belong to a value.
  for field in filter(None, re.split(r',(?![^(\[]*[)\]])', fields)):
    key, equals, value = field.partition('=')
    if not equals:
      raise ValueError(
        f'{words}: {field!r} is no field=value; write such as '
        'yarn:theta=1e4,factor=16,train_len=4096.'
      )
    spec[key.strip()] = _value(value.strip())
  return spec


def _value(text: str) -> Any:
  if text in ('nan', 'inf', '-inf'):
    return float(text)
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
