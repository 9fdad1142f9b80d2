"""The README's snippets run, its commands name what is there."""

import pathlib
import re
import shlex

import pytest

from rope_jax import positions

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def _blocks(language):
  return re.findall(rf'^```{language}\n(.*?)^```', README, re.M | re.S)


def _commands():
  lines = '\n'.join(_blocks('sh')).splitlines()
  return [line for line in lines if line.startswith('python -m')]


def test_the_python_snippets_run_one_after_the_other():
  blocks = _blocks('python')
  assert len(blocks) >= 3
  names = {}
  for block in blocks:
    exec(compile(block, 'README.md', 'exec'), names)
  assert names['out'].shape == (1, 512, 8, 64)
  assert names['stretched'].shape == names['as_trained'].shape == (2, 64)


@pytest.mark.parametrize('command', _commands())
def test_a_command_names_a_module_and_a_config_that_are_there(command):
  words = shlex.split(command)
  module = ROOT / (words[2].replace('.', '/') + '.py')
  assert module.exists()
  for word in words[3:]:
    if word.startswith('--config='):
      path = word.removeprefix('--config=').partition(':')[0]
      assert (ROOT / path).exists()


def test_every_make_target_it_names_is_there():
  makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
  targets = set(re.findall(r'`make (\w+)`', README))
  targets |= set(re.findall(r'^make (\w+)', '\n'.join(_blocks('sh')), re.M))
  assert targets >= {'study', 'test'}
  for target in targets:
    assert re.search(rf'^{target}:', makefile, re.M), target


def test_its_table_of_methods_is_whole():
  table = README.split('| name | what it does | fields |')[1].split('\n\n')[0]
  rows = dict(re.findall(r'^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$', table, re.M))
  assert set(rows) == set(positions.names())
  for name, fields in rows.items():
    assert tuple(re.findall(r'`(\w+)`', fields)) == positions.fields(name)


def test_its_studies_are_the_configs():
  named = set(re.findall(r'^\| `(configs/\w+\.py)`', README, re.M))
  there = {f'configs/{p.name}' for p in (ROOT / 'configs').glob('[!_]*.py')}
  assert named == there
