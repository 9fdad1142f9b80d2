"""The step against an independent oracle and pinned numbers; the loop."""

import math

import jax
import numpy as np
import pytest
import training_support as support

from rope_jax import config as config_lib
from rope_jax import mesh as meshes
from rope_jax import metrics, model
from rope_jax.train import Diverged, load_weights, program, step, train

VOCAB = 259


def parts(config):
  shape = config_lib.model_config(config, VOCAB)
  layout = config_lib.layout(config)
  return shape, layout


def one_step(config, batch):
  """(state before, state after, metrics) of the plain step, jitted alone."""
  shape, layout = parts(config)
  before = step.init_state(config.train, shape, layout)
  after, out = jax.jit(step.make_step(config.train, shape, layout))(
    before, batch
  )
  return before, after, {k: float(v) for k, v in out.items()}


def close(tree, other, **tolerance):
  for (path, a), (_, b) in zip(
    jax.tree_util.tree_leaves_with_path(tree),
    jax.tree_util.tree_leaves_with_path(other),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, err_msg=str(path), **tolerance)


def test_golden_step():
  config = support.tiny()
  batch = support.sampler(config).batch(0)
  _, _, out = one_step(config, batch)
  why = (
    'The first step of a fixed seed changed. That is right only if the '
    'initialisation, the model, the loss or the sampler was meant to change; '
    'then say so in CHANGELOG.md and put the new numbers here.'
  )
  want = {'loss': 5.974469, 'grad_norm': 1.875461}
  for name, value in want.items():
    assert math.isclose(out[name], value, rel_tol=2e-4), (name, out, why)
  assert out['tokens'] == batch['weight'].sum()
  assert math.isclose(out['learning_rate'], 1e-2 / 2, rel_tol=1e-6)


def oracle_rate(train, done):
  if done < train.warmup:
    return train.learning_rate * (done + 1) / train.warmup
  u = (done - train.warmup) / (train.steps - train.warmup)
  wave = 0.5 * (1 + math.cos(math.pi * u))
  return train.learning_rate * (
    train.final_share + (1 - train.final_share) * wave
  )


def test_rate_is_warmup_then_cosine():
  train_section = support.tiny(train__steps=50, train__warmup=5).train
  found = [float(step.learning_rate(train_section, i)) for i in range(50)]
  want = [oracle_rate(train_section, i) for i in range(50)]
  np.testing.assert_allclose(found, want, rtol=1e-5)


def test_updates_are_adamw_in_float64(rng):
  """Three updates with made-up gradients, against AdamW written out."""
  config = support.tiny(train__weight_decay=0.3, train__clip=0.7)
  config.position = {'name': 't5', 'buckets': 8, 'max_distance': 32}
  t = config.train
  shape, layout = parts(config)
  state = step.init_state(t, shape, layout)
  optimizer = step.make_optimizer(t)
  paths, leaves = zip(
    *jax.tree_util.tree_leaves_with_path(state.weights), strict=True
  )
  names = [[entry.key for entry in path] for path in paths]
  weights = [np.asarray(leaf, np.float64) for leaf in leaves]
  first = [np.zeros_like(w) for w in weights]
  second = [np.zeros_like(w) for w in weights]
  now, memory = state.weights, state.optimizer
  treedef = jax.tree.structure(now)
  for count in range(3):
    grads = [rng.normal(size=w.shape).astype(np.float32) for w in weights]
    updates, memory = optimizer.update(
      jax.tree.unflatten(treedef, grads), memory, now
    )
    now = jax.tree.map(np.add, now, updates)
    norm = math.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads))
    rate = oracle_rate(t, count)
    for i, g in enumerate(grads):
      g = g.astype(np.float64) * min(1, t.clip / norm)
      first[i] = t.beta1 * first[i] + (1 - t.beta1) * g
      second[i] = t.beta2 * second[i] + (1 - t.beta2) * g * g
      m = first[i] / (1 - t.beta1 ** (count + 1))
      v = second[i] / (1 - t.beta2 ** (count + 1))
      change = m / (np.sqrt(v) + 1e-8)
      if 'position' not in names[i] and not names[i][-1].endswith('norm'):
        change = change + t.weight_decay * weights[i]
      weights[i] = weights[i] - rate * change
  close(jax.tree.leaves(now), weights, rtol=2e-5, atol=2e-6)
  still = [n for n in names if 'position' in n or n[-1].endswith('norm')]
  assert len(still) == 4, names  # Three norms and the bias table.


