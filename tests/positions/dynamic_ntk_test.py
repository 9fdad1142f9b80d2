"""Dynamic NTK: the paper's, HF's and Qwen's, by each sequence's length."""

import functools

import hooks
import jax
import numpy as np
import oracles
import oracles_rotary
import pytest

from rope_jax import attention, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'train_len': 16},
  {'theta': 1e4, 'train_len': 16, 'variant': 'hf', 'factor': 2.0},
  {'theta': 1e4, 'train_len': 16, 'variant': 'qwen'},
]


def build(**fields):
  defaults = {'theta': 1e4, 'train_len': 48}
  return positions.build({'name': 'dynamic_ntk', **defaults, **fields})


HF = {'variant': 'hf', 'factor': 2.0}
QWEN = {'variant': 'qwen'}


@pytest.mark.parametrize('fields', [{}, HF, QWEN])
def test_attention_follows_the_length_of_each_row(rng, fields):
  """Rows of one batch, one of them short of train_len and one beyond it."""
  c = hooks.case(rng, top=40)
  c.k_pos[1] = rng.permutation(300)[:7]
  c.q_pos[1] = c.k_pos[1, 2:]
  c.k_pos[:, 0] = 0
  lengths = c.k_pos.max(axis=1) + 1
  assert lengths[0] < 48 < lengths[1]

  def frequency(which, row):
    if fields == QWEN:
      return oracles_rotary.qwen_frequencies(8, 1e4, 48, int(lengths[row]))
    return oracles.dynamic_ntk_frequencies(
      8, 1e4, 48, int(lengths[row]), fields.get('factor')
    )

  oracle = hooks.turning(c, frequency)
  hooks.assert_attends(build(**fields), c, oracle=oracle, atol=2e-5)


def test_golden_bases(golden):
  for name, base in golden['dynamic_ntk_hf_base'].items():
    factor, length = (
      int(x[6:] if x[0] == 'f' else x[1:]) for x in name.split('_')
    )
    method = build(train_len=2048, variant='hf', factor=float(factor))
    got, amplitude = method.frequencies(128, length)
    want = oracles.rope_frequencies(128, base)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert amplitude == 1.0


def test_printed_bases_of_the_reference():
  """f=2 at twice the length gives 3.05 times the base and not 2.02."""
  for factor, length, base in (
    (2.0, 4096, 30527.7367),
    (1.0, 4096, 20221.2617),
    (4.0, 8192, 135401.973),
  ):
    method = build(train_len=2048, variant='hf', factor=factor)
    second = method.frequencies(128, length)[0][1]
    assert second ** (-128 / 2) == pytest.approx(base, rel=1e-8)


def test_hf_with_factor_one_is_the_papers():
  hf = build(variant='hf', factor=1.0)
  for length in (10, 49, 700):
    np.testing.assert_array_equal(
      hf.frequencies(16, length)[0], build().frequencies(16, length)[0]
    )


def test_up_to_train_len_it_is_rope_and_beyond_it_ntk():
  rope = oracles.rope_frequencies(16, 1e4)
  for length in (None, 1, 48):
    np.testing.assert_allclose(
      build().frequencies(16, length)[0], rope, rtol=1e-14
    )
  ntk = oracles.ntk_frequencies(16, 1e4, 3.0)
  np.testing.assert_allclose(build().frequencies(16, 144)[0], ntk, rtol=1e-12)


@functools.partial(jax.jit, static_argnums=(0, 1))
def drift(method, width, length_bt):
  return method.drift(width, length_bt)


@pytest.mark.parametrize('train_len', [48, 100, 2048, 3001, 1])
def test_qwens_steps_are_exact_at_powers_of_two(train_len):
  """On, below and above every step, to the longest int32, also compiled."""
  method = build(train_len=train_len, variant='qwen')
  lengths = [1, 2**31 - 1]
  for power in range(32):
    lengths += [(train_len << power) + off for off in (-1, 0, 1)]
  lengths = sorted({l for l in lengths if 0 < l < 2**31})
  width = 8
  got = drift(method, width, np.array(lengths, np.int32)[None])[0]
  for row, length in zip(np.asarray(got, np.float64), lengths, strict=True):
    alpha = float(oracles_rotary.qwen_alpha(length, train_len))
    want = oracles.ntk_frequencies(width, 1e4, alpha)
    found, amplitude = method.frequencies(width, length)
    np.testing.assert_allclose(found, want, rtol=1e-12)
    assert amplitude == 1.0
    change = want - oracles.rope_frequencies(width, 1e4)
    np.testing.assert_allclose(row, change, rtol=4e-7, atol=1e-15)


