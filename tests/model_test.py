"""The decoder against plain float64 numpy, and all its ways of running."""

import dataclasses
import functools
import math

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx

from rope_jax import model, positions
from rope_jax.model.config import REMATS

ROPE = positions.build({'name': 'rope', 'theta': 100.0})
ALIBI = positions.build({'name': 'alibi'})
NOPE = positions.build({'name': 'nope'})
T5 = positions.build({'name': 't5', 'max_distance': 40})
LEARNED = positions.build({'name': 'learned', 'train_len': 64})
SINUSOIDAL = positions.build({'name': 'sinusoidal'})
SHAPE = {
  'vocab': 11,
  'layers': 4,
  'width': 16,
  'heads': 4,
  'kv_heads': 2,
  'mlp_dim': 12,
}
IDS = np.random.default_rng(0).integers(0, 11, (2, 7))


def config(**fields):
  return model.ModelConfig(**{**SHAPE, **fields})


@functools.cache
def weights_of(config, layout):
  """Random weights of the right shapes; norms too, so that they matter."""
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(
    lambda: model.init_weights(jax.random.key(0), config, layout)
  )
  return jax.tree.map(
    lambda x: (0.4 * rng.normal(size=x.shape) + 0.1).astype(np.float32), shapes
  )


forward = hooks.jit(model.forward, static_argnums=(0, 1))


@functools.partial(hooks.jit, static_argnums=(0, 1))
def loss_and_gradients(config, layout, weights):
  def loss(weights):
    logits = model.forward(config, layout, weights, IDS)
    return model.next_token_nll(logits, IDS[:, ::-1]).mean()

  return jax.value_and_grad(loss)(weights)


def assert_trees_close(a, b, atol):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=atol), a, b)


# The decoder in float64, one layer after the other.


def normed(config, w, name, x, over_heads=False):
  weight = w[name] + config.norm_offset
  if config.norm == 'layer' and not over_heads:
    x = x - x.mean(axis=-1, keepdims=True)
  x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + config.norm_eps)
  return x * weight + w.get(f'{name}_bias', 0.0)


def unfused(config, block):
  """The projections of a layer apart: wq [d, n, h], wk and wv [d, k, h]."""
  wqkv = block['wqkv']
  wq = wqkv[:, :, :-2].reshape(config.width, config.heads, config.head_dim)
  return wq, wqkv[:, :, -2], wqkv[:, :, -1]


def plain_mlp(config, block, y):
  def gelu(x):
    if config.mlp == 'gelu':
      return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
    cubed = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return x * (1 + np.tanh(cubed)) / 2

  if config.mlp in ('swiglu', 'geglu'):
    bias = block.get('b_gate_up', np.zeros((2, 1)))
    gate, up = (y @ block['w_gate_up'][:, i] + bias[i] for i in (0, 1))
    open_ = gelu(gate) if config.mlp == 'geglu' else gate / (1 + np.exp(-gate))
    inner = open_ * up
  else:
    inner = gelu(y @ block['w_up'] + block.get('b_up', 0.0))
  return inner @ block['w_down'] + block.get('b_down', 0.0)


def plain_forward(config, w, ids, *, rotate=None, bias=None):
  """The logits; `rotate` and `bias` as `oracles.attention` takes them."""
  w = jax.tree.map(lambda x: np.asarray(x, np.float64), w)
  x = w['embed'][ids]
  if config.scale_embed:
    x = x * math.sqrt(config.width)
  for layer in range(config.layers):
    block = {k: v[layer] for k, v in w['blocks'].items()}
    y = normed(config, block, 'attention_norm', x)
    q, k, v = (np.tensordot(y, w, axes=1) for w in unfused(config, block))
    if config.qkv_bias:
      group = block['bqkv'][:, :-2].reshape(config.heads, config.head_dim)
      q, k, v = q + group, k + block['bqkv'][:, -2], v + block['bqkv'][:, -1]
    if config.qk_norm:
      q = normed(config, block, 'q_norm', q, over_heads=True)
      k = normed(config, block, 'k_norm', k, over_heads=True)
    if config.score_scale:
      q = q * config.score_scale * math.sqrt(config.head_dim)
    cap = config.score_cap
    out = oracles.attention(q, k, v, rotate=rotate, bias=bias, cap=cap)
    made = np.tensordot(out, block['wo'], axes=2) + block.get('bo', 0.0)
    if config.post_norms:
      made = normed(config, block, 'attention_post_norm', made)
    before, x = x, x + made
    read = before if config.parallel else x
    y = plain_mlp(config, block, normed(config, block, 'mlp_norm', read))
    if config.post_norms:
      y = normed(config, block, 'mlp_post_norm', y)
    x = x + y
  x = normed(config, w, 'final_norm', x)
  logits = x @ (w['embed'].T if config.tie_embeddings else w['unembed'])
  cap = config.logit_cap
  return cap * np.tanh(logits / cap) if cap else logits


