"""Losses, variants and the store, against loops over single tokens."""

import functools

import jax
import numpy as np
import pytest

from rope_jax import config as config_lib
from rope_jax import evaluate, positions
from rope_jax.data import EvalDocument
from rope_jax.evaluate import cells, nll, variants
from rope_jax.model import ModelConfig, Transformer, forward, split

SHAPE = ModelConfig(vocab=13, layers=2, width=16, heads=2, scan=False)
ROPE = positions.build({'name': 'rope', 'theta': 100.0})
YARN = positions.build(
  {'name': 'yarn', 'theta': 100.0, 'factor': 4.0, 'train_len': 8}
)


@pytest.fixture(scope='module')
def model():
  return Transformer(SHAPE, (ROPE,), key=jax.random.key(0))


def _tokens(rows, length, seed=0):
  return np.random.default_rng(seed).integers(0, 13, (rows, length))


def _by_hand(model, layout, tokens_bt):
  """-log p of each token, what follows its prefix being overwritten."""
  _, weights = split(model)
  run = jax.jit(functools.partial(forward, SHAPE, layout))
  out = []
  for row in tokens_bt:
    losses = []
    for end in range(1, len(row)):
      prefix = np.where(np.arange(len(row)) < end, row, 0)[None]
      logits = run(weights, prefix)[0, end - 1]
      wide = np.asarray(logits, np.float64)
      losses.append(np.log(np.exp(wide - wide.max()).sum()) + wide.max())
      losses[-1] -= wide[row[end]]
    out.append(losses)
  return np.array(out)


def test_token_nll_is_that_of_each_prefix(model):
  tokens = _tokens(2, 6)
  found = evaluate.token_nll(model, tokens)
  assert found.dtype == np.float32
  assert found.shape == (2, 5)
  np.testing.assert_allclose(
    found, _by_hand(model, (ROPE,), tokens), rtol=2e-5, atol=2e-5
  )


def test_token_nll_under_another_method_replaces_every_layer(model):
  tokens = _tokens(2, 6)
  found = evaluate.token_nll(model, tokens, position=YARN)
  np.testing.assert_allclose(
    found, _by_hand(model, (YARN,), tokens), rtol=2e-5, atol=2e-5
  )
  assert np.abs(found - evaluate.token_nll(model, tokens)).max() > 1e-3


def test_dynamic_ntk_is_read_at_the_length_of_the_row(model):
  dynamic = positions.build(
    {'name': 'dynamic_ntk', 'theta': 100.0, 'train_len': 8}
  )
  _, weights = split(model)
  tokens = _tokens(1, 25)
  found = evaluate.token_nll(model, tokens, position=dynamic)
  run = jax.jit(functools.partial(forward, SHAPE, (dynamic,)))
  logits = run(weights, tokens[:, :-1])
  log_p = jax.nn.log_softmax(logits)[0, np.arange(24), tokens[0, 1:]]
  np.testing.assert_allclose(found[0], -log_p, rtol=2e-5, atol=2e-5)
  short = evaluate.token_nll(model, tokens[:, :9], position=dynamic)
  np.testing.assert_allclose(
    short, evaluate.token_nll(model, tokens[:, :9]), rtol=1e-5, atol=1e-5
  )


def test_rotary_variants_share_one_compiled_program(model):
  tokens = _tokens(1, 12)
  evaluate.token_nll(model, tokens)
  before = nll.compiled._cache_size()
  for factor in (2.0, 4.0, 8.0):
    position = positions.build(
      {'name': 'ntk', 'theta': 100.0, 'factor': factor}
    )
    evaluate.token_nll(model, tokens, position=position)
  evaluate.token_nll(model, tokens, position=YARN)
  assert nll.compiled._cache_size() == before


def test_a_large_batch_is_worked_off_in_pieces(model, monkeypatch):
  tokens = _tokens(5, 6)
  whole = evaluate.token_nll(model, tokens)
  monkeypatch.setattr(nll, 'TOKENS_PER_CALL', 12)
  np.testing.assert_allclose(
    evaluate.token_nll(model, tokens), whole, rtol=1e-5, atol=1e-5
  )


@pytest.mark.parametrize(
  ('tokens', 'says'),
  [
    (np.zeros((2, 1), int), 'at least|>= 2'),
    (np.zeros(4, int), r'must be \[b, t\]'),
    (np.full((1, 4), 13), r'\[0, 13\)'),
    (np.zeros((1, 4)), 'must be integers'),
  ],
)
def test_bad_tokens_are_refused(model, tokens, says):
  with pytest.raises(ValueError, match=says):
    evaluate.token_nll(model, tokens)


def test_a_method_with_untrained_parameters_is_refused(model):
  with pytest.raises(ValueError, match='T5 learns parameters'):
    evaluate.token_nll(
      model, _tokens(1, 4), position=positions.build({'name': 't5'})
    )


