"""Specs: what builds, as which types, and what is refused by name."""

import json

import hooks
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import positions
from rope_jax.evaluate import nll

ROPE = {'name': 'rope', 'theta': 1e4}
LEAKY = {'name': 'leaky_rerope', 'theta': 1e4, 'window': 8}


def test_numbers_of_any_kind_build_one_method():
  want = positions.build({**LEAKY, 'factor': 4.0})
  for theta, window, factor in (
    (10_000, 8, 4),
    (np.float32(1e4), np.int64(8), np.float64(4)),
    (jnp.float32(1e4), jnp.int32(8), np.int8(4)),
  ):
    spec = {**LEAKY, 'theta': theta, 'window': window, 'factor': factor}
    built = positions.build(spec)
    assert (built, hash(built), repr(built)) == (want, hash(want), repr(want))
    assert json.loads(json.dumps(positions.spec(built)))['theta'] == 1e4


@pytest.mark.parametrize(
  ('spec', 'says'),
  [
    ({**ROPE, 'theta': True}, 'theta=True is bool; theta must be float'),
    ({**ROPE, 'theta': '1e4'}, "theta='1e4' is str"),
    ({**LEAKY, 'window': 8.0, 'factor': 4}, r'window=8\.0 is float'),
    ({'name': 'compose', 'parts': ROPE}, 'a sequence of specs'),
    ({'name': 'compose', 'parts': 'rope'}, 'a sequence of specs'),
  ],
)
def test_what_is_of_another_kind_is_refused(spec, says):
  with pytest.raises(ValueError, match=says):
    positions.build(spec)


def test_nothing_composed_is_nope_and_comes_back_as_itself():
  nothing = positions.compose()
  assert nothing == positions.build({'name': 'nope'})
  assert positions.build(positions.spec(nothing)) == nothing


def test_first_tokens_of_longrope_do_not_go_with_pretended_positions():
  longrope = {
    'name': 'longrope',
    'theta': 1e4,
    'short_factor': [1.0] * 4,
    'long_factor': [2.0] * 4,
    'train_len': 64,
    'first': 2,
  }
  chunks = {'name': 'dual_chunk', 'theta': 1e4, 'chunk': 8, 'local': 2}
  with pytest.raises(
    ValueError, match=r'Longrope.*first=2.*DualChunk.*first=0'
  ):
    positions.build({'name': 'compose', 'parts': [chunks, longrope]})
  positions.build(
    {'name': 'compose', 'parts': [chunks, {**longrope, 'first': 0}]}
  )


@pytest.mark.parametrize(
  ('fields', 'says'),
  [
    ({'attention_factor': 0.0}, r'attention_factor=0\.0'),
    ({'attention_factor': -1.0}, r'attention_factor=-1\.0'),
    ({'mscale': float('nan'), 'mscale_all_dim': 1.0}, 'mscale=nan'),
    ({'mscale': 1.0, 'mscale_all_dim': -7.0}, r'mscale_all_dim=-7\.0'),
    ({'beta_fast': float('inf')}, 'beta_fast=inf'),
  ],
)
def test_numbers_that_would_break_yarn_are_refused(fields, says):
  spec = {'name': 'yarn', 'theta': 1e4, 'factor': 4.0, 'train_len': 64}
  with pytest.raises(ValueError, match=says):
    positions.build({**spec, **fields})


def test_the_reach_of_an_interpolated_table_is_not_rounded_down():
  spec = {'name': 'learned', 'beyond': 'interpolate'}
  method = positions.build({**spec, 'train_len': 101, 'factor': 1.15})
  assert method.reach == 116  # 100 x 1.15 is 114.99999999999999 in floats.


def test_a_window_too_long_names_the_part_that_ends():
  learned = {'name': 'learned', 'train_len': 8}
  layout = positions.layout({'name': 'compose', 'parts': [learned, ROPE]})
  with pytest.raises(ValueError, match='Learned is defined for 8 positions'):
    nll.check_reach(layout, 9)


@pytest.mark.parametrize(
  'spec',
  [
    {'name': 'log_n', 'train_len': 16},
    {'name': 'log_temperature', 'slope': 0.1, 'train_len': 16},
    {'name': 'llama4_temperature', 'floor_scale': 16},
    {'name': 'ssmax'},
  ],
  ids=lambda spec: spec['name'],
)
def test_temperatures_grow_up_to_the_last_position(spec):
  method = positions.build(spec)
  at = np.array([[0, 15, 16, 2**24, 2**31 - 17, 2**31 - 1]], np.int32)
  params = {'s': jnp.ones(2)} if spec['name'] == 'ssmax' else {}
  got = method.scale(params, hooks.places(at, at, heads=2, length=16))
  assert np.isfinite(got).all()
  assert (np.diff(got[0, 0]) >= -1e-6).all()
  assert got[0, 0, -1] > got[0, 0, 3] > got[0, 0, 1]
