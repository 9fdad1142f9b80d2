"""Entry points: flags, one-line errors, and accelerators that are not here."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest
import training_support as support

from rope_jax import compile_for, runtime

ROOT = pathlib.Path(__file__).parents[1]


def launch(module, *flags, timeout=300, **environment):
  outer = {
    k: v
    for k, v in os.environ.items()
    if k not in ('XLA_FLAGS', 'JAX_PLATFORMS')
  }
  return subprocess.run(
    [sys.executable, '-m', module, *flags],
    cwd=ROOT,
    env={**outer, **environment},
    capture_output=True,
    text=True,
    timeout=timeout,
    check=False,
  )


@pytest.fixture
def config_file(tmp_path):
  """A configuration of a folder of text, as a user would write it."""
  (tmp_path / 'texts').mkdir()
  for i in range(20):
    text = ' '.join(str(n * n) for n in range(i, i + 40))
    (tmp_path / 'texts' / f'{i}.txt').write_text(text)
  path = tmp_path / 'mine.py'
  path.write_text(
    f"""
from rope_jax import config as config_lib

def get_config():
  config = config_lib.default()
  config.name = 'mine'
  config.data.update(
    name='folder', path={str(tmp_path / 'texts')!r},
    dir={str(tmp_path / 'tfds')!r})
  config.model.update(layers=1, width=16, heads=2, mlp_dim=32)
  config.position = {{'name': 'rope', 'theta': 1e4}}
  config.train.update(train_len=16, batch=8, steps=4, warmup=1)
  config.eval.update(lengths=(16,), documents=1, tokens=16)
  return config
"""
  )
  return path


@pytest.mark.slow
def test_trains_from_the_command_line(config_file, tmp_path):
  cache = tmp_path / 'xla'
  done = launch(
    'experiments.train',
    f'--config={config_file}',
    f'--workdir={tmp_path / "run"}',
    '--config.train.steps=5',
    XLA_FLAGS='--xla_backend_optimization_level=0',
    JAX_COMPILATION_CACHE_DIR=str(cache),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0',
  )
  assert done.returncode == 0, done.stderr
  assert 'mine: step 5/5' in done.stderr
  assert done.stdout.startswith('step 5: loss ')
  versions = json.loads((tmp_path / 'run' / 'versions.json').read_text())
  assert versions['device_count'] == len(os.sched_getaffinity(0))
  assert any(cache.iterdir())


@pytest.mark.slow
def test_mistakes_are_one_line(config_file, tmp_path):
  flags = (f'--config={config_file}', f'--workdir={tmp_path / "run"}')
  wrong = launch('experiments.train', *flags, '--config.train.warmup=9')
  assert wrong.returncode == 2
  assert 'config.train.warmup=9 must be in [0, train.steps=4)' in wrong.stderr
  assert 'Traceback' not in wrong.stderr
  assert not (tmp_path / 'run').exists()
  unknown = launch('experiments.train', *flags, '--config.train.stesp=9')
  assert unknown.returncode == 2
  assert 'Did you mean "step' in unknown.stderr
  assert 'Traceback' not in unknown.stderr
  nowhere = launch('experiments.train', flags[0])
  assert nowhere.returncode != 0
  assert '--workdir must have a value' in nowhere.stderr


@pytest.mark.parametrize(
  ('program', 'shown'),
  [
    ('extend', '--config=... --workdir=... --[no]progress'),
    ('plan', '--config=... --target=... --[no]json'),
    ('bench', '--suite=... --out=...'),
  ],
)
def test_help_shows_the_flags_of_the_program(program, shown):
  done = launch(f'experiments.{program}', '--help')
  assert done.returncode == 0, done.stderr
  text = ' '.join(done.stdout.split())
  doc = ast.parse((ROOT / f'experiments/{program}.py').read_text())
  assert text.startswith(' '.join(ast.get_docstring(doc).split()))
  for flag in shown.split():
    assert f' {flag} ' in text
  assert 'required)' in text
  configured = '--config=...' in shown
  assert ("--config.eval.lengths='(512, 1024)'" in text) == configured
  assert ('rope_jax/config.py' in text) == configured
  for other in ('logtostderr', '(default None', '[]', 'repeat this'):
    assert other not in text
  assert max(map(len, done.stdout.splitlines())) <= 80
  assert len(done.stdout.splitlines()) < 40


def test_every_entry_point_has_that_help():
  for file in (ROOT / 'experiments').glob('*.py'):
    text = file.read_text(encoding='utf-8')
    assert text.count('app.run(') == text.count('flags_parser=runtime.parse_fl')


@pytest.mark.parametrize(
  'settings',
  [
    {'coordinator': 'host', 'processes': 2, 'process': 0},
    {'coordinator': 'host:1', 'processes': 2, 'process': 2},
    {'coordinator': '', 'processes': 2, 'process': 0},
  ],
)
def test_half_a_distributed_section_is_refused(settings):
  config = support.tiny()
  config.distributed.update(settings)
  with pytest.raises(ValueError, match=r'config.distributed'):
    runtime.check_distributed(config.distributed)


def test_unknown_target_is_told_which_there_are():
  with pytest.raises(ValueError, match='tpu-v5e-16'):
    compile_for.devices('tpu-v9-3')


@pytest.mark.slow
@pytest.mark.parametrize(
  ('target', 'count', 'limit'),
  [('tpu-v5e-16', 16, 16 * 2**30), ('gpu-h100-8', 8, 80e9)],
)
def test_base_compiles_and_fits(target, count, limit):
  """The real train step and evaluation forward, by the real compilers."""
  absent = compile_for.missing(target)
  if absent:
    pytest.skip(f'cannot compile for {target} without {absent}')
  done = launch(
    'experiments.plan',
    '--config=configs/base.py',
    f'--target={target}',
    '--quick',
    '--json',
  )
  assert done.returncode == 0, done.stderr
  made = json.loads(done.stdout)
  assert made['devices'] == count
  assert made['evaluate']['length'] == 8192
  for name in ('train', 'evaluate'):
    assert made[name]['fits']
    assert 0.3e9 < made[name]['bytes'] < 0.9 * limit
