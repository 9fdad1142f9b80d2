"""T5's bias: exact buckets, golden starts, the shared table."""

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from rope_jax import positions
from rope_jax.positions import t5

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'max_distance': 40},
]

SIZES = [
  (32, 128),
  (16, 128),
  (32, 64),
  (8, 5),
  (12, 1000),
  (64, 2048),
  (32, 17),
]


def build(**fields):
  return positions.build({'name': 't5', **fields})


def params(position, heads=4):
  drawn = position.init(
    jax.random.key(0), heads=heads, head_dim=8, model_dim=32
  )
  return {'table': 4 * drawn['table']}


@pytest.mark.parametrize('bidirectional', [False, True])
def test_attention_under_t5_equals_the_loops(rng, bidirectional):
  c = hooks.case(rng, top=200)
  method = build(bidirectional=bidirectional)
  weights = params(method)
  table = np.sqrt(c.q.shape[-1]) * np.asarray(weights['table'], np.float64)

  def bias(row, head, i, j):
    distance = int(c.q_pos[row, i]) - int(c.k_pos[row, j])
    return table[oracles.t5_bucket(distance, 32, 128, bidirectional), head]

  hooks.assert_attends(method, c, params=weights, oracle={'bias': bias})


def test_golden_causal_starts(golden):
  want = golden['t5_causal_32_128_starts']
  got = t5.bucket_starts(32, 128)
  assert dict(enumerate(got)) == {int(k): v for k, v in want.items()}
  printed = '16 19 21 24 27 31 35 40 46 52 59 67 77 87 99 113'
  assert got[16:] == tuple(int(x) for x in printed.split())


def test_golden_bidirectional_starts(golden):
  want = golden['t5_bidir_32_128_starts_per_side16']
  got = t5.bucket_starts(16, 128)
  assert dict(enumerate(got)) == {int(k): v for k, v in want.items()}
  assert got[8:] == (8, 12, 16, 23, 32, 46, 64, 91)


def bucket(method, distance):
  """The bucket of each distance: the curve of a table that counts."""
  table = jnp.arange(float(method.buckets))
  return np.asarray(method.curve(list(table), jnp.asarray(distance), 0, None))


@pytest.mark.parametrize(('buckets', 'max_distance'), SIZES)
def test_every_bucket_is_that_of_the_exact_logarithm(buckets, max_distance):
  distance = np.arange(-3, max_distance + 20, dtype=np.int32)
  got = bucket(build(buckets=buckets, max_distance=max_distance), distance)
  want = [oracles.t5_bucket(int(d), buckets, max_distance) for d in distance]
  np.testing.assert_array_equal(got, want)


def test_bidirectional_buckets_are_those_of_the_exact_logarithm():
  distance = np.arange(-140, 141, dtype=np.int32)
  got = bucket(build(bidirectional=True), distance)
  want = [oracles.t5_bucket(int(d), 32, 128, True) for d in distance]
  np.testing.assert_array_equal(got, want)
  assert bucket(build(bidirectional=True), np.array([-1])) == [17]


def test_all_keys_beyond_max_distance_share_the_last_bucket():
  far = np.array([127, 128, 129, 10**6, 2**31 - 1], np.int32)
  np.testing.assert_array_equal(bucket(build(), far), 31)


def test_the_table_holds_no_length_and_one_column_a_head():
  drawn = params(build(max_distance=4096), heads=6)
  assert drawn['table'].shape == (32, 6)
  assert drawn['table'].dtype == np.float32


def test_a_subset_of_heads_keeps_its_own_columns():
  pos = np.arange(40, dtype=np.int32)[None]
  weights = params(build(), heads=6)
  whole = hooks.biases(build(), weights, pos, pos, heads=6)
  some = hooks.biases(build(), weights, pos, pos, heads=6, chosen=[4, 1])
  np.testing.assert_array_equal(some, whole[:, [4, 1]])


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 't5'},
    {'max_distance': 2000},
    {'buckets': 16},
    {'bidirectional': True},
    params=params,
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'buckets': 2}, 'buckets=2.*even and >= 4'),
    ({'buckets': 7}, 'buckets=7.*even and >= 4'),
    ({'buckets': 6, 'bidirectional': True}, 'buckets=6.*multiple of 4'),
    ({'max_distance': 16}, 'max_distance=16.*above 16'),
    ({'max_distance': 8, 'bidirectional': True}, 'max_distance=8.*above 8'),
    ({'buckets': 32.0}, r'buckets=32\.0 is float; buckets must be int'),
    (
      {'bidirectional': 1},
      'bidirectional=1 is int; bidirectional must be bool',
    ),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
