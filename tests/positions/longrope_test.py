"""LongRoPE: its two lists, its amplitude, its first tokens."""

import dataclasses
import json

import hooks
import numpy as np
import oracles
import oracles_rotary
import pytest

from rope_jax import attention, positions
from rope_jax.positions import rope

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {
    'theta': 1e4,
    'short_factor': [1.0, 1.0, 1.5, 2.0],
    'long_factor': [1.0, 2.0, 4.0, 8.0],
    'train_len': 16,
    'factor': 4.0,
  },
  {
    'theta': 1e4,
    'short_factor': [1.0, 1.0, 1.0, 1.0],
    'long_factor': [3.0, 4.0, 6.0, 8.0],
    'train_len': 16,
    'short_mscale': 1.1,
    'long_mscale': 1.3,
    'first': 12,
  },
]

SHORT, LONG = (1.0, 1.1, 1.5, 2.0), (1.3, 2.0, 4.0, 8.0)
BASE = {
  'name': 'longrope',
  'theta': 1e4,
  'short_factor': SHORT,
  'long_factor': LONG,
  'train_len': 48,
}


def build(**fields):
  return positions.build({**BASE, **fields})


def attends(method, c, spectrum, first=0, **others):
  """Against the loops, with (frequencies, amplitude) by row."""
  at = {'q': c.q_pos, 'k': c.k_pos}

  def rotate(x, which, row, index):
    position = int(at[which][row, index])
    f, amplitude = spectrum(row)
    if position < first:
      f = oracles.rope_frequencies(8, 1e4)
    return oracles.rope(x, position, f, amplitude)

  hooks.assert_attends(method, c, oracle={'rotate': rotate}, **others)


@pytest.mark.parametrize(
  ('fields', 'amplitudes'),
  [
    ({}, (1.0, 1.0)),
    ({'factor': 32.0}, (oracles_rotary.longrope_amplitude(32, 48),) * 2),
    ({'factor': 32.0, 'attention_factor': 1.5}, (1.5, 1.5)),
    ({'short_mscale': 1.25, 'long_mscale': 0.8}, (1.25, 0.8)),
    (
      {'first': 20, 'factor': 2.0},
      (oracles_rotary.longrope_amplitude(2, 48),) * 2,
    ),
  ],
)
def test_attention_follows_the_length_of_each_row(rng, fields, amplitudes):
  """Rows of one batch, one of train_len tokens and one of a token more."""
  c = hooks.case(rng, top=40)
  c.k_pos[:, 0] = 0
  c.k_pos[0, 3], c.k_pos[1, 3] = 47, 48
  assert (c.k_pos < 20).any()

  def spectrum(row):
    f = oracles_rotary.longrope_frequencies(8, 1e4, SHORT, LONG, 48, 48 + row)
    return f, amplitudes[row]

  attends(build(**fields), c, spectrum, fields.get('first', 0))


def test_the_long_list_is_exact_at_a_hundred_thousand(rng):
  """No part of the phase is a float32 product: scores keep 1e-5 there."""
  c = hooks.case(rng)
  c.q_pos, c.k_pos = c.q_pos + 120_000, c.k_pos + 120_000

  def spectrum(row):
    f = oracles_rotary.longrope_frequencies(8, 1e4, SHORT, LONG, 48, 49)
    return f, 1.0

  attends(build(), c, spectrum)


@pytest.mark.parametrize('target', [131072, 262144])
def test_golden_amplitude(golden, target):
  want = golden['longrope_attention_factor'][f'4096->{target}']
  method = build(train_len=4096, factor=target / 4096)
  for length in (None, 10, 4096, 4097, target):
    assert method.frequencies(8, length)[1] == pytest.approx(want, rel=1e-12)


def test_the_long_list_starts_one_token_beyond_train_len():
  plain = oracles.rope_frequencies(8, 1e4)
  for length, by in ((None, SHORT), (1, SHORT), (48, SHORT), (49, LONG)):
    got, _ = build().frequencies(8, length)
    np.testing.assert_allclose(got, plain / by, rtol=1e-13)


def test_packed_sequences_choose_their_list_each(rng):
  """A row of 48 + 49 tokens equals the two alone."""
  c = hooks.case(rng, b=1, t=97, s=97)
  pos = np.concatenate([np.arange(48), np.arange(49)])[None].astype(np.int32)
  segment = np.repeat([[7, 1000]], [48, 49], axis=1).astype(np.int32)
  mask = attention.Mask(q_segment_bt=segment, k_segment_bs=segment)
  packed = hooks.attend(build(), {}, c.q, c.k, c.v, pos, pos, mask=mask)
  for cut in (slice(0, 48), slice(48, 97)):
    arrays = (c.q[:, cut], c.k[:, cut], c.v[:, cut], pos[:, cut], pos[:, cut])
    alone = hooks.attend(build(), {}, *arrays)
    np.testing.assert_allclose(packed[:, cut], alone, atol=1e-5)


def test_lists_of_a_config_become_tuples_and_round_trip_through_json():
  given = build(short_factor=[1, 1.1, 1.5, 2], long_factor=np.array(LONG))
  assert given == build()
  assert hash(given) == hash(build())
  assert isinstance(given.short_factor[0], float)
  text = json.dumps(positions.spec(given))
  assert positions.build(json.loads(text)) == given


def test_the_first_tokens_make_scores_depend_on_the_start():
  assert build().relative
  assert not build(first=1).relative
  assert rope.by_spectrum(build())
  assert not rope.by_spectrum(build(first=1))
  assert dataclasses.replace(build(first=3), first=0) == build()


def test_two_hyperparameters_in_one_process_do_not_mix():
  spec = {**BASE, 'short_factor': SHORT * 2, 'long_factor': LONG * 2}
  hooks.order_matters_not(
    spec,
    {'train_len': 5000},
    {'factor': 8.0},
    {'first': 900},
    {'long_factor': SHORT * 2},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'short_factor': None}, 'needs short_factor'),
    ({'long_factor': None}, 'needs long_factor'),
    ({'train_len': None}, 'needs train_len'),
    ({'train_len': 1}, 'train_len=1.*>= 2'),
    ({'short_factor': []}, r'short_factor=\[\].*a sequence of numbers'),
    ({'short_factor': 2.0}, r'short_factor=2\.0.*a sequence of numbers'),
    ({'long_factor': [1.0, 0.0, 1.0, 1.0]}, 'long_factor=.*numbers > 0'),
    ({'long_factor': [1.0]}, r'long_factor=\(1\.0,\).*short_factor has \(4\)'),
    ({'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'attention_factor': 0.0}, r'attention_factor=0\.0.*> 0'),
    ({'long_mscale': 1.2}, r'long_mscale=1\.2.*with short_mscale'),
    (
      {'long_mscale': 1.2, 'short_mscale': 1.0, 'attention_factor': 1.0},
      r'attention_factor=1\.0.*None where short_mscale',
    ),
    ({'first': -1}, 'first=-1.*>= 0'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


@pytest.mark.parametrize('head_dim', [6, 16])
def test_lists_must_have_a_number_per_pair(head_dim):
  with pytest.raises(ValueError, match=f'4 numbers.*{head_dim // 2} pairs'):
    build().check(heads=4, head_dim=head_dim, model_dim=32)
