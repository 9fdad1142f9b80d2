"""Low-rank training: begins at the start, moves the factors alone, merges."""

import functools

import hooks
import jax
import numpy as np
import pytest
import training_support as support

from rope_jax import config as config_lib
from rope_jax import mesh as meshes
from rope_jax import model
from rope_jax.train import lora, program, step

VOCAB = 259
RANK = 3
READ = {'wqkv': 1, 'wo': 2, 'w_gate_up': 1, 'w_down': 1}  # Axes of each.


def parts(**changes):
  config = support.tiny(
    train__weights=f'lora:{RANK}', start='somewhere', **changes
  )
  return config, config_lib.model_config(config, VOCAB), layout(config)


def layout(config):
  return config_lib.layout(config)


@functools.cache
def trained(dtype='float32'):
  """(start, state before, loss before, state after) of three steps."""
  config, shape, under = parts(model__dtype=dtype)
  begun = model.init_weights(jax.random.key(7), shape, under)
  state = step.init_state(config.train, shape, under, begun)
  run = hooks.jit(step.make_step(config.train, shape, under))
  batches = support.sampler(config)
  now, losses = state, []
  for i in range(3):
    now, out = run(now, batches.batch(i))
    losses.append(float(out['loss']))
  return begun, state, losses, now


@functools.cache
def plain_loss(dtype):
  """(loss, gradient) of the start on the first batch, by the plain model."""
  config, shape, under = parts(model__dtype=dtype)
  begun = model.init_weights(jax.random.key(7), shape, under)
  batch = support.sampler(config).batch(0)

  def loss(weights):
    total = step.nll_sum(shape, under, weights, batch)
    return total * (1 / batch['weight'].sum())

  return hooks.jit(jax.value_and_grad(loss))(begun)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_the_first_step_is_the_start_to_the_bit(dtype):
  _, state, losses, _ = trained(dtype)
  assert losses[0] == float(plain_loss(dtype)[0])
  for name, matrix in state.weights['blocks'].items():
    assert matrix.dtype == (dtype if name in READ else 'float32')
  assert state.weights['embed'].dtype == 'float32'
  assert losses[2] < losses[0]


def test_only_the_factors_move_and_only_they_have_moments():
  _, before, _, after = trained()
  size = 0
  for path, leaf in jax.tree_util.tree_leaves_with_path(before.weights):
    now = functools.reduce(lambda t, e: t[e.key], path, after.weights)
    if path[0].key in lora.FACTORS:
      size += leaf.size
      assert np.abs(np.asarray(now) - np.asarray(leaf)).max() > 1e-4, path
    else:
      np.testing.assert_array_equal(leaf, now, err_msg=str(path))
  whole = sum(x.size for x in jax.tree.leaves(before.weights['blocks']))
  held = [x.size for x in jax.tree.leaves(after.optimizer)]
  assert sum(held) - 2 * size <= 3, held  # Two moments each, and counters.
  assert size < whole / 2
  a = {name: x.shape for name, x in before.weights['lora_a'].items()}
  assert a == {
    'wqkv': (2, 16, RANK),
    'wo': (2, 2, 8, RANK),
    'w_gate_up': (2, 16, RANK),
    'w_down': (2, 32, RANK),
  }
  drawn = np.concatenate(
    [np.ravel(x) for x in jax.tree.leaves(before.weights['lora_a'])]
  )
  assert abs(drawn.var() * RANK - 1) < 0.2
  assert not any(np.any(x) for x in jax.tree.leaves(before.weights['lora_b']))


def product(weights, name, layer):
  """Base + 2 A B of one matrix in float64, as two axes."""
  base, a, b = (
    np.asarray(weights[part][name][layer], np.float64)
    for part in ('blocks', 'lora_a', 'lora_b')
  )
  read = int(np.prod(base.shape[: READ[name]]))
  flat = base.reshape(read, -1)
  rank = a.shape[-1]
  return flat + 2.0 * a.reshape(read, rank) @ b.reshape(rank, -1)


