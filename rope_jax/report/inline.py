"""What self-contained pages are made of: assets, data as JSON, slots."""

from __future__ import annotations

import importlib.resources
import json
import math
import re
from collections.abc import Mapping
from typing import Any


def asset(name: str, package: str = 'rope_jax.report') -> str:
  """The text of a file that a package ships."""
  files = importlib.resources.files(package)
  return files.joinpath(name).read_text(encoding='utf-8')


def filled(template: str, slots: Mapping[str, str]) -> str:
  """A template with its {{slots}} filled, in one pass.

  A slot's text is never searched for slots.

  >>> filled('{{a}}, {{b}}', {'a': '{{b}}', 'b': 'c'})
  '{{b}}, c'
  """
  return re.sub(r'\{\{(\w+)\}\}', lambda m: slots[m[1]], template)


def rounded(value: Any, digits: int = 6) -> float | None:
  """Enough significant digits to draw, so that a page stays small.

  >>> rounded(1 / 3), rounded(float('nan'))
  (0.333333, None)
  """
  if value is None or not math.isfinite(value):
    return None
  return float(f'{float(value):.{digits}g}')


def as_json(value: Any) -> str:
  """JSON that cannot end the script element it stands in.

  >>> as_json({'a': '</script>'})
  '{"a":"\\\\u003c/script\\\\u003e"}'
  """
  text = json.dumps(value, separators=(',', ':'), allow_nan=False)
  return text.replace('<', '\\u003c').replace('>', '\\u003e')
