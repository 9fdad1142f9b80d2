"""YaRN: golden vectors of five models, both ramps, the temperature."""

import math

import hooks
import numpy as np
import oracles
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'factor': 4.0, 'train_len': 16},
]

MODELS = (
  'llama2_7b_s16',
  'llama2_7b_s32',
  'llama1_7b_s4',
  'qwen2.5_s4',
  'dsv3_s40_rope64',
)


def build(**fields):
  defaults = {'theta': 1e4, 'factor': 16.0, 'train_len': 4096}
  return positions.build({'name': 'yarn', **defaults, **fields})


def of(args, **fields):
  return build(
    theta=args['theta'],
    factor=float(args['s']),
    train_len=args['L'],
    **fields,
  ).frequencies(args['d'])


@pytest.mark.parametrize(
  'fields',
  [
    {},
    {'ramp': 'paper'},
    {'truncate': False},
    {'fraction': 0.5, 'pairing': 'interleaved'},
  ],
)
def test_attention_under_yarn_equals_the_loops(rng, fields):
  c = hooks.case(rng, h=16)
  width = int(16 * fields.get('fraction', 1))
  f = oracles.yarn_frequencies(
    width,
    1e4,
    16.0,
    4096,
    ramp=fields.get('ramp', 'code'),
    truncate=fields.get('truncate', True),
  )
  amplitude = 0.1 * math.log(16) + 1
  oracle = hooks.turning(c, f, amplitude, fields.get('pairing', 'half'))
  hooks.assert_attends(build(**fields), c, oracle=oracle)


@pytest.mark.parametrize('name', MODELS)
def test_golden_spectrum(golden, name):
  want = golden['yarn'][name]
  code, amplitude = of(want['args'])
  np.testing.assert_allclose(code, want['inv_freq_code'], rtol=1e-12)
  assert amplitude == pytest.approx(want['attention_factor'], rel=1e-12)
  paper, _ = of(want['args'], ramp='paper')
  np.testing.assert_allclose(paper, want['inv_freq_paper_ramp'], rtol=1e-12)
  raw, _ = of(want['args'], truncate=False)
  assert raw.sum() == pytest.approx(want['inv_freq_notrunc_sum'], rel=1e-12)
  ratio = code / paper
  assert ratio.max() == pytest.approx(
    want['max_ratio_code_over_paper'], rel=1e-12
  )
  assert ratio.argmax() == want['argmax']


def test_golden_spectrum_without_truncation(golden):
  want = golden['yarn']['gpt_oss_truncate_false']
  args = {'d': 64, 'theta': 150000.0, 's': 32, 'L': 4096}
  got, amplitude = of(args, truncate=False)
  np.testing.assert_allclose(got, want['inv_freq'], rtol=1e-12)
  assert amplitude == pytest.approx(want['attention_factor'], rel=1e-12)


@pytest.mark.parametrize(
  ('fields', 'printed', 'amplitude'),
  [
    (
      {},
      '.0562341 .0469409 .00567308 1.51772e-4 8.33451e-5 7.21739e-6',
      1.2772589,
    ),
    (
      {'factor': 32.0},
      '.0562341 .0468823 .00552885 1.055e-4 4.16725e-5 3.60869e-6',
      1.3465736,
    ),
    (
      {'factor': 4.0, 'train_len': 2048},
      '.049486 .0413922 .0052 3.84982e-4 3.3338e-4 2.88695e-5',
      1.1386294,
    ),
  ],
)
def test_printed_values_of_the_reference(fields, printed, amplitude):
  got, found = build(**fields).frequencies(128)
  at = [20, 21, 32, 45, 46, 63]
  want = [float(x) for x in printed.split()]
  np.testing.assert_allclose(got[at], want, rtol=5e-6)
  assert found == pytest.approx(amplitude, abs=5e-8)


def test_the_papers_own_check_of_the_temperature():
  assert build(factor=8.0).frequencies(128)[1] == pytest.approx(1.208, abs=5e-4)


def test_attention_factor_replaces_the_amplitude():
  assert build(attention_factor=1.5).frequencies(64)[1] == 1.5


def test_equal_mscales_cancel_and_others_divide():
  same = build(mscale=1.0, mscale_all_dim=1.0)
  assert same.frequencies(64)[1] == 1.0
  grown = build(mscale=0.707, mscale_all_dim=1.0, factor=40.0)
  want = (0.0707 * math.log(40) + 1) / (0.1 * math.log(40) + 1)
  assert grown.frequencies(64)[1] == pytest.approx(want, rel=1e-12)


def test_scores_grow_by_the_amplitude_squared(rng):
  """Not once: a temperature with a square root too many is a known bug."""
  c = hooks.case(rng)
  c.q_pos, c.k_pos = c.q_pos * 0, c.k_pos * 0
  amplitude = build().frequencies(8)[1]
  nope = positions.build({'name': 'nope'})
  want = hooks.attend(nope, {}, c.q * amplitude**2, c.k, c.v, c.q_pos, c.k_pos)
  got = hooks.attend(build(), {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('train_len', [3, 40])
def test_a_ramp_that_ends_before_it_starts_does_not_invert(train_len):
  """train_len < 2 pi puts both ends below the first pair: all interpolate."""
  got, _ = build(train_len=train_len, factor=2.0).frequencies(16)
  plain = oracles.rope_frequencies(16, 1e4)
  assert (np.diff(got) < 0).all()
  assert got[-1] == plain[-1] / 2
  want = oracles.yarn_frequencies(16, 1e4, 2.0, train_len)
  np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_ramp_may_end_beyond_the_last_pair_as_in_the_code_bases():
  """Ends 5 and 9 of 8 pairs: they clip to the width less one, not to 7."""
  got, _ = build(train_len=111_000).frequencies(16)
  want = oracles.rope_frequencies(16, 1e4)
  np.testing.assert_allclose(got[:6], want[:6], rtol=1e-12)
  kept = np.array([0.75, 0.5])
  np.testing.assert_allclose(
    got[6:], want[6:] * (kept + (1 - kept) / 16), rtol=1e-12
  )


def test_factor_one_is_rope():
  got, amplitude = build(factor=1.0).frequencies(64)
  np.testing.assert_allclose(got, oracles.rope_frequencies(64, 1e4), rtol=1e-14)
  assert amplitude == 1.0


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 512},
    {'factor': 4.0},
    {'train_len': 64},
    {'ramp': 'paper'},
    {'attention_factor': 1.0},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
    ({'ramp': 'cubic'}, "ramp='cubic'.*'code', 'paper'"),
    ({'beta_slow': 0.0}, r'beta_slow=0\.0.*> 0'),
    ({'beta_fast': 0.5}, r'beta_fast=0\.5.*above beta_slow=1'),
    ({'mscale': 1.0}, 'mscale_all_dim=None.*given together with mscale'),
    ({'mscale_all_dim': 1.0}, r'mscale_all_dim=1\.0.*given together'),
    ({'train_len': None}, 'needs train_len'),
    ({'train_len': 4096.5}, r'train_len=4096\.5 is float.*must be int'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
