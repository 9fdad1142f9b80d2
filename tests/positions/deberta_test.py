"""DeBERTa: both terms by the loops, golden buckets, the two readings of p2c."""

import hooks
import jax
import numpy as np
import oracles_relative as oracles
import pytest

from rope_jax import attention, positions
from rope_jax.positions import deberta

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'span': 9},
  {'span': 16, 'max_distance': 40, 'p2c_index': 'paper'},
]


def build(**fields):
  return positions.build({'name': 'deberta', 'span': 24, **fields})


def params(position, heads=4, head_dim=8):
  drawn = position.init(
    jax.random.key(0), heads=heads, head_dim=head_dim, model_dim=32
  )
  return jax.tree.map(lambda x: 4 * x, drawn)


@pytest.mark.parametrize('causal', [True, False])
@pytest.mark.parametrize(
  'fields',
  [
    {},
    {'span': 3},
    {'p2c_index': 'paper'},
    {'span': 16, 'max_distance': 30},
    {'span': 16, 'max_distance': 30, 'p2c_index': 'paper'},
  ],
)
def test_attention_under_deberta_equals_the_loops(rng, fields, causal):
  c = hooks.case(rng, top=60)
  method = build(**fields)
  weights = params(method)
  oracle = oracles.deberta(c, **weights, **{'span': 24, **fields})
  if not causal:
    oracle['seen'] = lambda row, i, j: True
  hooks.assert_attends(
    method,
    c,
    params=weights,
    oracle=oracle,
    mask=attention.Mask(causal=causal),
  )


def test_the_two_readings_of_the_p2c_index_differ(rng):
  c = hooks.case(rng, top=60)
  weights = params(build())
  code, paper = (
    hooks.attend(build(p2c_index=x), weights, c.q, c.k, c.v, c.q_pos, c.k_pos)
    for x in deberta.INDICES
  )
  assert np.abs(code - paper).max() > 0.1


def test_golden_buckets_of_version_3(golden):
  method = build(span=256, max_distance=512)
  want = golden['deberta_v3_bucket256_max512']
  distance = np.array([int(x) for x in want], np.int32)
  np.testing.assert_array_equal(
    method.bucket(distance), [int(x) for x in want.values()]
  )


@pytest.mark.parametrize(
  ('span', 'max_distance'),
  [(256, 512), (16, 30), (4, 9), (8, 1000), (32, 18), (6, 6)],
)
def test_every_bucket_is_that_of_the_exact_logarithm(span, max_distance):
  """Up to `span`, past which the row is clipped."""
  distance = np.arange(-max_distance - 20, max_distance + 21, dtype=np.int32)
  got = build(span=span, max_distance=max_distance).bucket(distance)
  want = [oracles.deberta_bucket(int(d), span, max_distance) for d in distance]
  np.testing.assert_array_equal(got, np.clip(want, -span, span))


@pytest.mark.parametrize('max_distance', [None, 40])
def test_far_keys_share_the_outermost_rows(max_distance):
  """Rows 0 and 2 span - 1; distances as large as an int32 holds."""
  method = build(max_distance=max_distance)
  far = np.array([50, 10**6, 2**31 - 1, -50, -(10**6), -(2**31) + 1], np.int32)
  got = np.clip(np.asarray(method.bucket(far)) + 24, 0, 47)
  np.testing.assert_array_equal(got, [47, 47, 47, 0, 0, 0])


def test_scores_are_divided_by_the_root_of_three_heads_widths():
  """With tables of zeros nothing else is left of it."""
  c = hooks.case(np.random.default_rng(0))
  weights = jax.tree.map(np.zeros_like, params(build()))
  got = hooks.attend(build(), weights, c.q, c.k, c.v, c.q_pos, c.k_pos)
  want = hooks.attend(
    positions.Position(), {}, c.q / 3**0.5, c.k, c.v, c.q_pos, c.k_pos
  )
  np.testing.assert_allclose(got, want, atol=2e-6)


def test_a_subset_of_heads_keeps_its_own_tables(rng):
  method = build()
  weights = params(method, heads=6)
  q = rng.normal(size=(1, 5, 6, 8)).astype(np.float32)
  pos = np.arange(5, dtype=np.int32)[None]
  whole = method.bias(weights, q, q, hooks.places(pos, pos, heads=6))
  chosen = np.array([4, 1])
  at = hooks.places(pos, pos, heads=6, chosen=chosen)
  some = method.bias(weights, q[:, :, chosen], q[:, :, chosen], at)
  np.testing.assert_allclose(some, whole[:, chosen], atol=2e-6)
  assert method.scale(weights, at).shape == (1, 2, 5)


def test_tables_hold_no_length():
  drawn = params(build(max_distance=4096), heads=6)
  shapes = {name: x.shape for name, x in drawn.items()}
  assert shapes == {'c2p': (48, 6, 8), 'p2c': (48, 6, 8)}


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'deberta', 'span': 24},
    {'span': 400},
    {'max_distance': 500},
    {'max_distance': 900},
    {'p2c_index': 'paper'},
    params=lambda p: params(p, head_dim=16),
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'span': 0}, 'span=0.*tokens >= 1'),
    ({'span': 7, 'max_distance': 40}, 'span=7.*even and >= 4'),
    ({'span': 2, 'max_distance': 40}, 'span=2.*even and >= 4'),
    ({'max_distance': 13}, 'max_distance=13.*None, or above .* = 13'),
    ({'p2c_index': 'both'}, "p2c_index='both'.*code.*paper"),
    ({'span': 24.0}, r'span=24\.0 is float'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_span_has_no_default():
  with pytest.raises(ValueError, match='needs span'):
    positions.build({'name': 'deberta'})