def test_step_is_loss_gradient_and_update(rng):
  """The whole step: a directional derivative, then one AdamW update."""
  config = support.tiny(train__clip=1e9, train__weight_decay=0.0)
  shape, layout = parts(config)
  batch = support.sampler(config).batch(3)
  before, after, out = one_step(config, batch)

  def loss(weights):
    logits = np.asarray(
      model.forward(
        shape,
        layout,
        weights,
        batch['tokens'],
        batch['position'],
        batch['segment'],
      ),
      np.float64,
    )
    top = logits.max(-1, keepdims=True)
    z = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    picked = np.take_along_axis(logits, batch['targets'][..., None], -1)
    nll = z - picked[..., 0]
    return (nll * batch['weight']).sum() / batch['weight'].sum()

  assert math.isclose(out['loss'], loss(before.weights), rel_tol=1e-5)
  # First update of Adam: -rate sign(g), up to epsilon.
  change = jax.tree.map(
    lambda a, b: np.asarray(a) - np.asarray(b), after.weights, before.weights
  )
  sizes = np.concatenate([np.abs(c).ravel() for c in jax.tree.leaves(change)])
  assert sizes.max() <= 1.01 * oracle_rate(config.train, 0)
  small = jax.tree.map(
    lambda w, c: np.asarray(w) + 1e-2 * c, before.weights, change
  )
  assert loss(small) < loss(before.weights)
  # Its gradient, along a random direction, by finite differences.
  grad = jax.grad(lambda w: step.nll_sum(shape, layout, w, batch))(
    before.weights
  )
  total = batch['weight'].sum()
  norm = math.sqrt(
    sum(float(np.sum(np.square(g))) for g in jax.tree.leaves(grad))
  )
  assert math.isclose(out['grad_norm'], norm / total, rel_tol=1e-4)
  direction = jax.tree.map(lambda g: np.asarray(g) / norm, grad)
  h = 3e-2
  ahead, behind = (
    loss(jax.tree.map(lambda w, d, s=s: w + s * d, before.weights, direction))
    for s in (h, -h)
  )
  assert math.isclose((ahead - behind) / (2 * h), norm / total, rel_tol=2e-2)


def test_accumulating_pieces_of_unequal_weight_changes_nothing(rng):
  whole, pieces = support.tiny(), support.tiny(train__accumulate=4)
  batch = support.sampler(whole).batch(0)
  batch['weight'] = batch['weight'] * rng.uniform(0, 1, (8, 1)).astype(
    np.float32
  ).round(1)
  _, a, out_a = one_step(whole, batch)
  _, b, out_b = one_step(pieces, batch)
  for name in out_a:
    assert math.isclose(out_a[name], out_b[name], rel_tol=1e-5), name
  first = jax.tree.leaves(a.optimizer)
  close(first, jax.tree.leaves(b.optimizer), rtol=1e-3, atol=1e-7)


def run_program(config, count=2):
  shape, layout = parts(config)
  mesh = meshes.make_mesh(
    config.mesh, config.train.batch // config.train.accumulate
  )
  made = program.make_program(config, shape, layout, mesh)
  state = made.init()
  batches = support.sampler(config)
  for i in range(count):
    state, out = made.step(state, made.place(batches, i))
  out = {k: np.asarray(v).reshape(-1)[0] for k, v in out.items()}
  return made, made.save(state), out


@pytest.mark.parametrize(
  'change',
  [
    {'mesh__data': 2, 'mesh__fsdp': 2, 'mesh__tensor': 2},
    {'mesh__data': 1, 'mesh__fsdp': 4, 'mesh__tensor': 2, 'model__scan': True},
    {'mesh__data': 8, 'train__step': 'pmap'},
    {'mesh__data': 2, 'mesh__seq': 2, 'mesh__tensor': 2},
    {'mesh__data': 2, 'mesh__fsdp': 2, 'train__accumulate': 2},
    {'mesh__data': 2, 'train__accumulate': 2, 'train__step': 'pmap'},
  ],
)
def test_sharded_equals_one_device(change):
  _, alone, out_alone = run_program(support.tiny(mesh__data=1))
  made, spread, out = run_program(support.tiny(**change))
  assert made.devices > 1
  for name in out:
    np.testing.assert_allclose(out[name], out_alone[name], rtol=1e-4)
  # Adam divides by the root of the squared gradient, so that rounding of a
  # gradient near 0 shows: compare what it remembers, and weights loosely.
  close(
    jax.tree.leaves(spread.optimizer),
    jax.tree.leaves(alone.optimizer),
    rtol=2e-3,
    atol=1e-6,
  )
  close(spread.weights, alone.weights, atol=2e-4)


