"""Log-n: golden factors, the real number of keys, biases included."""

import math

import hooks_scale
import numpy as np
import oracles
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'train_len': 8},
]


def build(**fields):
  return positions.build({'name': 'log_n', 'train_len': 8, **fields})


def test_attention_equals_the_loops(rng):
  c = hooks_scale.case(rng)
  hooks_scale.assert_attends(
    build(), c, lambda head, i: oracles_remap.log_n(i, train_len=8)
  )


def test_biases_are_multiplied_too(rng):
  c = hooks_scale.case(rng)
  slope = oracles.alibi_slopes(4)
  alibi = positions.build({'name': 'alibi'})
  hooks_scale.assert_attends(
    positions.compose(build(), alibi),
    c,
    lambda head, i: oracles_remap.log_n(i, train_len=8),
    bias=lambda head, distance: -slope[head] * distance,
  )


def test_golden_factors(golden):
  """The keys of the reference are numbers of keys, one above the position."""
  method = build(train_len=4096)
  for count, want in golden['log_n_scale_train4096'].items():
    got = hooks_scale.one(method, int(count) - 1)
    assert got == pytest.approx(want, rel=3e-7)


def test_nothing_changes_within_the_trained_length():
  pos = np.arange(4096)[None]
  got = hooks_scale.scales(build(train_len=4096), pos)
  np.testing.assert_allclose(got, 1.0, atol=1e-6)
  assert hooks_scale.one(build(train_len=4096), 4200) > 1.001


def test_each_query_has_its_own_factor_whatever_the_context():
  got = hooks_scale.scales(build(), [[7, 63, 511]], length=10**6)
  np.testing.assert_allclose(got[0, 2], [1.0, 2.0, 3.0], rtol=1e-6)


def test_a_query_before_the_first_position_gets_no_nan():
  assert hooks_scale.one(build(), -3) == 1.0


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'train_len': 1}, 'train_len=1.*> 1'),
    ({'train_len': None}, 'needs train_len'),
    ({'train_len': math.e}, 'train_len=.* is float; train_len must be int'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
