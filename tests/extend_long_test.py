"""Long evaluation: what a cell is made of, what is planned, what cannot be."""

import copy
import dataclasses
import re
import shutil
import types

import jax
import numpy as np
import pytest
from training_support import tiny

from rope_jax import evaluate, model, positions
from rope_jax import mesh as meshes
from rope_jax.data import EvalDocument
from rope_jax.evaluate import Skipped, long, streamed, variants
from rope_jax.positions import rope

ROPE = positions.build({'name': 'rope', 'theta': 1e4})
LINEAR = {'linear': {'name': 'linear', 'factor': 2.0}}
DYNAMIC = {'name': 'dynamic_ntk'}
RE = {'name': 'rerope', 'window': 4}
SHAPE = model.ModelConfig(
  vocab=13, layers=1, width=16, heads=2, mlp_dim=16, scan=False,
  tie_embeddings=False,
)  # fmt: skip
TRAIN_LEN = 8


def config_of(specs=None, **fields):
  config = tiny()
  config.eval.update(lengths=(8,), span=0, protocols=('prefix',), chunk=4)
  config.eval.update(fields)
  config.variants = LINEAR if specs is None else specs
  return config


@pytest.fixture(scope='module')
def weights():
  mesh = meshes.make_mesh({'seq': 2}, rows=1, devices=jax.devices()[:2])
  found = model.init_weights(jax.random.key(0), SHAPE, (ROPE,))
  return jax.device_put(found, meshes.weight_shardings(mesh, found))


def document(name, tokens, seed=3):
  ids = np.random.default_rng(seed).integers(0, 12, tokens).astype(np.int32)
  return EvalDocument(name, 'g', ids, np.ones(tokens, np.int32))


@pytest.fixture
def reads(monkeypatch):
  """The windows that readers are given."""
  seen, read = [], streamed.Reader.read

  def counted(self, layout, windows, **more):
    seen.append(windows)
    return read(self, layout, windows, **more)

  monkeypatch.setattr(streamed.Reader, 'read', counted)
  return seen


def work(weights, config=None, documents=1, tokens=18):
  """All that a measurement is given; a test changes some of it."""
  return types.SimpleNamespace(
    config=config or config_of(), shape=SHAPE, layout=(ROPE,),
    weights=weights, done=[],
    chosen=[document(f'd{at}', tokens, at) for at in range(documents)],
  )  # fmt: skip


def measured(work, folder):
  """The store, what was skipped, and what was said."""
  store, said = long.LongStore(folder, len(work.chosen)), []
  skipped = long.measure(
    work.config, work.shape, work.layout, work.weights, work.chosen, store,
    train_len=TRAIN_LEN, say=said.append,
    progress=lambda what, at, total: work.done.append(at),
  )  # fmt: skip
  return store, skipped, said


def other_tokens(work):
  work.chosen[0].tokens[16] ^= 1  # The last that is predicted.


def other_document(work):
  work.chosen = [dataclasses.replace(work.chosen[0], id='d1')]


def other_variant(work):
  work.config.variants = {'linear': {'name': 'linear', 'factor': 4.0}}


def other_model(work):
  work.shape = dataclasses.replace(SHAPE, logit_cap=1.0)


def other_weights(work):
  norm = work.weights['final_norm']
  least = np.nextafter(np.float32(norm[-1]), np.float32(9))
  work.weights = {**work.weights, 'final_norm': norm.at[-1].set(least)}


def nothing_that_counts(work):
  work.shape = dataclasses.replace(SHAPE, attention='naive', remat='full')
  work.config.eval.chunk = 8
  work.chosen[0].tokens[17] ^= 1  # Is not read.


@pytest.fixture(scope='module')
def base(weights, tmp_path_factory):
  """Cells of windows at 0 and at 8, as trained and with a factor."""
  folder = tmp_path_factory.mktemp('base')
  given = work(weights, config_of(span=16, protocols=('last(4)',)))
  return given, measured(given, folder)[0], folder


@pytest.mark.parametrize(
  ('change', 'names', 'windows'),
  [
    (lambda w: w.config.eval.update(cache_dtype='bfloat16'), 'cache', 4),
    (other_tokens, 'tokens', 4),
    (other_document, 'document', 4),
    # One window more, between the two.
    (lambda w: w.config.eval.update(protocols=('slide(4)',)), 'starts', 6),
    (other_variant, 'layout', 2),
    (other_model, 'model', 4),
    (other_weights, 'weights', 4),
    (nothing_that_counts, '', 0),
  ],
)
def test_cells_of_something_else_are_read_again(
  base, tmp_path, reads, change, names, windows
):
  given, _, folder = copy.deepcopy(base)
  shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
  change(given)
  _, skipped, said = measured(given, tmp_path)
  assert not skipped
  assert len(reads) == windows
  told = f'measured again, for its {names} changed'
  assert bool(said) == bool(windows)
  assert not [line for line in said if not line.endswith(told)]
  reads.clear()
  assert measured(given, tmp_path)[1:] == ([], [])
  assert reads == []


