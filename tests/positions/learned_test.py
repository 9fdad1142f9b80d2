"""Learned embeddings: one row a position, and what comes after the last."""

import functools

import jax
import numpy as np
import oracles
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'train_len': 128},
]

POLICIES = [
  {'beyond': 'error'},
  {'beyond': 'clip'},
  {'beyond': 'interpolate', 'factor': 3.0},
  {'beyond': 'interpolate', 'factor': 1.0},
]


def build(**fields):
  return positions.build({'name': 'learned', 'train_len': 11, **fields})


@functools.partial(jax.jit, static_argnums=0)
def embed(position, params, x, pos):
  return position.embed(params, x, pos)


@pytest.mark.parametrize('fields', POLICIES)
def test_lookups_equal_the_loops_inside_and_beyond_the_table(rng, fields):
  method = build(**fields)
  rows = rng.normal(size=(11, 4)).astype(np.float32)
  x = rng.normal(size=(2, 50, 4)).astype(np.float32)
  pos = np.stack([np.arange(-4, 46), rng.permutation(50)]).astype(np.int32)
  got = embed(method, {'table': rows}, x, pos)
  wanted = [
    oracles.learned(
      rows, [int(p) for p in row], fields['beyond'], fields.get('factor')
    )
    for row in pos
  ]
  # The table is kept at the scale of the token embeddings: times sqrt(4).
  np.testing.assert_allclose(got, x + 2 * np.stack(wanted), atol=1e-5)


@pytest.mark.parametrize(
  ('fields', 'reach'),
  [
    ({}, 11),
    ({'beyond': 'clip'}, None),
    ({'beyond': 'interpolate', 'factor': 3.0}, 31),
    ({'beyond': 'interpolate', 'factor': 1.05}, 11),
  ],
)
def test_reach_is_the_first_position_that_gives_nan(fields, reach):
  method = build(**fields)
  assert method.reach == reach
  rows, x = np.ones((11, 4), np.float32), np.zeros((1, 2, 4), np.float32)
  end = reach or 10**6
  pos = np.array([[end - 1, end]], np.int32)
  got = np.asarray(embed(method, {'table': rows}, x, pos))
  assert np.isfinite(got[0, 0]).all()
  assert np.isnan(got[0, 1]).all() == (reach is not None)


def test_reach_of_a_composition_is_the_shortest():
  both = positions.compose(build(), build(train_len=7), build(beyond='clip'))
  assert both.reach == 7


def test_gradients_reach_only_the_rows_that_were_read():
  def total(rows):
    x, pos = np.zeros((1, 2, 4), np.float32), np.array([[2, 5]], np.int32)
    return build().embed({'table': rows}, x, pos).sum()

  got = jax.grad(total)(np.ones((11, 4), np.float32))
  assert set(np.flatnonzero(got.sum(axis=1))) == {2, 5}


def test_two_factors_in_one_process_do_not_mix(rng):
  rows = rng.normal(size=(11, 4)).astype(np.float32)
  x, pos = np.zeros((1, 1, 4), np.float32), np.array([[9]], np.int32)
  methods = [build(beyond='interpolate', factor=f) for f in (1.0, 2.0)]
  forwards = [np.asarray(embed(m, {'table': rows}, x, pos)) for m in methods]
  embed.clear_cache()
  backwards = [embed(m, {'table': rows}, x, pos) for m in methods[::-1]][::-1]
  np.testing.assert_array_equal(forwards, backwards)
  assert np.abs(forwards[0] - forwards[1]).max() > 0.1


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
    ({'train_len': None}, 'needs train_len'),
    ({'beyond': 'wrap'}, "beyond='wrap'.*'error', 'clip', 'interpolate'"),
    ({'beyond': 'interpolate'}, 'factor=None.*>= 1'),
    ({'beyond': 'interpolate', 'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'factor': 2.0}, r"factor=2\.0.*None unless beyond='interpolate'"),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
