"""Every config file loads, is valid, and says what it asks."""

import importlib
import inspect
import pathlib

import numpy as np
import pytest

from rope_jax import config as config_lib
from rope_jax import positions, study
from rope_jax.extend import plan, zero_shot

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
    elif config.tune and not config.start:
      plan.check(config)
      config_lib.layout(config)
    elif config.start or name == 'extend':
      config.start = config.start or 'a model'
      for full in (True, False):
        config.full = full
        one = zero_shot.sized(config)
        zero_shot.check(one)
        zero_shot.check_reading(zero_shot.filled(one, 512))
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


def test_the_zoo_has_every_method_alone_and_in_its_sweep():
  zoo = importlib.import_module('configs.zoo')
  sweep = zoo.get_config('tiny')
  swept = {*sweep.methods, *sweep.variants}
  assert swept | set(zoo.APART) >= set(positions.names())
  assert not set(zoo.APART) & swept
  for name in positions.names():
    for size in ('', ',tiny'):
      config = zoo.get_config(name + size)
      study.check(config)
      config_lib.layout(config)
      assert list(config.methods) == [name]


def test_the_zoo_reads_remapped_distances_within_the_trained_length():
  """At 16x as at 2x: a re-mapping of the sweep pretends no distance that
  training did not show, and reaches every key or says which it drops."""
  zoo = importlib.import_module('configs.zoo')
  for train_len, longest in ((128, 256), (128, 2048), (512, 8192)):
    specs = zoo.specs(train_len, longest, 32)
    q = np.array([[longest - 1]], np.int32)
    k = np.arange(longest, dtype=np.int32)[None]
    places = positions.Places(q, k, q, k, np.arange(1), 1)
    for name in ('self_extend', 'rerope', 'leaky_rerope', 'dual_chunk'):
      for view in positions.build(specs[name]).views(places):
        pretended = np.asarray(view.places.distance())[view.region(q, k)]
        assert pretended.max(initial=0) / view.places.divisor < train_len, name
        assert pretended.min(initial=0) >= 0


def test_the_zoo_refuses_an_unknown_method_and_lists_those_it_knows():
  zoo = importlib.import_module('configs.zoo')
  with pytest.raises(ValueError, match="'alibu' is no method; known: alibi"):
    zoo.get_config('alibu,tiny')
