"""StreamingLLM: against a cache that is played, token by token."""

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
  return positions.build({'name': 'streaming', **defaults, **fields})


def oracle(window=6, sinks=2):
  return functools.partial(oracles_remap.streaming, window=window, sinks=sinks)


@pytest.mark.parametrize(('window', 'sinks'), [(6, 2), (11, 0)])
def test_attention_equals_the_loops(rng, window, sinks):
  hooks_remap.assert_attends(
    build(window=window, sinks=sinks),
    hooks_remap.case(rng),
    oracle(window, sinks),
  )


@pytest.mark.parametrize(
  ('window', 'sinks'), [(6, 2), (11, 0), (1, 4), (1, 0), (3, 9)]
)
def test_every_pair_is_at_the_distance_in_the_cache(window, sinks):
  hooks_remap.assert_distances(
    build(window=window, sinks=sinks), oracle(window, sinks), count=60
  )


def test_a_printed_row():
  """The paper's figure 4: at token 9, sinks 0 ... 3 and a window 6 ... 9 are
  at places 0 ... 7."""
  got = hooks_remap.pretended(build(window=4, sinks=4), [9], range(10))
  want = [7, 6, 5, 4, np.nan, np.nan, 3, 2, 1, 0]
  np.testing.assert_array_equal(got[0], want)


def test_a_query_sees_no_more_than_the_cache_holds():
  pos = np.arange(300)
  got = hooks_remap.pretended(build(), pos, pos)
  seen = np.isfinite(got) & (pos[:, None] >= pos)
  np.testing.assert_array_equal(seen.sum(axis=1), np.minimum(pos + 1, 8))
  assert hooks_remap.furthest(build(), 300) == 7


def test_until_the_cache_is_full_it_is_rope(rng):
  c = hooks_remap.case(rng, s=8, t=8)
  c.k_pos = np.tile(np.arange(8, dtype=np.int32), (2, 1))
  c.q_pos = c.k_pos
  hooks_remap.assert_plain(build(), c)


def test_sinks_default_to_four():
  assert positions.build(
    {'name': 'streaming', 'theta': 1e4, 'window': 9}
  ) == build(window=9, sinks=4)


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
