"""Leaky ReRoPE: fractional distances, exact far away."""

import functools

import hooks
import hooks_remap
import numpy as np
import oracles
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'window': 8, 'factor': 2.5},
]

SIZES = [(8, 2.5), (5, 3.0), (10, 1.1), (8, 1.0), (4, 16.0)]


def build(**fields):
  defaults = {'theta': 1e4, 'window': 8, 'factor': 2.5}
  return positions.build({'name': 'leaky_rerope', **defaults, **fields})


def oracle(window=8, factor=2.5):
  return functools.partial(
    oracles_remap.leaky_rerope, window=window, factor=factor
  )


@pytest.mark.parametrize(('window', 'factor'), [(8, 2.5), (10, 1.1)])
def test_attention_equals_the_loops(rng, window, factor):
  hooks_remap.assert_attends(
    build(window=window, factor=factor),
    hooks_remap.case(rng),
    oracle(window, factor),
  )


@pytest.mark.parametrize(('window', 'factor'), SIZES)
def test_every_pair_is_at_the_papers_distance(window, factor):
  hooks_remap.assert_distances(
    build(window=window, factor=factor), oracle(window, factor), offset=7
  )


@pytest.mark.parametrize(('window', 'factor'), SIZES)
def test_the_longest_text_meets_no_distance_unseen_in_training(window, factor):
  method, trained = build(window=window, factor=factor), 20
  longest = int(factor * (trained - 1 - window) + window + 1 + 1e-9)
  assert hooks_remap.furthest(method, longest) <= trained - 1 + 1e-9
  assert hooks_remap.furthest(method, longest + 1) > trained - 1


def test_positions_far_away_turn_as_near_by(rng):
  """The fractions are of whole numbers, so that no phase loses its bits."""
  c = hooks_remap.case(rng)
  near, far = (
    hooks.attend(build(), {}, c.q, c.k, c.v, c.q_pos + at, c.k_pos + at)
    for at in (0, 2**26)
  )
  np.testing.assert_allclose(near, far, atol=2e-6, rtol=0)


def test_it_divides_what_follows_the_context_length_too(rng):
  """Dynamic NTK adds a part of its own to the phase."""
  c = hooks_remap.case(rng)
  c.q_pos, c.k_pos = c.q_pos[:1], c.k_pos[:1]
  c.q, c.k, c.v = c.q[:1], c.k[:1], c.v[:1]
  ntk = positions.build({'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 16})
  length = int(c.k_pos.max()) + 1
  frequency = oracles.dynamic_ntk_frequencies(8, 1e4, 16, length)
  hooks.assert_attends(
    positions.compose(ntk, build()),
    c,
    oracle=oracles_remap.callbacks(c, oracle(), frequency),
  )


def test_within_the_window_it_is_rope(rng):
  c = hooks_remap.case(rng, s=9, t=9)
  c.k_pos = np.stack([np.arange(9), np.arange(50, 59)]).astype(np.int32)
  c.q_pos = c.k_pos
  hooks_remap.assert_plain(build(), c)


def test_factor_one_is_rope(rng):
  hooks_remap.assert_plain(build(factor=1.0), hooks_remap.case(rng))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'window': 0}, 'window=0.*>= 1'),
    ({'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'factor': float('inf')}, 'factor=inf.*>= 1'),
    ({'factor': 1.1}, r'factor=1\.1.*whole, here 8 x 0\.1'),
    ({'factor': None}, 'needs factor'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