def test_a_table_that_ends_is_refused_before_compiling():
  learned = positions.build({'name': 'learned', 'train_len': 4})
  small = Transformer(SHAPE, (learned,), key=jax.random.key(0))
  assert evaluate.token_nll(small, _tokens(1, 5)).shape == (1, 4)
  with pytest.raises(ValueError, match='defined for 4 positions'):
    evaluate.token_nll(small, _tokens(1, 6))


def test_a_variant_takes_over_what_its_spec_leaves_out():
  trained = positions.build(
    {'name': 'rope', 'theta': 500.0, 'fraction': 0.5, 'pairing': 'interleaved'}
  )
  found = variants.resolve(
    {'name': 'yarn', 'factor': 'auto'}, trained, train_len=8, eval_len=32
  )
  assert positions.spec(found) == {
    **positions.spec(
      positions.build(
        {'name': 'yarn', 'theta': 500.0, 'factor': 4.0, 'train_len': 8}
      )
    ),
    'fraction': 0.5,
    'pairing': 'interleaved',
  }
  short = variants.resolve(
    {'name': 'linear', 'factor': 'auto'}, trained, train_len=8, eval_len=4
  )
  assert short.factor == 1.0


def test_variants_replace_rope_layers_and_skip_layouts_without_any():
  nope, t5 = positions.build({'name': 'nope'}), positions.build({'name': 't5'})
  spec = {'name': 'linear', 'factor': 2.0}
  sizes = {'train_len': 8, 'eval_len': 16}
  under = variants.layout_under(spec, (ROPE, nope), **sizes)
  assert [type(p).__name__ for p in under] == ['Linear', 'Nope']
  assert variants.layout_under(spec, (t5,), **sizes) is None
  assert variants.layout_under(None, (t5,), **sizes) == (t5,)


def test_a_variant_replaces_plain_rope_inside_a_composition():
  sizes = {'train_len': 128, 'eval_len': 512}
  alibi = positions.build({'name': 'alibi'})
  yarn = {'name': 'yarn', 'factor': 'auto'}
  trained = positions.compose(alibi, ROPE)
  (under,) = variants.layout_under(yarn, (trained,), **sizes)
  want = positions.build(
    {'name': 'yarn', 'theta': ROPE.theta, 'factor': 4.0, 'train_len': 128}
  )
  assert under == positions.compose(alibi, want)
  both = {'name': 'compose', 'parts': [yarn, {'name': 'alibi'}]}
  (under,) = variants.layout_under(both, (ROPE,), **sizes)
  assert under == positions.compose(want, alibi)


def test_a_variant_that_learns_is_refused():
  with pytest.raises(ValueError, match="'t5' learns parameters of its own"):
    variants.resolve({'name': 't5'}, ROPE, train_len=8, eval_len=8)


def test_methods_with_views_are_not_taken_for_their_spectrum():
  """A re-mapping has RoPE's frequencies and other scores."""
  rerope = positions.build({'name': 'rerope', 'theta': 1e4, 'window': 8})
  plain = positions.build({'name': 'rope', 'theta': 1e4})
  assert not variants.same_scores((rerope,), (plain,), 8, 16)
  other = positions.build({'name': 'linear', 'theta': 1e4, 'factor': 1.0})
  assert variants.same_scores((other,), (plain,), 8, 16)


# -- The store ---------------------------------------------------------------


def _config(**changes):
  config = config_lib.default()
  config.position = {'name': 'rope', 'theta': 100.0}
  config.train.train_len = 8
  config.eval.lengths = (8, 16)
  config.eval.documents = 3
  config.eval.protocols = ('whole', 'last(4)', 'slide(4)')
  config.eval.tokens = 32
  config.variants = {
    'ntk': {'name': 'ntk', 'factor': 'auto'},
    'linear': {'name': 'linear', 'factor': 2.0},
  }
  config.update(changes)
  return config


def _documents():
  return [
    EvalDocument(
      str(i),
      'all',
      _tokens(1, 17, seed=i)[0].astype(np.int32),
      np.ones(17, np.int32),
    )
    for i in range(3)
  ]


def _measure(model, store, config=None, step=1):
  _, weights = split(model)
  return evaluate.measure(
    config or _config(), SHAPE, (ROPE,), weights, _documents(), store, step=step
  )


