"""Training that begins from weights, and an extension in miniature."""

import dataclasses
import json
import re
import shutil

import hooks
import jax
import numpy as np
import pytest
import training_support as support

from configs import extend_tiny
from rope_jax import config as config_lib
from rope_jax import data, evaluate, metrics, model, positions, train
from rope_jax.extend import plan, tune
from rope_jax.report import read_curves
from rope_jax.train import start as starts
from rope_jax.train import step

ROPE = {'name': 'rope', 'theta': 1e4}


@pytest.fixture(scope='module')
def base(tmp_path_factory):
  """A run of two steps, its configuration and its batches."""
  config = support.tiny(
    train__steps=2, train__warmup=1, model__layers=1, mesh__data=1
  )
  folder = tmp_path_factory.mktemp('base')
  batches = support.sampler(config)
  train.train(config, folder, sampler=batches, progress=False)
  return config, folder, batches


def on(base, **changes):
  """A configuration that begins from the base and says nothing of its model."""
  config = config_lib.default()
  config.train.update(base[0].train)
  config.mesh.data = 1
  config.model.scan = False
  config.start = str(base[1])
  with config.ignore_type(), config.unlocked():
    for name, value in changes.items():
      config.update_from_flattened_dict({name.replace('__', '.'): value})
  return config


@pytest.fixture(scope='module')
def low_rank(base, tmp_path_factory):
  config = on(base, train__weights='lora:2', train__steps=3)
  folder = tmp_path_factory.mktemp('low')
  return config, folder, train.train(
    config, folder, sampler=base[2], progress=False
  )  # fmt: skip


def test_a_run_begins_at_the_loss_of_its_start(base, low_rank):
  _, folder, batches = base
  shape, layout, weights, _ = train.load_weights(folder)
  batch = batches.batch(0)
  total = hooks.jit(lambda w: step.nll_sum(shape, layout, w, batch))(weights)
  first = metrics.read(low_rank[1] / 'metrics.jsonl')[0]
  assert first['step'] == 1
  assert first['loss'] == pytest.approx(
    float(total) / batch['weight'].sum(), rel=1e-6
  )
  described = json.loads((low_rank[1] / 'config.json').read_text())
  assert described['model']['width'] == 16  # Taken from the start.
  assert described['position'] == [positions.spec(p) for p in layout]


def test_what_a_low_rank_run_saved_is_read_merged(base, low_rank):
  _, folder, done = low_rank
  shape, layout, weights, at = train.load_weights(folder)
  assert (at, shape, layout) == (3, done.config, done.layout)
  jax.tree.map(np.testing.assert_array_equal, weights, done.weights)
  begun = train.load_weights(base[1])[2]
  assert jax.tree.structure(weights) == jax.tree.structure(begun)
  np.testing.assert_array_equal(weights['embed'], begun['embed'])
  moved = weights['blocks']['wqkv'] - begun['blocks']['wqkv']
  # Of rank 2 for each layer, and not nothing.
  values = np.linalg.svd(np.asarray(moved, np.float64)[0].reshape(16, -1))[1]
  assert values[1] > 1e-4 > 10 * values[2]


def test_a_finished_run_does_not_need_to_be_begun_again(base, low_rank):
  config, folder, done = low_rank
  again = train.train(config, folder, sampler=base[2], progress=False)
  assert (again.resumed_from, again.step) == (3, 3)
  jax.tree.map(np.testing.assert_array_equal, again.weights, done.weights)


def test_a_run_goes_on_from_its_own_start_alone(base, low_rank, tmp_path):
  config, folder, _ = low_rank
  moved = tmp_path / 'moved'
  shutil.copytree(base[1], moved)
  config = config.copy_and_resolve_references()
  config.start = str(moved)  # The same weights in another place.
  train.train(config, folder, sampler=base[2], progress=False)
  weights = next((moved / 'checkpoints' / '2').rglob('d/*'))
  weights.write_bytes(weights.read_bytes() + b'!')
  with pytest.raises(ValueError, match='began from other weights'):
    train.train(config, folder, sampler=base[2], progress=False)
  other = config.copy_and_resolve_references()
  with pytest.raises(ValueError, match=r'no checkpoint under|damaged'):
    train.train(other, tmp_path / 'new', sampler=base[2], progress=False)


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'start': '/no/such/run'}, r"start='/no/such/run' does not exist"),
    ({'start': 'EMPTY'}, r'holds no config.json'),
    ({'model__width': 32}, r'model.width=32 is not what .* has, 16'),
    ({'model__norm': 'layer'}, r"model.norm='layer' is not what"),
    ({'data__tokenizer': 'bpe:300'}, r"tokenizer='bpe:300' is not what"),
    (
      {'position': {'name': 't5', 'buckets': 8, 'max_distance': 32}},
      r'T5 learns .*has learnt nothing',
    ),
    ({'train__weights': 'lora:16'}, 'rank of 16 is not low'),
  ],
)
def test_a_start_that_does_not_fit_is_refused(base, tmp_path, change, says):
  if change.get('start') == 'EMPTY':
    change = {'start': str(tmp_path)}
  config = on(base, **change)
  with pytest.raises(ValueError, match=says):
    train.train(config, tmp_path / 'run', sampler=base[2], progress=False)
  assert not (tmp_path / 'run').exists()


