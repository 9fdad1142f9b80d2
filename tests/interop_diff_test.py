"""Where two methods part: the reference's facts, layers, what is printed."""

import math

import numpy as np
import pytest
from interop_configs import CONFIGS, LLAMA_2, LONG, SHORT

from rope_jax import interop, positions

ROPE = {'name': 'rope', 'theta': 1e4}


def yarn(ramp, factor, **fields):
  return positions.build(
    {
      'name': 'yarn',
      'theta': 1e4,
      'factor': factor,
      'train_len': 4096,
      'ramp': ramp,
      **fields,
    }
  )


@pytest.mark.parametrize(
  ('factor', 'head_dim', 'said'),
  [
    (16.0, 128, 'up to 3.04x apart (pair 38)'),
    (32.0, 128, 'up to 3.96x apart'),
    (40.0, 64, 'up to 4.28x apart'),
  ],
)
def test_yarn_the_code_is_not_yarn_the_paper(factor, head_dim, said):
  found = interop.diff(
    yarn('code', factor), yarn('paper', factor), head_dim=head_dim
  )
  assert str(found).startswith(said)
  assert found.parts[0].fields == (('ramp', 'code', 'paper'),)
  assert found.parts[0].amplitude == 1.0
  assert not found.same


def test_numbers_are_those_of_the_golden_file(golden):
  want = golden['yarn']['llama2_7b_s16']
  found = interop.diff(yarn('code', 16.0), yarn('paper', 16.0))
  (part,) = found.parts
  assert found.factor == pytest.approx(want['max_ratio_code_over_paper'])
  assert part.pair == want['argmax']
  np.testing.assert_allclose(part.frequency_b, want['inv_freq_paper_ramp'])
  # The other way round, the factor is the same and the ratio is not.
  back = interop.diff(yarn('paper', 16.0), yarn('code', 16.0))
  assert back.factor == pytest.approx(found.factor)
  np.testing.assert_allclose(back.parts[0].ratio, 1 / part.ratio)


def test_the_table_has_every_pair_once():
  lines = str(interop.diff(yarn('code', 16.0), yarn('paper', 16.0))).split('\n')
  table = [line.split() for line in lines[3:]]
  ends = [[int(x) for x in row[0].split('-')] for row in table]
  covered = [p for e in ends for p in range(e[0], e[-1] + 1)]
  assert covered == list(range(64))
  assert table[0][1] == '1'  # The fast pairs are equal.
  assert table[0][2].startswith('6.28319-')


def test_nothing_differs():
  found = interop.diff(LLAMA_2, positions.build(ROPE))
  assert found.same
  assert found.factor == 1.0
  assert str(found) == 'no difference'


def test_equal_spectra_by_different_methods_say_their_fields():
  linear = positions.build({'name': 'linear', 'theta': 1e4, 'factor': 1.0})
  found = interop.diff(positions.build(ROPE), linear)
  assert not found.same
  assert str(found).split('\n') == [
    'equal frequencies',
    'method: rope | linear',
    'factor: - | 1.0',
  ]


def test_amplitudes_and_their_square():
  found = interop.diff(
    yarn('code', 16.0), yarn('code', 16.0, mscale=1.0, mscale_all_dim=1.0)
  )
  grown = 0.1 * math.log(16) + 1
  assert found.parts[0].amplitude == pytest.approx(grown)
  assert f'amplitude a/b {grown:.4f} (scores {grown**2:.4f})' in str(found)


def test_lengths_matter_where_the_method_asks():
  longrope = positions.build(
    {
      'name': 'longrope',
      'theta': 1e4,
      'short_factor': SHORT,
      'long_factor': LONG,
      'train_len': 4096,
      'factor': 1.0,
    }
  )
  rope = positions.build(ROPE)
  within = interop.diff(rope, longrope, head_dim=16, context_len=4096)
  beyond = interop.diff(rope, longrope, head_dim=16, context_len=4097)
  assert within.factor == pytest.approx(max(SHORT))
  assert beyond.factor == pytest.approx(max(LONG))


def test_temperatures_of_the_last_token():
  logn = positions.build({'name': 'log_n', 'train_len': 4096})
  both = positions.compose(positions.build(ROPE), logn)
  found = interop.diff(both, positions.build(ROPE), context_len=65536)
  want = math.log(65536) / math.log(4096)
  assert found.parts[0].temperature == pytest.approx(want, rel=1e-6)
  assert f"last token's scores a/b {want:.4f}" in str(found)
  assert found.factor == 1.0


def test_a_pair_that_stands_still_and_a_method_that_turns_nothing():
  rope = positions.build(ROPE)
  half = positions.build({'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5})
  found = interop.diff(rope, half, head_dim=8)
  np.testing.assert_array_equal(found.parts[0].ratio, [1, 1, np.inf, np.inf])
  np.testing.assert_array_equal(found.parts[0].apart, [1, 1, np.inf, np.inf])
  assert 'inf' in str(found)
  alone = interop.diff(positions.build({'name': 'nope'}), rope)
  assert alone.factor == math.inf
  assert str(alone).startswith('only b turns q and k')
  alibi = positions.build({'name': 'alibi'})
  assert interop.diff(alibi, alibi).same


def test_layers_are_compared_with_layers():
  scaled = CONFIGS['gemma3_4b']
  plain = {'model_type': 'gemma3_text', 'sliding_window': 1024}
  found = interop.diff(scaled, plain, head_dim=256)
  assert found.period == 6
  near, far = found.parts
  assert near.layers == (0, 1, 2, 3, 4)
  assert near.same
  assert far.layers == (5,)
  np.testing.assert_allclose(far.ratio, 1 / 8)
  assert 'layers 0, 1, 2, 3, 4 of every 6: no difference' in str(found)
  assert 'layers 5 of every 6: up to 8.00x apart' in str(found)


def test_layouts_of_different_periods_meet_in_all_ways():
  one = positions.layout([ROPE, {**ROPE, 'theta': 1e6}])
  other = positions.layout([ROPE, ROPE, {'name': 'nope'}])
  found = interop.diff(one, other)
  assert found.period == 6
  layers = sorted(layer for part in found.parts for layer in part.layers)
  assert layers == list(range(6))
  assert len(found.parts) == 4
