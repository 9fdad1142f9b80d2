"""Local attention: both windows, alone and with a method."""

import functools

import hooks
import hooks_remap
import numpy as np
import oracles
import oracles_remap
import pytest

from rope_jax import attention, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'window': 20},
  {'window': 20, 'kind': 'chunk'},
]

KINDS = ['sliding', 'chunk']


def build(**fields):
  return positions.build({'name': 'local', 'window': 8, **fields})


def oracle(kind, window=8):
  return functools.partial(oracles_remap.local, window=window, kind=kind)


@pytest.mark.parametrize('kind', KINDS)
def test_attention_alone_equals_the_loops(rng, kind):
  c = hooks_remap.case(rng)
  callbacks = oracles_remap.callbacks(c, oracle(kind), None)
  hooks.assert_attends(build(kind=kind), c, oracle=callbacks)


@pytest.mark.parametrize('kind', KINDS)
def test_attention_with_rope_equals_the_loops(rng, kind):
  rope = positions.build({'name': 'rope', 'theta': 1e4})
  method = positions.compose(build(kind=kind), rope)
  hooks_remap.assert_attends(method, hooks_remap.case(rng), oracle(kind))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('window', [1, 8, 200])
def test_every_pair_is_seen_or_not_as_the_loops_say(kind, window):
  method = build(kind=kind, window=window)
  hooks_remap.assert_distances(method, oracle(kind, window), offset=3)


@pytest.mark.parametrize('kind', KINDS)
def test_later_keys_in_the_window_are_seen_without_a_causal_mask(rng, kind):
  c = hooks_remap.case(rng)

  def seen(row, i, j):
    at = int(c.q_pos[row, i]), int(c.k_pos[row, j])
    return oracles_remap.local(*at, window=8, kind=kind) is not None

  got = hooks.attend(
    build(kind=kind),
    {},
    c.q,
    c.k,
    c.v,
    c.q_pos,
    c.k_pos,
    mask=attention.Mask(causal=False),
  )
  want = oracles.attention(c.q, c.k, c.v, seen=seen)
  np.testing.assert_allclose(got, want, atol=1e-5, rtol=0)


def test_a_sliding_window_is_the_masks(rng):
  """The structural mask counts tokens; here they are at every position."""
  c = hooks_remap.case(rng)
  c.k_pos = np.tile(np.arange(34, dtype=np.int32), (2, 1))
  c.q_pos = c.k_pos[:, -9:]
  want = hooks.attend(
    positions.build({'name': 'nope'}),
    {},
    c.q,
    c.k,
    c.v,
    c.q_pos,
    c.k_pos,
    mask=attention.Mask(window=8),
  )
  got = hooks.attend(build(), {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
  np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


def test_only_a_sliding_window_is_relative():
  assert build().relative
  assert not build(kind='chunk').relative
  rope = positions.build({'name': 'rope', 'theta': 1e4})
  assert not positions.compose(rope, build(kind='chunk')).relative


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'window': 0}, 'window=0.*>= 1'),
    ({'kind': 'blocks'}, "kind='blocks'.*'sliding', 'chunk'"),
    ({'window': None}, 'needs window'),
    ({'theta': 1e4}, 'has no theta'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