def test_a_start_is_filled_in_where_the_configuration_is_silent(base):
  start = starts.find(base[1])
  filled = starts.fill(on(base, model__width=16, model__remat='full'), start)
  assert filled.model.layers == 1
  assert filled.model.remat == 'full'
  assert config_lib.model_config(filled, 259) == dataclasses.replace(
    start.shape, remat='full'
  )
  yarn = {**ROPE, 'name': 'yarn', 'factor': 2.0, 'train_len': 16}
  kept = starts.fill(on(base, position=yarn), start)
  assert config_lib.layout(kept) == (positions.build(yarn),)


def small():
  """An extension that takes seconds."""
  config = config_lib.default()
  config.data.update(name='pydoc')
  config.model.update(layers=1, width=16, heads=2, scan=False)
  config.position = ROPE
  config.train.update(
    train_len=16, batch=4, steps=4, warmup=1, log_every=2, checkpoint_every=4
  )
  config.mesh.data = 1
  config.eval.update(
    lengths=(16, 32), documents=3, protocols=('whole', 'last(8)'), tokens=64
  )
  linear = {'name': 'linear', 'factor': 'auto'}
  far = {'train_len': 32, 'batch': 2, 'steps': 2, 'learning_rate': 1e-2}
  pose = {'name': 'pose', 'train_len': 16, 'target_len': 32}
  config.tune = {
    'linear': {'position': linear, 'train': far},
    'skip': {
      'position': {
        'name': 'compose',
        'parts': [pose, {'name': 'linear', 'factor': 2.0}],
      },
      'train': {'steps': 2, 'weights': 'lora:2'},
    },
  }
  config.variants = {'ntk': {'name': 'ntk', 'factor': 'auto'}}
  return config


@pytest.fixture(scope='module')
def done(tmp_path_factory):
  folder = tmp_path_factory.mktemp('extension')
  said = []
  paths = tune.run(
    small(), folder, note='How far?\n\nSo.', say=said.append, progress=False
  )
  return folder, paths, said


def losses(folder, spec, length):
  """Of the last 8 tokens of each document's last window, by hand."""
  shape, _, weights, _ = train.load_weights(folder)
  chosen = evaluate.documents(small(), data.ByteTokenizer())
  windows = np.stack([d.tokens[32 - length :] for d in chosen])
  layout = (positions.build(spec),)
  found = evaluate.windows_nll(shape, layout, weights, windows)
  return found[:, -8:].astype(np.float64)


LINEAR = {'name': 'linear', 'theta': 1e4, 'factor': 2.0}


def test_rows_are_what_the_weights_on_disk_give(done):
  folder, _, _ = done
  tuned = folder / 'tuned' / 'linear' / 'seed_0'
  rows = read_curves(folder / 'curves.csv')
  for method, variant, where, spec, length in (
    ('base', 'none', folder / 'base', ROPE, 16),
    ('base', 'none', folder / 'base', ROPE, 32),
    ('base', 'linear', folder / 'base', LINEAR, 16),
    ('base', 'linear', folder / 'base', LINEAR, 32),
    ('base', 'ntk', folder / 'base', {**LINEAR, 'name': 'ntk'}, 32),
    ('linear tuned', 'none', tuned, LINEAR, 32),
    ('skip tuned', 'none', folder / 'tuned/skip/seed_0', LINEAR, 32),
  ):
    (row,) = (
      r
      for r in rows
      if (r['method'], r['variant'], r['eval_len']) == (method, variant, length)
      and (r['protocol'], r['seed']) == ('last(8)', 0)
    )
    want = losses(where, spec, length).mean()
    assert row['nll'] == pytest.approx(want, rel=1e-5), (method, variant)
  assert {r['method'] for r in rows} == {'base', 'linear tuned', 'skip tuned'}


