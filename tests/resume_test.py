"""Killed, told to stop, or split over processes: the same bits in the end."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import training_support as support

from rope_jax import metrics
from rope_jax.train import Interrupted, load_weights, train

HERE = pathlib.Path(__file__).parent
# Short programs: compiling them well costs more than running them.
FLAGS = (
  '--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0'
)


def start(workdir, **settings):
  """Trains in another process; see training_support.main."""
  pairs = [f'{k}={json.dumps(v)}' for k, v in settings.items()]
  script = HERE / 'training_support.py'
  return subprocess.Popen(
    [sys.executable, str(script), str(workdir), *pairs],
    env={**os.environ, 'XLA_FLAGS': FLAGS, 'PYTHONPATH': str(HERE.parent)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def finish(process, code=0):
  said, _ = process.communicate(timeout=240)
  assert process.returncode == code, said
  return said


def wait_for(path, process):
  for _ in range(2400):
    if path.exists():
      return
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.05)
  raise AssertionError(f'{path} never came')


def rows(workdir):
  """The rows of a run, without what the clock says."""
  clock = ('seconds', 'tokens_per_second')
  return [
    {k: v for k, v in row.items() if k not in clock}
    for row in metrics.read(workdir / 'metrics.jsonl')
  ]


def same(one, other):
  a, b = load_weights(one), load_weights(other)
  assert a[3] == b[3]
  jax.tree.map(np.testing.assert_array_equal, a[2], b[2])
  assert rows(one) == rows(other)


@pytest.mark.slow
def test_killed_and_stopped_runs_end_to_the_bit_as_one_run(tmp_path):
  steps = {'train__steps': 8, 'train__log_every': 1}
  whole = start(tmp_path / 'whole', **steps)
  # Killed without notice, once it has saved; half a checkpoint is left.
  killed = start(tmp_path / 'killed', seconds=0.4, **steps)
  wait_for(tmp_path / 'killed' / 'checkpoints' / '2', killed)
  killed.send_signal(signal.SIGKILL)
  finish(killed, -signal.SIGKILL)
  finish(whole)
  half = tmp_path / 'killed' / 'checkpoints' / '4.orbax-checkpoint-tmp'
  half.mkdir(exist_ok=True)
  # Told to stop, in the middle of a step.
  told = start(tmp_path / 'told', seconds=0.4, **steps)
  wait_for(tmp_path / 'told' / 'checkpoints' / '2', told)
  told.send_signal(signal.SIGTERM)
  said = finish(told, 143)
  assert 'SIGTERM: saved step' in said
  assert 'Traceback' not in said
  for name in ('killed', 'told'):
    said = finish(start(tmp_path / name, **steps))
    assert 'resumed at step' in said
    same(tmp_path / name, tmp_path / 'whole')


def test_resumed_equals_uninterrupted(tmp_path):
  config = support.tiny(train__log_every=1)
  batches = support.sampler(config)
  train(config, tmp_path / 'whole', sampler=batches, progress=False)
  with pytest.raises(OSError, match='gone'):
    train(
      config, tmp_path / 'parts', sampler=Broken(batches, 5), progress=False
    )
  found = train(config, tmp_path / 'parts', sampler=batches, progress=False)
  assert found.resumed_from == 4
  same(tmp_path / 'parts', tmp_path / 'whole')


class Broken:
  """A sampler that fails at a step."""

  def __init__(self, sampler, step):
    self._sampler, self._step = sampler, step

  def batch(self, step, process=0, processes=1):
    if step == self._step:
      raise OSError('the disk is gone')
    return self._sampler.batch(step, process, processes)


class Signalled(Broken):
  """A sampler during which a signal comes."""

  def batch(self, step, process=0, processes=1):
    if step == self._step:
      os.kill(os.getpid(), signal.SIGINT)
    return self._sampler.batch(step, process, processes)


def test_interrupted_saves_and_gives_the_handler_back(tmp_path, capsys):
  config = support.tiny(train__checkpoint_every=100)
  batches = support.sampler(config)
  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(Interrupted) as caught:
    train(config, tmp_path, sampler=Signalled(batches, 3), progress=False)
  assert caught.value.code == 130
  assert signal.getsignal(signal.SIGINT) is before
  assert f'SIGINT: saved step {caught.value.step}' in capsys.readouterr().out
  assert load_weights(tmp_path)[3] == caught.value.step


def test_a_damaged_newest_checkpoint_costs_only_its_steps(tmp_path, caplog):
  config = support.tiny()
  batches = support.sampler(config)
  done = train(config, tmp_path, sampler=batches, progress=False)
  newest = tmp_path / 'checkpoints' / '6' / 'weights'
  for file in newest.rglob('*'):
    if file.is_file():
      file.write_bytes(b'')
  again = train(config, tmp_path, sampler=batches, progress=False)
  assert again.resumed_from == 4
  jax.tree.map(np.testing.assert_array_equal, again.weights, done.weights)
  assert 'falling back' in caplog.text
  assert (tmp_path / 'checkpoints_broken' / '6.0').is_dir()


def test_a_foreign_workdir_is_refused_and_untouched(tmp_path):
  config = support.tiny(train__steps=2, train__warmup=1)
  batches = support.sampler(config)
  train(config, tmp_path, sampler=batches, progress=False)
  before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')}
  other = support.tiny(train__steps=2, train__warmup=1, train__seed=1)
  with pytest.raises(ValueError, match=r'config.train.seed: 0 there, 1 here'):
    train(other, tmp_path, sampler=batches, progress=False)
  assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob('*')} == before


def test_a_finished_run_can_be_read_on_a_mesh(tmp_path):
  from rope_jax import mesh as meshes

  config = support.tiny(train__steps=2, train__warmup=1)
  done = train(
    config, tmp_path, sampler=support.sampler(config), progress=False
  )
  mesh = meshes.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2}, 8)
  _, _, weights, step = load_weights(tmp_path, mesh)
  assert step == 2
  assert len(weights['blocks']['wqkv'].sharding.device_set) == 8
  jax.tree.map(np.testing.assert_array_equal, weights, done.weights)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
  """Two processes of two CPU devices each, gloo between them."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  steps = {'train__steps': 4, 'train__log_every': 1, 'mesh__fsdp': 2}
  pair = [
    start(
      tmp_path / 'two',
      **steps,
      distributed__coordinator=f'127.0.0.1:{port}',
      distributed__processes=2,
      distributed__process=process,
    )
    for process in range(2)
  ]
  said = [finish(process) for process in pair]
  assert 'compiling for 4 devices' in ''.join(said)
  config = support.tiny(**steps)
  one = train(
    config, tmp_path / 'one', sampler=support.sampler(config), progress=False
  )
  two = load_weights(tmp_path / 'two')
  assert two[3] == one.step == 4
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=3e-4),
    two[2],
    one.weights,
  )
  for a, b in zip(rows(tmp_path / 'two'), rows(tmp_path / 'one'), strict=True):
    assert a['tokens'] == b['tokens']
    np.testing.assert_allclose(a['loss'], b['loss'], rtol=1e-3)
