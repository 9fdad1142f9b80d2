"""Positions shown in training: what goes by them, and what by the real ones."""

import hooks
import jax
import numpy as np
import pytest

from rope_jax import config as config_lib
from rope_jax import model, positions, study

ROPE = {'name': 'rope', 'theta': 1e4}
RANDOMIZED = {'name': 'randomized', 'max_len': 64}
CONFIG = model.ModelConfig(vocab=40, layers=2, width=32, heads=4, mlp_dim=16)
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, 40, (2, 24)).astype(np.int32)
POS = np.tile(np.arange(24, dtype=np.int32), (2, 1))
SHOWN = (POS * 37 + 11).astype(np.int32)
forward = hooks.jit(model.forward, static_argnums=(0, 1))


def logits(spec, *, shown=None, pos=POS, segment=None):
  layout = positions.layout(spec)
  weights = model.init_weights(jax.random.key(0), CONFIG, layout)
  weights = jax.tree.map(lambda x: 2 * x, weights)
  return forward(CONFIG, layout, weights, IDS, pos, segment, shown)


@pytest.mark.parametrize(
  'spec',
  [
    {'name': 'log_n', 'train_len': 8},
    {'name': 'ssmax'},
    {'name': 'llama4_temperature', 'floor_scale': 8},
    {'name': 'log_temperature', 'slope': 0.5, 'train_len': 8},
    {'name': 'log_temperature', 'slope': 0.5, 'train_len': 8, 'by': 'length'},
    {'name': 'local', 'window': 8},
    {'name': 'local', 'window': 8, 'kind': 'chunk'},
  ],
  ids=lambda spec: '-'.join(map(str, spec.values())),
)
def test_temperatures_and_windows_go_by_the_real_positions(spec):
  want = logits(spec)
  np.testing.assert_array_equal(logits(spec, shown=SHOWN), want)
  # It does something: with the shown positions as real ones it differs.
  assert np.abs(logits(spec, pos=SHOWN) - want).max() > 1e-3


def test_rotations_go_by_the_positions_shown_and_lengths_do_not():
  """24 tokens within train_len, shown at positions up to 900."""
  dynamic = {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 32}
  want = logits(ROPE, pos=SHOWN)
  np.testing.assert_allclose(logits(ROPE, shown=SHOWN), want, atol=1e-5)
  np.testing.assert_allclose(logits(dynamic, shown=SHOWN), want, atol=1e-5)
  assert np.abs(logits(dynamic, pos=SHOWN) - want).max() > 1e-3


def test_positions_left_out_start_again_in_every_segment():
  segment = np.repeat([[3, 3, 7, 1], [1, 2, 2, 2]], 6, axis=1).astype(np.int32)
  pos = np.stack(
    [
      np.concatenate([np.arange(12), np.arange(6), np.arange(6)]),
      np.concatenate([np.arange(6), np.arange(18)]),
    ]
  ).astype(np.int32)
  spec = {'name': 'sinusoidal'}
  want = logits(spec, pos=pos, segment=segment)
  got = logits(spec, pos=None, segment=segment)
  np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
  ('parts', 'train_len', 'says'),
  [
    ([{'name': 'learned', 'train_len': 12}], 20, 'Learned.*12.*shows 20'),
    (
      [{'name': 'learned', 'train_len': 32}, RANDOMIZED],
      20,
      r'Learned.*32.*shows 64 \(train_len=20\)',
    ),
    (
      [
        {'name': 'learned', 'train_len': 32},
        {'name': 'pose', 'train_len': 20, 'target_len': 40},
      ],
      20,
      'shows 40',
    ),
    (
      [
        {'name': 'learned', 'train_len': 32},
        {'name': 'random_offset', 'max_offset': 13},
      ],
      20,
      'shows 33',
    ),
    (
      [{'name': 'rerope', 'theta': 1e4, 'window': 8}, RANDOMIZED],
      20,
      'Rerope re-maps.*Randomized shows others',
    ),
  ],
)
def test_what_training_would_show_beyond_a_method_is_refused(
  parts, train_len, says
):
  config = config_lib.default()
  config.train.train_len = train_len
  config.methods = {'m': {'name': 'compose', 'parts': parts}}
  with pytest.raises(ValueError, match=says):
    study.check(config)


@pytest.mark.parametrize(
  'drawing',
  [
    RANDOMIZED,
    {'name': 'pose', 'train_len': 20, 'target_len': 40},
    {'name': 'random_offset', 'max_offset': 13},
  ],
  ids=lambda spec: spec['name'],
)
def test_what_is_shown_is_below_what_the_method_says(drawing):
  method = positions.build(drawing)
  pos = np.tile(np.arange(20, dtype=np.int32), (400, 1))
  drawn = np.asarray(method.train_positions(jax.random.key(0), pos))
  most = method.shown(20)
  assert most - 3 <= drawn.max() + 1 <= most


def test_one_method_that_draws_may_stand_in_several_layers():
  pose = {'name': 'pose', 'train_len': 24, 'target_len': 96}
  near = {'name': 'compose', 'parts': (ROPE, pose)}
  far = {'name': 'compose', 'parts': ({**ROPE, 'theta': 1e6}, pose)}
  layout = positions.layout(
    positions.local_global(near=near, far=far, window=8, period=2)
  )
  key = jax.random.key(0)
  got = model.train_positions(layout, key, POS)
  want = positions.build(pose).train_positions(key, POS)
  np.testing.assert_array_equal(got, want)
  plain = positions.layout(ROPE)
  assert model.train_positions(plain, key, POS) is None