def test_merged_is_the_base_and_the_product():
  begun, _, _, state = trained()
  merged = lora.merged(state.weights)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), merged) == jax.tree.map(
    lambda x: (x.shape, x.dtype), begun
  )
  for name in READ:
    for layer in range(2):
      want = product(state.weights, name, layer)
      got = np.asarray(merged['blocks'][name][layer]).reshape(want.shape)
      np.testing.assert_allclose(got, want, atol=1e-6, err_msg=name)
      assert np.abs(got - np.ravel(begun['blocks'][name][layer]).reshape(
        want.shape)).max() > 1e-3  # fmt: skip
  np.testing.assert_array_equal(merged['embed'], begun['embed'])


@pytest.mark.parametrize('scan', [False, True])
def test_the_decoder_reads_what_merges(scan):
  _, _, _, state = trained()
  config, shape, under = parts(model__scan=scan, model__remat='full')
  batch = support.sampler(config).batch(5)
  run = hooks.jit(lambda w: step.nll_sum(shape, under, w, batch))
  whole = run(lora.merged(state.weights))
  np.testing.assert_allclose(run(lora.joined(state.weights)), whole, rtol=1e-6)
  assert abs(whole - run({**state.weights})) > 1e-2  # Without the changes.


def test_the_factors_gradient_is_that_of_the_matrix_by_the_chain_rule():
  """At the start B is 0: dA = 0 and dB = 2 A^T dW."""
  config, shape, under = parts()
  _, state, _, _ = trained()
  batch = support.sampler(config).batch(0)
  own, fixed = lora.parted(state.weights)

  def loss(own):
    weights = lora.joined({**fixed, **own})
    total = step.nll_sum(shape, under, weights, batch)
    return total * (1 / batch['weight'].sum())

  got = hooks.jit(jax.grad(loss))(own)
  whole = plain_loss('float32')[1]
  for name in READ:
    assert not np.any(got['lora_a'][name])
    for layer in range(2):
      a = np.asarray(own['lora_a'][name][layer], np.float64).reshape(-1, RANK)
      d = np.asarray(whole['blocks'][name][layer], np.float64)
      want = 2.0 * a.T @ d.reshape(len(a), -1)
      found = np.asarray(got['lora_b'][name][layer]).reshape(want.shape)
      np.testing.assert_allclose(found, want, atol=1e-6, rtol=1e-4)


def test_sharded_and_accumulated_equals_one_device():
  config, shape, under = parts(
    mesh__data=2, mesh__fsdp=2, mesh__tensor=2, train__accumulate=2
  )
  begun, _, losses, alone = trained()
  mesh = meshes.make_mesh(config.mesh, 4)
  made = program.make_program(config, shape, under, mesh)
  start = jax.tree.map(
    jax.device_put,
    jax.tree.map(np.array, begun),
    meshes.weight_shardings(mesh, begun),
  )
  state = made.init(start)
  split = {
    name: [axis for axis in leaf.sharding.spec if axis]
    for name, leaf in state.weights['lora_a'].items()
  }
  assert split == {
    'wqkv': [], 'w_gate_up': [], 'wo': ['tensor'], 'w_down': ['tensor']
  }  # fmt: skip
  assert start['embed'].is_deleted()  # Taken over, not copied.
  batches = support.sampler(config)
  for i, loss in enumerate(losses):
    state, out = made.step(state, made.place(batches, i))
    np.testing.assert_allclose(out['loss'], loss, rtol=1e-4)
  for leaf, other in zip(
    jax.tree.leaves(state.weights), jax.tree.leaves(alone.weights), strict=True
  ):
    np.testing.assert_allclose(leaf, other, atol=5e-4)


@pytest.mark.parametrize(
  'weights', ['lora', 'lora:0', 'lora:-1', 'lora:2.5', 'LORA:2', 'none', 'all ']
)
def test_a_wrong_rank_is_refused(weights):
  config = support.tiny(train__weights=weights, start='somewhere')
  with pytest.raises(ValueError, match=r"weights=.*'all' or 'lora:RANK'"):
    config_lib.check(config)


def test_a_rank_that_is_not_low_is_refused():
  config, shape, _ = parts()
  config.train.weights = 'lora:15'
  lora.check(config.train, shape)
  config.train.weights = 'lora:16'
  with pytest.raises(ValueError, match=r'rank of 16 is not low.*width=16'):
    lora.check(config.train, shape)


def test_changes_need_weights_that_are_there():
  with pytest.raises(ValueError, match=r'lora:2.*config\.start'):
    config_lib.check(support.tiny(train__weights='lora:2'))
