"""The bench: what its tables say is what was run."""

import json
import time

import pytest

from experiments import bench as entry
from rope_jax import bench


def test_ratios_are_to_the_first_way_in_the_same_round():
  ways = {
    'slow': lambda: time.sleep(0.008),
    'fast': lambda: time.sleep(0.002),
  }
  slow, fast = bench.paired('sleeping', ways, rounds=5)
  assert (slow.way, slow.ratio, fast.way) == ('slow', 1.0, 'fast')
  assert slow.seconds >= 0.008
  assert 0.2 < fast.ratio < 0.9
  assert fast.low <= fast.ratio <= fast.high


def test_every_way_is_called_once_a_round_after_its_warm_up():
  calls = []
  ways = {name: lambda name=name: calls.append(name) for name in 'ab'}
  bench.paired('', ways, rounds=3)
  assert ''.join(calls) == 'ab' + 'ababab'


def test_exact_phases_are_exact_where_products_are_not():
  """The float32 figures are those of reference/methods.md, fact 6."""
  errors = {position: rest for position, *rest in bench.phase_errors()}
  assert errors[2**12][0] == pytest.approx(2.4e-4, rel=0.05)
  assert errors[2**17][0] == pytest.approx(7.8e-3, rel=0.05)
  assert errors[2**20][0] == pytest.approx(6.2e-2, rel=0.05)
  for position, (_, exact) in errors.items():
    assert exact < (3.2e-7 if position <= 2**24 else 8e-7)


def test_the_entry_point_writes_what_it_prints(tmp_path, monkeypatch, capsys):
  quick = [bench.Timing('a case', 'a way', 0.002, 1.0, 0.9, 1.1)]
  monkeypatch.setattr(bench, 'phases', lambda: quick)
  path = entry.run('phases', tmp_path / 'out')
  record = json.loads(path.read_text())
  assert record['suite'] == 'phases'
  assert record['rows'][-1]['way'] == 'a way'
  assert 'jax' in record['versions']
  printed = capsys.readouterr().out
  assert '131,072' in printed
  assert 'a case' in printed
