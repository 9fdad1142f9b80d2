"""What `attend` and what is around it refuse, and what they must survive."""

import functools

import contract_test as laws
import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rope_jax import attention, generate, model, positions
from rope_jax.attention import Mask, Schedule

X = np.ones((2, 6, 4, 8), np.float32)
POS = np.tile(np.arange(6, dtype=np.int32), (2, 1))
GIVEN = {'q_btnh': X, 'k_bskh': X, 'v_bskh': X, 'q_pos_bt': POS,
         'k_pos_bs': POS}  # fmt: skip
SEGMENT = np.zeros((2, 5), np.int32)


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    ({'mask': Mask(q_segment_bt=SEGMENT, k_segment_bs=POS)},
     r'q_segment_bt is \(2, 5\).* must be \(2, 6\)'),
    ({'mask': Mask(q_segment_bt=POS[:1], k_segment_bs=POS[:1])},
     r'q_segment_bt is \(1, 6\)'),
    ({'mask': Mask(k_count_b=np.zeros(3, np.int32))},
     r'k_count_b is \(3,\).* must be \(2,\)'),
    ({'mask': Mask(q_order_bt=POS[:, :4])}, r'q_order_bt is \(2, 4\)'),
    ({'q_length_bt': POS[:, :3]}, r'q_length_bt is \(2, 3\)'),
    ({'q_true_bt': POS[:1], 'k_true_bs': POS}, r'q_true_bt is \(1, 6\)'),
    ({'q_pos_bt': POS.tolist()}, 'q_pos_bt is list'),
    ({'q_pos_bt': POS + 0.5}, 'q_pos_bt is float64; positions are arrays of'),
    ({'k_bskh': X[:, :, :0], 'v_bskh': X[:, :, :0]}, 'no axis may be empty'),
    ({'heads': np.array([0, 1, 2, 9]), 'total_heads': 8}, 'each below total'),
    ({'heads': np.arange(4), 'total_heads': 2}, 'total_heads=2 for 4'),
    ({'mesh': 4}, 'mesh=4 must be a jax.sharding.Mesh'),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_what_would(changed, message):
  alibi = positions.build({'name': 'alibi'})
  with pytest.raises(ValueError, match=message):
    attention.attend(alibi, {}, **{**GIVEN, **changed})


def test_windows_and_schedules_are_whole_numbers():
  with pytest.raises(ValueError, match=r'window=2\.5.* a whole number'):
    Mask(window=2.5)  # pyright: ignore[reportArgumentType]
  with pytest.raises(ValueError, match=r'q_block=2\.5 must be an integer'):
    Schedule(2.5, 2)  # pyright: ignore[reportArgumentType]
  with pytest.raises(ValueError, match='heads=0 must be an integer'):
    Schedule(2, 2, heads=0)


def test_what_decoding_refuses():
  config = model.ModelConfig(vocab=9, layers=1, width=8, heads=2)
  layout = positions.layout({'name': 'rope', 'theta': 1e4})
  made = model.Transformer(config, layout, key=jax.random.key(0))
  _, weights = model.split(made)
  cache = model.empty_cache(config, 2, 8)
  tokens = np.ones((2, 2), np.int32)
  extend = functools.partial(model.extend, config, layout, weights, cache)
  for arguments, message in (
    ((tokens[0],), r'tokens \(2,\) must be \[b, t\]'),
    ((tokens, [1, 1, 1]), r'new_b is \(3,\); it must be \[b\] = \(2,\)'),
    ((tokens, np.array([5, 1])), r'new_b=\[5, 1\] of rows of 2 tokens'),
    ((tokens, None, 3), r'length_b is \(\)'),
  ):
    names = ('new_b', 'length_b')
    others = dict(zip(names, arguments[1:], strict=False))
    with pytest.raises(ValueError, match=message):
      extend(arguments[0], **others)
  with pytest.raises(ValueError, match='size=-3 must be >= 1'):
    model.empty_cache(config, 2, -3)
  with pytest.raises(ValueError, match=r'steps=2\.0 must be an integer'):
    generate(made, [[1]], steps=2.0)  # pyright: ignore[reportArgumentType]
  with pytest.raises(ValueError, match='key=0 must be one of'):
    generate(made, [[1]], steps=2, temperature=1.0, key=0)  # pyright: ignore[reportArgumentType]


