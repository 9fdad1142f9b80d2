"""`how='fused'`: equal to the oracle, chosen by 'auto', or refused in words."""

import functools
import importlib

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import model, positions
from rope_jax.attention import Mask, attend, fused
from rope_jax.attention.rule import Rule

attend_module = importlib.import_module('rope_jax.attention.attend')

ROPE = {'name': 'rope', 'theta': 100.0}
SEGMENTS = np.array([[1, 1, 1, 4, 4, 4, 4], [2, 2, 9, 9, 9, 9, 9]])


def build(*specs):
  return positions.compose(*(positions.build(spec) for spec in specs))


@functools.partial(hooks.jit, static_argnames=('method', 'how'))
def gradients(method, how, params, q, k, v, pos, d, mask):
  """Output and gradients to params, q, k and v."""

  def total(params, q, k, v):
    out = attend(
      method, params, q, k, v, q_pos_bt=pos, k_pos_bs=pos, mask=mask, how=how
    )
    return (out * d).sum(), out

  (_, out), found = jax.value_and_grad(total, (0, 1, 2, 3), has_aux=True)(
    params, q, k, v
  )
  return out, found


@pytest.mark.parametrize(
  ('specs', 'mask'),
  [
    ((ROPE, {'name': 'log_n', 'train_len': 3}), Mask()),
    ((ROPE, {'name': 'ssmax'}), Mask(window=3)),
    ((ROPE,), Mask(q_segment_bt=SEGMENTS, k_segment_bs=SEGMENTS)),
    ((ROPE,), Mask(causal=False)),
  ],
  ids=['log_n', 'ssmax_window', 'segments', 'all'],
)
def test_fused_equals_naive_in_values_and_gradients(rng, specs, mask):
  method = build(*specs)
  c = hooks.case(rng, t=7, top=30)
  params = method.init(jax.random.key(0), heads=4, head_dim=8, model_dim=32)
  d = rng.normal(size=c.q.shape).astype(np.float32)
  made = [
    gradients(method, how, params, c.q, c.k, c.v, c.k_pos, d, mask)
    for how in ('naive', 'fused')
  ]
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5, rtol=1e-5), *made
  )
  learned = jax.tree.leaves(made[1][1][0])
  assert all(np.abs(x).max() > 1e-3 for x in learned)
  assert bool(learned) == ('ssmax' in str(specs))


@pytest.mark.parametrize(
  'rule', [Rule(), Rule(window=3), Rule(causal=False)], ids=str
)
def test_what_is_told_to_the_library_means_the_same_there(rng, rule):
  """The call that a GPU makes, with the implementation that runs anywhere."""
  c = hooks.case(rng, t=7, top=30)
  q, k, v = (np.swapaxes(x, 1, 2) for x in (c.q, c.k, c.v))
  got = fused.library(rule, q, k, v, 'xla')
  want = hooks.attend(
    positions.build({'name': 'nope'}), {}, c.q, c.k, c.v, c.k_pos, c.k_pos,
    mask=Mask(causal=rule.causal, window=rule.window),
  )  # fmt: skip
  np.testing.assert_allclose(np.swapaxes(got, 1, 2), want, atol=1e-5)


X = np.zeros((1, 3, 4, 8), np.float32)
POS = np.zeros((1, 3), np.int32)
ONE = {'q_btnh': X[:, :1], 'q_pos_bt': POS[:, :1]}


@pytest.mark.parametrize(
  ('spec', 'changed', 'message'),
  [
    ({'name': 't5'}, {}, "how='fused' cannot be had: T5 adds a bias"),
    ({'name': 'shaw', 'max_distance': 2}, {}, 'Shaw adds a bias'),
    ({'name': 'self_extend', 'theta': 1e4, 'group': 2, 'window': 4}, {},
     "SelfExtend pretends positions.* Use 'blockwise'"),
    ({'name': 'local', 'window': 4}, {}, 'Local pretends positions, or sees'),
    (ROPE, {**ONE}, '1 queries see 3 keys causally'),
    (ROPE, {'mask': Mask(q_order_bt=POS)}, 'the mask has q_order_bt'),
    (ROPE, {'mask': Mask(k_count_b=POS[0, :1])}, 'the mask has k_count_b'),
  ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused_with_the_reason(spec, changed, message):
  method = positions.build(spec)
  arguments = {
    'q_btnh': X, 'k_bskh': X, 'v_bskh': X, 'q_pos_bt': POS, 'k_pos_bs': POS,
  }  # fmt: skip
  params = jax.eval_shape(
    lambda: method.init(jax.random.key(0), heads=4, head_dim=8, model_dim=32)
  )
  with pytest.raises(ValueError, match=message):
    attend(method, params, how='fused', **{**arguments, **changed})


@pytest.mark.parametrize(
  ('dtype', 'width', 'mask', 'reason'),
  [
    (jnp.bfloat16, 64, Mask(), None),
    (jnp.float32, 64, Mask(), 'q is float32, and cuDNN takes bfloat16'),
    (jnp.bfloat16, 256, Mask(), '256 wide; cuDNN takes multiples of 8 up to'),
    (jnp.bfloat16, 64, Mask(q_segment_bt=POS, k_segment_bs=POS),
     'segments, which cuDNN has not'),
  ],
)  # fmt: skip
def test_what_cudnn_lacks_is_refused_on_a_gpu(
  monkeypatch, dtype, width, mask, reason
):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  method, q = positions.build(ROPE), jnp.zeros((1, 3, 4, width), dtype)
  assert fused.can(method, mask, None, q, 3) == (reason is None)
  if reason is not None:
    with pytest.raises(ValueError, match=reason):
      fused.check(method, mask, None, q, 3)


def test_auto_takes_fused_where_it_can_be_had(monkeypatch):
  monkeypatch.setattr(attend_module, 'NAIVE_ENTRIES', 0)
  monkeypatch.setattr(attend_module, 'NAIVE_QUERIES', 0)
  q = jnp.asarray(X)
  chosen = functools.partial(attend_module._chosen, 'auto')
  rope, alibi = positions.build(ROPE), positions.build({'name': 'alibi'})
  assert chosen(rope, Mask(), None, None, q, 3) == 'fused'
  assert chosen(alibi, Mask(), None, None, q, 3) == 'blockwise'
  assert chosen(rope, Mask(q_order_bt=POS), None, None, q, 3) == 'blockwise'
  assert chosen(rope, Mask(), 30.0, None, q, 3) == 'blockwise'


def test_a_model_trains_fused_and_decodes_and_says_what_it_cannot(rng):
  config = model.ModelConfig(
    vocab=11, layers=1, width=8, heads=2, attention='fused'
  )
  layout = positions.layout(ROPE)
  made = model.Transformer(config, layout, key=jax.random.key(0))
  tokens = rng.integers(0, 11, (1, 6))
  logits = made(tokens)
  _, weights = model.split(made)
  cache = model.empty_cache(config, 1, 8)
  steps = []
  for at in (0, 3):
    step, cache = model.extend(
      config, layout, weights, cache, tokens[:, at : at + 3]
    )
    steps.append(step)
  np.testing.assert_allclose(
    jnp.concatenate(steps, axis=1), logits, atol=1e-5, rtol=1e-5
  )
  with pytest.raises(ValueError, match=r"attention='fused' cannot .* T5"):
    config.check(positions.layout({'name': 't5'}))
