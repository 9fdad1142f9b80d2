"""Long evaluation of a model that is there: what is read, kept and said."""

import jax
import numpy as np
import pytest
from training_support import sampler, tiny

from rope_jax import data, evaluate, model, positions
from rope_jax import mesh as meshes
from rope_jax.data import EvalDocument
from rope_jax.evaluate import long, streamed, variants
from rope_jax.extend import zero_shot
from rope_jax.train import start as starts

ROPE = positions.build({'name': 'rope', 'theta': 1e4})
SHAPE = model.ModelConfig(vocab=13, layers=2, width=16, heads=2, scan=False)
YARN = {'name': 'yarn', 'factor': 'auto'}
VARIANTS = {
  'linear': {'name': 'linear', 'factor': 4.0},
  'dynamic_ntk': {'name': 'dynamic_ntk'},
  'yarn': YARN,
  'rerope+log_n': {
    'name': 'compose',
    'parts': [{'name': 'rerope', 'window': 6}, {'name': 'log_n'}],
  },
}
TRAIN_LEN = 16


def config_of(**eval_fields):
  config = tiny()
  config.eval.update(
    lengths=(8, 16, 32), documents=2, protocols=('prefix', 'prefix(4)'), chunk=8
  )
  config.eval.update(eval_fields)
  config.variants = VARIANTS
  return config


@pytest.fixture(scope='module')
def weights():
  made = model.Transformer(SHAPE, (ROPE,), key=jax.random.key(0))
  mesh = meshes.make_mesh({'seq': 2}, rows=1, devices=jax.devices()[:2])
  _, found = model.split(made)
  return jax.device_put(found, meshes.weight_shardings(mesh, found))


def documents(count=2, length=33):
  rng = np.random.default_rng(3)
  return [
    EvalDocument(
      f'd{at}',
      f'g{at}',
      rng.integers(0, 13, length).astype(np.int32),
      np.ones(length, np.int32),
    )
    for at in range(count)
  ]


def measured(config, weights, chosen, folder):
  store = long.LongStore(folder, len(chosen))
  done = []
  skipped = long.measure(
    config, SHAPE, (ROPE,), weights, chosen, store, train_len=TRAIN_LEN,
    progress=lambda what, at, total: done.append((at, total)),
  )  # fmt: skip
  assert not skipped
  return store, done


@pytest.mark.parametrize(
  'protocols', [('prefix',), ('last(4)', 'prefix'), ('slide(8)',)]
)
def test_every_loss_is_that_of_a_whole_pass(weights, tmp_path, protocols):
  config, chosen = config_of(protocols=protocols), documents()
  store, done = measured(config, weights, chosen, tmp_path)
  assert done[-1][0] == done[-1][1]
  assert [at for at, _ in done] == sorted(at for at, _ in done)
  whole = jax.device_get(weights)
  for name, spec in {'none': None, **VARIANTS}.items():
    for length in config.eval.lengths:
      cell = store.read(name, length)
      assert set(cell.document) == {0, 1}
      under = variants.layout_under(
        spec, (ROPE,), train_len=TRAIN_LEN, eval_len=length
      )
      windows = np.stack(
        [
          chosen[d].tokens[s : s + length + 1]
          for d, s in zip(cell.document, cell.start, strict=True)
        ]
      )
      want = evaluate.windows_nll(SHAPE, under, whole, windows)
      np.testing.assert_allclose(cell.nll, want, atol=2e-5)


def test_one_pass_gives_every_shorter_context_that_it_can():
  found, _ = long.plan(config_of(), SHAPE, (ROPE,), TRAIN_LEN)
  read = {(r.variant, r.length) for r in found if r.own}
  like = {(r.variant, r.length): r.like[0] for r in found if not r.own}
  assert read == {
    ('none', 32), ('linear', 32), ('dynamic_ntk', 32), ('yarn', 32),
    ('rerope+log_n', 32),
  }  # fmt: skip
  # No scaling at lengths that were trained; a fixed factor is one at all.
  assert like['yarn', 16] == like['dynamic_ntk', 8] == ('none', 32)
  assert like['linear', 16] == ('linear', 32)
  assert like['rerope+log_n', 8] == ('rerope+log_n', 32)
  # Windows that end where the document does begin at other tokens.
  found, _ = long.plan(
    config_of(protocols=('last(4)',)), SHAPE, (ROPE,), TRAIN_LEN
  )
  like = {(r.variant, r.length): r.like for r in found}
  # The first of 'whole' is the beginning of the longest.
  assert like['none', 16] == (('none', 32), None)
  assert like['yarn', 16] == (('none', 32), ('none', 16))
  both = config_of(protocols=('last(4)', 'prefix'))
  found, _ = long.plan(both, SHAPE, (ROPE,), TRAIN_LEN)
  assert {(r.variant, r.length): r.own for r in found if r.own} == {
    ('none', 32): [0], ('linear', 32): [0], ('dynamic_ntk', 32): [0],
    ('yarn', 32): [0], ('rerope+log_n', 32): [0],
    ('none', 16): [16], ('linear', 16): [16], ('rerope+log_n', 16): [16],
    ('none', 8): [24], ('linear', 8): [24], ('rerope+log_n', 8): [24],
  }  # fmt: skip


