"""Llama 3's scaling: golden vectors, its three bands, equal factors."""

import hooks
import numpy as np
import oracles
import oracles_rotary
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {
    'theta': 1e4,
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'train_len': 32,
  },
]

META = {
  'name': 'llama3',
  'theta': 5e5,
  'factor': 8.0,
  'low_freq_factor': 1.0,
  'high_freq_factor': 4.0,
  'train_len': 8192,
}


def build(**fields):
  return positions.build({**META, **fields})


def test_attention_under_llama3_equals_the_loops(rng):
  c = hooks.case(rng, h=16)
  f = oracles_rotary.llama3_frequencies(16, 1e4, 8.0, 1.0, 4.0, 512)
  plain = oracles.rope_frequencies(16, 1e4)
  assert ((f < plain * 0.99) & (f > plain / 7.9)).any()  # A pair in between.
  method = build(theta=1e4, train_len=512)
  hooks.assert_attends(method, c, oracle=hooks.turning(c, f))


@pytest.mark.parametrize(
  ('name', 'head_dim', 'factor'),
  [
    ('llama3.1_8b_factor8_d128', 128, 8.0),
    ('llama3.2_1b_factor32_d64', 64, 32.0),
  ],
)
def test_golden_spectrum(golden, name, head_dim, factor):
  got, amplitude = build(factor=factor).frequencies(head_dim)
  np.testing.assert_allclose(got, golden[name], rtol=1e-12)
  assert amplitude == 1.0


def test_printed_values_of_the_reference():
  got, _ = build().frequencies(128)
  want = (
    '.003211446 .0021665708 .0013718936 8.5675141e-4 5.2484616e-4 3.1269375e-4 '
    '1.7850781e-4 9.5562124e-5'
  )
  want = [float(x) for x in want.split()]
  np.testing.assert_allclose(got[28:36], want, rtol=2e-7)
  plain = oracles.rope_frequencies(128, 5e5)
  np.testing.assert_allclose(got[:29], plain[:29], rtol=1e-13)
  np.testing.assert_allclose(got[35:] * 8, plain[35:], rtol=1e-13)
  # 3.2-1B read with the factor of 3.1: the slowest pair 4 times too fast.
  slow, wrong = (build(factor=f).frequencies(64)[0][-1] for f in (32.0, 8.0))
  assert wrong / slow == pytest.approx(4, rel=1e-12)


def test_equal_factors_are_a_step_and_not_nan():
  """Llama 4 Scout's; here with a pair of exactly one rotation."""
  got, _ = build(
    factor=16.0, high_freq_factor=1.0, theta=1e4, train_len=4096
  ).frequencies(128)
  plain = oracles.rope_frequencies(128, 1e4)
  want = np.where(2 * np.pi / plain > 4096, plain / 16, plain)
  np.testing.assert_allclose(got, want, rtol=1e-13)
  assert 0 < np.count_nonzero(got != plain) < 64
  one = 5 / (2 * np.pi)  # Rotations of the fastest pair in five tokens.
  edge = build(low_freq_factor=one, high_freq_factor=one, train_len=5)
  assert edge.frequencies(8)[0][0] == 1.0


def test_the_bands_are_those_of_the_rotated_width():
  got, _ = build(fraction=0.5).frequencies(128)
  want = oracles_rotary.llama3_frequencies(64, 5e5, 8.0, 1.0, 4.0, 8192)
  np.testing.assert_allclose(got[:32], want, rtol=1e-12)


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {**META, 'theta': 1e4, 'train_len': 512},
    {'factor': 2.0},
    {'train_len': 64},
    {'low_freq_factor': 3.0},
    {'high_freq_factor': 40.0},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'factor': None}, 'needs factor'),
    ({'low_freq_factor': None}, 'needs low_freq_factor'),
    ({'high_freq_factor': None}, 'needs high_freq_factor'),
    ({'train_len': None}, 'needs train_len'),
    ({'low_freq_factor': 0.0}, r'low_freq_factor=0\.0.*> 0'),
    ({'high_freq_factor': 0.5}, r'high_freq_factor=0\.5.*>= low_freq_factor=1'),
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