def test_the_table_has_the_change_at_the_trained_length(done):
  folder, paths, _ = done
  text = paths['extension'].read_text(encoding='utf-8')
  section = text.split('## ')[1]
  assert section.startswith('bits per byte by last(8)')
  table = [
    [cell.strip(' *') for cell in line.strip('| ').split('|')]
    for line in section.splitlines()
    if line.startswith('|')
  ]
  assert table[0] == ['scheme', 'weights', '16 (trained)', '32 (2x)', 'Δ at 16']
  assert [row[:2] for row in table[2:]] == [
    ['as trained', 'zero-shot'],
    ['ntk', 'zero-shot'],
    ['linear', 'zero-shot'],
    ['linear', 'fine-tuned, 2 x 32'],
    ['skip', 'fine-tuned, 2 x 16, lora:2'],
  ]
  tuned = losses(folder / 'tuned/linear/seed_0', LINEAR, 16).mean(1)
  apart = (tuned - losses(folder / 'base', ROPE, 16).mean(1)) / np.log(2)
  gap, error = map(
    float, re.findall(r'[\d.]+', table[5][4])
  )  # Signs apart: the minus is no hyphen.
  assert gap == pytest.approx(abs(apart.mean()), abs=1e-3)
  assert error == pytest.approx(apart.std(ddof=1) / 3**0.5, rel=0.1, abs=1e-4)
  assert ('−' in table[5][4]) == (apart.mean() < 0)
  assert 'Read zero-shot, skip is linear.' in text
  assert 'Fine-tuned, at the trained length of 16 tokens' in text


def test_tuned_runs_begin_from_the_base_and_the_report_says_how(done):
  folder, paths, said = done
  tuned = json.loads((folder / 'tuned/linear/seed_0/config.json').read_text())
  assert tuned['start'] == str(folder / 'base')
  assert tuned['position'] == [positions.spec(positions.build(LINEAR))]
  assert tuned['train']['train_len'] == 32
  assert json.loads((folder / 'base/config.json').read_text())['tune'] == {}
  page = paths['html'].read_text(encoding='utf-8')
  assert 'How far?' in page
  assert 'linear: 2 steps of 2 x 32 tokens' in page
  assert said[-1] == '[2/2] skip, seed 0'


def test_running_it_again_does_nothing_again(done):
  folder, paths, _ = done
  kept = [*folder.rglob('metrics.jsonl'), *folder.rglob('*.npz')]
  assert len(kept) == 3 + 2 * 5  # 5 lines of two lengths.
  before = [p.stat().st_mtime_ns for p in kept], paths['csv'].read_bytes()
  tune.run(small(), folder, say=lambda _: None, progress=False)
  after = [p.stat().st_mtime_ns for p in kept], paths['csv'].read_bytes()
  assert before == after


def test_a_start_is_the_base_and_is_not_trained(done, tmp_path):
  config = small()
  config.start = str(done[0] / 'base')
  config.model.update(config_lib.default().model)  # All from the start.
  config.model.scan = False
  with config.unlocked():
    config.position = None
    config.tune = {'linear': config.tune.linear}
  tune.run(config, tmp_path / 'out', say=lambda _: None, progress=False)
  assert not (tmp_path / 'out' / 'base').exists()

  def of_base(folder):
    keys = ('method', 'variant', 'eval_len', 'seed', 'protocol')
    rows = read_curves(folder / 'curves.csv')
    rows = [r for r in rows if r['method'] == 'base']
    return {tuple(r[k] for k in keys): r['nll'] for r in rows}

  assert of_base(tmp_path / 'out') == of_base(done[0])


def test_an_entry_inherits_what_its_spec_leaves_out():
  rope = positions.build({**ROPE, 'pairing': 'interleaved'})
  nope = positions.build({'name': 'nope'})
  at = plan.Base('base', (rope, nope), 128, None)
  section = config_lib.default().train
  section.train_len = 512
  yarn, left = plan.layout_of({'name': 'yarn', 'factor': 'auto'}, section, at)
  assert (yarn.theta, yarn.train_len, yarn.factor) == (1e4, 128, 4.0)
  assert yarn.pairing == 'interleaved'
  assert left == nope
  whole = plan.layout_of([ROPE, {'name': 'alibi'}], section, at)
  assert [type(p).__name__ for p in whole] == ['Rope', 'Alibi']