def test_what_is_there_is_not_read_again(weights, tmp_path, monkeypatch):
  config, chosen = config_of(), documents()
  store, _ = measured(config, weights, chosen, tmp_path)
  cell = next((tmp_path / '001').glob('yarn-32.npz'))
  kept = {p: p.read_bytes() for p in tmp_path.rglob('*.npz')}
  reads = []
  read = streamed.Reader.read

  def counted(self, layout, windows, **more):
    reads.append(windows.shape)
    return read(self, layout, windows, **more)

  monkeypatch.setattr(streamed.Reader, 'read', counted)
  measured(config, weights, chosen, tmp_path)
  assert reads == []
  cell.write_bytes(b'cut short')
  measured(config, weights, chosen, tmp_path)
  assert reads == [(1, 33)]
  changed = jax.tree.map(lambda x: x, weights)
  changed['embed'] = changed['embed'].at[3, 2].add(1e-7)
  measured(config, changed, chosen, tmp_path)
  assert len(reads) == 1 + 2 * 5
  assert {p: p.read_bytes() for p in kept} != kept
  assert store.read('nothing', 32) is None


def test_weights_are_known_by_content_wherever_they_are(weights):
  mark = long.weights_fingerprint(weights)
  assert long.weights_fingerprint(jax.device_get(weights)) == mark
  swapped = {**weights, 'embed': weights['embed'][::-1]}
  assert long.weights_fingerprint(swapped) != mark


