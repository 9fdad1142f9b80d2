"""Position interpolation: every frequency divided by the factor."""

import hooks
import numpy as np
import oracles
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'factor': 4.0},
]


def build(**fields):
  return positions.build({'name': 'linear', 'theta': 1e4, **fields})


def test_attention_under_linear_equals_the_loops(rng):
  c = hooks.case(rng)
  f = oracles.linear_frequencies(8, 1e4, 3.0)
  hooks.assert_attends(build(factor=3.0), c, oracle=hooks.turning(c, f))


def test_golden_frequencies(golden):
  got, amplitude = build(factor=8192 / 2048).frequencies(128)
  want = golden['pi_llama_2048_to_8192']
  np.testing.assert_allclose(got[[0, 32, 63]], want, rtol=1e-12)
  assert amplitude == 1.0


def test_dividing_frequencies_is_dividing_positions(rng):
  c = hooks.case(rng, top=1000)
  stretched = hooks.case(rng)
  vars(stretched).update(vars(c))
  stretched.q_pos, stretched.k_pos = 4 * c.q_pos, 4 * c.k_pos
  arrays = [(x.q, x.k, x.v, x.q_pos, x.k_pos) for x in (c, stretched)]
  rope = positions.build({'name': 'rope', 'theta': 1e4})
  np.testing.assert_allclose(
    hooks.attend(rope, {}, *arrays[0]),
    hooks.attend(build(factor=4.0), {}, *arrays[1]),
    atol=1e-5,
  )


def test_two_factors_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'linear', 'theta': 1e4, 'factor': 2.0}, {'factor': 8.0}
  )


@pytest.mark.parametrize('factor', [0.5, 0.0, -2.0, float('nan'), float('inf')])
def test_a_factor_below_one_is_refused(factor):
  with pytest.raises(ValueError, match=r'Linear: factor=.*must be a .*>= 1'):
    build(factor=factor)


def test_the_factor_has_no_default():
  with pytest.raises(ValueError, match="'linear' needs factor"):
    build()
