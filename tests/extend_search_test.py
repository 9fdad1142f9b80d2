"""Search over spectra and the temperature law, on texts whose best is known.

A random model writes the texts under a hidden spectrum or temperature. No
other one can then read them better, but by the noise of a finite text.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import evaluate, positions
from rope_jax import model as model_lib
from rope_jax.evaluate import nll as nll_lib
from rope_jax.extend import spectra
from rope_jax.extend.search import search
from rope_jax.extend.temperature import fit_temperature

TRAIN, FACTOR, ROWS = 16, 4.0, 64
CONFIG = model_lib.ModelConfig(
  vocab=16, layers=1, width=32, heads=2, mlp_dim=32
)
ROPE = positions.build({'name': 'rope', 'theta': 100.0})
PAIRS = CONFIG.head_dim // 2
HIDDEN = (1.0, 1.0, 1.2, 1.3, 1.5, 4.0, 4.2, 4.4)


@pytest.fixture(scope='module')
def model():
  """Weights so large that positions matter."""
  made = model_lib.Transformer(CONFIG, (ROPE,), key=jax.random.key(1))
  graph, weights = model_lib.split(made)
  blocks = dict(weights['blocks'])
  blocks['wqkv'] = blocks['wqkv'] * 2.0
  blocks['wo'] = blocks['wo'] * 4.0
  return model_lib.merge(
    graph, {**weights, 'blocks': blocks, 'embed': weights['embed'] * 2.0}
  )


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def writing(config, layout, weights, key, size):
  """Texts [b, t + 1] drawn token by token from the model under a layout."""
  rows, tokens = size

  def step(tokens_bt, at):
    logits = model_lib.forward(config, layout, weights, tokens_bt)
    drawn = jax.random.categorical(jax.random.fold_in(key, at), logits[:, at])
    return tokens_bt.at[:, at + 1].set(drawn), None

  start = jax.random.randint(key, (rows, tokens + 1), 0, config.vocab)
  return jax.lax.scan(step, start, jnp.arange(tokens))[0]


def written(model, spec, rows, tokens, seed=0):
  # The spectrum as data, so that texts of one size share a program.
  layout, weights = nll_lib.traced_layout(
    CONFIG, (positions.build(spec),), model_lib.split(model)[1], tokens
  )
  key = jax.random.key(seed)
  return np.asarray(writing(CONFIG, layout, weights, key, (rows, tokens)))


def longrope(divisors, **others):
  return {
    'name': 'longrope',
    'theta': 100.0,
    'short_factor': [1.0] * PAIRS,
    'long_factor': divisors,
    'train_len': TRAIN,
    'factor': FACTOR,
    **others,
  }


@pytest.fixture(scope='module')
def windows(model):
  return written(model, longrope(HIDDEN), ROWS, 64)[:12]


def seek(model, windows, **others):
  return search(
    CONFIG,
    (ROPE,),
    model_lib.split(model)[1],
    windows,
    **{
      'train_len': TRAIN,
      'factor': FACTOR,
      'population': 12,
      'generations': 8,
      'parents': 4,
      **others,
    },
  )


def mean_nll(model, windows, spec):
  position = positions.build(spec)
  nll = evaluate.token_nll(model, windows, position=position)
  return np.asarray(nll, np.float64).mean()


@pytest.fixture(scope='module')
def found(model, windows):
  told = []
  before = spectra.compiled._cache_size()
  made = seek(model, windows, progress=lambda *a: told.append(a))
  assert spectra.compiled._cache_size() == before + 1  # One program for all.
  return made, told


def test_the_find_is_what_a_separate_evaluation_says(model, windows, found):
  made, _ = found
  assert mean_nll(model, windows, made.spec) == pytest.approx(
    made.nll, abs=1e-5
  )
  assert positions.build(made.spec).long_factor == made.spec['long_factor']
  divisors = np.array(made.spec['long_factor'])
  assert (np.diff(divisors) >= 0).all()
  assert divisors[0] >= 1
  assert divisors[-1] <= 1.25 * FACTOR
  amplitude = positions.build(made.spec).frequencies(16, 64)[1]
  assert amplitude == pytest.approx(np.sqrt(1 + np.log(4) / np.log(16)))


def test_it_beats_its_seeds_and_comes_near_the_best(model, windows, found):
  made, _ = found
  frequency = 100.0 ** -(np.arange(PAIRS) / PAIRS)
  for name in ('linear', 'ntk', 'yarn'):  # As they are elsewhere.
    spec = {'name': name, 'theta': 100.0, 'factor': FACTOR}
    spec |= {'train_len': TRAIN} if name == 'yarn' else {}
    scaled, _ = positions.build(spec).frequencies(CONFIG.head_dim)
    want = mean_nll(model, windows, longrope(frequency / scaled))
    assert made.seeds[name] == pytest.approx(want, abs=1e-5)
  best = mean_nll(model, windows, longrope(HIDDEN))
  least = min(made.seeds.values())
  assert best < least - 0.05  # There is something to find.
  assert made.nll < least - 0.8 * (least - best)
  assert made.nll > best - 0.02


def test_history_and_progress(found):
  made, told = found
  assert [row[0] for row in made.history] == list(range(9))
  bests = [row[1] for row in made.history]
  assert bests == sorted(bests, reverse=True)
  assert bests[-1] == made.nll < bests[0]
  assert all(mean >= best for _, best, mean in made.history)
  assert made.tried == told[-1][0] == told[-1][1] == 12 + 8 * 8
  assert told[-1][2] <= told[0][2]


def test_the_same_seed_finds_the_same_and_others_do_not(model, windows):
  first, again, other = (
    seek(model, windows, generations=1, seed=seed) for seed in (3, 3, 4)
  )
  assert first == again
  assert first.spec != other.spec


def test_layers_without_rope_stay_as_they_are(windows):
  """They keep their method; rope layers share the divisors."""
  nope = positions.build({'name': 'nope'})
  config = dataclasses.replace(CONFIG, layers=2)
  model = model_lib.Transformer(config, (nope, ROPE), key=jax.random.key(1))
  made = search(
    config,
    (nope, ROPE),
    model_lib.split(model)[1],
    windows,
    train_len=TRAIN,
    factor=FACTOR,
    population=5,
    generations=0,
    attention_factor=1.5,
  )
  layout = (nope, positions.build(made.spec))
  nll = evaluate.token_nll(model, windows, position=layout)
  assert nll.mean(dtype=np.float64) == pytest.approx(made.nll, abs=1e-5)
  assert made.spec['attention_factor'] == 1.5


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'population': 4}, 'population=4 must be above parents=4'),
    ({'factor': 0.5}, 'factor=0.5 must be a number >= 1'),
    ({'parents': 1}, 'parents=1 must be a number >= 2'),
    ({'generations': -1}, 'generations=-1'),
    ({'mutation': 0.0}, 'mutation=0.0 must be a chance'),
    ({'train_len': 64}, 'windows of 64 tokens are not beyond train_len=64'),
    ({'at_once': 0}, 'at_once=0'),
  ],
)
def test_search_refuses(model, windows, change, message):
  with pytest.raises(ValueError, match=message):
    seek(model, windows, **change)


def test_windows_and_layouts_that_do_not_fit(model, windows):
  with pytest.raises(ValueError, match=r'windows of shape \(0, 65\)'):
    seek(model, windows[:0])
  with pytest.raises(ValueError, match=r'ids must be integers in \[0, 16\)'):
    seek(model, windows + 9)
  for spec in ({'name': 'nope'}, {'name': 'alibi'}):
    with pytest.raises(ValueError, match='has plain RoPE alone'):
      search(
        CONFIG,
        (positions.build(spec),),
        {},
        windows,
        train_len=TRAIN,
        factor=FACTOR,
      )


LAW = (1.1, 0.2)


@pytest.fixture(scope='module')
def texts(model):
  """Written with YaRN's spectrum at 1 / sqrt(t) = 1.1 + 0.2 ln s."""
  made = {}
  for length in (16, 64):
    s = length / TRAIN
    amplitude = LAW[0] + LAW[1] * np.log(s)
    spec = {'name': 'yarn', 'theta': 100.0, 'factor': s, 'train_len': TRAIN}
    spec |= {'attention_factor': amplitude}
    made[length] = written(
      model, spec, ROWS * 64 // length, length, seed=length
    )
  return made


