"""What sets methods apart, against loops over math.cos and known figures."""

import dataclasses
import math

import numpy as np
import pytest
from interop_configs import CONFIGS, LLAMA_2

from rope_jax import interop, positions
from rope_jax.spectrum import apart as apart_lib
from rope_jax.spectrum import spectra

ROPE = {'name': 'rope', 'theta': 1e4}
YARN = {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}


def built(**spec):
  return positions.build(spec)


def cosines(position, head_dim, context_len, length):
  """The sums of cosines, a pair and a distance at a time."""
  frequency, amplitude = position.frequencies(head_dim, context_len)
  return [
    math.fsum(
      math.cos(m * f) * amplitude**2 if f else 1.0 for f in frequency.tolist()
    )
    for m in range(length)
  ]


def by_loops(a, b, head_dim, length, threshold):
  """(largest, at, first, negative_a, negative_b)."""
  sums = [cosines(x, head_dim, length, length) for x in (a, b)]
  gap = [abs(x - y) for x, y in zip(*sums, strict=True)]
  first = next((m for m, g in enumerate(gap) if g > threshold), None)
  return (
    max(gap),
    gap.index(max(gap)),
    first,
    *(next((m for m, x in enumerate(s) if x < 0), None) for s in sums),
  )


@pytest.mark.parametrize(
  ('a', 'b'),
  [
    (ROPE, {**ROPE, 'theta': 5e5}),
    (ROPE, {**ROPE, 'name': 'linear', 'factor': 3.0}),
    ({**ROPE, 'name': 'p_rope', 'fraction': 0.5}, ROPE),
    (
      {**YARN, 'factor': 8.0, 'train_len': 100},
      {**YARN, 'factor': 8.0, 'train_len': 100, 'ramp': 'paper'},
    ),
    (ROPE, {**YARN, 'factor': 8.0, 'train_len': 100}),
    ({'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 300}, ROPE),
  ],
  ids=str,
)
@pytest.mark.parametrize('share', [0.01, 0.3])
def test_curves_are_those_of_loops(a, b, share):
  one, other = positions.build(a), positions.build(b)
  (found,) = apart_lib.apart(one, other, 16, 1500, share=share)
  want = by_loops(one, other, 16, 1500, 8 * share)
  assert found.largest == pytest.approx(want[0], abs=1e-11)
  assert (found.at, found.first, found.negative_a, found.negative_b) == want[1:]
  assert found.threshold == pytest.approx(8 * share)
  assert abs(found.sums[0] - found.sums[1]) == found.largest
  assert found.largest > 0.5


def test_yarn_the_code_is_not_yarn_the_paper(golden):
  """Up to 3.04 x apart, as methods.md has it, and what follows for scores."""
  found = apart_lib.variants_apart(YARN, 128, 65536)
  assert list(found) == [('code', 'paper')]
  one = found['code', 'paper']
  want = golden['yarn']['llama2_7b_s16']
  assert one.diff.factor == pytest.approx(want['max_ratio_code_over_paper'])
  assert one.diff.pair == want['argmax']
  np.testing.assert_allclose(one.b.frequency_f, want['inv_freq_paper_ramp'])
  # The sums at the distance named, from the golden frequencies of the paper.
  square = (0.1 * math.log(16) + 1) ** 2
  there = square * sum(
    math.cos(one.at * f) for f in want['inv_freq_paper_ramp']
  )
  assert one.sums[1] == pytest.approx(there, abs=1e-6)
  assert str(one).split('\n') == [
    *str(one.diff).split('\n'),
    'sums of cosines below 65,536 tokens, 64 pairs:',
    '  up to 26.14 apart, at 60,864 (a -6.15, b 19.99)',
    '  more than 0.64 apart first at 23',
    '  below zero first: a at 11,671, b at 15,037',
  ]


def test_first_negative_sums_are_the_published_ones():
  """Base 1e4: 1707; 5e5: 18438 (methods.md, 3.1)."""
  (found,) = apart_lib.apart(
    built(**ROPE), built(name='rope', theta=5e5), 128, 20000
  )
  assert (found.negative_a, found.negative_b) == (1707, 18438)
  (short,) = apart_lib.apart(
    built(**ROPE), built(name='rope', theta=5e5), 128, 1707
  )
  assert (short.negative_a, short.negative_b) == (None, None)
  assert str(short).endswith('below zero first: a nowhere, b nowhere')


def test_curves_longer_than_a_block():
  """Two pairs whose slow one drifts apart: the most is near the far end."""
  length = 2**20 + 5000
  theta = (1e4, 1.00001e4)
  (found,) = apart_lib.apart(
    built(name='rope', theta=theta[0]),
    built(name='rope', theta=theta[1]),
    4,
    length,
    share=0.0263,
  )
  distance = np.arange(length)
  slow = [np.cos(distance * x**-0.5) for x in theta]
  gap = np.abs(slow[0] - slow[1])
  assert found.at == gap.argmax()
  assert found.at > 2**20
  assert found.largest == pytest.approx(gap.max(), abs=1e-9)
  assert found.first is not None
  assert found.first == np.argmax(gap > 0.0526)
  assert found.first > 2**20


def test_equal_methods():
  (found,) = apart_lib.apart(built(**ROPE), LLAMA_2, 128, 4096)
  assert found.same
  assert found.diff.same
  assert found.first is None
  assert str(found).split('\n') == [
    'no difference',
    'sums of cosines below 4,096 tokens: equal',
    '  below zero first: a at 1,707, b at 1,707',
  ]
  slower = built(name='linear', theta=1e4, factor=1.0 + 1e-6)
  assert not apart_lib.apart(built(**ROPE), slower, 128, 4096)[0].same


def test_two_configs():
  (found,) = apart_lib.apart(LLAMA_2, CONFIGS['yarn_llama2_64k'], 128, 65536)
  assert found.diff.factor == pytest.approx(16)
  assert found.b.amplitude == pytest.approx(1.2772589, abs=1e-7)
  # Distance 0: 64 pairs, grown by the square of the amplitude.
  assert found.first == 0
  assert found.negative_a == 1707
  assert 'amplitude a/b 0.7829' in str(found)


def test_layers_are_compared_where_both_turn():
  """SmolLM 3 turns nothing in each fourth layer."""
  found = apart_lib.apart(CONFIGS['smollm3_3b'], built(**ROPE), 128, 4096)
  assert len(found) == 1
  assert found[0].period == 4
  assert found[0].diff.layers == (0, 1, 2)
  assert str(found[0]).startswith('layers 0, 1, 2 of every 4: ')
  # Gemma 3: local layers of base 1e4, global ones of 1e6 slowed by 8.
  both = apart_lib.apart(CONFIGS['gemma3_4b'], built(**ROPE), 256, 4096)
  assert [x.diff.layers for x in both] == [(0, 1, 2, 3, 4), (5,)]
  assert both[0].largest < 1e-9
  assert both[1].largest > 1
  assert both[1].a.frequency_f[-1] == pytest.approx(1e6 ** (-127 / 128) / 8)


def test_methods_that_do_not_turn_are_named():
  with pytest.raises(
    ValueError, match=r'alibi and rope theta=10000.*no curves'
  ):
    apart_lib.apart(built(name='alibi'), built(**ROPE), 64, 100)


def test_the_context_is_as_long_as_the_curve():
  dynamic = built(name='dynamic_ntk', theta=1e4, train_len=1024)
  (found,) = apart_lib.apart(dynamic, built(**ROPE), 64, 4096)
  assert found.diff.factor == pytest.approx(4.0)
  (short,) = apart_lib.apart(dynamic, built(**ROPE), 64, 4096, context_len=1024)
  assert short.largest == 0.0
  assert short.diff.factor == 1.0


def test_variants():
  assert apart_lib.variants('ntk_by_parts') == {
    'paper': {'variant': 'paper'},
    'original': {'variant': 'original'},
  }
  for name in ('yarn', 'dynamic_yarn', 'ntk_by_parts', 'dynamic_ntk'):
    spec = {'name': name, 'theta': 1e4, 'train_len': 2048}
    if name != 'dynamic_yarn':
      spec['factor'] = 4.0
    found = apart_lib.variants_apart(spec, 64, 8192)
    count = len(apart_lib.variants(name))
    assert len(found) == count * (count - 1) // 2
    for (one, other), part in found.items():
      said = dict((field, (a, b)) for field, a, b in part.diff.fields)
      assert (one, other) in said.values()
  with pytest.raises(ValueError, match=r"name='rope' has no variants.*yarn"):
    apart_lib.variants('rope')
  with pytest.raises(ValueError, match=r'factor=None is out of range.*>= 1'):
    apart_lib.variants_apart(
      {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 2048}, 64, 8192
    )


def test_dynamic_ntk_in_the_paper_and_in_transformers():
  """Twice the length: s = 2 in the paper, 2 x 2 - 1 = 3 in the code, so the
  bases are 20221 and 30528 (methods.md, 3.3)."""
  spec = {
    'name': 'dynamic_ntk',
    'theta': 1e4,
    'train_len': 2048,
    'factor': 2.0,
  }
  found = apart_lib.variants_apart(spec, 128, 4096)
  one = found['paper', 'hf']
  assert one.a.frequency_f[1] == pytest.approx(
    20221.2617 ** (-1 / 64), rel=1e-8
  )
  assert one.b.frequency_f[1] == pytest.approx(
    30527.7367 ** (-1 / 64), rel=1e-8
  )
  assert one.diff.factor == pytest.approx(1.5)
  assert found['hf', 'qwen'].same  # 2^ceil(log2(2) + 1) - 1 is 3 as well.


def test_every_method_with_variants_of_its_spectrum_is_known():
  """A new method with a field of its own that is a word must be listed."""
  found = set()
  for name in positions.names():
    kind = positions.method(name)
    words = {
      f.name
      for f in dataclasses.fields(kind)
      if f.type in (str, 'str') and f.name not in ('pairing', 'partial')
    }
    if words and hasattr(kind, 'frequencies'):
      found.add(name)
      (field,) = words
      assert all(field in x for x in apart_lib.variants(name).values())
  assert found == set(apart_lib._FIELDS)


def test_a_layout_against_itself_in_both_orders():
  """Nothing is remembered of an earlier pair of methods."""
  one, other = built(**ROPE), built(name='rope', theta=5e5)
  forth = apart_lib.apart(one, other, 64, 3000)[0]
  back = apart_lib.apart(other, one, 64, 3000)[0]
  again = apart_lib.apart(one, other, 64, 3000)[0]
  assert forth.largest == back.largest == again.largest
  assert forth.sums == back.sums[::-1]
  assert (forth.negative_a, forth.negative_b) == (
    back.negative_b,
    back.negative_a,
  )
  assert forth.a.label == spectra.described(one)
  assert isinstance(forth.diff, interop.LayerDiff)


@pytest.mark.parametrize(
  ('numbers', 'said'),
  [
    ((63, 100), 'head_dim=63'),
    ((0, 100), 'head_dim=0'),
    ((64, 0), 'length=0'),
    ((64, -3), 'length=-3'),
    ((64, 100, 0), 'context_len=0 must be'),
    ((64, 100, 50.5), r'context_len=50\.5'),
    ((64, 100, None, 0.0), r'share=0\.0 must be'),
    ((64, 100, None, math.nan), 'share=nan must be'),
  ],
)
def test_bad_numbers_are_named(numbers, said):
  with pytest.raises(ValueError, match=said):
    apart_lib.apart(built(**ROPE), built(**ROPE), *numbers)
