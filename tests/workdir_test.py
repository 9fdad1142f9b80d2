"""A workdir belongs to one configuration and says with what it was made."""

import json
import subprocess
import sys

import pytest
import training_support as support

from rope_jax import workdir

WORK = 'a training'


@pytest.fixture
def owned(tmp_path):
  workdir.claim(tmp_path, support.tiny(), WORK, {'data': 'texts'})
  (tmp_path / 'metrics.jsonl').write_text('')
  return tmp_path


def test_describes_itself(owned):
  config = json.loads((owned / 'config.json').read_text())
  assert config['train']['train_len'] == 16
  assert config['position'] == {'name': 'rope', 'theta': 1e4}
  versions = json.loads((owned / 'versions.json').read_text())
  for name in (
    'python',
    'jax',
    'flax',
    'optax',
    'orbax_checkpoint',
    'numpy',
    'rope_jax',
    'platform',
    'device_kind',
    'device_count',
    'xla_flags',
    'commit',
  ):
    assert name in versions
  assert versions['data'] == 'texts'


def test_another_configuration_is_refused_field_by_field(owned):
  other = support.tiny(train__learning_rate=0.5, model__width=32)
  other.position = {'name': 'alibi'}
  before = (owned / 'config.json').read_bytes()
  with pytest.raises(ValueError, match='another configuration') as caught:
    workdir.claim(owned, other, WORK)
  text = str(caught.value)
  assert 'config.train.learning_rate: 0.01 there, 0.5 here' in text
  assert 'config.model.width: 16 there, 32 here' in text
  assert "config.position.name: 'rope' there, 'alibi' here" in text
  assert 'config.position.theta: 10000.0 there, absent here' in text
  assert (owned / 'config.json').read_bytes() == before


def test_how_the_work_is_done_may_change(owned):
  other = support.tiny(
    train__log_every=7,
    train__keep=9,
    eval__documents=3,
    mesh__data=4,
    model__scan=True,
    train__tensorboard=True,
  )
  other.variants = {'ntk': {'name': 'ntk', 'theta': 1e4, 'factor': 2.0}}
  workdir.check_owner(owned, other, WORK)


def test_other_text_is_refused(owned):
  with pytest.raises(ValueError, match='texts there, others now'):
    workdir.claim(owned, support.tiny(), WORK, {'data': 'others'})


def test_versions_of_earlier_sessions_are_kept(owned):
  path = owned / 'versions.json'
  then = json.loads(path.read_text()) | {'jax': '0.1'}
  path.write_text(json.dumps(then))
  workdir.claim(owned, support.tiny(), WORK, {'data': 'texts'})
  now = json.loads(path.read_text())
  assert now['jax'] != '0.1'
  assert [e['jax'] for e in now['earlier']] == ['0.1']


def test_a_run_that_never_began_gives_way(tmp_path):
  workdir.claim(tmp_path, support.tiny(), WORK)
  workdir.claim(tmp_path, support.tiny(model__width=32), WORK)


@pytest.mark.parametrize('begun', workdir.BEGUN)
def test_work_of_another_kind_is_refused(tmp_path, begun):
  workdir.claim(tmp_path, support.tiny(), WORK)
  (tmp_path / begun).mkdir()
  before = {p.name: p.read_bytes() for p in tmp_path.glob('*.json')}
  says = 'holds a training, and this is a study. Use another workdir'
  with pytest.raises(ValueError, match=says):
    workdir.claim(tmp_path, support.tiny(), 'a study')
  with pytest.raises(ValueError, match='another configuration'):
    workdir.claim(tmp_path, support.tiny(model__width=32), WORK)
  assert before == {p.name: p.read_bytes() for p in tmp_path.glob('*.json')}


def test_the_folder_of_a_pretrained_model_is_refused(tmp_path):
  (tmp_path / 'config.json').write_text('{"model_type": "llama"}')
  with pytest.raises(ValueError, match='that no run of ours wrote'):
    workdir.claim(tmp_path, support.tiny(), WORK)
  assert 'llama' in (tmp_path / 'config.json').read_text()


@pytest.mark.parametrize(
  ('prepare', 'says'),
  [
    (lambda f: (f / 'checkpoints').mkdir(), 'no config.json'),
    (
      lambda f: [
        (f / 'config.json').write_text('{'),
        (f / 'metrics.jsonl').write_text(''),
      ],
      'not valid JSON',
    ),
  ],
)
def test_folders_nobody_knows(tmp_path, prepare, says):
  prepare(tmp_path)
  with pytest.raises(ValueError, match=says):
    workdir.check_owner(tmp_path, support.tiny(), WORK)


def test_names_that_are_no_folder(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(ValueError, match='is a file'):
    workdir.check_owner(tmp_path / 'file', support.tiny(), WORK)
  with pytest.raises(ValueError, match='mount the bucket'):
    workdir.check_owner('gs://bucket/run', support.tiny(), WORK)


def test_two_runs_cannot_share_a_folder(tmp_path):
  code = (
    'import sys; from rope_jax import workdir\n'
    f'with workdir.alone({str(tmp_path)!r}): print("in")'
  )
  with workdir.alone(tmp_path):
    other = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
  assert 'another process is at work in it' in other.stderr
  again = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=False
  )
  assert again.stdout == 'in\n'
