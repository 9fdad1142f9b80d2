"""metrics.jsonl survives kills and resumes; progress says what matters."""

import builtins
import io

import pytest

from rope_jax import metrics


def row(step):
  return {'step': step, 'loss': 5.0 / step, 'tokens_per_second': 1000.0}


def test_rows_after_the_resumed_step_are_written_anew(tmp_path):
  with metrics.Writer(tmp_path) as writer:
    for step in (1, 10, 20, 30):
      writer.write(row(step))
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 40, "lo')  # A kill in the middle of a line.
  assert len(metrics.read(tmp_path / 'metrics.jsonl')) == 4
  with metrics.Writer(tmp_path, 20) as writer:
    writer.write({**row(30), 'loss': 1.0})
  rows = metrics.read(tmp_path / 'metrics.jsonl')
  assert [r['step'] for r in rows] == [1, 10, 20, 30]
  assert rows[-1]['loss'] == 1.0


def test_damage_in_the_middle_is_told(tmp_path):
  path = tmp_path / 'metrics.jsonl'
  path.write_text('{"step": 1}\nrubbish\n{"step": 2}\n')
  with pytest.raises(ValueError, match='line 2 is no JSON'):
    metrics.read(path)


def test_tensorboard_mirrors_the_rows(tmp_path):
  pytest.importorskip('tensorboardX')
  with metrics.Writer(tmp_path, tensorboard=True) as writer:
    writer.write(row(1))
  files = list((tmp_path / 'tensorboard').iterdir())
  assert b'train/loss' in b''.join(f.read_bytes() for f in files)


def test_tensorboard_missing_is_one_clear_error(tmp_path, monkeypatch):
  real = builtins.__import__

  def without(name, *args, **kwargs):
    if name == 'tensorboardX':
      raise ImportError(name)
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', without)
  with pytest.raises(ValueError, match=r'\[tensorboard\]'):
    metrics.Writer(tmp_path, tensorboard=True)


class Terminal(io.StringIO):
  def isatty(self):
    return True


def test_a_bar_in_a_terminal():
  stream = Terminal()
  with metrics.Progress('run', 100, stream=stream) as show:
    show.say('compiling ...')
    show.begin()
    show.update(row(50))
  text = stream.getvalue()
  assert 'run: compiling' in text
  assert '50/100' in text
  assert 'loss 0.100' in text
  assert 'left' in text


def test_lines_elsewhere_and_not_too_many():
  stream = io.StringIO()
  with metrics.Progress('run', 1000, stream=stream) as show:
    show.begin()
    for step in range(10, 1001, 10):
      show.update(row(step))
  lines = stream.getvalue().splitlines()
  assert 15 <= len(lines) <= 25
  assert lines[-1].startswith('run: step 1000/1000  loss 0.005  1,000 tokens/s')


def test_silence():
  stream = io.StringIO()
  with metrics.Progress('run', 10, show=False, stream=stream) as show:
    show.say('x')
    show.update(row(10))
  assert stream.getvalue() == ''
