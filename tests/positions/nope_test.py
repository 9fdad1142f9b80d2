"""NoPE: attention that does not look at positions."""

import hooks
import numpy as np

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
]

NOPE = positions.build({'name': 'nope'})


def test_attention_under_nope_equals_the_loops_whatever_the_positions(rng):
  c = hooks.case(rng)
  hooks.assert_attends(NOPE, c, oracle={})
  c.q_pos, c.k_pos = c.q_pos[::-1], 0 * c.k_pos
  hooks.assert_attends(NOPE, c, oracle={})


def test_it_overrides_no_hook_and_learns_nothing():
  hooks_ = ('init', 'embed', 'rotate', 'bias', 'values', 'views')
  assert not any(positions.overrides(NOPE, hook) for hook in hooks_)
  assert NOPE.reach is None
  x = np.ones((1, 2, 3))
  assert NOPE.embed({}, x, np.zeros((1, 2), np.int32)) is x