def shaken(weights):
  """Weights whose norms and biases are not what they are drawn as."""
  rng = np.random.default_rng(5)
  return jax.tree.map(
    lambda x: x + 0.2 * rng.standard_normal(x.shape).astype(np.float32), weights
  )


@pytest.mark.parametrize(
  'fields',
  [
    {},
    {'qk_norm': True, 'tie_embeddings': False, 'scale_embed': False},
    {'kv_heads': 1, 'head_dim': 6, 'norm_eps': 0.1, 'qk_norm': True},
    {'norm': 'layer', 'parallel': True, 'mlp': 'gelu', 'qkv_bias': True}
    | {'out_bias': True, 'mlp_bias': True},
    {'norm_offset': 1.0, 'post_norms': True, 'mlp': 'geglu', 'kv_heads': 2}
    | {'score_scale': 0.3, 'score_cap': 1.5, 'logit_cap': 2.0, 'qk_norm': True},
    {'mlp': 'gelu_tanh', 'mlp_bias': True, 'qkv_bias': True, 'kv_heads': 2},
    {'mlp_bias': True, 'parallel': True},
  ],
)
def test_the_forward_pass_equals_plain_float64(fields):
  shape = config(layers=2, **fields)
  layout = (positions.compose(ROPE, ALIBI),)
  weights = shaken(weights_of(shape, layout))
  f = oracles.rope_frequencies(shape.head_dim, 100.0)
  slope = oracles.alibi_slopes(4)
  want = plain_forward(
    shape,
    weights,
    IDS,
    rotate=lambda x, which, row, at: oracles.rope(x, at, f),
    bias=lambda row, head, i, j: -slope[head] * abs(i - j),
  )
  got = forward(shape, layout, weights, IDS)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())
  blocks = dataclasses.replace(shape, attention='blockwise', scan=True)
  got = forward(blocks, layout, weights, IDS)
  np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


