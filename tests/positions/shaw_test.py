"""Shaw: both tables against the loops, their sign, their clipping, memory."""

import hooks
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import oracles_relative as oracles
import pytest

from rope_jax import attention, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'max_distance': 10},
  {'max_distance': 3, 'with_values': False},
]


def build(**fields):
  return positions.build({'name': 'shaw', 'max_distance': 16, **fields})


def params(position, heads=4):
  drawn = position.init(
    jax.random.key(0), heads=heads, head_dim=8, model_dim=32
  )
  return jax.tree.map(lambda x: 4 * x, drawn)


@pytest.mark.parametrize(
  ('fields', 'top'),
  [({}, 40), ({'max_distance': 1}, 9), ({'with_values': False}, 40)],
)
def test_attention_under_shaw_equals_the_loops(rng, fields, top):
  c = hooks.case(rng, top=top)
  method = build(**fields)
  weights = params(method)
  oracle = oracles.shaw(
    c, weights['keys'], weights.get('values'), method.max_distance
  )
  hooks.assert_attends(method, c, params=weights, oracle=oracle)


def test_the_value_term_is_part_of_it_unless_left_out(rng):
  c = hooks.case(rng, top=40)
  weights = params(build())
  full, without = (
    hooks.attend(method, weights, c.q, c.k, c.v, c.q_pos, c.k_pos)
    for method in (build(), build(with_values=False))
  )
  assert np.abs(full - without).max() > 0.1
  assert set(params(build(with_values=False))) == {'keys'}


def test_row_zero_is_the_farthest_past_and_the_last_the_farthest_ahead():
  """The paper's index is key minus query."""
  method = build(max_distance=2)
  table = np.tile(np.arange(5.0, dtype=np.float32)[:, None], (1, 8))
  at = hooks.places(
    np.array([[10]], np.int32),
    np.array([[1, 8, 9, 10, 11, 12, 13]], np.int32),
    heads=1,
  )
  q = jnp.ones((1, 1, 1, 8)) / 8**0.5
  bias = method.bias({'keys': table}, q, q, at)
  np.testing.assert_allclose(bias[0, 0, 0], [0, 0, 1, 2, 3, 4, 4], rtol=1e-6)
  weights = np.diag(np.ones(7, np.float32))[None, None]
  at = hooks.places(np.full((1, 7), 10, np.int32), at.k_pos_bs, heads=1)
  out = method.values({'values': table}, weights, at)
  np.testing.assert_allclose(out[0, :, 0, 0], [0, 0, 1, 2, 3, 4, 4], rtol=1e-6)


def test_the_key_term_is_scaled_as_the_scores_are(rng):
  """a_r added to a key is the same as that vector in the key itself."""
  c = hooks.case(rng, s=5, top=3)
  c.k_pos = c.q_pos
  row = rng.normal(size=8).astype(np.float32)
  method = build(max_distance=4, with_values=False)
  weights = {'keys': np.tile(row, (9, 1))}
  got = hooks.attend(method, weights, c.q, c.k, c.v, c.q_pos, c.k_pos)
  want = hooks.attend(
    positions.Position(), {}, c.q, c.k + row, c.v, c.q_pos, c.k_pos
  )
  np.testing.assert_allclose(got, want, atol=2e-6)


def test_no_array_holds_a_vector_for_each_pair_of_tokens():
  """The traps of the plain formula: [t, s, h], or one-hot rows [t, s, r]."""
  method = build(max_distance=50)
  weights = params(method)
  x, pos = jnp.zeros((1, 64, 4, 8)), jnp.arange(64)[None]

  def loss(weights, x):
    return attention.attend(
      method, weights, x, x, x, q_pos_bt=pos, k_pos_bs=pos
    ).sum()

  program = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(weights, x)

  def sizes(jaxpr):
    for equation in jaxpr.eqns:
      for variable in equation.outvars:
        yield variable.aval.size if variable.aval.dtype.kind == 'f' else 0
      for inner in jax.extend.core.jaxprs_in_params(equation.params):
        yield from sizes(inner)

  assert max(sizes(program.jaxpr)) <= 4 * 64 * max(64, 101)


def test_tables_hold_no_length_and_no_head():
  drawn = params(build(), heads=6)
  assert {k: v.shape for k, v in drawn.items()} == {
    'keys': (33, 8),
    'values': (33, 8),
  }


def test_two_hyperparameters_in_one_process_do_not_mix():
  table = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)
  hooks.order_matters_not(
    {'name': 'shaw', 'max_distance': 16},
    {'max_distance': 90},
    params=lambda p: {'keys': table[: 2 * p.max_distance + 1]},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'max_distance': 0}, 'max_distance=0.*tokens >= 1'),
    ({'max_distance': 8.0}, r'max_distance=8\.0 is float'),
    ({'with_values': 1}, 'with_values=1 is int; with_values must be bool'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_max_distance_has_no_default():
  with pytest.raises(ValueError, match='needs max_distance'):
    positions.build({'name': 'shaw'})
