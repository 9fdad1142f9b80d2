"""A whole study in miniature: trained, measured, reported, resumed."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from rope_jax import config as config_lib
from rope_jax import data, evaluate, gather, positions, study, train, workdir
from rope_jax.report import read_curves

ROOT = pathlib.Path(__file__).parents[1]


def _config():
  config = config_lib.default()
  config.data.update(name='pydoc')
  config.model.update(layers=1, width=16, heads=2, scan=False)
  config.train.update(
    train_len=16, batch=4, steps=4, warmup=1, log_every=2, checkpoint_every=4
  )
  config.eval.update(
    lengths=(16, 32), documents=3, protocols=('whole', 'last(8)'), tokens=64
  )
  config.methods = {
    'rope': {'name': 'rope', 'theta': 1e4},
    'learned': {'name': 'learned', 'train_len': 16},
  }
  config.variants = {'ntk': {'name': 'ntk', 'factor': 'auto'}}
  config.seeds = (0, 1)
  return config


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  folder = tmp_path_factory.mktemp('study')
  said = []
  paths = study.run(
    _config(),
    folder,
    note='Does it work?\n\nYes.',
    command='python -m experiments.study',
    say=said.append,
    progress=False,
  )
  return folder, paths, said


def test_the_workdir_describes_itself(done):
  folder, paths, _ = done
  for name in ('config.json', 'versions.json', 'curves.csv', 'report.html'):
    assert (folder / name).exists(), name
  assert set(paths) >= {'csv', 'table', 'svg', 'html'}
  run = folder / 'runs' / 'rope' / 'seed_1'
  for name in ('config.json', 'versions.json', 'metrics.jsonl', 'checkpoints'):
    assert (run / name).exists(), name
  assert json.loads((run / 'config.json').read_text())['train']['seed'] == 1
  assert 'Does it work?' in paths['html'].read_text(encoding='utf-8')


def test_there_is_a_row_for_each_cell_and_seed_and_a_pooled_one(done):
  rows = read_curves(done[0] / 'curves.csv')
  cells = {(r['method'], r['variant'], r['eval_len']) for r in rows}
  assert cells == {
    ('rope', 'none', 16),
    ('rope', 'none', 32),
    ('rope', 'ntk', 16),
    ('rope', 'ntk', 32),
    ('learned', 'none', 16),
  }
  for cell in cells:
    for protocol in ('whole', 'last(8)'):
      found = [
        r['seed']
        for r in rows
        if (r['method'], r['variant'], r['eval_len']) == cell
        and r['protocol'] == protocol
      ]
      assert sorted(map(str, found)) == ['0', '1', 'all']


def test_what_was_skipped_is_in_the_report(done):
  page = (done[0] / 'report.html').read_text(encoding='utf-8')
  assert 'Learned is defined for 16 positions' in page


def test_a_row_is_what_the_weights_on_disk_give(done):
  folder, _, _ = done
  config = _config()
  run = folder / 'runs' / 'rope' / 'seed_1'
  shape, layout, weights, step = train.load_weights(run)
  assert step == 4
  tokenizer = data.ByteTokenizer()
  chosen = evaluate.documents(config, tokenizer)
  ntk = positions.build({'name': 'ntk', 'theta': 1e4, 'factor': 2.0})
  windows = np.stack([d.tokens for d in chosen])
  losses = evaluate.windows_nll(shape, (ntk,), weights, windows)
  (row,) = (
    r
    for r in read_curves(folder / 'curves.csv')
    if (r['variant'], r['eval_len'], r['seed']) == ('ntk', 32, 1)
    and r['protocol'] == 'last(8)'
  )
  assert row['nll'] == pytest.approx(losses[:, -8:].mean(), rel=1e-5)
  assert row['tokens'] == 3 * 8
  assert row['bits_per_byte'] == pytest.approx(row['nll'] / np.log(2), rel=1e-6)
  assert layout == (positions.build({'name': 'rope', 'theta': 1e4}),)


def test_running_it_again_trains_nothing_and_writes_the_same(done):
  folder, paths, _ = done
  kept = folder / 'runs' / 'rope' / 'seed_0' / 'metrics.jsonl'
  before = kept.stat().st_mtime_ns, paths['csv'].read_bytes()
  study.run(_config(), folder, say=lambda _: None, progress=False)
  assert (kept.stat().st_mtime_ns, paths['csv'].read_bytes()) == before


def test_another_model_in_the_same_folder_is_refused(done):
  config = _config()
  config.model.width = 32
  with pytest.raises(ValueError, match=r'model\.width'):
    study.run(config, done[0], say=lambda _: None, progress=False)


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'methods': {}}, 'config.methods is empty'),
    ({'seeds': (1, 1)}, 'config.seeds'),
    ({'seeds': (0, -1)}, 'config.seeds'),
    ({'seeds': ('a',)}, 'config.seeds'),
    ({'eval.protocols': ()}, 'config.eval.protocols is empty'),
    ({'train.train_len': 10**8}, 'train_len'),
    ({'methods': {'a/b': {'name': 'nope'}}}, 'names a folder'),
    ({'methods': {'r': {'name': 'rope'}}}, 'needs theta'),
    ({'methods': {'r': {'name': 'rop', 'theta': 1e4}}}, "Did you mean 'rope'"),
    ({'eval.protocols': ('last(99)',)}, 'last.99. counts more targets'),
    ({'eval.documents': 10_000}, 'documents'),
    ({'model.heads': 3}, 'not divisible'),
  ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, change, says):
  config = _config()
  for name, value in change.items():
    *path, last = name.split('.')
    node = config
    for key in path:
      node = node[key]
    with config.unlocked(), config.ignore_type():
      node[last] = value
  folder = tmp_path / 'study'
  with pytest.raises(ValueError, match=says):
    study.run(config, folder, say=lambda _: None, progress=False)
  assert not folder.exists()


def _cli(*words):
  return subprocess.run(
    [sys.executable, '-m', *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_a_mistake_on_the_command_line_is_one_line(tmp_path):
  found = _cli(
    'experiments.study',
    '--config=configs/quickstart.py',
    f'--workdir={tmp_path}/s',
    '--config.eval.span=1000',
  )
  assert found.returncode == 2
  assert 'study: config.eval.span=1000 must be' in found.stderr
  assert 'Traceback' not in found.stderr
  assert not (tmp_path / 's').exists()


def test_variants_are_listed_by_their_numbers():
  names = ['ntk-16', 'linear', 'ntk-2', 'yarn 4x', 'yarn 16x']
  assert sorted(names, key=gather.natural) == [
    'linear',
    'ntk-2',
    'ntk-16',
    'yarn 4x',
    'yarn 16x',
  ]


def test_a_second_study_in_the_folder_is_refused(done):
  with (
    workdir.alone(done[0]),
    pytest.raises(ValueError, match='another process'),
  ):
    study.run(_config(), done[0], say=lambda _: None, progress=False)


def test_variants_of_says_which_methods_are_read_again():
  config = _config()
  config.methods.nope = [{'name': 'nope'}, {'name': 'rope', 'theta': 1e4}]
  config.variants_of = ('rope',)
  study.check(config)
  assert set(study.run_config(config, 'rope', 0).variants) == {'ntk'}
  assert not study.run_config(config, 'nope', 0).variants
  config.variants_of = ()
  assert set(study.run_config(config, 'nope', 0).variants) == {'ntk'}
  config.variants_of = ('rope', 'roep')
  with pytest.raises(
    ValueError, match=r'variants_of=.*names roep.*learned, nope, rope'
  ):
    study.check(config)