def test_equal_scores_at_two_lengths():
  def same(a, b, *lengths):
    return variants.same_scores(
      (positions.build(a),), (positions.build(b),), 8, *lengths
    )

  rope = {'name': 'rope', 'theta': 1e4}
  dynamic = {'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 16}
  assert same(rope, rope, 8, 32)
  assert same(dynamic, dynamic, 32, 32)
  assert same(dynamic, dynamic, 8, 16)
  assert not same(dynamic, dynamic, 16, 32)
  assert same(rope, dynamic, 32, 16)
  assert not same(rope, dynamic, 16, 32)
  both = {'name': 'compose', 'parts': [rope, {'name': 'log_n', 'train_len': 8}]}
  more = {'name': 'compose', 'parts': [dynamic, both['parts'][1]]}
  assert same(both, more, 32, 8)
  assert not same(both, rope, 8, 8)


def test_a_reader_refuses_what_it_cannot_read(weights):
  reader = streamed.Reader(SHAPE, weights, 16, chunk=8)
  with pytest.raises(ValueError, match=r'window of 20 tokens .* up to 16'):
    reader.read((ROPE,), np.zeros((1, 21), np.int32))
  with pytest.raises(ValueError, match='must be float32, bfloat16'):
    streamed.Reader(SHAPE, weights, 16, cache_dtype='float16')
  with pytest.raises(ValueError, match='multiple of the 2 devices'):
    streamed.Reader(SHAPE, weights, 16, chunk=5).read(
      (ROPE,), np.zeros((1, 9), np.int32)
    )


def test_a_reader_plans_its_memory_without_reading(weights):
  small, large = (
    streamed.Reader(SHAPE, weights, size, chunk=8) for size in (64, 256)
  )
  plans = [
    r.lowered((ROPE,)).compile().memory_analysis() for r in (small, large)
  ]
  grown = plans[1].argument_size_in_bytes - plans[0].argument_size_in_bytes
  # Keys and values in float32, of this device's half of the tokens.
  assert grown == 2 * 2 * (256 - 64) // 2 * 16 * 4
  scratch = [p.temp_size_in_bytes for p in plans]
  assert scratch[1] - scratch[0] < 3 * grown


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
  from rope_jax import train

  folder = tmp_path_factory.mktemp('base')
  config = tiny(train__steps=3)
  train.train(config, folder, sampler=sampler(config), progress=False)
  return folder


def extension(run_folder, **fields):
  config = config_of()
  config.start = str(run_folder)
  config.data.update(name='pydoc', eval_split='test')
  config.mesh.update(data=1, seq=2)
  config.update(fields)
  return config


def test_a_run_reports_and_goes_on_where_it_was(run_folder, tmp_path):
  config, said = extension(run_folder), []
  paths = zero_shot.run(config, tmp_path, say=said.append, progress=False)
  table = paths['table'].read_text(encoding='utf-8')
  assert 'The beginning of each document alone is read' in table
  assert 'the last 4 of them are scored' in table
  assert 'dynamic_ntk' in table
  assert any('trained at 16 tokens; 2 documents' in line for line in said)
  before = paths['csv'].read_bytes()
  assert before.count(b'\n') == 1 + 5 * 3 * 2 * 2
  again = zero_shot.run(config, tmp_path, say=said.append, progress=False)
  assert again['csv'].read_bytes() == before


def test_quick_leaves_part_of_it(run_folder):
  config = extension(run_folder)
  config.quick.update(variants=('yarn',), lengths=(8, 32), documents=1)
  assert zero_shot.sized(config) is config
  config.full = False
  one = zero_shot.sized(config)
  assert list(one.variants) == ['yarn']
  assert (tuple(one.eval.lengths), one.eval.documents) == ((8, 32), 1)
  config.quick.variants = ('warp',)
  with pytest.raises(ValueError, match=r'has warp, .* has not: dynamic_ntk'):
    zero_shot.sized(config)


@pytest.mark.parametrize(
  ('fields', 'told'),
  [
    ({'start': ''}, 'config.start is empty; name the model'),
    ({'start': 'nowhere'}, "config.start='nowhere' does not exist"),
    ({'start': 'package:no_such_thing'}, 'no package that is imported by'),
    ({'start': 'package:tokenizers'}, 'must hold one model'),
    ({'eval': {'chunk': -1}}, 'config.eval.chunk=-1 must be'),
    (
      {'eval': {'chunk': 9}},
      'eval.chunk=9 must be a multiple of the 2 devices .* as 10',
    ),
    ({'mesh': {'data': 2}}, 'config.mesh has data=2, .* config.mesh.seq=-1'),
    ({'variants': {'x': 'linear'}}, r"config.variants.x: 'linear' is no spec"),
    ({'variants': {'x': {'factor': 2.0}}}, r'config.variants.x: .* is no spec'),
    (
      {'variants': {'x': {'name': 'log_n'}}},
      r"config.variants.x: 'log_n' changes temperatures alone, .*'rope'}",
    ),
    (
      {'variants': {'x': {'name': 'compose'}}},
      r"config.variants.x: 'compose' has parts=None",
    ),
    (
      {
        'variants': {
          'x': {
            'name': 'longrope',
            'short_factor': (1.0,) * 3,
            'long_factor': (2.0,) * 3,
            'factor': 4.0,
          }
        }
      },
      r'config.variants.x cannot be read at any of .*\(8, 16, 32\): ',
    ),
    ({'eval': {'lengths': (16, 2**20), 'tokens': 2**20}}, 'long enough|tokens'),
    ({'eval': {'cache_dtype': 'int8'}}, "cache_dtype='int8' must be float32"),
  ],
)
def test_mistakes_are_told_before_any_work(run_folder, tmp_path, fields, told):
  config = extension(run_folder)
  for name, value in fields.items():
    if isinstance(value, dict):
      config[name].update(value)
    else:
      config[name] = value
  with pytest.raises(ValueError, match=told):
    zero_shot.run(config, tmp_path, progress=False)
  assert not list(tmp_path.rglob('*.npz'))
  assert not (tmp_path / 'config.json').exists()


def test_lengths_are_those_of_the_model_where_none_are_given(
  run_folder, tmp_path
):
  config = extension(run_folder)
  config.eval.update(lengths=(), documents=1, tokens=8)
  config.variants = {
    'rerope': {'name': 'rerope', 'window': '0.5x'},
    'far': {'name': 'rerope', 'window': '8x'},
  }
  paths = zero_shot.run(config, tmp_path, say=lambda line: None, progress=False)
  assert config.eval.lengths == ()
  cells = sorted(p.stem for p in (tmp_path / 'nll' / '000').iterdir())
  assert cells == sorted(
    f'{name}-{n}' for name in ('none', 'rerope', 'far') for n in (16, 32, 64)
  )
  layout = long.LongStore(tmp_path / 'nll', 1).read('rerope', 64).meta['layout']
  assert layout[0]['window'] == 8
  assert '64 (4x)' in paths['table'].read_text(encoding='utf-8')


def test_a_training_is_not_written_over(run_folder):
  before = {p: p.read_bytes() for p in run_folder.glob('*.json')}
  with pytest.raises(ValueError, match='holds a training, and this is an exte'):
    zero_shot.run(extension(run_folder), run_folder, progress=False)
  assert before == {p: p.read_bytes() for p in run_folder.glob('*.json')}


def test_a_variant_that_changed_is_told_to_be_read_again(run_folder, tmp_path):
  config, said = extension(run_folder), []
  config.variants = {'x': {'name': 'linear', 'factor': 2.0}}
  config.full = False
  config.quick.lengths = (8,)
  zero_shot.run(config, tmp_path, say=said.append, progress=False)
  assert not any('again' in line for line in said)
  config.variants = {'x': {'name': 'linear', 'factor': 4.0}}
  config.quick.lengths = (8, 16)
  zero_shot.run(config, tmp_path, say=said.append, progress=False)
  again = [line for line in said if 'again' in line]
  assert len(again) == 2
  assert all(
    'x at 8: measured again, for its layout changed' in line for line in again
  )


def test_all_devices_share_the_tokens_of_one_text(run_folder):
  config = extension(run_folder)
  config.mesh.update(data=-1, seq=-1)
  assert dict(zero_shot.mesh_of(config).shape) == {
    'data': 1, 'fsdp': 1, 'tensor': 1, 'seq': jax.device_count()
  }  # fmt: skip


def test_a_start_brings_its_tokenizer(run_folder):
  found = starts.find(run_folder)
  assert isinstance(zero_shot.tokenizer_of(found), data.ByteTokenizer)
