"""Every config file loads, is valid, and says what it asks."""

import importlib
import inspect
import pathlib

import pytest

from rope_jax import config as config_lib
from rope_jax import study

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
NAMES = sorted(p.stem for p in CONFIGS.glob('*.py') if p.stem != '__init__')


@pytest.mark.parametrize('name', NAMES)
def test_a_config_is_valid_in_every_size(name):
  module = importlib.import_module(f'configs.{name}')
  sizes = (
    ('', 'tiny') if inspect.signature(module.get_config).parameters else ()
  )
  for config in [module.get_config(s) for s in sizes] or [module.get_config()]:
    if config.methods:
      study.check(config)
    else:
      config_lib.check(config)
      config_lib.layout(config)


@pytest.mark.parametrize('name', NAMES)
def test_a_config_is_a_lab_note(name):
  note = importlib.import_module(f'configs.{name}').__doc__ or ''
  assert note.splitlines()[0].endswith('?')
  for part in ('Command:', 'Result'):
    assert part in note, part
  assert 'TODO' not in note


def test_an_unknown_size_is_refused():
  with pytest.raises(ValueError, match=':tiny'):
    importlib.import_module('configs.ntk').get_config('huge')
