"""Compositions that research needs, against loops; and those that raise."""

import functools
import itertools
import math

import contract_test
import hooks
import hooks_remap
import jax
import numpy as np
import oracles
import oracles_remap
import pytest
import training_support as support

from rope_jax import config as config_lib
from rope_jax import model, positions
from rope_jax.train import step

ROPE = {'name': 'rope', 'theta': 1e4}
YARN = {'name': 'yarn', 'theta': 1e4, 'factor': 4.0, 'train_len': 64}
P_ROPE = {'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5}
LINEAR = {'name': 'linear', 'theta': 1e4, 'factor': 4.0}
REROPE = {'name': 'rerope', 'theta': 1e4, 'window': 8}
LEAKY = {'name': 'leaky_rerope', 'theta': 1e4, 'window': 8, 'factor': 2.5}
SELF_EXTEND = {'name': 'self_extend', 'theta': 1e4, 'group': 4, 'window': 8}
STREAMING = {'name': 'streaming', 'theta': 1e4, 'window': 6, 'sinks': 2}
LOCAL = {'name': 'local', 'window': 8}
LOG_N = {'name': 'log_n', 'train_len': 8}
SSMAX = {'name': 'ssmax'}
ALIBI = {'name': 'alibi'}
T5 = {'name': 't5', 'max_distance': 40}
SHAW = {'name': 'shaw', 'max_distance': 12}
RANDOMIZED = {'name': 'randomized', 'max_len': 64}
OFFSET = {'name': 'random_offset', 'max_offset': 9}

YARN_AMPLITUDE = 0.1 * math.log(4) + 1
rerope_distance = functools.partial(oracles_remap.rerope, window=8)


def compose(*specs):
  return positions.compose(*(positions.build(s) for s in specs))


def yarn_frequencies(h=8):
  return oracles.yarn_frequencies(h, 1e4, 4.0, 64)


def real(i, j):
  return i - j


def assert_attends(method, c, *args, params=None, value=None, **others):
  oracle = oracles_remap.callbacks(c, *args, **others)
  if value is not None:
    oracle['value'] = value
  hooks.assert_attends(method, c, params=params, oracle=oracle)


# Turning.


def test_p_rope_yarn_and_ssmax_equal_the_loops(rng):
  """YaRN's spectrum on the two fastest of four pairs; the amplitude too."""
  c = hooks_remap.case(rng, t=6, s=12)
  strengths = np.array([0.5, 1.0, 1.5, 0.1], np.float32)
  kept = yarn_frequencies()[:2]
  still = [2, 3, 6, 7]  # Pairs (k, k + 4): these two do not turn, nor grow.

  def score(row, head, i, j):
    q = c.q[row, i, head].astype(float)
    k = c.k[row, j, head // 2].astype(float)
    at_q, at_k = int(c.q_pos[row, i]), int(c.k_pos[row, j])
    total = float(q[still] @ k[still])
    for pair in range(2):
      a, b = (complex(x[pair], x[pair + 4]) for x in (q, k))
      turned = a * b.conjugate() * np.exp(1j * (at_q - at_k) * kept[pair])
      total += YARN_AMPLITUDE**2 * turned.real
    return total / math.sqrt(8) * float(strengths[head]) * math.log(at_q + 1)

  hooks.assert_attends(
    compose(P_ROPE, YARN, SSMAX),
    c,
    params=({}, {}, {'s': strengths}),
    oracle={'score': score},
  )


def test_rerope_under_yarn_equals_the_loops(rng):
  c = hooks_remap.case(rng)
  assert_attends(
    compose(REROPE, YARN),
    c,
    rerope_distance,
    yarn_frequencies(),
    amplitude=YARN_AMPLITUDE,
  )


def test_leaky_rerope_under_yarn_equals_the_loops(rng):
  c = hooks_remap.case(rng)
  assert_attends(
    compose(YARN, LEAKY),
    c,
    functools.partial(oracles_remap.leaky_rerope, window=8, factor=2.5),
    yarn_frequencies(),
    amplitude=YARN_AMPLITUDE,
  )


@pytest.mark.parametrize(
  'specs',
  [
    (YARN, REROPE),
    (P_ROPE, YARN, REROPE),
    (LINEAR, SELF_EXTEND, LOG_N),
  ],
)
def test_the_order_of_parts_does_not_matter(rng, specs):
  c = hooks_remap.case(rng, t=3, s=20)
  outputs, turning = [], set()
  for order in itertools.permutations(specs):
    method = compose(*order)
    turning.add(method.turning)
    outputs.append(hooks.attend(method, {}, c.q, c.k, c.v, c.q_pos, c.k_pos))
  assert len(turning) == 1
  for output in outputs[1:]:
    np.testing.assert_allclose(output, outputs[0], atol=1e-6, rtol=0)


def test_a_composition_turns_by_the_spectrum_of_the_scaling():
  for specs in ((REROPE, YARN), (YARN, REROPE), (YARN, LEAKY, LOG_N)):
    frequency, amplitude = compose(*specs).frequencies(64)
    want, grown = positions.build(YARN).frequencies(64)
    np.testing.assert_array_equal(frequency, want)
    assert amplitude == grown


def test_a_remapping_may_repeat_fields_of_what_turns(rng):
  rope = {**ROPE, 'fraction': 0.5, 'pairing': 'interleaved'}
  said = {**REROPE, 'fraction': 0.5, 'pairing': 'interleaved'}
  c = hooks_remap.case(rng)
  outputs = [
    hooks.attend(compose(*specs), {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
    for specs in ((rope, REROPE), (rope, said), (said,))
  ]
  np.testing.assert_array_equal(outputs[0], outputs[1])
  np.testing.assert_array_equal(outputs[0], outputs[2])


def turns_by_rotate(kind):
  plain = positions.Position
  return kind.rotary and kind.views is plain.views and kind.bias is plain.bias


ROTARY = [
  name
  for name, spec in contract_test.SPECS.items()
  if turns_by_rotate(positions.method(spec['name']))
]


@pytest.mark.parametrize('name', ROTARY)
def test_every_rotary_method_divides_positions(rng, name):
  """So that leaky ReRoPE can leave the turning to any of them."""
  method = positions.build(contract_test.SPECS[name])
  params = method.init(jax.random.key(0), heads=4, head_dim=8, model_dim=32)
  c = hooks.case(rng, top=100)
  length = np.full((2, 1), 100, np.int32)
  heads = np.arange(4, dtype=np.int32)

  def turned(by, divisor):
    at = positions.Places(
      by * c.q_pos, by * c.k_pos, length, length, heads, 4, divisor
    )
    return method.rotate(params, c.q, c.k, at)

  for whole, part in zip(turned(1, 1.0), turned(4, 4.0), strict=True):
    np.testing.assert_allclose(part, whole, atol=1e-5, rtol=0)
  for whole, part in zip(turned(1, 1.0), turned(1, 4.0), strict=True):
    assert np.abs(whole - part).max() > 1e-2


# Temperatures, biases and values under pretended positions.


def test_log_n_goes_by_the_real_position_under_rerope(rng):
  """By the pretended one, at most 8, nothing would be sharpened."""
  c = hooks_remap.case(rng)
  c.k *= 2
  frequency = oracles.rope_frequencies(8, 1e4)
  assert_attends(
    compose(REROPE, LOG_N),
    c,
    rerope_distance,
    frequency,
    scale=lambda head, i: oracles_remap.log_n(i, train_len=8),
  )
  pretended = oracles_remap.callbacks(
    c,
    rerope_distance,
    frequency,
    scale=lambda head, i: oracles_remap.log_n(min(i, 8), train_len=8),
  )
  got = hooks.attend(
    compose(REROPE, LOG_N), {}, c.q, c.k, c.v, c.q_pos, c.k_pos
  )
  wrong = oracles.attention(c.q, c.k, c.v, **pretended)
  assert np.abs(got - wrong).max() > 0.05


def test_alibi_sees_the_positions_in_the_cache_under_streaming(rng):
  c = hooks_remap.case(rng)
  slope = oracles.alibi_slopes(4)
  assert_attends(
    compose(STREAMING, ALIBI),
    c,
    functools.partial(oracles_remap.streaming, window=6, sinks=2),
    oracles.rope_frequencies(8, 1e4),
    bias=lambda head, distance: -slope[head] * distance,
  )


def test_t5_sees_the_positions_of_rerope(rng):
  c = hooks_remap.case(rng)
  table = rng.normal(size=(32, 4)).astype(np.float32)
  assert_attends(
    compose(T5, REROPE),
    c,
    rerope_distance,
    oracles.rope_frequencies(8, 1e4),
    params=({'table': table}, {}),
    bias=lambda head, distance: (
      math.sqrt(8) * float(table[oracles.t5_bucket(distance, 32, 40), head])
    ),
  )


def test_shaw_sees_the_positions_of_self_extend_at_keys_and_values(rng):
  """Distances 9, 10, ... are those of groups; the table ends at 12."""
  c = hooks_remap.case(rng)
  keys, values = rng.normal(size=(2, 25, 8)).astype(np.float32)
  far = functools.partial(oracles_remap.self_extend, group=4, window=8)
  turned = oracles_remap.callbacks(c, far, oracles.rope_frequencies(8, 1e4))

  def row_of(row, i, j):
    distance = far(int(c.q_pos[row, i]), int(c.k_pos[row, j]))
    return 12 - min(distance, 12)

  def score(row, head, i, j):
    own = c.q[row, i, head].astype(float) @ keys[row_of(row, i, j)]
    return turned['score'](row, head, i, j) + float(own) / math.sqrt(8)

  def value(row, head, i, j):
    return c.v[row, j, head // 2].astype(float) + values[row_of(row, i, j)]

  hooks.assert_attends(
    compose(SELF_EXTEND, SHAW),
    c,
    params=({}, {'keys': keys, 'values': values}),
    oracle={**turned, 'score': score, 'value': value},
  )


def test_scales_multiply_and_biases_add(rng):
  c = hooks_remap.case(rng, t=5, s=20)
  c.k *= 2
  strengths = np.array([0.5, 1.0, 0.2, 0.1], np.float32)
  slope = oracles.alibi_slopes(4)
  assert_attends(
    compose(SSMAX, ALIBI, LOG_N, ALIBI),
    c,
    real,
    None,
    params=({'s': strengths}, {}, {}, {}),
    bias=lambda head, distance: -2 * slope[head] * distance,
    scale=lambda head, i: (
      float(strengths[head])
      * math.log(i + 1)
      * oracles_remap.log_n(i, train_len=8)
    ),
  )


# What cannot be composed.


@pytest.mark.parametrize(
  ('specs', 'message'),
  [
    ((YARN, ROPE), 'Yarn and Rope would each rotate q and k'),
    ((SELF_EXTEND, RANDOMIZED, YARN, LINEAR), 'Yarn and Linear would each'),
    (
      (SELF_EXTEND, {**LINEAR, 'theta': 5e5}),
      r'theta=10000\.0 of SelfExtend and theta=500000\.0 of Linear differ; '
      r'Linear turns q and k under the positions of SelfExtend, so theta must '
      r'be 500000\.0 in both',
    ),
    (
      ({**RANDOMIZED}, {**LINEAR, 'theta': 5e5}, SELF_EXTEND),
      'theta=.* of SelfExtend and theta=.* of Linear differ',
    ),
    (
      ({**REROPE, 'fraction': 0.5}, ROPE),
      r'fraction=0\.5 of Rerope and fraction=1\.0 of Rope differ',
    ),
    (
      ({**REROPE, 'pairing': 'interleaved'}, ROPE),
      "pairing='interleaved' of Rerope and pairing='half' of Rope differ",
    ),
    ((LEAKY, ALIBI), 'LeakyRerope pretends fractional.*Alibi cannot read'),
    ((T5, LEAKY), 'LeakyRerope pretends fractional.*T5 cannot read'),
    ((LEAKY, SHAW), 'LeakyRerope pretends fractional.*Shaw cannot read'),
    ((REROPE, SELF_EXTEND), 'Rerope and SelfExtend both define `views`'),
    ((STREAMING, ROPE, LOCAL), 'Streaming and Local both define `views`'),
    (
      (ROPE, RANDOMIZED, OFFSET),
      'Randomized and RandomOffset both define `train_positions`',
    ),
  ],
)
def test_what_has_no_meaning_is_refused_and_named(specs, message):
  with pytest.raises(ValueError, match=message):
    compose(*specs)


def test_a_layout_draws_training_positions_in_one_way():
  pos = np.tile(np.arange(5, dtype=np.int32), (2, 1))
  key = jax.random.key(0)
  two = (compose(ROPE, RANDOMIZED), compose(ROPE, OFFSET))
  with pytest.raises(ValueError, match=r'more than one way.*Keep one'):
    model.train_positions(two, key, pos)
  one = (compose(ROPE, RANDOMIZED), positions.build(ROPE))
  got = model.train_positions(one, key, pos)
  want = positions.build(RANDOMIZED).train_positions(key, pos)
  np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
  'drawing', [RANDOMIZED, {'name': 'pose', 'train_len': 16, 'target_len': 64}]
)
def test_a_training_step_reads_the_positions_drawn_for_it(drawing):
  """Packed rows, and the key of the step; no positions of its own."""
  config = support.tiny()
  shape = config_lib.model_config(config, 259)
  layout = (compose(ROPE, drawing), positions.build(ROPE))
  batch = support.sampler(config).batch(1)
  assert (np.diff(batch['position'], axis=1) < 0).any()  # Packed.
  before = step.init_state(config.train, shape, layout)
  run = jax.jit(step.make_step(config.train, shape, layout))
  loss = float(run(before, batch)[1]['loss'])
  key = jax.random.fold_in(jax.random.key(config.train.seed), 0)
  drawn = positions.build(drawing).train_positions(key, batch['position'])

  def plain(position):
    total = step.nll_sum(
      shape,
      (positions.build(ROPE),),
      before.weights,
      {**batch, 'position': position},
    )
    return float(total) / batch['weight'].sum()

  assert loss == pytest.approx(plain(drawn), rel=1e-5)
  assert abs(loss - plain(batch['position'])) > 1e-4
