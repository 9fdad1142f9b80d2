"""SSMax: a strength per head, the number of keys of each query."""

import math

import hooks
import hooks_scale
import jax
import numpy as np
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
]

STRENGTHS = np.array([0.43, 1.3, 0.05, -0.4], np.float32)


def build(**fields):
  return positions.build({'name': 'ssmax', **fields})


def test_attention_equals_the_loops(rng):
  c = hooks_scale.case(rng)
  hooks_scale.assert_attends(
    build(),
    c,
    lambda head, i: float(STRENGTHS[head]) * math.log(i + 1),
    params={'s': STRENGTHS},
  )


def test_weights_are_powers_of_the_number_of_keys():
  """Eq. 1: n^(s z) over their sum, for two keys of known scores."""
  s, z, n = float(STRENGTHS[0]), np.array([0.3, -1.1]), 700
  factor = hooks_scale.one(build(), n - 1, params={'s': STRENGTHS})
  want = n ** (s * z) / np.sum(n ** (s * z))
  got = np.exp(factor * z) / np.sum(np.exp(factor * z))
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_parameters_are_one_float32_per_head_that_begin_at_start():
  drawn = build(start=0.2).init(
    jax.random.key(0), heads=6, head_dim=8, model_dim=48
  )
  assert drawn['s'].dtype == np.float32
  np.testing.assert_array_equal(drawn['s'], np.full(6, 0.2, np.float32))
  at_first = build().init(jax.random.key(0), heads=1, head_dim=2, model_dim=2)
  assert float(at_first['s'][0]) == pytest.approx(0.43)


def test_a_subset_of_heads_keeps_its_own_strengths():
  pos, params = np.arange(9)[None], {'s': STRENGTHS}
  whole = hooks_scale.scales(build(), pos, params=params)
  some = hooks_scale.scales(build(), pos, params=params, chosen=[3, 1])
  np.testing.assert_array_equal(some, whole[:, [3, 1]])
  assert np.abs(np.diff(whole[0, :, 5])).min() > 0.1


def test_the_first_query_has_one_key_and_a_finite_gradient():
  assert hooks_scale.one(build(), 0, params={'s': STRENGTHS}) == 0
  pos = np.array([[-2, 0]], np.int32)
  places = hooks.places(pos, pos)
  grad = jax.grad(lambda s: build().scale({'s': s}, places).sum())(STRENGTHS)
  np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize('start', [0.0, -1.0, float('inf')])
def test_a_field_out_of_range_is_named_with_its_value(start):
  with pytest.raises(ValueError, match=f'start={start}.*> 0'):
    build(start=start)
