"""ReRoPE: distances stop at the window; short texts are RoPE."""

import functools

import hooks_remap
import numpy as np
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'window': 8},
]


def build(**fields):
  defaults = {'theta': 1e4, 'window': 8}
  return positions.build({'name': 'rerope', **defaults, **fields})


def oracle(window=8):
  return functools.partial(oracles_remap.rerope, window=window)


def test_attention_equals_the_loops(rng):
  hooks_remap.assert_attends(build(), hooks_remap.case(rng), oracle())


def test_attention_of_neighbouring_pairs_equals_the_loops(rng):
  hooks_remap.assert_attends(
    build(window=17, theta=500.0, pairing='interleaved'),
    hooks_remap.case(rng),
    oracle(17),
    theta=500.0,
    pairing='interleaved',
  )


@pytest.mark.parametrize('window', [1, 8, 50])
def test_every_pair_is_at_the_papers_distance(window):
  hooks_remap.assert_distances(build(window=window), oracle(window), offset=7)


def test_no_length_exceeds_the_window():
  assert hooks_remap.furthest(build(), 500) == 8


def test_a_key_at_the_window_is_at_its_real_distance_from_either_side():
  got = hooks_remap.pretended(build(), [20], [13, 12, 11])
  assert got[0].tolist() == [7, 8, 8]


def test_far_away_positions_stay_exact():
  """At 2^30 a float32 position would be off by tens of tokens."""
  at = 2**30 + 3
  got = hooks_remap.pretended(build(), [at], [at - 9, at - 8, at - 7, at])
  assert got[0].tolist() == [8, 8, 7, 0]


def test_within_the_window_it_is_rope(rng):
  c = hooks_remap.case(rng, s=9, t=9)
  c.k_pos = np.stack([np.arange(9), np.arange(50, 59)]).astype(np.int32)
  c.q_pos = c.k_pos
  hooks_remap.assert_plain(build(), c)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'window': 0}, 'window=0.*>= 1'),
    ({'window': None}, 'needs window'),
    ({'theta': 0.0}, r'theta=0\.0.*above 1'),
    ({'pairing': 'thirds'}, "pairing='thirds'.*'half'"),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
