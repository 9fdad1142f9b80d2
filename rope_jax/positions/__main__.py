"""Writes README.md beside this file: `python -m rope_jax.positions`."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import pathlib
import re
import sys

from rope_jax import positions
from rope_jax.positions import Position, overrides
from rope_jax.positions.base import HOOKS

README = pathlib.Path(__file__).with_name('README.md')
SECTIONS = ('Args', 'Raises', 'Example', 'Source', 'Differs')
# In order: a method is of the first family whose test it passes.
FAMILIES = (
  ('Trained positions', lambda m: overrides(m, 'train_positions')),
  ('Re-mappings and windows', lambda m: overrides(m, 'views')),
  ('Rotary', lambda m: m.rotary),
  ('Relative and biases', lambda m: overrides(m, 'bias')),
  ('Temperatures', lambda m: overrides(m, 'scale')),
  ('Absolute, and none', lambda m: True),
)
SHOWN = (
  'Absolute, and none',
  'Relative and biases',
  'Rotary',
  'Re-mappings and windows',
  'Temperatures',
  'Trained positions',
)
HEAD = """# Positional methods

Written by `python -m rope_jax.positions` from the docstrings of this folder,
and checked by the tests: edit those, not this file.

Hooks: what the method does, see `base.py`. Learned: has parameters of its own.
Relative: scores stay the same when every position is shifted. Fused: one view
and no bias, so that a platform's flash kernel can compute it after rotating.
Fields in bold have no default. Every method keeps the laws of
`tests/contract_test.py` and equals a float64 loop in `tests/positions/`.

What the interface does not take: CoPE (arXiv:2405.18719) counts positions by
gates, p_ij = sum of sigmoid(q_i . k_l) over j < l <= i, and the Forgetting
Transformer (arXiv:2503.02130) adds sums of log gates of the layer's input. Both
sum over the keys between j and i in token order, under the mask, while a hook
sees one tile and neither the mask nor the layer's input. It would take one more
hook, called once for whole sequences with the input and the mask (and kept in
the decoding cache), whose result tiles are then cut from. A forgetting gate
would become a bias c_i - c_j of such a state and fit well; CoPE would still
need the scores of all keys before any of its biases, so no tiles at all.
"""


def parse(doc: str) -> dict[str, str]:
  """The parts of a method's docstring.

  Args:
    doc: cleaned of its indentation.

  Returns:
    summary, equation (lines), Source, Code and Differs; '' where absent.

  Example:
    >>> parse('One line.\\n\\ny = x\\n\\nSource: A, eq. 1; b/c, `d`.')['Code']
    'b/c, `d`'
  """
  pattern = rf'^({"|".join(SECTIONS)}):'
  pieces = re.split(pattern, doc, flags=re.M)
  prose = re.split(r'\n\s*\n', pieces[0].strip())
  found = {'summary': ' '.join(prose[0].split()).rstrip('.')}
  found['equation'] = next(
    (p for p in prose[1:] if re.search(r' \+?= ', p)), ''
  )
  sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
  source = _flow(sections.get('Source', ''))
  paper, _, code = _cut(source)
  found['Source'], found['Code'] = paper, code
  found['Differs'] = _flow(sections.get('Differs', ''))
  return found


def _flow(text: str) -> str:
  text = re.sub(r'(?<=\w[-_/])\n\s*(?=\w)', '', text.strip())
  return ' '.join(text.split()).rstrip('.')


def _cut(source: str) -> tuple[str, str, str]:
  """Splits at the first semicolon that is in no parentheses."""
  depth = 0
  for at, letter in enumerate(source):
    depth += (letter == '(') - (letter == ')')
    if letter == ';' and not depth:
      return source[:at].strip(), ';', source[at + 1 :].strip()
  return source.strip(), '', ''


def family(method: type[Position]) -> str:
  """The heading a method stands under."""
  bare = object.__new__(method)  # Hooks and class attributes are all it takes.
  return next(name for name, test in FAMILIES if test(bare))


def row(name: str) -> str:
  """A method's line of the table."""
  method = positions.method(name)
  bare = object.__new__(method)
  doc = parse(inspect.getdoc(method) or '')
  hooks = [hook for hook in HOOKS if overrides(bare, hook)]
  fields = [
    f'**{f.name}**' if _required(f) else f.name
    for f in dataclasses.fields(method)
  ]
  fused = not any(overrides(bare, h) for h in ('bias', 'values', 'views'))
  equation = '<br>'.join(
    f'`` {line.strip()} ``' for line in doc['equation'].splitlines()
  )
  cells = (
    f'`{name}`',
    doc['summary'],
    ', '.join(hooks),
    _yes(overrides(bare, 'init')),
    _relative(method),
    _yes(fused),
    equation,
    doc['Source'],
    doc['Code'],
    doc['Differs'],
    ', '.join(fields),
  )
  return '| ' + ' | '.join(_cell(c) for c in cells) + ' |'


def _required(field: dataclasses.Field) -> bool:
  missing = dataclasses.MISSING
  return field.default is missing and field.default_factory is missing


def _relative(method: type[Position]) -> str:
  """Whether it is, or that it depends on the fields."""
  own = inspect.getattr_static(method, 'relative')
  return _yes(own) if isinstance(own, bool) else 'by its fields'


def _yes(value: bool) -> str:
  return 'yes' if value else 'no'


def _cell(text: str) -> str:
  return text.replace('|', '\\|') or '–'


def text() -> str:
  """The whole file."""
  heads = (
    'method',
    'what it does',
    'hooks',
    'learned',
    'relative',
    'fused',
    'equation',
    'paper',
    'reference code',
    'where we differ',
    'fields',
  )
  lines = [HEAD]
  for title in SHOWN:
    names = [
      n for n in positions.names() if family(positions.method(n)) == title
    ]
    lines += [f'## {title}', '', '| ' + ' | '.join(heads) + ' |']
    lines.append('| :-- ' * len(heads) + '|')
    lines += [row(name) for name in names]
    lines.append('')
  return '\n'.join(lines)


def main() -> int:
  """Writes the file, or with --check says whether it is true."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--check', action='store_true')
  check = parser.parse_args().check
  if not check:
    README.write_text(text(), encoding='utf-8')
    return 0
  stale = README.read_text(encoding='utf-8') != text()
  if stale:
    print(f'{README} is stale: run python -m rope_jax.positions')
  return int(stale)


if __name__ == '__main__':
  sys.exit(main())