def test_the_config_that_is_shipped_passes_its_checks(tmp_path):
  config = extend_tiny.get_config()
  plan.check(config)
  at = plan.base_of(config, tmp_path, None)
  steps = config.tune.linear.train.steps
  config.tune.yarn.train.steps = 70  # --config.tune.yarn.train.steps=70.
  assert config.tune.linear.train.steps == steps
  layouts = {
    name: config_lib.layout(plan.checked(config, name, at))[0]
    for name in plan.names(config)
  }
  assert {n: p.factor for n, p in layouts.items() if hasattr(p, 'factor')} == {
    'linear': 4, 'ntk': 4, 'yarn': 4, 'longrope': 4, 'yarn_lora': 4
  }  # fmt: skip
  yarn, longrope = (layouts[name].frequencies for name in ('yarn', 'longrope'))
  np.testing.assert_allclose(yarn(32)[0], longrope(32, 512)[0], rtol=1e-6)
  np.testing.assert_array_equal(
    longrope(32, 128)[0], layouts['rope'].frequencies(32)[0]
  )


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'tune': {}}, 'config.tune is empty'),
    ({'tune': {'a/b': {'position': ROPE}}}, 'names a folder'),
    ({'tune': {'a': {'train': {}}}}, 'must have a position'),
    ({'tune': {'a': {'position': {}}}}, 'must have a position, a spec'),
    ({'tune': {'a': {'position': 'linear'}}}, 'must have a position, a spec'),
    ({'tune': {'a': {'position': ROPE, 'train': None}}}, 'may have a train'),
    ({'tune': {'a': {'position': ROPE, 'train': [1]}}}, 'may have a train'),
    (
      {'tune': {'a': {'position': ROPE, 'train': {'warmup': 10**6}}}},
      r'config.tune.a: config.tune.a.train.warmup=1000000 must be',
    ),
    (
      {'tune': {'a': {'position': ROPE, 'trian': {}}}},
      r'tune.a.trian is not a field. Did you mean train\?',
    ),
    (
      {'tune': {'a': {'position': ROPE, 'train': {'step_s': 1}}}},
      r'tune.a.train.step_s is not a field. Did you mean steps\?',
    ),
    (
      {'tune': {'a': {'position': ROPE, 'train': {'seed': 1}}}},
      r'tune.a.train.seed is not a field',
    ),
    (
      {'tune': {'a': {'position': ROPE, 'train': {'steps': 'x'}}}},
      r"tune.a.*train.steps='x' must be of the type",
    ),
    (
      {'tune': {'a': {'position': ROPE, 'train': {'weights': 'lora:99'}}}},
      r'tune.a: .*rank of 99',
    ),
    (
      {'tune': {'a': {'position': {'name': 'linear', 'factor': 0.5}}}},
      'factor',
    ),
    ({'tune': {'a': {'position': ROPE, 'train': {'train_len': 10**8}}}}, 'len'),
    ({'eval.lengths': (8, 32)}, r'eval.lengths=\(8, 32\) must have 16'),
    ({'seeds': (0, 0)}, 'config.seeds'),
    ({'start': '/no/such'}, 'does not exist'),
  ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, change, says):
  config = small()
  for name, value in change.items():
    *path, last = name.split('.')
    node = config
    for key in path:
      node = node[key]
    with config.unlocked(), config.ignore_type():
      node[last] = value
  with pytest.raises(ValueError, match=says):
    tune.run(config, tmp_path / 'out', say=lambda _: None, progress=False)
  assert not (tmp_path / 'out').exists()


def test_a_pretrained_model_is_a_start(tmp_path):
  """A Hugging Face folder of our own: its shape, methods and text's ids."""
  interop = pytest.importorskip('rope_jax.interop.pretrained')
  tokenizers = pytest.importorskip('tokenizers')
  shape = model.ModelConfig(
    vocab=259, layers=1, width=16, heads=2, mlp_dim=32, scale_embed=False
  )
  layout = (positions.build(ROPE),)
  made = model.Transformer(shape, layout, key=jax.random.key(3))
  described = {
    'model_type': 'llama', 'architectures': ['LlamaForCausalLM'],
    'vocab_size': 259, 'hidden_size': 16, 'num_hidden_layers': 1,
    'num_attention_heads': 2, 'num_key_value_heads': 2, 'head_dim': 8,
    'intermediate_size': 32, 'rms_norm_eps': 1e-6, 'rope_theta': 1e4,
    'max_position_embeddings': 16, 'tie_word_embeddings': True,
    'hidden_act': 'silu',
  }  # fmt: skip
  tokens = tokenizers.Tokenizer(
    tokenizers.models.BPE({chr(i + 32): i for i in range(90)}, [])
  )
  whole = interop.Pretrained(made, tokens, layout[0], 16, described)
  from rope_jax.interop import save_pretrained

  save_pretrained(whole, tmp_path / 'hf')
  start = starts.find(tmp_path / 'hf')
  assert (start.train_len, start.layout) == (16, layout)
  config = config_lib.default()
  config.start = str(tmp_path / 'hf')
  config.mesh.data = 1
  filled = starts.fill(config, start)
  assert filled.data.tokenizer == 'start'
  assert config_lib.model_config(filled, 259) == dataclasses.replace(
    start.shape, scan=True
  )
  _, weights = model.split(made)
  jax.tree.map(np.testing.assert_array_equal, start.take(), weights)
  assert starts.check_vocab(start, 90) == 259
  with pytest.raises(ValueError, match='embeddings of 259 ids'):
    starts.check_vocab(start, 260)
