"""Layouts of the literature: what they are made of, and what they reduce to."""

import hooks
import jax
import numpy as np
import pytest

from rope_jax import model, positions

ROPE = {'name': 'rope', 'theta': 1e4}
SLOW = {'name': 'rope', 'theta': 1e6}
CONFIG = model.ModelConfig(vocab=40, layers=4, width=32, heads=4, mlp_dim=16)
IDS = np.random.default_rng(0).integers(0, 40, (2, 24)).astype(np.int32)
forward = hooks.jit(model.forward, static_argnums=(0, 1))


def logits(specs):
  layout = positions.layout(specs)
  weights = model.init_weights(jax.random.key(0), CONFIG, layout)
  return np.asarray(forward(CONFIG, layout, weights, IDS))


def test_every_puts_the_special_one_last_and_hands_out_copies():
  specs = positions.every(3, {'name': 'nope'}, ROPE)
  assert [s['name'] for s in specs] == ['rope', 'rope', 'nope']
  specs[0]['theta'] = 1.0
  assert ROPE['theta'] == specs[1]['theta'] == 1e4


@pytest.mark.parametrize('period', [0, 1])
def test_a_period_without_other_layers_is_refused(period):
  with pytest.raises(ValueError, match=f'period={period} leaves no other'):
    positions.every(period, ROPE, ROPE)


def test_local_global_with_a_window_as_long_as_the_text_is_two_thetas():
  made = positions.local_global(near=ROPE, far=SLOW, window=24, period=2)
  want = logits([ROPE, SLOW])
  np.testing.assert_allclose(logits(made), want, atol=1e-5)
  made = positions.local_global(near=ROPE, far=SLOW, window=8, period=2)
  gap = np.abs(logits(made) - want).max(axis=(0, 2))
  assert gap[:8].max() < 1e-5  # Up to the window's end nothing is hidden.
  assert gap[8:].min() > 1e-4


def test_only_the_global_layers_of_local_global_carry_far():
  """With a last layer that sees a window too, token 0 cannot reach token 23
  through 4 layers of 6 tokens; with a global one it can."""

  def reaches(specs):
    changed = IDS.copy()
    changed[:, 0] = (changed[:, 0] + 1) % 40
    layout = positions.layout(specs)
    weights = model.init_weights(jax.random.key(0), CONFIG, layout)
    a, b = (forward(CONFIG, layout, weights, ids) for ids in (IDS, changed))
    return np.abs(a - b)[:, -1].max()

  made = positions.local_global(near=ROPE, far=SLOW, window=6, period=2)
  assert reaches(made) > 1e-5
  assert reaches(made[:1]) == 0


def test_irope_within_one_chunk_is_rope_with_a_nope_layer():
  sizes = {'rotary': ROPE, 'floor_scale': 64, 'period': 4}
  want = logits([ROPE, ROPE, ROPE, {'name': 'nope'}])
  made = positions.irope(chunk=24, **sizes)
  np.testing.assert_allclose(logits(made), want, atol=1e-5)
  made = positions.irope(chunk=8, **sizes)
  gap = np.abs(logits(made) - want).max(axis=(0, 2))
  assert gap[:8].max() < 1e-5
  assert gap[8:].min() > 1e-4


def test_irope_sharpens_its_nope_layer_past_the_floor():
  sizes = {'rotary': ROPE, 'chunk': 24, 'period': 2}
  want = logits([ROPE, {'name': 'nope'}])
  gap = np.abs(logits(positions.irope(floor_scale=12, **sizes)) - want)
  assert gap[:, :11].max() < 1e-5  # The temperature is 1 up to token 10.
  assert gap[:, 11:].max(axis=(0, 2)).min() > 1e-4


def test_everything_at_once():
  """p-RoPE under YaRN's scaling, SSMax and iRoPE."""
  parts = (
    {'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5},
    {'name': 'yarn', 'theta': 1e4, 'factor': 4.0, 'train_len': 16},
    {'name': 'ssmax'},
  )
  made = positions.irope(
    rotary={'name': 'compose', 'parts': parts},
    chunk=8,
    floor_scale=8,
    period=2,
  )
  layout = positions.layout(made)
  assert positions.layout([positions.spec(p) for p in layout]) == layout
  assert np.isfinite(logits(made)).all()
