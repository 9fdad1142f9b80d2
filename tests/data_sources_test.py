"""Opening data sets by name: folders, public TFDS sets, every refusal."""

import pathlib
import shutil

import numpy as np
import pytest

from rope_jax import data
from rope_jax.data import documents, quiet, sources


def write(folder, texts):
  for name, text in texts.items():
    file = pathlib.Path(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
  return folder


def folder_texts(path, data_dir, splits=documents.SPLITS):
  return {
    split: {
      d.id: d.text
      for d in data.load_documents(
        'folder', split, path=path, data_dir=data_dir
      )
    }
    for split in splits
  }


@pytest.fixture
def data_dir(tmp_path):
  return tmp_path / 'tfds'


def test_folder_splits_by_a_stable_hash(tmp_path, data_dir):
  texts = {f'{i % 4}/{i:02}.txt': f'Text {i}, é\r\n' for i in range(20)}
  path = write(tmp_path / 'texts', {**texts, 'ignored.md': 'no'})
  found = folder_texts(path, data_dir)
  assert [len(found[split]) for split in documents.SPLITS] == [16, 2, 2]
  assert {k: v for part in found.values() for k, v in part.items()} == texts
  copy = write(tmp_path / 'elsewhere', dict(reversed(texts.items())))
  assert folder_texts(copy, data_dir) == found
  train = data.load_documents('folder', 'train', path=path, data_dir=data_dir)
  assert {d.group for d in train} == {'0', '1', '2', '3'}
  assert [d.id for d in train] == sorted(d.id for d in train)


def test_folder_uses_split_folders(tmp_path, data_dir):
  path = write(tmp_path / 'a', {'train/x/1.txt': 'one', 'test/2.txt': 'two'})
  assert folder_texts(path, data_dir, ('train', 'test')) == {
    'train': {'train/x/1.txt': 'one'},
    'test': {'test/2.txt': 'two'},
  }
  with pytest.raises(ValueError, match=r"'validation'.*'train', 'test'"):
    folder_texts(path, data_dir, ('validation',))
  write(path, {'stray.txt': 'three'})
  with pytest.raises(ValueError, match=r"such as 'stray\.txt'; move them"):
    folder_texts(path, data_dir, ('train',))


def test_folder_with_changed_contents_is_prepared_anew(tmp_path, data_dir):
  path = write(tmp_path / 'a', {f'{i}.txt': f'old {i}' for i in range(5)})
  load = lambda: data.load_documents(  # noqa: E731
    'folder', 'train', path=path, data_dir=data_dir
  )
  old = load()
  assert [d.text for d in load()] == [d.text for d in old]
  assert load().fingerprint == old.fingerprint
  # The same sizes and names: only the contents differ.
  write(path, {f'{i}.txt': f'new {i}' for i in range(5)})
  new = load()
  assert all(d.text.startswith('new') for d in new)
  assert new.fingerprint != old.fingerprint
  assert new.metadata['path'] == str(path)


def test_folder_refuses_what_is_not_utf8_and_recovers(tmp_path, data_dir):
  texts = {'a.txt': 'fine', 'bad.txt': b'one\ntwo \xff', 'c.txt': 'fine'}
  path = write(tmp_path / 'a', texts)
  with pytest.raises(
    ValueError, match=r'bad\.txt is not UTF-8: byte 0xff at offset 8 \(line 2\)'
  ):
    folder_texts(path, data_dir)
  # TFDS takes its half-written folder away again.
  assert [f for f in data_dir.rglob('*') if 'incomplete' in f.name] == []
  write(path, {'bad.txt': 'mended'})
  found = folder_texts(path, data_dir)
  assert 'mended' in {t for part in found.values() for t in part.values()}


def test_folder_refuses_no_folder_and_no_files(tmp_path, data_dir):
  with pytest.raises(ValueError, match='path is missing'):
    data.load_documents('folder', 'train', data_dir=data_dir)
  with pytest.raises(ValueError, match=r"path='.*nowhere' is not a folder"):
    folder_texts(tmp_path / 'nowhere', data_dir)
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match=r'has no \*\.txt file'):
    folder_texts(tmp_path / 'empty', data_dir)


@pytest.mark.parametrize(
  ('name', 'arguments', 'message'),
  [
    ('sotuu', {}, r"'sotuu' is not .* Did you mean 'sotu'\?"),
    ('wikipedia', {}, r'is not a data set we know: folder, kjv, .*tfds:NAME'),
    ('sotu/president', {}, r"config='president'.* mean 'presidents'\?"),
    ('sotu/presidents', {'config': 'speeches'}, 'disagree'),
    ('python_source', {'config': 'x'}, 'python_source has no configs'),
    ('sotu', {'path': '/x'}, r"path='/x' means nothing for 'sotu'"),
    ('kjv', {'text_key': 'x'}, r"text_key='x' means nothing for 'kjv'"),
    ('pydoc', {'split': 'dev'}, r"split='dev': pydoc has no such split"),
    ('pydoc', {'split': 'train[:2]'}, 'cannot be sliced'),
    ('pydoc/x', {}, r"Did you mean 'pydoc'\?"),
  ],
)
def test_bad_names_are_refused_before_any_work(
  name, arguments, message, data_dir
):
  arguments = {'split': 'train', 'data_dir': data_dir, **arguments}
  with pytest.raises(ValueError, match=message):
    data.load_documents(name, **arguments)
  assert not data_dir.exists()


