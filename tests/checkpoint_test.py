"""Checkpoints: what is damaged is noticed, passed over and kept."""

import gc
import logging
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax.checkpoint import SEAL, Checkpoints


def tree(step):
  return {
    'weights': {'w': jnp.arange(4096.0) * step, 'b': jnp.ones((3,)) * step},
    'more': {'step': jnp.int32(step)},
  }


TARGETS = jax.tree.map(
  lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
  tree(1),
)


@pytest.fixture
def folder(tmp_path):
  with Checkpoints(tmp_path / 'checkpoints', keep=3) as checkpoints:
    for step in (10, 20, 30):
      checkpoints.save(step, tree(step), {'step': step})
  return tmp_path / 'checkpoints'


def restore(folder, **options):
  with Checkpoints(folder, **options) as checkpoints:
    return checkpoints.restore(TARGETS)


def biggest(folder: pathlib.Path) -> pathlib.Path:
  files = [f for f in folder.rglob('*') if f.is_file()]
  return max(files, key=lambda f: f.stat().st_size)


def test_restores_the_newest_with_what_was_kept_beside_it(folder):
  step, items, about = restore(folder)
  assert (step, about) == (30, {'step': 30})
  np.testing.assert_array_equal(items['weights']['w'], np.arange(4096.0) * 30)


def test_keeps_the_newest(folder):
  with Checkpoints(folder, keep=2) as checkpoints:
    checkpoints.save(40, tree(40), {})
    checkpoints.wait()
    assert checkpoints.steps() == [30, 40]


def test_reads_only_what_is_asked_for(folder):
  with Checkpoints(folder, read_only=True) as checkpoints:
    _, items, _ = checkpoints.restore({'weights': TARGETS['weights']})
  assert list(items) == ['weights']


def test_arrays_may_be_donated_once_save_returns(tmp_path):
  with Checkpoints(tmp_path / 'c') as checkpoints:
    state = tree(5)
    checkpoints.save(5, state, {})
    changed = jax.jit(
      lambda t: jax.tree.map(lambda x: x * 0, t), donate_argnums=0
    )(state)
    jax.block_until_ready(changed)
  step, items, _ = restore(tmp_path / 'c')
  assert step == 5
  np.testing.assert_array_equal(items['weights']['w'], np.arange(4096.0) * 5)


def flip(path):
  raw = bytearray(path.read_bytes())
  raw[len(raw) // 2] ^= 0xFF
  path.write_bytes(raw)


@pytest.mark.parametrize(
  'damage',
  [
    lambda folder: flip(biggest(folder)),
    lambda folder: biggest(folder).write_bytes(b''),
    lambda folder: biggest(folder).unlink(),
    lambda folder: (folder / '_CHECKPOINT_METADATA').write_text('{'),
    lambda folder: (folder / SEAL).write_text('{'),
  ],
)
def test_a_damaged_newest_falls_back_and_is_kept(folder, damage, caplog):
  damage(folder / '30')
  with caplog.at_level(logging.WARNING, 'rope_jax'):
    step, items, _ = restore(folder)
  assert step == 20
  np.testing.assert_array_equal(items['weights']['b'], np.full(3, 20.0))
  assert 'checkpoints/30 is damaged' in caplog.text
  assert 'falling back' in caplog.text
  assert (folder.with_name('checkpoints_broken') / '30.0').is_dir()
  # The step can be saved again.
  with Checkpoints(folder, keep=3) as checkpoints:
    checkpoints.save(30, tree(31), {})
  step, items, _ = restore(folder)
  assert (step, float(items['weights']['b'][0])) == (30, 31.0)


def test_a_reader_moves_nothing(folder):
  flip(biggest(folder / '30'))
  before = sorted(p for p in folder.parent.rglob('*'))
  step, _, _ = restore(folder, read_only=True)
  assert step == 20
  assert sorted(p for p in folder.parent.rglob('*')) == before


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_an_unsealed_but_damaged_one_falls_back(folder):
  """Its run was killed between writing it and sealing it."""
  (folder / '30' / SEAL).unlink()
  assert restore(folder, read_only=True)[0] == 30
  biggest(folder / '30' / 'weights').write_bytes(b'no')
  assert restore(folder)[0] == 20
  gc.collect()  # Reads that Orbax gave up, lest they end in another test.


def test_one_cut_short_is_set_aside(folder, caplog):
  half = folder / '40.orbax-checkpoint-tmp'
  half.mkdir()
  (half / 'weights').write_text('half')
  assert restore(folder)[0] == 30
  kept = folder.with_name('checkpoints_broken') / f'{half.name}.0'
  assert (kept / 'weights').read_text() == 'half'
  assert 'cut short' in caplog.text


def test_none_good_is_an_error_and_none_at_all_is_not(folder, tmp_path):
  assert restore(tmp_path / 'new') is None
  for step in (10, 20, 30):
    flip(biggest(folder / str(step)))
  with pytest.raises(ValueError, match='Nothing was deleted') as caught:
    restore(folder)
  assert all(f'checkpoints/{s}' in str(caught.value) for s in (10, 20, 30))