def test_state_is_donated():
  config = support.tiny()
  shape, layout = parts(config)
  made = program.make_program(
    config, shape, layout, meshes.make_mesh(config.mesh, 8)
  )
  state = made.init()
  batch = made.place(support.sampler(config), 0)
  compiled = made.step.lower(state, batch).compile()
  compiled(state, batch)
  gone = [leaf.is_deleted() for leaf in jax.tree.leaves(state)]
  assert all(gone)
  assert not batch['tokens'].is_deleted()


def test_loss_falls_and_the_folder_describes_itself(tmp_path, capsys):
  config = support.tiny(train__steps=30, train__log_every=10)
  result = train(config, tmp_path / 'run', sampler=support.sampler(config))
  rows = metrics.read(tmp_path / 'run' / 'metrics.jsonl')
  assert [row['step'] for row in rows] == [1, 10, 20, 30]
  assert rows[-1]['loss'] < rows[0]['loss'] - 1.5
  assert rows[-1] == result.metrics
  assert set(rows[0]) == {
    'step',
    'loss',
    'learning_rate',
    'grad_norm',
    'tokens',
    'tokens_per_second',
    'seconds',
  }
  targets = sum(
    support.sampler(config).batch(i)['weight'].sum() for i in range(30)
  )
  assert rows[-1]['tokens'] == targets
  said = capsys.readouterr().err
  assert 'compiling for 2 devices' in said
  assert 'step 30/30' in said
  assert 'tokens/s' in said
  shape, layout, weights, at = load_weights(tmp_path / 'run')
  assert at == 30
  assert (shape, layout) == parts(config)
  close(weights, result.weights, rtol=0)
  again = train(config, tmp_path / 'run', sampler=support.sampler(config))
  assert again.step == again.resumed_from == 30
  assert again.metrics == result.metrics
  close(again.weights, result.weights, rtol=0)


def test_nan_stops_and_names_the_last_good_checkpoint(tmp_path):
  config = support.tiny(train__steps=8, train__log_every=4)
  bad = support.Slow(support.sampler(config), bad=4)
  with pytest.raises(Diverged) as caught:
    train(config, tmp_path, sampler=bad, progress=False)
  assert (caught.value.step, caught.value.last_good) == (5, 4)
  assert f'{tmp_path}/checkpoints/4' in str(caught.value)
  assert 'step 5' in str(caught.value)
  saved = sorted(p.name for p in (tmp_path / 'checkpoints').iterdir())
  assert saved == ['2', '4']
  rows = metrics.read(tmp_path / 'metrics.jsonl')
  assert all(math.isfinite(row['loss']) for row in rows)
  # Once the cause is gone it goes on from there.
  result = train(
    config, tmp_path, sampler=support.sampler(config), progress=False
  )
  assert (result.resumed_from, result.step) == (4, 8)


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'model__heads': 3}, r'model.width=16 .* model.heads=3'),
    ({'train__accumulate': 3}, r'train.accumulate=3'),
    ({'train__train_len': 1}, r'train.train_len=1'),
    ({'mesh__data': 3}, r'8 rows .*mesh.data x mesh.fsdp = 3'),
    ({'mesh__data': 16}, r'there are 8 devices'),
    (
      {'mesh__data': 1, 'mesh__tensor': 4},
      r'config.mesh.tensor=4 .* model.heads=2',
    ),
    ({'mesh__fsdp': 2, 'train__step': 'pmap'}, r"use config.train.step='jit'"),
  ],
)
def test_bad_configurations_leave_no_trace(tmp_path, change, says):
  config = support.tiny(**change)
  with pytest.raises(ValueError, match=says):
    train(config, tmp_path, sampler=support.sampler(config))
  assert {p.name for p in tmp_path.iterdir()} <= {'.lock'}


def test_rows_longer_than_every_document_are_refused(tmp_path):
  (tmp_path / 'texts').mkdir()
  (tmp_path / 'texts' / 'a.txt').write_text('too short a text\n' * 3)
  config = support.tiny(train__train_len=4000, data__name='folder')
  config.data.path = str(tmp_path / 'texts')
  config.data.dir = str(tmp_path / 'tfds')
  with pytest.raises(ValueError, match='train_len=4000: no document of'):
    train(config, tmp_path / 'run')
  assert {p.name for p in (tmp_path / 'run').iterdir()} <= {'.lock'}
