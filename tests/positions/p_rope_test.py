"""p-RoPE: its spectrum, its layout, and scalings joined with it."""

import hooks
import numpy as np
import oracles
import oracles_rotary
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'fraction': 0.5},
]

PART = {'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5}


def build(**fields):
  return positions.build({**PART, **fields})


def joined(other, **fields):
  parts = [{**PART, **fields}, {'theta': 1e4, **other}]
  return positions.build({'name': 'compose', 'parts': parts})


@pytest.mark.parametrize('pairing', ['half', 'interleaved'])
@pytest.mark.parametrize('fraction', [1.0, 0.75, 0.5])
def test_attention_under_p_rope_equals_the_loops(rng, pairing, fraction):
  """The oracle's pairs are those of a whole head; still ones turn by 0."""
  c = hooks.case(rng)
  f = oracles_rotary.p_rope_frequencies(8, 1e4, fraction)
  method = build(pairing=pairing, fraction=fraction)
  hooks.assert_attends(method, c, oracle=hooks.turning(c, f, pairing=pairing))


def test_half_of_a_split_head_is_turned_still_turned_still(rng):
  x = rng.normal(size=(1, 3, 2, 16)).astype(np.float32)
  pos = np.array([[5, 70, 900]], np.int32)
  got = np.asarray(hooks.rotate(build(), x, pos, np.zeros((1, 1), np.int32)))
  moved = np.abs(got - x).max(axis=(0, 1, 2)) > 1e-3
  assert moved.tolist() == ([True] * 4 + [False] * 4) * 2
  leading = positions.build({'name': 'rope', 'theta': 1e4, 'fraction': 0.5})
  other = hooks.rotate(leading, x, pos, np.zeros((1, 1), np.int32))
  assert np.abs(got - other).max() > 0.1


@pytest.mark.parametrize(
  ('head_dim', 'fraction', 'turning'),
  [
    (128, 0.25, 16),
    (128, 0.75, 48),
    (10, 0.5, 2),
    (10, 0.99, 4),
    (512, 1, 256),
  ],
)
def test_the_number_of_pairs_rounds_down(head_dim, fraction, turning):
  got, amplitude = build(fraction=float(fraction)).frequencies(head_dim)
  want = oracles_rotary.p_rope_frequencies(head_dim, 1e4, fraction)
  np.testing.assert_allclose(got, want, rtol=1e-13, atol=0)
  assert (np.count_nonzero(got), amplitude) == (turning, 1.0)


def test_the_layout_is_that_of_transformers():
  """Gemma's: int(share x width // 2) angles over the whole width, then 0."""
  head_dim, share, theta = 512, 0.25, 1e6
  angles = int(share * head_dim // 2)
  want = [1 / theta ** (i / head_dim) for i in range(0, 2 * angles, 2)]
  want += [0.0] * (head_dim // 2 - angles)
  got, _ = build(theta=theta, fraction=share).frequencies(head_dim)
  np.testing.assert_allclose(got, want, rtol=1e-13, atol=0)


def test_joined_with_yarn_it_is_yarn_on_the_fastest_pairs(rng):
  yarn = {'name': 'yarn', 'factor': 16.0, 'train_len': 4096}
  c = hooks.case(rng, h=16)
  whole = oracles.yarn_frequencies(16, 1e4, 16.0, 4096)
  amplitude = 0.1 * np.log(16.0) + 1

  def rotate(x, which, row, index):
    """Still pairs keep their size: YaRN's amplitude is on turned ones."""
    position = int((c.q_pos if which == 'q' else c.k_pos)[row, index])
    turned = oracles.rope_half(x, position, whole) * amplitude
    still = np.tile(np.arange(8) >= 4, 2)
    return np.where(still, x, turned)

  method = joined(yarn)
  hooks.assert_attends(method, c, oracle={'rotate': rotate})
  found, gain = method.frequencies(16)
  np.testing.assert_allclose(found[:4], whole[:4], rtol=1e-12)
  np.testing.assert_array_equal(found[4:], 0)
  assert gain == pytest.approx(amplitude, rel=1e-12)


def test_the_order_of_the_parts_does_not_matter(rng):
  ntk = {'name': 'ntk', 'theta': 1e4, 'factor': 4.0}
  one = positions.build({'name': 'compose', 'parts': [PART, ntk]})
  other = positions.build({'name': 'compose', 'parts': [ntk, PART]})
  assert one.turning == other.turning
  assert one.turning.frequencies(8)[0].astype(bool).sum() == 2


def test_joined_with_dynamic_ntk_the_pairs_follow_the_length(rng):
  c = hooks.case(rng, top=300)
  c.k_pos[:, 0] = 0
  lengths = np.maximum(c.k_pos.max(axis=1) + 1, 49)

  def frequency(which, row):
    f = oracles.dynamic_ntk_frequencies(8, 1e4, 48, int(lengths[row]))
    return np.where(np.arange(4) < 2, f, 0.0)

  c.q_pos = np.minimum(c.q_pos, c.k_pos.max(axis=1, keepdims=True))
  method = joined({'name': 'dynamic_ntk', 'train_len': 48})
  hooks.assert_attends(method, c, oracle=hooks.turning(c, frequency), atol=2e-5)


@pytest.mark.parametrize(
  ('other', 'message'),
  [
    (
      {'name': 'rope', 'theta': 500.0},
      r'PRope has theta=10000\.0 and Rope has theta=500\.0',
    ),
    (
      {'name': 'rope', 'pairing': 'interleaved'},
      "pairing='half' and Rope has pairing='interleaved'",
    ),
    (
      {'name': 'rope', 'fraction': 0.25},
      r'fraction=0\.5 and Rope has fraction=0\.25.*give Rope fraction=1\.0',
    ),
    ({'name': 'xpos'}, 'PRope and Xpos would each rotate'),
  ],
)
def test_what_does_not_join_is_refused(other, message):
  with pytest.raises(ValueError, match=message):
    joined(other)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'fraction': None}, 'needs fraction'),
    ({'fraction': 0.0}, r'fraction=0\.0.*in \(0, 1\]'),
    ({'partial': 'leading'}, "partial='leading'.*must be 'proportional'"),
    ({'theta': 0.5}, 'theta=0.5.*above 1'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_too_small_a_share_turns_nothing_and_is_refused():
  with pytest.raises(ValueError, match=r'fraction=0\.1 of head_dim=8'):
    build(fraction=0.1).check(heads=4, head_dim=8, model_dim=32)


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(PART, {'theta': 500.0}, {'fraction': 0.75})
