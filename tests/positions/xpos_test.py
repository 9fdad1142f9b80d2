"""xPos: its decay, far away, over long distances, in every tile."""

import hooks
import jax
import numpy as np
import oracles_rotary
import pytest

from rope_jax import attention, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'scale_base': 16.0},
]


def build(**fields):
  return positions.build({'name': 'xpos', 'theta': 1e4, **fields})


def scores(c, **fields):
  """The oracle's whole logits."""
  options = {'theta': 1e4, 'pairing': 'interleaved', **fields}

  def score(row, head, i, j):
    return oracles_rotary.xpos_score(
      c.q[row, i, head],
      c.k[row, j, head // (c.q.shape[2] // c.k.shape[2])],
      int(c.q_pos[row, i]),
      int(c.k_pos[row, j]),
      **options,
    )

  return {'score': score}


def rising(rng, start, top, t=5, s=7):
  """A case whose queries are the last of its keys, at sorted positions."""
  c = hooks.case(rng, t=t, s=s)
  c.k_pos = np.sort(rng.integers(0, top, c.k_pos.shape), axis=1)
  c.k_pos = (c.k_pos + start).astype(np.int32)
  c.q_pos = c.k_pos[:, -t:]
  return c


@pytest.mark.parametrize(
  ('fields', 'asked'),
  [
    ({}, {}),
    ({'pairing': 'half'}, {'pairing': 'half'}),
    ({'gamma': 1.5, 'scale_base': 64.0}, {'gamma': 1.5, 'scale_base': 64.0}),
    ({'fraction': 0.5, 'pairing': 'half'}, {'pairing': 'half', 'turning': 4}),
  ],
)
def test_attention_under_xpos_equals_the_loops(rng, fields, asked):
  """Keys on both sides of the queries, some 70 tokens away."""
  c = hooks.case(rng, top=70)
  hooks.assert_attends(build(**fields), c, oracle=scores(c, **asked))


@pytest.mark.parametrize('start', [0, 100_000, 2**30])
def test_scores_are_exact_at_any_position_over_4096_tokens(rng, start):
  c = rising(rng, start, 4096)
  hooks.assert_attends(build(), c, oracle=scores(c))


@pytest.mark.parametrize('scale_base', [512.0, 16.0])
def test_neighbours_keep_their_scores_wherever_a_long_row_has_them(
  rng, scale_base
):
  """131,072 tokens in a tile, beyond what one reference point can serve: the
  queries see keys up to 200 tokens back, and the very first ones."""
  c = hooks.case(rng, b=1, t=12, s=12)
  start = np.array([0, 40_000, 90_000, 130_872])[:, None]
  pos = start + np.sort(rng.integers(0, 200, (4, 3)), axis=1)
  c.q_pos = c.k_pos = pos.reshape(1, 12).astype(np.int32)
  oracle = scores(c, scale_base=scale_base)
  hooks.assert_attends(build(scale_base=scale_base), c, oracle=oracle)


def test_a_short_tile_of_a_long_row_takes_the_quick_way_to_the_same(rng):
  """Four queries at the end, keys from the start on: their decay underflows
  to nothing, which is what it is."""
  c = rising(rng, 0, 131_072, t=4, s=16)
  c.k_pos[:, -4:] = 131_000 + np.arange(4, dtype=np.int32) * 9
  c.q_pos = c.k_pos[:, -4:]
  hooks.assert_attends(build(), c, oracle=scores(c))


def compiled_bias(method, c):
  @hooks.jit
  def run(q, k, q_pos, k_pos):
    return method.bias({}, q, k, hooks.places(q_pos, k_pos))

  return np.asarray(run(c.q, c.k, c.q_pos, c.k_pos))


def test_both_ways_give_the_same_scores(rng, monkeypatch):
  c = rising(rng, 5000, 3000, t=6, s=6)
  one = compiled_bias(build(), c)
  real, asked = jax.lax.cond, []

  def other_way(close, near, far, *operands):
    asked.append(close)
    return real(False, near, far, *operands)

  monkeypatch.setattr(jax.lax, 'cond', other_way)
  other = compiled_bias(build(), c)
  assert asked
  seen = np.tril(np.ones((6, 6), bool))[None, None]
  np.testing.assert_allclose(
    np.where(seen, one, 0), np.where(seen, other, 0), atol=2e-6
  )


@pytest.mark.parametrize('top', [3000, 131_072])
def test_gradients_are_finite_and_right_both_ways(rng, top):
  """A score is linear in its query: a whole step of it is the derivative."""
  c = rising(rng, 0, top, t=7, s=7)
  direction = rng.normal(size=c.q.shape)

  @hooks.jit
  def gradient(q, k):
    def total(q, k):
      pos = {'q_pos_bt': c.q_pos, 'k_pos_bs': c.k_pos}
      out = attention.attend(build(), {}, q, k, c.v, **pos, how='naive')
      return (out * direction).sum()

    return jax.grad(total, argnums=(0, 1))(q, k)

  for leaf in gradient(c.q, c.k):
    assert np.isfinite(leaf).all()
    assert np.abs(leaf).max() > 0
  step = rng.normal(size=c.q.shape).astype(np.float32)

  @hooks.jit
  def change(q, k):
    def run(q):
      return build().bias({}, q, k, hooks.places(c.q_pos, c.k_pos))

    return jax.jvp(run, (q,), (step,))

  before, got = change(c.q, c.k)
  after, _ = change(c.q + step, c.k)
  mask = np.tril(np.ones((7, 7)))
  want = (np.asarray(after) - np.asarray(before)) * mask
  np.testing.assert_allclose(np.asarray(got) * mask, want, atol=1e-5)


def test_golden_zetas(golden):
  got = build().zeta(128)
  for pair, want in golden['xpos_zeta_d128'].items():
    assert got[int(pair)] == pytest.approx(want, rel=1e-12)
  assert (np.diff(got) > 0).all()


def test_golden_net_decay(golden):
  """What is left of a pair's score at a lag of scale_base: its two parts, a
  unit key against the two unit queries, are the decay's cosine and sine."""
  for pair, want in golden['xpos_net_decay_lag512'].items():
    pair = int(pair)
    q = np.zeros((1, 2, 1, 128), np.float32)
    q[0, 0, 0, 2 * pair] = q[0, 1, 0, 2 * pair + 1] = 128**0.5
    k = np.zeros((1, 1, 1, 128), np.float32)
    k[0, 0, 0, 2 * pair] = 1.0
    at = hooks.places(
      np.full((1, 2), 70_512, np.int32),
      np.full((1, 1), 70_000, np.int32),
      heads=1,
    )
    parts = build().bias({}, q, k, at)
    assert np.linalg.norm(parts) == pytest.approx(want, rel=2e-6)


@pytest.mark.parametrize('leak', [None, 2.5])
def test_under_rerope_the_decay_follows_the_pretended_distance(rng, leak):
  """min(i - j, 20), or with a leak 20 + (i - j - 20) / 2.5 beyond."""
  c = rising(rng, 100_000, 300)
  rerope = {'name': 'rerope', 'theta': 1e4, 'window': 20}
  if leak:
    rerope |= {'name': 'leaky_rerope', 'factor': leak}
  xpos = {'name': 'xpos', 'theta': 1e4, 'scale_base': 16.0}
  method = positions.build({'name': 'compose', 'parts': [rerope, xpos]})

  def score(row, head, i, j):
    distance = int(c.q_pos[row, i]) - int(c.k_pos[row, j])
    if distance >= 20:
      distance = 20 + (distance - 20) / leak if leak else 20
    return oracles_rotary.xpos_score(
      c.q[row, i, head],
      c.k[row, j, head // 2],
      distance,
      0,
      1e4,
      scale_base=16,
      pairing='interleaved',
    )

  hooks.assert_attends(method, c, oracle={'score': score})


def test_two_hyperparameters_in_one_process_do_not_mix(rng):
  c = hooks.case(rng, top=70)
  others = (
    {},
    {'theta': 500.0},
    {'gamma': 0.9},
    {'scale_base': 100.0},
    {'pairing': 'half'},
  )
  forwards = [compiled_bias(build(**fields), c) for fields in others]
  backwards = [compiled_bias(build(**fields), c) for fields in others[::-1]]
  for at, (a, b) in enumerate(zip(forwards, backwards[::-1], strict=True)):
    np.testing.assert_array_equal(a, b)
    assert at == 0 or np.abs(a - forwards[0]).max() > 1e-3


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'gamma': 0.0}, r'gamma=0\.0.*> 0'),
    ({'scale_base': -1.0}, r'scale_base=-1\.0.*> 0'),
    ({'scale_base': float('nan')}, 'scale_base=nan.*> 0'),
    ({'theta': None}, 'needs theta'),
    ({'pairing': 'pairs'}, "pairing='pairs'"),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
