"""The README's snippets run, its commands name what is there."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from rope_jax import positions

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def _blocks(language):
  return re.findall(rf'^```{language}\n(.*?)^```', README, re.M | re.S)


def _commands():
  lines = '\n'.join(_blocks('sh')).replace('\\\n', ' ').splitlines()
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
  if words[2] == 'pytest':
    assert (ROOT / words[3]).exists()
    return
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
  table = README.split('| family | methods |')[1].split('\n\n')[0]
  named = re.findall(r'`(\w+)`', table)
  assert sorted(named) == sorted(positions.names())


def test_the_method_that_it_adds_keeps_the_contract(tmp_path):
  (source,) = (b for b in _blocks('python') if b.startswith('# gaussian.py'))
  (tmp_path / 'gaussian.py').write_text(source, encoding='utf-8')
  (line,) = (c for c in _commands() if c.startswith('python -m pytest'))
  command = [sys.executable, *shlex.split(line)[1:], '-q', '-k', 'given']
  path = os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')])
  done = subprocess.run(
    [*command, '-p', 'no:cacheprovider'],
    cwd=ROOT,
    env={**os.environ, 'PYTHONPATH': path},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert done.stdout.count('.') >= 15


def test_its_studies_are_the_configs():
  named = set(re.findall(r'^\| `(configs/\w+\.py)`', README, re.M))
  there = {f'configs/{p.name}' for p in (ROOT / 'configs').glob('[!_]*.py')}
  assert named == there