LAYOUTS = {
  'alternating': (ROPE, NOPE),
  'compose_with_shared': (positions.compose(ROPE, T5), T5),
  'learned_and_per_layer': (positions.compose(LEARNED, ALIBI),),
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_scan_over_the_layers_equals_writing_them_out(name):
  layout = LAYOUTS[name]
  weights = weights_of(config(), layout)
  want = loss_and_gradients(config(scan=False), layout, weights)
  got = loss_and_gradients(config(), layout, weights)
  assert_trees_close(got, want, atol=1e-5)
  for gradient in jax.tree.leaves(got[1]):
    assert np.abs(gradient).max() > 0


@functools.cache
def plain_gradients(layout):
  weights = weights_of(config(layers=2), layout)
  shape = config(layers=2, scan=False)
  return weights, loss_and_gradients(shape, layout, weights)


@pytest.mark.parametrize(
  ('remat', 'scan'), [('dots', True), ('full', True), ('full', False)]
)
def test_recomputing_changes_no_value_and_no_gradient(remat, scan):
  layout = (positions.compose(ROPE, T5),)
  weights, want = plain_gradients(layout)
  shape = config(layers=2, scan=scan, remat=remat)
  got = loss_and_gradients(shape, layout, weights)
  assert_trees_close(got, want, atol=1e-5)


def test_every_way_of_recomputing_is_tested():
  assert set(REMATS) == {'none', 'dots', 'full'}


@pytest.mark.parametrize(
  ('layout', 'written_out'),
  [
    ((ROPE, NOPE), (ROPE, NOPE, ROPE, NOPE)),
    ((ROPE, T5, NOPE), (ROPE, T5, NOPE, ROPE)),
  ],
)
def test_a_layout_is_repeated_over_the_layers_in_order(layout, written_out):
  """Also where its period does not divide them: three over four layers."""
  weights = weights_of(config(), layout)
  want = forward(config(), written_out, weights, IDS)
  got = forward(config(), layout, weights, IDS)
  np.testing.assert_allclose(got, want, atol=1e-5)
  shifted = (*written_out[1:], written_out[0])
  tree = {'position': {'0.0': weights.get('position', {}).get('1.0')}}
  other = forward(config(), shifted, weights | tree, IDS)
  assert np.abs(got - other).max() > 0.01


def test_a_shared_table_is_one_and_others_are_one_a_layer():
  own = positions.build({'name': f'{__name__}:PerLayer'})
  layout = (positions.compose(T5, own), T5)
  shapes = jax.eval_shape(
    lambda: model.init_weights(jax.random.key(0), config(), layout)
  )['position']
  assert {k: v['table'].shape for k, v in shapes.items()} == {
    '0.0': (32, 4),
    '0.1': (2, 4),
  }


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerLayer(positions.Position):
  """A number per head, not shared over the layers."""

  def init(self, key, *, heads, head_dim, model_dim):
    return {'table': jax.random.normal(key, (heads,))}


def test_an_input_encoding_in_several_layers_is_added_once():
  weights = weights_of(config(), (ROPE,))
  once = (SINUSOIDAL, NOPE)
  twice = (
    positions.compose(SINUSOIDAL, NOPE),
    positions.compose(NOPE, SINUSOIDAL),
  )
  want = forward(config(), once, weights, IDS)
  np.testing.assert_allclose(
    forward(config(), twice, weights, IDS), want, atol=1e-5
  )


def test_bfloat16_stays_near_float32():
  weights = jax.tree.map(
    lambda x: 0.5 * x, weights_of(config(layers=2), (ROPE,))
  )
  want = forward(config(layers=2), (ROPE,), weights, IDS)
  got = forward(config(layers=2, dtype='bfloat16'), (ROPE,), weights, IDS)
  assert got.dtype == jnp.float32
  error = np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2))
  assert 1e-6 < error < 0.03


def test_weights_but_the_methods_own_do_not_depend_on_the_layout():
  def shapes(layout):
    drawn = jax.eval_shape(
      lambda: model.init_weights(jax.random.key(0), config(), layout)
    )
    drawn.pop('position', None)
    return drawn

  for layout in LAYOUTS.values():
    assert shapes(layout) == shapes((NOPE,))


def test_drawn_weights_give_scores_and_logits_of_order_one():
  shape = config(vocab=128, width=64, layers=2, mlp_dim=128, heads=2)
  draw = jax.jit(model.init_weights, static_argnums=(1, 2))
  w = jax.tree.map(np.asarray, draw(jax.random.key(3), shape, (T5,)))
  rng = np.random.default_rng(5)
  y = rng.normal(size=(200, 64))
  wq, wk, _ = unfused(shape, {'wqkv': w['blocks']['wqkv'][0]})
  q = np.tensordot(y, wq, axes=1)[:, 0]
  k = np.tensordot(y[::-1], wk, axes=1)[:, 0]
  assert 0.7 < ((q * k).sum(-1) / math.sqrt(32)).std() < 1.4
  assert 0.9 < (w['embed'] * math.sqrt(64)).std() < 1.1
  assert 0.8 < (y @ w['embed'].T).std() < 1.2
  for name, fan_in in (('wo', 64), ('w_down', 128)):
    std = w['blocks'][name].std() * math.sqrt(fan_in * 2 * 2)
    assert 0.9 < std < 1.1
  assert (w['blocks']['attention_norm'] == 1).all()
  wqkv = w['blocks']['wqkv']
  assert wqkv.shape == (2, 64, 2, 3, 32)
  assert w['blocks']['w_gate_up'].shape == (2, 64, 2, 128)
  for a, b in ((wqkv[0], wqkv[1]), (wqkv[:, :, :, 1], wqkv[:, :, :, 2])):
    assert np.abs(a - b).max() > 0.01


def small_model(layout):
  shape = config(layers=1)
  abstract = nnx.eval_shape(
    lambda: model.Transformer(shape, layout, key=jax.random.key(0))
  )
  weights = jax.tree.map(jnp.asarray, weights_of(shape, layout))
  return model.merge(model.split(abstract)[0], weights)


@functools.partial(hooks.jit, static_argnums=0)
def call(graph, weights):
  return model.merge(graph, weights)(IDS)


