"""What the terminal says while a model is measured."""

import re
import sys

import numpy as np
import pytest
from training_support import tiny

from rope_jax import model, positions
from rope_jax.data import EvalDocument
from rope_jax.evaluate import Store, cells, long, progress


def test_a_run_that_has_all_says_that_nothing_is_left(capsys):
  with progress.bar('measuring'):
    pass
  assert capsys.readouterr().err == 'measuring: nothing is left to do\n'


def test_it_says_when_it_is_done_and_not_every_word(capsys):
  with progress.bar('measuring') as tell:
    tell('a at 8', 8, 32)
    tell('b at 8', 32, 32)
    tell('b at 8', 32, 32)
  assert re.fullmatch(
    r'measuring: 100% after \d+ s \(b at 8\)\n', capsys.readouterr().err
  )


def test_what_was_there_is_not_counted_as_done_now(capsys, monkeypatch):
  """The last cell is there: the bar is not told of it, and ends though."""
  clock = iter([0.0, 12.0, 12.5])
  monkeypatch.setattr(progress.time, 'monotonic', lambda: next(clock))
  with progress.bar('measuring') as tell:
    tell('a at 8', 8, 32)
  assert capsys.readouterr().err.splitlines() == [
    'measuring: 25% after 12 s (a at 8)',
    'measuring: 100% after 12 s (the rest was there)',
  ]


def broken(said):
  with progress.bar('x') as tell:
    for what in said:
      tell(what, 8, 32)
    raise ValueError('broke')


@pytest.mark.parametrize('said', [(), ('a at 8',)])
def test_a_failure_is_not_told_as_done(capsys, said):
  with pytest.raises(ValueError, match='broke'):
    broken(said)
  assert capsys.readouterr().err == ''


def test_in_a_terminal_a_bar_appears_with_the_first_word(capsys, monkeypatch):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
  with progress.bar('measuring'):
    pass
  assert capsys.readouterr().err == 'measuring: nothing is left to do\n'
  with progress.bar('measuring') as tell:
    tell('a at 8', 8, 32)
  shown = capsys.readouterr().err
  assert 'measuring' in shown
  assert '100%' in shown
  with progress.bar('measuring', show=False) as tell:
    tell('a at 8', 8, 32)
  assert capsys.readouterr().err == ''


ROPE = (positions.build({'name': 'rope', 'theta': 1e4}),)
SHAPE = model.ModelConfig(vocab=13, layers=1, width=16, heads=2)
CHOSEN = [
  EvalDocument(name, name, np.arange(33, dtype=np.int32) % 13, np.ones(33, int))
  for name in ('d0', 'd1')
]


def by_cells(config, folder, tell):
  """Measures with a model that has zero losses everywhere."""
  cells.measure(
    config, SHAPE, ROPE, {}, CHOSEN, Store(folder), step=1, progress=tell
  )
  (folder / 'linear-16.npz').unlink()


def by_documents(config, folder, tell):
  """The same, document by document."""
  long.measure(
    config, SHAPE, ROPE, {'a': np.ones(1, np.float32)}, CHOSEN,
    long.LongStore(folder, 2), train_len=8, progress=tell,
  )  # fmt: skip
  (folder / '001' / 'linear-16.npz').unlink()


class Zeros:
  """A reader of nothing."""

  def __init__(self, *args, **more):
    """Takes what a reader takes."""

  def read(self, layout, windows, tell):
    """Zeros, told of twice."""
    for tokens in (8, windows.shape[1] - 1):
      tell(tokens)
    return np.zeros((1, windows.shape[1] - 1), np.float32)


@pytest.mark.parametrize('measure', [by_cells, by_documents])
def test_what_is_there_is_not_told_of(tmp_path, monkeypatch, measure):
  monkeypatch.setattr(long, 'Reader', Zeros)
  monkeypatch.setattr(
    cells,
    '_measure_cell',
    lambda *a: cells.Cell(
      np.arange(2), np.zeros(2, int), np.zeros((2, a[-2]), np.float32), a[-1]
    ),
  )
  config = tiny(
    eval__lengths=(16, 32), eval__protocols=('prefix',), eval__documents=2
  )
  config.variants = {'linear': {'name': 'linear', 'factor': 2.0}}
  # Only that context of 16 is its own: no other has its scores.
  monkeypatch.setattr(long.variants, 'same_scores', lambda *a: False)
  told = []
  measure(config, tmp_path, lambda what, *_: told.append(what))
  assert {what.removeprefix('d0, ').removeprefix('d1, ') for what in told} == {
    f'{name} at {n}' for name in ('as trained', 'linear') for n in (16, 32)
  }
  told.clear()
  measure(config, tmp_path, lambda what, *_: told.append(what))
  assert set(told) <= {'linear at 16', 'd1, linear at 16'}
  assert told
