"""Self-Extend: distances of groups, the longest text, rounding."""

import functools

import hooks_remap
import numpy as np
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'group': 4, 'window': 8},
]

# The last: a window shorter than a group.
SIZES = [(4, 8), (3, 8), (4, 10), (1, 5), (7, 3)]


def build(**fields):
  defaults = {'theta': 1e4, 'group': 4, 'window': 8}
  return positions.build({'name': 'self_extend', **defaults, **fields})


def oracle(group=4, window=8):
  return functools.partial(
    oracles_remap.self_extend, group=group, window=window
  )


@pytest.mark.parametrize(('group', 'window'), [(4, 8), (3, 10)])
def test_attention_equals_the_loops(rng, group, window):
  method = build(group=group, window=window)
  hooks_remap.assert_attends(
    method, hooks_remap.case(rng), oracle(group, window)
  )


@pytest.mark.parametrize(('group', 'window'), SIZES)
@pytest.mark.parametrize('offset', [0, 1001])
def test_every_pair_is_at_the_papers_distance(group, window, offset):
  hooks_remap.assert_distances(
    build(group=group, window=window), oracle(group, window), offset=offset
  )


def test_a_printed_row():
  """Window 4, group 2, as the paper's figure of ten tokens draws it."""
  got = hooks_remap.pretended(build(group=2, window=4), [9], range(10))
  assert got[0].tolist() == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(('group', 'window'), SIZES)
def test_the_longest_text_meets_no_distance_unseen_in_training(group, window):
  method, trained = build(group=group, window=window), 16
  longest = (trained - window) * group + group * (window // group)
  if window % group == 0:
    assert longest == (trained - window) * group + window
  assert hooks_remap.furthest(method, longest) == trained - 1
  assert hooks_remap.furthest(method, longest + 1) == trained


def test_within_the_window_it_is_rope(rng):
  c = hooks_remap.case(rng, s=8, t=8)
  c.k_pos = np.stack([np.arange(8), np.arange(50, 58)]).astype(np.int32)
  c.q_pos = c.k_pos
  hooks_remap.assert_plain(build(), c)


def test_group_one_is_rope(rng):
  hooks_remap.assert_plain(build(group=1), hooks_remap.case(rng))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'group': 0}, 'group=0.*>= 1'),
    ({'window': 0}, 'window=0.*>= 1'),
    ({'theta': 1.0}, r'theta=1\.0.*above 1'),
    ({'group': None}, 'needs group'),
    ({'window': 8.0}, r'window=8\.0 is float; window must be int'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