def logits(whole):
  return np.asarray(call(*model.split(whole)))


def test_split_and_merge_round_trip_also_compiled_and_abstract():
  whole = small_model((T5,))
  graph, weights = model.split(whole)
  want = whole(IDS)  # Without compiling; the rest is compiled.
  np.testing.assert_allclose(call(graph, weights), want, atol=1e-5)
  np.testing.assert_allclose(
    forward(config(layers=1), (T5,), weights, IDS), want, atol=1e-5
  )
  assert hash(graph) == hash(model.split(whole)[0])
  abstract = jax.eval_shape(lambda w: w, weights)
  again = model.split(model.merge(graph, abstract))[1]
  assert again == abstract
  double = jax.tree.map(lambda x: 2 * x, weights)
  assert_trees_close(model.split(model.merge(graph, double))[1], double, 0)


def test_the_same_weights_read_under_another_method():
  trained = small_model((ROPE,))
  yarn = positions.build(
    {'name': 'yarn', 'theta': 100.0, 'factor': 4.0, 'train_len': 4}
  )
  other = model.with_layout(trained, yarn)
  assert (other.layout, trained.layout) == ((yarn,), (ROPE,))
  want = forward(config(layers=1), (yarn,), model.split(trained)[1], IDS)
  np.testing.assert_allclose(logits(other), want, atol=1e-5)
  assert np.abs(want - logits(trained)).max() > 1e-4
  assert all(
    a is b
    for a, b in zip(
      jax.tree.leaves(model.split(other)[1]),
      jax.tree.leaves(model.split(trained)[1]),
      strict=True,
    )
  )  # No copy.
  np.testing.assert_array_equal(
    logits(model.with_layout(other, ROPE)), logits(trained)
  )


def test_a_method_with_untrained_parameters_is_refused_and_named():
  with pytest.raises(
    ValueError, match=r'T5 learns parameters .*train the model'
  ):
    model.with_layout(small_model((ROPE,)), T5)
  far = dataclasses.replace(T5, max_distance=400)
  kept = model.with_layout(small_model((T5,)), far)
  assert model.split(kept)[1]['position']['0.0']['table'].shape == (32, 4)
  dropped = model.with_layout(kept, NOPE)
  assert 'position' not in model.split(dropped)[1]
  rest = model.split(dropped)[1]
  want = forward(config(layers=1), (NOPE,), rest, IDS)
  np.testing.assert_allclose(logits(dropped), want, atol=1e-5)


def test_positions_and_segments_reach_every_layer():
  weights = weights_of(config(layers=2), (ROPE,))
  pos = np.array([[0, 1, 2, 3, 0, 1, 2]] * 2, np.int32)
  segment = np.array([[1, 1, 1, 1, 2, 2, 2]] * 2, np.int32)
  packed = forward(config(layers=2), (ROPE,), weights, IDS, pos, segment)
  moved = np.concatenate([IDS[:, 4:], IDS[:, :4]], axis=1)
  alone = forward(config(layers=2), (ROPE,), weights, moved)
  np.testing.assert_allclose(packed[:, 4:], alone[:, :3], atol=2e-5)


def test_next_token_nll_is_minus_the_log_of_the_softmax():
  logits = np.random.default_rng(0).normal(size=(1, 2, 5)) * 3
  targets = np.array([[4, 1]])
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  want = -np.log([[p[0, 0, 4], p[0, 1, 1]]])
  got = model.next_token_nll(jnp.asarray(logits, jnp.float32), targets)
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'layers': 0}, r'model\.layers=0 must be >= 1'),
    ({'width': 18}, r'model\.width=18 .*model\.heads=4.*set model\.head_dim'),
    ({'kv_heads': 3}, r'model\.kv_heads=3 must divide model\.heads=4'),
    ({'remat': 'some'}, r"model\.remat='some' is not one of"),
    ({'dtype': 'float16'}, r"model\.dtype='float16' is not one of"),
    ({'attention': 'flash'}, r"model\.attention='flash' is not one of"),
  ],
)
def test_a_shape_that_cannot_be_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    config(**fields)


def test_a_method_that_does_not_fit_is_refused_before_any_weight_is_drawn():
  with pytest.raises(ValueError, match=r'head_dim=5.*even number'):
    model.Transformer(config(head_dim=5), (ROPE,), key=jax.random.key(0))
