"""NTK-aware scaling: a larger base."""

import hooks
import numpy as np
import oracles
import pytest

from rope_jax import positions
from rope_jax.positions import rope

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'factor': 4.0},
]


def build(**fields):
  return positions.build({'name': 'ntk', 'theta': 1e4, **fields})


def test_attention_under_ntk_equals_the_loops(rng):
  c = hooks.case(rng)
  f = oracles.ntk_frequencies(8, 1e4, 4.0)
  hooks.assert_attends(build(factor=4.0), c, oracle=hooks.turning(c, f))


def test_golden_bases(golden):
  for factor, base in golden['ntk_base'].items():
    assert rope.ntk_theta(1e4, float(factor), 128) == pytest.approx(
      base, rel=1e-12
    )
    got, _ = build(factor=float(factor)).frequencies(128)
    np.testing.assert_allclose(
      got, oracles.rope_frequencies(128, base), rtol=1e-12
    )


def test_printed_bases_of_the_reference():
  printed = {2: 20221.2617, 4: 40889.9424, 8: 82684.6226, 16: 167198.7392}
  for factor, base in printed.items():
    assert rope.ntk_theta(1e4, factor, 128) == pytest.approx(base, abs=5e-5)


def test_the_fastest_pair_stays_and_the_slowest_is_divided_by_the_factor():
  got, _ = build(factor=8.0).frequencies(64)
  plain = oracles.rope_frequencies(64, 1e4)
  assert got[0] == 1.0
  assert got[-1] == pytest.approx(plain[-1] / 8, rel=1e-12)


def test_the_exponent_is_that_of_the_rotated_width():
  got, _ = build(factor=8.0, fraction=0.5).frequencies(64)
  np.testing.assert_allclose(
    got[:16], oracles.ntk_frequencies(32, 1e4, 8.0), rtol=1e-12
  )


def test_two_factors_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'ntk', 'theta': 1e4, 'factor': 2.0}, {'factor': 8.0}
  )


def test_a_single_pair_is_refused_with_a_remedy():
  with pytest.raises(ValueError, match=r'rotary width 2.*>= 4'):
    build(factor=2.0).check(heads=2, head_dim=2, model_dim=4)


@pytest.mark.parametrize('factor', [0.5, 0.0, float('nan'), float('inf')])
def test_a_factor_below_one_is_refused(factor):
  with pytest.raises(ValueError, match=r'Ntk: factor=.*must be a .*>= 1'):
    build(factor=factor)
