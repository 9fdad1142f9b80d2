"""Attention over a sequence on several devices, against one that has it all."""

import functools

import contract_test as laws
import hooks
import jax
import numpy as np
import pytest

from rope_jax import positions
from rope_jax.attention import Mask, attend, blocks, plan, ring, rule

AUTO = jax.sharding.AxisType.Auto
MESH = jax.make_mesh((2, 4), ('data', 'seq'), axis_types=(AUTO, AUTO))
SCHEDULE = blocks.Schedule(q_block=4, k_block=4)
T = 16
# One for each way of being a method: what turns, adds, reads, pretends.
GRADIENTS = (
  'deberta', 'fire', 'half_rope+alibi', 'kerple', 'self_extend', 'shaw',
  'ssmax', 'streaming', 't5', 'transformer_xl', 'xpos',
)  # fmt: skip


def run(method, params, x, pos, how, **others):
  return laws.run(
    method, params, x, pos, how=how, schedule=SCHEDULE, mesh=MESH, **others
  )


def tokens():
  x, _ = laws.tokens(t=T, b=2)
  gaps = np.random.default_rng(7).integers(1, 3, (2, T))
  return x, (np.cumsum(gaps, axis=1) - gaps[:, :1]).astype(np.int32)


@pytest.mark.parametrize(
  'name', [n for n in positions.names() if n not in GRADIENTS]
)
def test_a_ring_of_devices_equals_one(name):
  method, (x, pos) = laws.build(name), tokens()
  params = laws.params_of(method)
  go = hooks.jit(functools.partial(run, method), static_argnums=3)
  want = laws.jitted(method, params, x, pos)
  np.testing.assert_allclose(go(params, x, pos, 'ring'), want, atol=3e-6)


@pytest.mark.parametrize('name', GRADIENTS)
def test_a_ring_of_devices_equals_one_in_gradients_too(name):
  """Packed rows, with a window, and keys that are not there."""
  method, (x, pos) = laws.build(name), tokens()
  params = laws.params_of(method)
  segment = (np.arange(T)[None] >= np.array([[5], [12]])).astype(np.int32)
  mask = Mask(q_segment_bt=segment, k_segment_bs=segment, window=6)
  direction = np.random.default_rng(1).normal(size=(2, T, laws.N, laws.H))

  @functools.partial(hooks.jit, static_argnums=2)
  def both(params, x, how):
    def loss(params, x):
      out = run(method, params, x, pos, how, mask=mask)
      return (out * direction).sum(), out

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  (_, want), want_grads = both(params, x, 'naive')
  (_, got), got_grads = both(params, x, 'ring')
  np.testing.assert_allclose(got, want, atol=3e-6)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, atol=2e-5 * max(1, np.abs(b).max())
    ),
    got_grads,
    want_grads,
  )


def test_rows_placed_in_any_order_and_heads_over_tensor():
  """Explicit order; positions that are not it; keys that are not there."""
  mesh = jax.make_mesh((2, 4), ('tensor', 'seq'), axis_types=(AUTO, AUTO))
  method, (x, pos) = laws.build('half_rope+alibi'), tokens()
  order = np.random.default_rng(3).permutation(T).astype(np.int32)
  count = np.array([T, 9])
  there = np.where(np.arange(T)[None] < count[:, None], 1, 0)

  def go(x, pos, how, mask):
    return laws.run(method, {}, x, pos, how=how, mask=mask, mesh=mesh,
                    schedule=SCHEDULE, length=pos[:, -1:] * 0 + 40)  # fmt: skip

  want = go(x, pos, 'naive', Mask(k_count_b=count))
  placed = Mask(
    q_order_bt=order[None],
    k_order_bs=np.where(there[:, order] == 1, order[None], rule.NEVER),
  )
  got = hooks.jit(go, static_argnums=2)(
    x[:, order], pos[:, order], 'ring', placed
  )
  np.testing.assert_allclose(got, np.asarray(want)[:, order], atol=3e-6)


def test_zigzag_gives_every_device_as_much_to_do():
  """Tiles with something to see, by device, over all steps of the ring."""

  def work(order):
    tokens = 64
    at = order[None].astype(np.int32)
    x = np.zeros((1, 1, tokens, 1), np.float32)
    places = hooks.places(at, at, heads=1, length=tokens)
    given = blocks.Inputs(
      ((x, x),), None, x, places, places,
      rule.Tokens(q_order_bt=at, k_order_bs=at),
    )  # fmt: skip
    active = plan.plan(positions.Position(), rule.Rule(), given, 4, 4)[0]
    return np.asarray(active).reshape(4, 4, 16).sum(axis=(1, 2))

  even, plain = work(ring.zigzag(64, 4)), work(np.arange(64))
  assert even.max() == even.min()
  assert plain.max() > 1.6 * plain.mean()


def test_zigzag_is_a_permutation_and_says_what_it_cannot_divide():
  order = ring.zigzag(24, 3)
  np.testing.assert_array_equal(np.sort(order), np.arange(24))
  with pytest.raises(ValueError, match=r'20 tokens .* 2 x 3 .*multiple of 6'):
    ring.zigzag(20, 3)


@pytest.mark.parametrize(
  ('mesh', 't', 'message'),
  [
    (None, 16, "needs a mesh with an axis 'seq'; mesh has None"),
    (MESH, 18, '18 queries and 18 keys between 4 devices'),
    (MESH, 12, '12 tokens do not divide into 2 x 4 chunks'),
  ],
)
def test_what_a_ring_cannot_share_is_refused(mesh, t, message):
  x, pos = np.zeros((1, t, 4, 8), np.float32), np.zeros((1, t), np.int32)
  with pytest.raises(ValueError, match=message):
    attend(
      positions.Position(), {}, x, x, x, q_pos_bt=pos, k_pos_bs=pos,
      how='ring', mesh=mesh,
    )  # fmt: skip
