"""LM-Infinite: the Lambda-shaped mask and the ceiling of distances."""

import functools

import hooks_remap
import numpy as np
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'window': 20},
]


def build(**fields):
  defaults = {'theta': 1e4, 'window': 6, 'sinks': 2}
  return positions.build({'name': 'lm_infinite', **defaults, **fields})


def oracle(window=6, sinks=2):
  return functools.partial(
    oracles_remap.lm_infinite, window=window, sinks=sinks
  )


@pytest.mark.parametrize(('window', 'sinks'), [(6, 2), (11, 0)])
def test_attention_equals_the_loops(rng, window, sinks):
  hooks_remap.assert_attends(
    build(window=window, sinks=sinks),
    hooks_remap.case(rng),
    oracle(window, sinks),
  )


@pytest.mark.parametrize(('window', 'sinks'), [(6, 2), (11, 0), (1, 4), (3, 9)])
def test_every_pair_is_at_the_papers_distance(window, sinks):
  hooks_remap.assert_distances(
    build(window=window, sinks=sinks), oracle(window, sinks)
  )


def test_a_printed_row():
  got = hooks_remap.pretended(build(window=4, sinks=2), [7], range(8))
  np.testing.assert_array_equal(got[0], [4, 4, np.nan, np.nan, 3, 2, 1, 0])


def test_no_length_exceeds_the_ceiling():
  assert hooks_remap.furthest(build(), 300) == 6


def test_the_sinks_differ_from_those_in_a_cache():
  """Streaming numbers the sinks one by one; here all are equally far."""
  streaming = positions.build(
    {'name': 'streaming', 'theta': 1e4, 'window': 6, 'sinks': 2}
  )
  there = hooks_remap.pretended(streaming, [50], [0, 1])[0].tolist()
  here = hooks_remap.pretended(build(), [50], [0, 1])[0].tolist()
  assert (there, here) == ([7, 6], [6, 6])


def test_until_the_ceiling_is_met_it_is_rope(rng):
  """The first key of seven is a sink at the ceiling, its real distance."""
  c = hooks_remap.case(rng, s=7, t=7)
  c.k_pos = np.tile(np.arange(7, dtype=np.int32), (2, 1))
  c.q_pos = c.k_pos
  hooks_remap.assert_plain(build(), c)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'window': 0}, 'window=0.*>= 1'),
    ({'sinks': -1}, 'sinks=-1.*>= 0'),
    ({'window': None}, 'needs window'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
