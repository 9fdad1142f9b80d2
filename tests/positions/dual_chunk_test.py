"""Dual-chunk attention: three kinds of chunks, bounded distances."""

import functools

import hooks_remap
import numpy as np
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'chunk': 12, 'local': 4},
]

# The last two: more local than new tokens in a chunk, and one new token.
SIZES = [(12, 4), (12, 1), (9, 4), (12, 7), (5, 4)]


def build(**fields):
  defaults = {'theta': 1e4, 'chunk': 12, 'local': 4}
  return positions.build({'name': 'dual_chunk', **defaults, **fields})


def oracle(chunk=12, local=4):
  return functools.partial(oracles_remap.dual_chunk, chunk=chunk, local=local)


@pytest.mark.parametrize(('chunk', 'local'), [(12, 4), (9, 5)])
def test_attention_equals_the_loops(rng, chunk, local):
  hooks_remap.assert_attends(
    build(chunk=chunk, local=local),
    hooks_remap.case(rng),
    oracle(chunk, local),
  )


@pytest.mark.parametrize(('chunk', 'local'), SIZES)
@pytest.mark.parametrize('offset', [0, 1001])
def test_every_pair_is_at_the_papers_distance(chunk, local, offset):
  hooks_remap.assert_distances(
    build(chunk=chunk, local=local), oracle(chunk, local), offset=offset
  )


def test_a_printed_example():
  """Chunks of 6 tokens and a largest position of 9: a query reads the chunk
  before from 6, 7, 8, 9, 9, 9 and older ones from 9."""
  method = build(chunk=9, local=3)
  got = hooks_remap.pretended(method, [7, 11, 13], range(14))
  assert got[0, :8].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
  assert got[1, :12].tolist() == [9, 8, 7, 6, 5, 4, 5, 4, 3, 2, 1, 0]
  assert got[2, :6].tolist() == [9, 8, 7, 6, 5, 4]
  assert got[2, 6:].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(('chunk', 'local'), SIZES)
def test_no_length_exceeds_the_chunk(chunk, local):
  method = build(chunk=chunk, local=local)
  assert hooks_remap.furthest(method, 400) <= chunk


@pytest.mark.parametrize(('chunk', 'local'), SIZES[:3])
def test_keys_within_the_local_window_keep_their_distance(chunk, local):
  pos = np.arange(200)
  method = build(chunk=chunk, local=local)
  got = hooks_remap.pretended(method, pos, pos)
  real = pos[:, None] - pos
  near = (real >= 0) & (real <= local)
  np.testing.assert_array_equal(got[near], real[near])


def test_every_earlier_key_is_seen():
  pos = np.arange(100)
  got = hooks_remap.pretended(build(), pos, pos)
  assert np.isfinite(got[np.tril_indices(100)]).all()


def test_within_the_first_chunk_it_is_rope(rng):
  c = hooks_remap.case(rng, s=8, t=8)
  c.k_pos = np.stack([np.arange(8), np.arange(80, 88)]).astype(np.int32)
  c.q_pos = c.k_pos
  hooks_remap.assert_plain(build(), c)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'chunk': 1}, 'chunk=1.*> 1'),
    ({'local': 0}, r'local=0.*in \[1, chunk=12\)'),
    ({'local': 12}, r'local=12.*in \[1, chunk=12\)'),
    ({'local': None}, 'needs local'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