def test_a_pass_gives_no_shorter_context_of_other_scores(weights, tmp_path):
  """Between two lengths that are both longer than the training."""
  specs = {
    'dynamic': DYNAMIC,
    'both': {'name': 'compose', 'parts': (RE, DYNAMIC)},
    'within': RE,
  }
  config = config_of(specs, lengths=(8, 16, 32))
  found, _ = long.plan(config, SHAPE, (ROPE,), TRAIN_LEN)
  like = {(one.variant, one.length): one.like[0] for one in found}
  assert like['dynamic', 16] is like['both', 16] is None
  assert like['within', 16] == like['within', 8] == ('within', 32)
  assert like['dynamic', 8] == ('none', 32)
  config.variants = {'dynamic': DYNAMIC}
  given = work(weights, config, tokens=33)
  store, _, _ = measured(given, tmp_path)
  under = variants.layout_under(
    DYNAMIC, (ROPE,), train_len=TRAIN_LEN, eval_len=16
  )
  ids = given.chosen[0].tokens[None, :17]
  want = evaluate.windows_nll(SHAPE, under, jax.device_get(weights), ids)
  got = store.read('dynamic', 16).nll
  np.testing.assert_allclose(got, want, atol=2e-5)
  other = store.read('dynamic', 32).nll[:, :16]
  assert np.abs(other - want).max() > 1e-4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limited(rope.Rope):
  """A method that ends: at a number of tokens, or at a factor of 2."""

  factor: float = 1.0
  tokens: int = 0

  @property
  def reach(self):
    return self.tokens or None

  def check(self, **shape):
    super().check(**shape)
    if self.factor > 2:
      raise ValueError(f'stretched {self.factor} times')


LIMITED = {
  'stretched': {'name': f'{__name__}:Limited', 'factor': 'auto'},
  'ends': {'name': f'{__name__}:Limited', 'tokens': 16},
}


@pytest.mark.parametrize(
  ('name', 'reason'),
  [
    ('stretched', r'stretched 4\.0 times'),
    ('ends', 'Limited is defined for 16 positions, but .* 32 tokens'),
  ],
)
def test_what_cannot_be_read_is_skipped_or_stops_the_run(
  weights, tmp_path, reads, name, reason
):
  config = config_of({name: LIMITED[name]}, lengths=(16, 32))
  given = work(weights, config, tokens=33)
  store, (one,), _ = measured(given, tmp_path / 'part')
  assert (one.variant, one.length) == (name, 32)
  assert re.search(reason, one.reason)
  assert store.read(name, 32) is None
  assert store.read(name, 16).nll.shape == (1, 16)
  given.config.eval.lengths = (32,)
  reads.clear()
  told = rf'config\.variants\.{name} cannot be read at any of .*=\(32,\): '
  with pytest.raises(ValueError, match=told + reason):
    measured(given, tmp_path / 'none')
  assert reads == []


def test_a_model_that_ends_is_read_as_far_as_it_goes():
  parts = ({'name': 'rope', 'theta': 1e4}, {'name': 'learned', 'train_len': 16})
  layout = (positions.build({'name': 'compose', 'parts': parts}),)
  config = config_of(lengths=(16, 32))
  found, skipped = long.plan(config, SHAPE, layout, TRAIN_LEN)
  for some, length in ((found, 16), (skipped, 32)):
    assert [one.variant for one in some] == ['none', 'linear']
    assert {one.length for one in some} == {length}
  config.eval.lengths = (32,)
  told = r'config\.start as trained cannot be read at any of .*=\(32,\): Lear'
  with pytest.raises(ValueError, match=told):
    long.plan(config, SHAPE, layout, TRAIN_LEN)


def test_a_cell_is_there_when_that_of_every_document_is(weights, tmp_path):
  given = work(weights, documents=3)
  store, _, _ = measured(given, tmp_path)
  cell = store.read('linear', 8)
  assert cell.document.tolist() == [0, 1, 2]
  assert cell.nll.shape == (3, 8)
  each = [store.of(at).read('linear', 8).nll[0] for at in range(3)]
  np.testing.assert_array_equal(cell.nll, each)
  (tmp_path / '001' / 'linear-8.npz').unlink()
  assert store.read('linear', 8) is None
  assert store.read('none', 8) is not None


def test_chunk_and_cache_are_those_of_the_configuration(weights, tmp_path):
  seen = {}
  for dtype in ('', 'bfloat16'):
    given = work(weights, config_of({}, cache_dtype=dtype))
    store, _, _ = measured(given, tmp_path / (dtype or 'own'))
    assert given.done == [4, 8]
    seen[dtype] = store.read('none', 8).nll
  assert 1e-6 < np.abs(seen['bfloat16'] - seen['']).max() < 0.05


@pytest.mark.parametrize(
  'fields',
  [
    {'lengths': (8, 16, 32)},
    {'lengths': (8,), 'protocols': ('slide(8)',), 'span': 32},
  ],
)
def test_a_document_that_is_too_short_is_named(
  weights, tmp_path, reads, fields
):
  given = work(weights, config_of(**fields), documents=2, tokens=33)
  given.chosen[1] = document('short', 32)
  told = r'document short has 32 tokens, .*eval\.lengths=\(8,.* read 33 of it'
  with pytest.raises(ValueError, match=told):
    measured(given, tmp_path)
  assert reads == []
  assert not list(tmp_path.rglob('*.npz'))


def test_losses_that_are_not_finite_are_told_every_time(
  weights, tmp_path, reads
):
  broken = {**weights, 'embed': weights['embed'].at[12].set(np.nan)}
  given = work(broken, documents=2)
  given.chosen[0].tokens[5] = 12  # Spoils the losses of its chunk.
  store, skipped, _ = measured(given, tmp_path)
  reason = '4 of 8 losses of d0 are not finite'
  want = [Skipped(name, 8, reason) for name in ('none', 'linear')]
  assert skipped == want
  found = np.isfinite(store.read('none', 8).nll)
  assert found[0].tolist() == [True] * 4 + [False] * 4
  assert found[1].all()
  reads.clear()
  assert measured(given, tmp_path)[1] == want
  assert reads == []