def fit(model, texts, **others):
  return fit_temperature(
    CONFIG,
    (ROPE,),
    model_lib.split(model)[1],
    texts,
    **{
      'train_len': TRAIN,
      'base': {'name': 'yarn', 'factor': 'auto'},
      **others,
    },
  )


def test_the_law_is_found_again(model, texts):
  before = spectra.compiled._cache_size()
  told = []
  law = fit(model, texts, progress=lambda *a: told.append(a))
  assert spectra.compiled._cache_size() <= before + 2  # One for each length.
  assert told == [(1, 2), (2, 2)]
  assert [s for s, _, _ in law.points] == [1.0, 4.0]
  for s, best, nats in law.points:
    assert best == pytest.approx(LAW[0] + LAW[1] * np.log(s), abs=0.06)
    spec = {'name': 'yarn', 'theta': 100.0, 'factor': s, 'train_len': TRAIN}
    spec |= {'attention_factor': best}
    want = mean_nll(model, texts[int(s * TRAIN)], spec)
    assert nats == pytest.approx(want, abs=1e-3)
  assert law.a == pytest.approx(LAW[0], abs=0.06)
  assert law.b == pytest.approx(LAW[1], abs=0.06)
  assert law.temperature(2.0) == pytest.approx(law.amplitude(2.0) ** -2)
  # A grid to the side of the best is continued.
  low = fit(model, texts, amplitudes=(0.7, 0.8, 0.9))
  assert low.a == pytest.approx(law.a, abs=0.03)
  with pytest.raises(ValueError, match='the best is the last that was tried'):
    fit(model, texts, amplitudes=(0.1, 0.11, 0.12))


def test_fit_refuses(model, texts):
  for change, message in (
    ({'amplitudes': (1.0, 1.1)}, 'at least three'),
    ({'amplitudes': (1.0, 1.1, 1.5)}, 'in equal steps'),
    ({'train_len': 17}, r'lengths \[16, 64\]; .* below train_len=17'),
    ({'base': {'name': 'self_extend', 'group': 4, 'window': 8}}, 'does more'),
  ):
    with pytest.raises(ValueError, match=message):
      fit(model, texts, **change)
  with pytest.raises(ValueError, match='at least two'):
    fit(model, {16: texts[16]})
  with pytest.raises(ValueError, match='has 65 tokens a row; it must have 21'):
    fit(model, {16: texts[16], 20: texts[64]})


def test_spectra_are_data(model, windows):
  """Words and amplitude decide: another spectrum is another number."""
  weights = model_lib.split(model)[1]
  bench = spectra.Spectra(CONFIG, (ROPE,), weights, windows, train_len=TRAIN)
  specs = [longrope(HIDDEN), longrope([2.0] * PAIRS), longrope(HIDDEN)]
  specs.append(longrope(HIDDEN, attention_factor=2.0, factor=None))
  layouts = [bench.under(spec) for spec in specs]
  nats = bench.measure(layouts)
  assert nats[0] == nats[2]
  assert len(set(nats.tolist())) == 3
  np.testing.assert_allclose(bench.measure(layouts[::-1])[::-1], nats)