def test_each_stored_loss_is_that_of_its_window(model, tmp_path):
  store = evaluate.Store(tmp_path)
  assert _measure(model, store) == []
  documents = _documents()
  for variant, position in (
    ('none', ROPE),
    ('ntk', positions.build({'name': 'ntk', 'theta': 100.0, 'factor': 2.0})),
  ):
    cell = store.read(variant, 16)
    assert cell.start.tolist() == [0] * 3
    for row, document in enumerate(cell.document):
      tokens = documents[document].tokens[None, :17]
      np.testing.assert_allclose(
        cell.nll[row][None],
        evaluate.token_nll(model, tokens, position=position),
        rtol=1e-5,
        atol=1e-5,
      )
  cell = store.read('none', 8)
  assert sorted(set(cell.start.tolist())) == [0, 4, 8]
  row = cell.start.tolist().index(4)
  tokens = documents[cell.document[row]].tokens[None, 4:13]
  np.testing.assert_allclose(
    cell.nll[row][None], evaluate.token_nll(model, tokens), rtol=1e-5, atol=1e-5
  )


def test_a_variant_that_changes_nothing_is_not_measured_twice(
  model, tmp_path, monkeypatch
):
  calls = []
  real = cells._measure_cell

  def counting(*args):
    calls.append((args[-1]['variant'], args[-1]['length']))
    return real(*args)

  monkeypatch.setattr(cells, '_measure_cell', counting)
  store = evaluate.Store(tmp_path)
  _measure(model, store)
  assert ('ntk', 8) not in calls  # Its factor there is 1.
  assert ('linear', 8) in calls
  assert np.array_equal(store.read('ntk', 8).nll, store.read('none', 8).nll)


def test_what_is_stored_is_not_measured_again(model, tmp_path, monkeypatch):
  store = evaluate.Store(tmp_path)
  _measure(model, store)

  def fail(*_):
    raise AssertionError('measured again')

  with monkeypatch.context() as patch:
    patch.setattr(cells, '_measure_cell', fail)
    _measure(model, store)
    with pytest.raises(AssertionError, match='measured again'):
      _measure(model, store, step=2)  # Other weights.
  path = next(tmp_path.glob('linear-16*'))
  path.write_bytes(path.read_bytes()[:100])  # Cut short.
  _measure(model, store)
  assert store.read('linear', 16) is not None


def test_lengths_beyond_a_table_are_skipped_and_said(tmp_path):
  learned = positions.build({'name': 'learned', 'train_len': 8})
  small = Transformer(SHAPE, (learned,), key=jax.random.key(0))
  store = evaluate.Store(tmp_path)
  skipped = evaluate.measure(
    _config(), SHAPE, (learned,), split(small)[1], _documents(), store, step=1
  )
  assert [(s.variant, s.length) for s in skipped] == [('none', 16)]
  assert 'defined for 8 positions' in skipped[0].reason
  assert store.read('none', 8) is not None


def test_sharded_over_devices_equals_one_device(model, tmp_path):
  mesh = jax.make_mesh(
    (4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  _, weights = split(model)
  spread = jax.device_put(
    weights, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  )
  assert nll.rows_multiple(spread['embed']) == 4
  windows = _tokens(8, 17).astype(np.int32)
  np.testing.assert_allclose(
    nll.windows_nll(SHAPE, (ROPE,), spread, windows),
    nll.windows_nll(SHAPE, (ROPE,), weights, windows),
    rtol=1e-5,
    atol=1e-5,
  )


def test_tokens_shared_out_over_devices_equal_one_device(model):
  """Over 'seq' where it divides a window in two chunks a device, else not."""
  auto = jax.sharding.AxisType.Auto
  mesh = jax.make_mesh((2, 4), ('data', 'seq'), axis_types=(auto, auto))
  _, weights = split(model)
  spread = jax.device_put(
    weights, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  )
  for length, ring in ((16, True), (12, False)):
    config, sharding = nll.shared(SHAPE, mesh, length)
    assert (config.attention == 'ring') == (sharding.spec[1] == 'seq') == ring
    windows = _tokens(2, length + 1).astype(np.int32)
    np.testing.assert_allclose(
      nll.windows_nll(SHAPE, (ROPE,), spread, windows),
      nll.windows_nll(SHAPE, (ROPE,), weights, windows),
      rtol=1e-5,
      atol=1e-5,
    )


def test_variant_names_are_safe_file_names(tmp_path):
  store = evaluate.Store(tmp_path)
  cell = evaluate.Cell(
    np.zeros(1, np.int32),
    np.zeros(1, np.int32),
    np.zeros((1, 2), np.float32),
    {'variant': '../yarn x2', 'length': 2},
  )
  store.write(cell)
  assert store.read('../yarn x2', 2).meta == cell.meta
  assert all(path.parent == tmp_path for path in tmp_path.rglob('*.npz'))


def test_none_is_no_name_for_a_variant():
  config = _config()
  config.variants = {'none': {'name': 'ntk', 'factor': 2.0}}
  with pytest.raises(ValueError, match='as trained'):
    cells.check(config)


def test_a_bad_variant_is_refused_before_any_work():
  config = _config()
  config.variants = {'yarn': {'name': 'yarn', 'factr': 2.0}}
  with pytest.raises(ValueError, match='needs factor and has no factr'):
    cells.check(config)
