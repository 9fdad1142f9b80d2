"""ALiBi: its slopes for any number of heads, and its bias by the loops."""

from fractions import Fraction

import hooks
import numpy as np
import oracles
import pytest

from rope_jax import attention, positions
from rope_jax.positions import alibi

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
]

ALIBI = positions.build({'name': 'alibi'})
FULL = attention.Mask(causal=False)


def test_attention_under_alibi_equals_the_loops(rng):
  c = hooks.case(rng, top=60)
  slope = oracles.alibi_slopes(4)

  def bias(row, head, i, j):
    distance = int(c.q_pos[row, i]) - int(c.k_pos[row, j])
    return -slope[head] * abs(distance)

  hooks.assert_attends(ALIBI, c, oracle={'bias': bias})


@pytest.mark.parametrize(('n', 'k'), [(6, 3), (12, 12), (1, 1)])
def test_any_head_count_without_causality_equals_the_loops(rng, n, k):
  c = hooks.case(rng, top=60, n=n, k=k, s=5)
  slope = oracles.alibi_slopes(n)

  def bias(row, head, i, j):
    return -slope[head] * abs(int(c.q_pos[row, i]) - int(c.k_pos[row, j]))

  oracle = {'bias': bias, 'seen': lambda row, i, j: True}
  hooks.assert_attends(ALIBI, c, oracle=oracle, mask=FULL)


def test_without_causality_a_mirrored_sequence_looks_the_same(rng):
  """The symmetric reading of the bias: |i - j|, one slope for both sides."""
  c = hooks.case(rng, top=100, k=4)
  here = hooks.attend(ALIBI, {}, c.q, c.k, c.v, c.q_pos, c.k_pos, mask=FULL)
  there = hooks.attend(
    ALIBI, {}, c.q, c.k, c.v, 100 - c.q_pos, 100 - c.k_pos, mask=FULL
  )
  np.testing.assert_array_equal(here, there)


def test_golden_slopes(golden):
  for heads, want in golden['alibi_slopes'].items():
    np.testing.assert_allclose(alibi.slopes(int(heads)), want, rtol=1e-14)


@pytest.mark.parametrize('heads', range(1, 41))
def test_slopes_are_those_of_the_papers_definition(heads):
  np.testing.assert_allclose(
    alibi.slopes(heads), oracles.alibi_slopes(heads), rtol=1e-13
  )


def test_slopes_that_are_powers_of_two_are_exact():
  assert [Fraction(x) for x in alibi.slopes(8)] == [
    Fraction(1, 2**h) for h in range(1, 9)
  ]
  assert alibi.slopes(6).tolist() == [2**-2, 2**-4, 2**-6, 2**-8, 0.5, 0.125]


def test_printed_slopes_of_the_reference():
  printed = [0.70710678, 0.35355339, 0.1767767, 0.08838835]
  np.testing.assert_allclose(alibi.slopes(12)[8:], printed, atol=5e-9)
  np.testing.assert_allclose(
    alibi.slopes(16), 2.0 ** (-0.5 * np.arange(1, 17)), rtol=1e-15
  )


def test_neighbours_stay_apart_at_large_positions():
  """The official m x j would lose them in float32: here they are exact."""
  q = np.full((1, 1), 2**24 + 5, np.int32)
  k = (2**24 + np.arange(6, dtype=np.int32))[None]
  got = hooks.biases(ALIBI, {}, q, k, heads=8)
  want = -(0.5 ** np.arange(1, 9))[:, None] * (5.0 - np.arange(6))
  np.testing.assert_array_equal(got[0, :, 0], want)


def test_keys_after_the_query_are_penalised_alike():
  q = np.full((1, 1), 3, np.int32)
  got = hooks.biases(ALIBI, {}, q, np.array([[1, 5]], np.int32), heads=2)
  np.testing.assert_array_equal(got[..., 0], got[..., 1])


def test_a_subset_of_heads_keeps_its_own_slopes():
  pos = np.arange(5, dtype=np.int32)[None]
  whole = hooks.biases(ALIBI, {}, pos, pos, heads=12)
  some = hooks.biases(ALIBI, {}, pos, pos, heads=12, chosen=[9, 2])
  np.testing.assert_array_equal(some, whole[:, [9, 2]])
