"""The free law: by position and by length, and the laws that it contains."""

import math

import hooks_scale
import numpy as np
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'slope': 0.5, 'train_len': 8},
  {'slope': 0.5, 'train_len': 8, 'by': 'length'},
]


def build(**fields):
  defaults = {'slope': 0.5, 'train_len': 8}
  return positions.build({'name': 'log_temperature', **defaults, **fields})


def test_attention_by_position_equals_the_loops(rng):
  hooks_scale.assert_attends(
    build(),
    hooks_scale.case(rng),
    lambda head, i: oracles_remap.log_law(i + 1, slope=0.5, train_len=8),
  )


def test_attention_by_length_equals_the_loops(rng):
  """The length is one more than the last position."""
  c = hooks_scale.case(rng)
  for name, x in vars(c).items():
    setattr(c, name, x[1:])  # The gappy row.
  length = int(c.k_pos.max()) + 1
  assert length > 30
  hooks_scale.assert_attends(
    build(by='length'),
    c,
    lambda head, i: oracles_remap.log_law(length, slope=0.5, train_len=8),
  )


def test_each_sequence_of_a_batch_has_its_own_length():
  pos, heads = np.zeros((2, 3), np.int32), np.arange(4, dtype=np.int32)
  for shape in ((2, 1), (2, 3)):
    length = np.broadcast_to(np.array([[8], [80]], np.int32), shape)
    at = positions.Places(pos, pos, length, length, heads, 4)
    got = np.asarray(build(by='length').scale({}, at))
    want = np.array([1.0, 1 + 0.5 * math.log(10)])
    np.testing.assert_allclose(
      got, np.broadcast_to(want[:, None, None], (2, 4, 3)), rtol=2e-7
    )


def test_log_n_is_a_case():
  log_n = positions.build({'name': 'log_n', 'train_len': 512})
  same = build(slope=1 / math.log(512), train_len=512)
  pos = np.array([[0, 400, 511, 512, 5000, 10**6]])
  np.testing.assert_allclose(
    hooks_scale.scales(same, pos), hooks_scale.scales(log_n, pos), rtol=5e-7
  )


@pytest.mark.parametrize('slope', [0.412, 0.103])
def test_drope_is_a_case(slope):
  method = build(slope=slope, train_len=1024, by='length')
  for s in (1, 2, 4, 8):
    got = hooks_scale.one(method, 17, length=1024 * s)
    assert got == pytest.approx(1 + slope * math.log(s), rel=3e-7)


def test_yarn_is_two_of_it():
  """Its amplitude goes on q and on k, so that scores grow by the square."""
  yarn = positions.build(
    {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 256}
  )
  half = build(slope=0.1, train_len=256, by='length')
  method = positions.compose(half, half)
  got = hooks_scale.one(method, 3, params=({}, {}), length=256 * 16)
  amplitude = yarn.frequencies(64)[1]
  assert got == pytest.approx(amplitude**2, rel=1e-6)


def test_longrope_is_a_case(golden):
  """sqrt(1 + ln s / ln train_len) on q and on k, at the length for s."""
  method = build(slope=1 / math.log(4096), train_len=4096, by='length')
  for name, amplitude in golden['longrope_attention_factor'].items():
    length = int(name.split('->')[1])
    got = hooks_scale.one(method, 3, length=length)
    assert got == pytest.approx(amplitude**2, rel=3e-7)


def test_nothing_changes_up_to_the_trained_length():
  for by in ('position', 'length'):
    assert hooks_scale.one(build(by=by), 7, length=8) == 1.0
    assert hooks_scale.one(build(by=by), 8, length=9) > 1.01


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'slope': -0.1}, r'slope=-0\.1.*>= 0'),
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
    ({'by': 'token'}, "by='token'.*'position', 'length'"),
    ({'slope': None}, 'needs slope'),
    ({'train_len': None}, 'needs train_len'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