@pytest.fixture(scope='module')
def public(tmp_path_factory):
  """A folder with a set of pg19's schema, as a user would prepare it."""
  import tensorflow_datasets as tfds

  keys = ('book_text', 'book_title', 'publication_date', 'book_link')

  class Books(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version('0.1.1')

    def _info(self):
      return tfds.core.DatasetInfo(
        builder=self,
        disable_shuffling=True,
        features=tfds.features.FeaturesDict(
          {
            **{key: tfds.features.Text() for key in keys},
            'book_id': tfds.features.Scalar(np.int32),
          }
        ),
      )

    def _split_generators(self, dl_manager):
      del dl_manager
      return {
        'train': self._generate_examples('train', 5),
        'test': self._generate_examples('test', 2),
      }

    def _generate_examples(self, split, count):
      for i in range(count):
        row = dict.fromkeys(keys, '') | {'book_link': f'http://{i}'}
        config = self.builder_config and self.builder_config.name
        text = f'{config} {split} {i} é'
        yield i, row | {'book_text': text, 'book_id': 10 + i}

  folder = tmp_path_factory.mktemp('public')
  for config in (None, tfds.core.BuilderConfig(name='small')):
    with quiet.quiet():
      Books(
        data_dir=folder, config=config, file_format='array_record'
      ).download_and_prepare()
  return folder


def test_a_public_set_opens_with_its_text_and_id_found(public):
  books = data.load_documents('tfds:books', 'train', data_dir=public)
  assert [(d.id, d.text) for d in books] == [
    (str(10 + i), f'None train {i} é') for i in range(5)
  ]
  assert books.metadata['dataset'] == 'books/0.1.1'
  sliced = data.load_documents('tfds:books', 'train[2:4]', data_dir=public)
  assert [d.id for d in sliced] == ['12', '13']
  assert sliced.fingerprint != books.fingerprint
  version = data.load_documents('tfds:books:0.1.1', 'test', data_dir=public)
  assert len(version) == 2


def test_a_public_set_takes_config_and_text_key(public):
  for name, config in (('tfds:books/small', None), ('tfds:books', 'small')):
    books = data.load_documents(name, 'test', config=config, data_dir=public)
    assert books[1].text == 'small test 1 é'
  links = data.load_documents(
    'tfds:books', 'test', text_key='book_link', data_dir=public
  )
  assert links[1].text == 'http://1'
  assert links.fingerprint != books.fingerprint


def test_public_sets_are_found_through_the_environment(public, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(public))
  assert sources.default_data_dir() == public
  assert len(data.load_documents('tfds:books', 'test')) == 2
  monkeypatch.delenv('TFDS_DATA_DIR')
  assert sources.default_data_dir().parts[-2:] == ('rope_jax', 'tfds')


def test_public_sets_refuse_with_the_remedy(public, tmp_path):
  with pytest.raises(
    ValueError,
    match=r'not prepared under .*tfds build pg19 --file_format=array_record'
    r'(.|\n)*--config\.data\.name=.tfds:pg19',
  ):
    data.load_documents('tfds:pg19', 'train', data_dir=tmp_path)
  with pytest.raises(ValueError, match=r"'validation'.*has 'train', 'test'"):
    data.load_documents('tfds:books', 'validation', data_dir=public)
  with pytest.raises(ValueError, match=r"text_key='body'.*book_text"):
    data.load_documents('tfds:books', 'test', text_key='body', data_dir=public)


def test_a_set_in_another_file_format_is_refused(public, tmp_path):
  shutil.copytree(public / 'books' / '0.1.1', tmp_path / 'books' / '0.1.1')
  info = tmp_path / 'books' / '0.1.1' / 'dataset_info.json'
  info.write_text(info.read_text().replace('array_record', 'tfrecord'))
  with pytest.raises(ValueError, match='as tfrecord, which cannot be read at'):
    data.load_documents('tfds:books', 'train', data_dir=tmp_path)


def test_pydoc_needs_nothing_and_splits_are_disjoint():
  parts = [data.load_documents('pydoc', split) for split in documents.SPLITS]
  assert [len(p) for p in parts] == [32, 4, 4]
  ids = [d.id for part in parts for d in part]
  assert len(set(ids)) == 40
  assert min(len(d.text) for part in parts for d in part) > 4000


def test_documents_index_slice_and_fingerprint():
  texts = data.documents_from_texts(['a', 'bb', 'ccc'])
  assert [d.text for d in texts[1:]] == ['bb', 'ccc']
  assert texts[::-1][0].text == texts[-1].text == 'ccc'
  assert texts.num_bytes == 6
  with pytest.raises(IndexError, match='which has 3 documents'):
    texts[3]
  prints = {
    data.documents_from_texts(t).fingerprint
    for t in (['a', 'bb'], ['ab', 'b'], ['bb', 'a'], ['a', 'bb', ''])
  }
  assert len(prints | {texts.fingerprint, texts[1:].fingerprint}) == 6