def test_large_biases_of_padding_are_no_nan():
  """Seven tokens in blocks of four see all keys; the eighth is padding."""
  method = positions.build({'name': 't5', 'bidirectional': True})
  params = {'table': np.full((32, 4), 50.0, np.float32)}
  c = hooks.case(np.random.default_rng(0), t=7, top=30)

  def total(params, k, how):
    schedule = Schedule(4, 4) if how == 'blockwise' else None
    out = attention.attend(
      method, params, c.q, k, c.v, q_pos_bt=c.k_pos, k_pos_bs=c.k_pos,
      mask=Mask(causal=False), how=how, schedule=schedule,
    )  # fmt: skip
    return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum()

  made = [
    hooks.jit(jax.grad(functools.partial(total, how=how), (0, 1)))(params, c.k)
    for how in ('naive', 'blockwise')
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *made)


@pytest.mark.parametrize('name', ['t5', 'self_extend', 'shaw', 'rope'])
def test_blockwise_inside_a_shard_map_that_checks_what_varies(name):
  auto = jax.sharding.AxisType.Auto
  mesh = jax.make_mesh((2,), ('data',), axis_types=(auto,))
  method, (x, pos) = laws.build(name), laws.tokens(t=6, b=4)
  params = laws.params_of(method)
  whole = pos[:1].repeat(4, axis=0)

  def both(on_mesh, params, x):
    def run(params, x):
      return laws.run(
        method, params, x, whole[: x.shape[0]], how='blockwise',
        schedule=Schedule(4, 4),
      )  # fmt: skip

    if on_mesh:
      run = jax.shard_map(
        run, mesh=mesh, in_specs=(P(), P('data')), out_specs=P('data')
      )

    def total(params, x):
      return (jnp.sin(run(params, x)) ** 2).sum()

    return jax.grad(total, (0, 1))(params, x)

  made = [
    hooks.jit(functools.partial(both, on_mesh))(params, x)
    for on_mesh in (False, True)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), *made)


def test_the_chunked_loss_inside_a_shard_map(rng):
  auto = jax.sharding.AxisType.Auto
  mesh = jax.make_mesh((2,), ('data',), axis_types=(auto,))
  x = rng.normal(size=(2, 3, 4)).astype(np.float32)
  table = rng.normal(size=(11, 4)).astype(np.float32)
  targets = rng.integers(0, 11, (2, 3)).astype(np.int32)

  def nll(x, table, targets):
    return model.projected_nll(x, table, targets, chunk=4)

  spread = jax.shard_map(
    nll, mesh=mesh, in_specs=(P('data'), P(), P('data')), out_specs=P('data')
  )
  made = [
    jax.jit(jax.grad(lambda x, w, go=go: go(x, w, targets).sum(), (0, 1)))(
      x, table
    )
    for go in (nll, spread)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *made)


def test_a_model_has_products_with_its_hessian(rng):
  """Forward over reverse, where attention is 'naive'."""
  config = model.ModelConfig(
    vocab=9, layers=1, width=8, heads=2, mlp_dim=8, attention='naive'
  )
  layout = positions.layout({'name': 'rope', 'theta': 1e4})
  weights = model.init_weights(jax.random.key(0), config, layout)
  tokens = rng.integers(0, 9, (1, 5))

  def loss(embed):
    whole = {**weights, 'embed': embed}
    return model.losses(config, layout, whole, tokens, tokens).mean()

  at, along = weights['embed'], jnp.cos(weights['embed'])
  slope = jax.jit(jax.grad(loss))
  _, got = jax.jit(lambda a, b: jax.jvp(jax.grad(loss), (a,), (b,)))(at, along)
  step = 2e-3
  want = (slope(at + step * along) - slope(at - step * along)) / (2 * step)
  np.testing.assert_allclose(got, want, atol=5e-3, rtol=5e-2)