def test_qwens_factor_leaps_just_beyond_train_len():
  for length, alpha in (
    (48, 1),
    (49, 3),
    (96, 3),
    (97, 7),
    (192, 7),
    (193, 15),
  ):
    assert oracles_rotary.qwen_alpha(length, 48) == alpha
    got = build(variant='qwen').frequencies(16, length)[0]
    want = oracles.ntk_frequencies(16, 1e4, float(alpha))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize('fields', [{}, HF, QWEN, {'train_len': 3001}])
def test_the_compiled_part_keeps_its_documented_bound(fields):
  """Lengths from one token beyond train_len, where 1 + x loses x, to 16 x."""
  method = build(**{'train_len': 4000, **fields})
  train_len = method.train_len
  length = train_len + np.array([0, 1, 2, 3, 7, 100, 2500, train_len])
  length = np.append(length, 16 * train_len).astype(np.int32)
  got = np.asarray(drift(method, 128, length[None]), np.float64)[0]
  plain = method.frequencies(128)[0]
  for row, l in zip(got, length, strict=True):
    want = method.frequencies(128, int(l))[0] - plain
    assert (np.abs(row - want) <= 4e-7 * np.abs(want)).all()


def test_a_rotation_at_sixteen_times_the_length_keeps_the_bound(rng):
  method = build(train_len=4000)
  x = np.ones((1, 3, 1, 16), np.float32)
  pos = np.array([[0, 12345, 63999]], np.int32)
  got = hooks.rotate(method, x, pos, np.full((1, 1), 64000, np.int32))
  plain = method.frequencies(16)[0]
  frequency = method.frequencies(16, 64000)[0]
  for i, p in enumerate(pos[0]):
    want = oracles.rope(x[0, i, 0], int(p), frequency)
    bound = 1e-6 + 2 * 4e-7 * p * np.abs(frequency - plain)
    assert (np.abs(got[0, i, 0] - want) <= np.tile(bound, 2)).all()


def test_packed_sequences_have_a_length_each(rng):
  """Under train_len=48."""
  hooks.assert_packed_equals_alone(build(), rng)


def test_the_last_tokens_of_a_packed_row_rotate_by_lengths_given_for_each(rng):
  """Three queries, 130 keys: the lengths cannot be derived, only given."""
  c = hooks.case(rng, b=1, t=130, s=130)
  pos = np.concatenate([np.arange(30), np.arange(100)])[None].astype(np.int32)
  segment = np.repeat([[7, 1000]], [30, 100], axis=1).astype(np.int32)
  mask = attention.Mask(q_segment_bt=segment, k_segment_bs=segment)
  want = hooks.attend(build(), {}, c.q, c.k, c.v, pos, pos, mask=mask)
  last = slice(127, 130)
  length = np.repeat([[30, 100]], [30, 100], axis=1).astype(np.int32)
  got = hooks.attend(
    build(),
    {},
    c.q[:, last],
    c.k,
    c.v,
    pos[:, last],
    pos,
    mask=attention.Mask(q_segment_bt=segment[:, last], k_segment_bs=segment),
    q_length_bt=length[:, last],
    k_length_bs=length,
  )
  np.testing.assert_allclose(got, want[:, last], atol=1e-5)


def test_empty_places_of_a_cache_do_not_count_as_length(rng):
  """Seven keys in a cache of 100 places are a context of seven tokens."""
  c = hooks.case(rng, b=1, t=1, s=7)
  c.k_pos = np.arange(7, dtype=np.int32)[None]
  c.q_pos = c.k_pos[:, -1:]
  alone = hooks.attend(build(), {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
  k, v = (np.pad(x, ((0, 0), (0, 93), (0, 0), (0, 0))) for x in (c.k, c.v))
  mask = attention.Mask(
    q_order_bt=np.full((1, 1), 6, np.int32), k_count_b=np.array([7])
  )
  at = np.arange(100, dtype=np.int32)[None]
  cached = hooks.attend(build(), {}, c.q, k, v, c.q_pos, at, mask=mask)
  np.testing.assert_allclose(cached, alone, atol=1e-6)


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 64},
    {'train_len': 700},
    HF,
    QWEN,
    {'theta': 500.0},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
    ({'train_len': None}, 'needs train_len'),
    ({'variant': 'vllm'}, "variant='vllm'.*'paper', 'hf', 'qwen'"),
    ({'variant': 'hf'}, r"factor=None.*>= 1 with variant='hf'"),
    ({'variant': 'hf', 'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'factor': 2.0}, r"factor=2\.0.*None unless variant='hf'"),
    ({**HF, **QWEN}, r"factor=2\.0.*None unless variant='hf'"),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
