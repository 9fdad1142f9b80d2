"""The TPU kernels, interpreted on CPU, against everything at once."""

import functools

import contract_test as laws
import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import positions
from rope_jax.attention import Mask, context_length, scores, tpu, trees
from rope_jax.attention.inputs import prepare
from rope_jax.positions import Places

N, K, H, T = 4, 2, 8, 27
BLOCKS = (8, 16)
ROPE = {'name': 'rope', 'theta': 100.0}
SPECS = {
  'rope': ROPE,
  'alibi': {'name': 'alibi'},
  't5': {'name': 't5', 'buckets': 8, 'max_distance': 20},
  'kerple': {'name': 'kerple'},
  'kerple power': {'name': 'kerple', 'variant': 'power'},
  'fire': {'name': 'fire', 'hidden': 4, 'threshold': 9.0},
  'sandwich': {'name': 'sandwich', 'width': 8},
  'rope, t5, alibi, window': {
    'name': 'compose',
    'parts': [
      ROPE, {'name': 't5', 'buckets': 8, 'max_distance': 20},
      {'name': 'alibi'}, {'name': 'local', 'window': 11},
    ],
  },
}  # fmt: skip


def case(method, mask, dtype=jnp.float32, rows=2, params=None):
  """Inputs of two rows with gaps between positions, and the rest."""
  rng = np.random.default_rng(0)
  q, k, v, d = (
    jnp.asarray(rng.normal(size=(rows, T, heads, H)), dtype)
    for heads in (N, K, K, N)
  )
  gaps = rng.integers(1, 3, (rows, T))
  pos = (np.cumsum(gaps, axis=1) - gaps[:, :1]).astype(np.int32)
  length = context_length(pos, mask.k_segment_bs)
  places = Places(pos, pos, length, length, np.arange(N, dtype=np.int32), N)
  rule, tokens = mask.split(T, T)
  if params is None:
    drawn = method.init(jax.random.key(1), heads=N, head_dim=H, model_dim=32)
    params = jax.tree.map(lambda x: 2 * x, drawn)
  inputs = prepare(method, params, q, k, v, places, places, tokens)
  return rule, params, inputs, jnp.swapaxes(d, 1, 2)


@functools.partial(hooks.jit, static_argnums=(0, 1))
def plainly(method, rule, params, inputs, d):
  """Output and gradients of everything at once."""

  def go(params, floats):
    made = trees.with_floats(inputs, floats)
    return scores.attention(method, rule, params, made.tile())

  out, pull = jax.vjp(go, params, trees.floats_of(inputs))
  d_params, d_floats = pull(d.astype(jnp.float32))
  return out, (jax.tree.leaves(d_params), d_floats)


@functools.partial(hooks.jit, static_argnums=(0, 1))
def by_kernel(method, rule, params, inputs, d):
  how = {'blocks': BLOCKS, 'interpret': True}
  out, lse = tpu.forward(method, rule, params, inputs, **how)
  return out, tpu.gradients(method, rule, params, inputs, lse, out, d, **how)


def check(method, mask, atol=2e-5, **others):
  rule, params, inputs, d = case(method, mask, **others)
  want, want_grads = plainly(method, rule, params, inputs, d)
  got, got_grads = by_kernel(method, rule, params, inputs, d)
  np.testing.assert_allclose(got, want, atol=atol)
  for a, b in zip(
    jax.tree.leaves(got_grads), jax.tree.leaves(want_grads), strict=True
  ):
    b = np.asarray(b, np.float32)
    np.testing.assert_allclose(
      np.asarray(a, np.float32), b, atol=atol * max(1, np.abs(b).max())
    )


@pytest.mark.parametrize('name', SPECS)
def test_values_and_gradients_equal_those_of_everything_at_once(name):
  check(positions.build(SPECS[name]), Mask())


SEGMENT = (np.arange(T)[None] >= np.array([[6], [19]])).astype(np.int32)
ORDER = np.random.default_rng(4).permutation(T).astype(np.int32)[None]


@pytest.mark.parametrize(
  'mask',
  [
    Mask(causal=False),
    Mask(window=5),
    Mask(q_segment_bt=SEGMENT, k_segment_bs=SEGMENT),
    Mask(q_order_bt=ORDER, k_order_bs=ORDER),
    Mask(k_count_b=np.array([0, 9]), causal=False),
  ],
  ids=['all', 'window', 'segments', 'order', 'ragged, empty'],
)
def test_under_every_mask(mask):
  check(positions.build(SPECS['t5']), mask)


def test_large_biases_of_padding_are_no_nan():
  check(
    positions.build({'name': 't5', 'bidirectional': True}),
    Mask(causal=False),
    atol=1e-3,
    params={'table': np.full((32, N), 50.0, np.float32)},
  )


def test_bfloat16():
  check(positions.build(SPECS['alibi']), Mask(), atol=0.04, dtype=jnp.bfloat16)


@pytest.mark.parametrize(
  ('name', 'reason'),
  [
    ('deberta', 'Deberta reads queries or keys'),
    ('self_extend', 'SelfExtend pretends positions'),
    ('ssmax', 'Ssmax scales the scores'),
    ('shaw', 'Shaw reads queries or keys'),
    ('t5', None),
    ('yarn', None),
    ('local', None),
    ('local-1', 'Local pretends positions or sees chunks'),
  ],
)
def test_which_methods_have_a_kernel(name, reason):
  found = tpu.why_not(laws.build(name))
  assert (found is None) if reason is None else reason in found
