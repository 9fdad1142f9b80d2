"""Sandwich: its sum of cosines, the factor of each head, exact far away."""

import hooks
import numpy as np
import oracles_relative as oracles
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
]


def build(**fields):
  return positions.build({'name': 'sandwich', **fields})


@pytest.mark.parametrize('fields', [{}, {'width': 6, 'theta': 50.0}])
def test_attention_under_sandwich_equals_the_loops(rng, fields):
  c = hooks.case(rng, top=60)
  oracle = oracles.sandwich(c, 4, **fields)
  hooks.assert_attends(build(**fields), c, oracle=oracle, atol=2e-5)


def test_factors_fall_as_one_over_the_head():
  np.testing.assert_allclose(build().factors(8), 1 / np.arange(1, 9))
  np.testing.assert_allclose(build().factors(12)[[0, 11]], [1.5, 0.125])


@pytest.mark.parametrize('distance', [0, 1, -1, 17, 4096])
@pytest.mark.parametrize('at', [0, 2**24 + 1, 2**30])
def test_the_bias_is_that_of_the_distance_wherever_it_is(distance, at):
  q = np.array([[at + 5000]], np.int32)
  got = hooks.biases(build(), {}, q, q - distance, heads=8)[0, :, 0, 0]
  want = [oracles.sandwich_bias(distance, head, 8) for head in range(8)]
  np.testing.assert_allclose(got, want, atol=5e-5)


def test_it_has_the_cosine():
  """Without it (NeMo) the bias would be a straight line in the distance."""
  q = np.array([[1000]], np.int32)
  k = 1000 - np.array([[0, 10, 100, 1000]], np.int32)
  got = hooks.biases(build(), {}, q, k, heads=8)[0, 0, 0]
  assert got[0] == pytest.approx(0, abs=2e-5)
  fall = -np.diff(got)
  assert (fall > 0).all()  # Tenfold distances: a straight line falls tenfold,
  assert fall.max() < 2 * fall.min()  # a logarithm each time the same.


def test_a_subset_of_heads_keeps_its_own_factors():
  pos = np.arange(9, dtype=np.int32)[None]
  whole = hooks.biases(build(), {}, pos, pos, heads=6)
  some = hooks.biases(build(), {}, pos, pos, heads=6, chosen=[4, 1])
  np.testing.assert_array_equal(some, whole[:, [4, 1]])


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not({'name': 'sandwich'}, {'width': 64}, {'theta': 1e5})


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'width': 7}, 'width=7.*even and >= 2'),
    ({'width': 0}, 'width=0.*even and >= 2'),
    ({'theta': 1.0}, r'theta=1\.0.*a base above 1'),
    ({'theta': float('inf')}, 'theta=inf.*a base above 1'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
