"""Dynamic YaRN: YaRN by the length of each sequence."""

import functools

import hooks
import jax
import numpy as np
import oracles
import oracles_rotary
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'train_len': 16},
]


def build(**fields):
  defaults = {'theta': 1e4, 'train_len': 48}
  return positions.build({'name': 'dynamic_yarn', **defaults, **fields})


def turning(c, spectrum):
  """The oracle's `rotate`, for (frequencies, amplitude) by row."""
  at = {'q': c.q_pos, 'k': c.k_pos}

  def rotate(x, which, row, index):
    return oracles.rope(x, int(at[which][row, index]), *spectrum(row))

  return {'rotate': rotate}


@pytest.mark.parametrize('ramp', ['code', 'paper'])
def test_attention_follows_the_length_of_each_row(rng, ramp):
  """Rows of one batch, one of them short of train_len and one beyond it."""
  c = hooks.case(rng, h=16, top=40)
  c.k_pos[1] = rng.permutation(300)[:7]
  c.q_pos[1] = c.k_pos[1, 2:]
  c.k_pos[:, 0] = 0
  lengths = c.k_pos.max(axis=1) + 1
  assert lengths[0] < 48 < lengths[1]

  def spectrum(row):
    return oracles_rotary.dynamic_yarn(
      16, 1e4, 48, int(lengths[row]), ramp=ramp
    )

  method = build(ramp=ramp)
  hooks.assert_attends(method, c, oracle=turning(c, spectrum), atol=2e-5)


@pytest.mark.parametrize(
  'name', ['llama2_7b_s16', 'llama2_7b_s32', 'qwen2.5_s4', 'dsv3_s40_rope64']
)
def test_at_factor_times_the_length_it_is_yarns_golden_spectrum(golden, name):
  want = golden['yarn'][name]
  args = want['args']
  for ramp in ('code', 'paper_ramp'):
    method = build(
      theta=args['theta'], train_len=args['L'], ramp=ramp.split('_')[0]
    )
    got, amplitude = method.frequencies(args['d'], args['s'] * args['L'])
    np.testing.assert_allclose(got, want[f'inv_freq_{ramp}'], rtol=1e-12)
    assert amplitude == pytest.approx(want['attention_factor'], rel=1e-12)


@pytest.mark.parametrize(
  'fields',
  [{}, {'truncate': False}, {'beta_fast': 8.0}, {'beta_slow': 4.0}],
)
@pytest.mark.parametrize('length', [None, 1, 48, 49, 700])
def test_the_spectrum_is_that_of_the_source(fields, length):
  got, amplitude = build(**fields).frequencies(64, length)
  options = {k.removeprefix('beta_'): v for k, v in fields.items()}
  want, gain = oracles_rotary.dynamic_yarn(64, 1e4, 48, length or 1, **options)
  np.testing.assert_allclose(got, want, rtol=1e-12)
  assert amplitude == pytest.approx(gain, rel=1e-12)


@functools.partial(jax.jit, static_argnums=(0, 1))
def compiled(method, width, length_bt):
  return method.drift(width, length_bt), method.gain(length_bt)


@pytest.mark.parametrize('train_len', [4000, 3001])
def test_the_compiled_part_keeps_its_documented_bound(train_len):
  """Lengths from one token beyond train_len to 16 x."""
  method = build(train_len=train_len)
  length = train_len + np.array([-7, 0, 1, 2, 3, 7, 100, 2500, train_len])
  length = np.append(length, 16 * train_len).astype(np.int32)
  drift, gain = compiled(method, 128, length[None])
  plain = method.frequencies(128)[0]
  for i, l in enumerate(length):
    frequency, amplitude = method.frequencies(128, int(l))
    change = frequency - plain
    error = np.abs(np.asarray(drift, np.float64)[0, i] - change)
    assert (error <= 4e-7 * np.abs(change)).all()
    assert float(gain[0, i, 0]) == pytest.approx(amplitude, rel=2e-7)


def test_a_rotation_at_sixteen_times_the_length_keeps_the_bound(rng):
  method = build(train_len=4000)
  x = np.ones((1, 3, 1, 16), np.float32)
  pos = np.array([[0, 12345, 63999]], np.int32)
  got = hooks.rotate(method, x, pos, np.full((1, 1), 64000, np.int32))
  plain = method.frequencies(16)[0]
  frequency, amplitude = oracles_rotary.dynamic_yarn(16, 1e4, 4000, 64000)
  for i, p in enumerate(pos[0]):
    want = oracles.rope(x[0, i, 0], int(p), frequency, amplitude)
    bound = 1e-6 + 2 * amplitude * 4e-7 * p * np.abs(frequency - plain)
    assert (np.abs(got[0, i, 0] - want) <= np.tile(bound, 2)).all()


def test_packed_sequences_have_a_length_each(rng):
  """Under train_len=48."""
  hooks.assert_packed_equals_alone(build(), rng)


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'dynamic_yarn', 'theta': 1e4, 'train_len': 64},
    {'train_len': 700},
    {'ramp': 'paper'},
    {'theta': 500.0},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'train_len': 0}, 'DynamicYarn: train_len=0.*number of tokens'),
    ({'train_len': None}, 'needs train_len'),
    ({'factor': 2.0}, 'has no factor'),
    ({'ramp': 'linear'}, "DynamicYarn: ramp='linear'.*'code', 'paper'"),
    ({'beta_slow': 0.0}, r'beta_slow=0\.0.*> 0'),
    ({'beta_fast': 1.0}, r'beta_fast=1\.0.*above beta_slow=1'),
    ({'theta': 1.0}, r'DynamicYarn: theta=1\.0'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
