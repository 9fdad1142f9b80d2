"""The lab's entry points, recommendations and the spectra they look at."""

import csv
import json
import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from rope_jax import positions
from rope_jax.spectrum import (
  bases,
  lab,
  methods,
  recommend,
  settings,
  spectra,
  windows,
)


def plain_sum(frequencies, distance):
  return math.fsum(math.cos(distance * f) for f in frequencies)


def first_negative(frequencies, length):
  return next((m for m in range(length) if plain_sum(frequencies, m) < 0), None)


def test_a_trained_model_is_best_served_by_what_shows_it_nothing_new():
  found = recommend.recommend(128, 8192, 4096, 1e4)
  by_name = {choice.spec['name']: choice for choice in found}
  # Both show nothing new and slow no fast pair; one goes negative later.
  assert [c.spec['name'] for c in found[:2]] == ['llama3', 'yarn']
  assert found[0].violation > found[1].violation
  assert by_name['yarn'].new == by_name['yarn'].slowed == 0
  # Linear interpolation slows every pair, NTK leaves pairs beyond training.
  fast = sum(4096 * 1e4 ** (-k / 64) / math.tau > 32 for k in range(64))
  assert by_name['linear'].slowed == fast
  assert by_name['linear'].new == 0
  short = sum(4096 * 1e4 ** (-k / 64) / math.tau < 1 for k in range(64))
  assert by_name['rope'].new == short == 18
  assert 0 < by_name['ntk'].new < 18
  for choice in found:
    frequency_f, _ = positions.build(choice.spec).frequencies(128, 8192)
    assert choice.violation == first_negative(frequency_f.tolist(), 8192)
    assert choice.config == f'config.position = {dict(choice.spec)}'


def test_what_is_pasted_builds():
  for choice in recommend.recommend(64, 2048, 1024, 1e4, tuning=True):
    config = type('Config', (), {})()
    exec(choice.config, {'config': config})
    assert positions.build(config.position) == positions.build(choice.spec)


def test_bases_for_tuning_are_above_the_critical_one_and_feasible():
  found = recommend.recommend(64, 2048, 1024, 1e4, tuning=True)
  tuned = [c for c in found if c.trains == 'tuning']
  # 1e4^(log(2048 / 2 pi) / log(1024 / 2 pi))
  critical = 1e4 ** (math.log(2048 / math.tau) / math.log(1024 / math.tau))
  assert len(tuned) == 2
  for choice in tuned:
    assert choice.spec['theta'] >= critical
    assert choice.violation is None
  robust = windows.certify(64, 2048).robust
  assert [c.fragile for c in tuned] == [False, True]
  assert tuned[0].spec['theta'] >= robust > tuned[1].spec['theta']


def test_a_new_model_gets_a_base_that_no_neighbour_spoils():
  best, least, *_ = recommend.recommend(64, 2048)
  assert best.spec['theta'] >= windows.certify(64, 2048).robust
  assert best.trains == 'everything'
  low, high = windows.certify(64, 2048).inner[0]
  assert low < least.spec['theta'] < high
  # With a bound below the robust base, the window is what is left.
  only = recommend.recommend(64, 2048, most=3e4)
  assert [c.spec['theta'] for c in only] == [least.spec['theta']]
  with pytest.raises(ValueError, match='most=10000: for head_dim=64 no base'):
    recommend.recommend(64, 2048, most=1e4)


def test_a_short_training_is_offered_a_small_base():
  found = recommend.recommend(64, 2048, 512)
  # Trained at 512, every base leaves pairs that meet new phases at 2048.
  for choice in found:
    turns = [
      512 * choice.spec['theta'] ** (-k / 32) / math.tau for k in range(32)
    ]
    assert choice.new == sum(turn < 1 for turn in turns)
  small = [c for c in found if c.spec['theta'] < 1e3]
  assert len(small) == 1
  assert small[0].spec['theta'] == pytest.approx(2 * 512 / math.pi, rel=1e-5)


@pytest.mark.parametrize(
  ('given', 'match'),
  [
    ({'head_dim': 7}, 'head_dim=7'),
    ({'head_dim': 0}, 'head_dim=0'),
    ({'theta': -1.0}, 'theta=-1.0'),
    ({'theta': math.nan}, 'theta=nan'),
    ({'target_len': 512}, 'target_len=512 is below train_len=1024'),
    ({'train_len': 3}, 'train_len=3'),
    ({'most': 0.5}, 'most=0.5'),
  ],
)
def test_bad_settings_are_refused(given, match):
  arguments = {
    'head_dim': 64, 'target_len': 2048, 'train_len': 1024, 'theta': 1e4,
    'most': math.inf, **given,
  }  # fmt: skip
  with pytest.raises(ValueError, match=match):
    recommend.recommend(**arguments)
  if 'most' not in given:
    with pytest.raises(ValueError, match=match):
      settings.Settings(
        arguments['head_dim'], arguments['target_len'], arguments['theta'],
        arguments['train_len'],
      )  # fmt: skip


def test_methods_are_read_from_words_json_and_configs(tmp_path):
  yarn = positions.build(
    {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}
  )
  words = 'yarn:theta=1e4,factor=16,train_len=4096'
  assert methods.parsed(words) == yarn
  assert methods.parsed(json.dumps(positions.spec(yarn))) == yarn
  assert methods.parsed(words + ',ramp=paper').ramp == 'paper'
  listed = methods.parsed(
    'longrope:theta=1e4,train_len=16,short_factor=(1.0,1.0),'
    'long_factor=[2.0,4.0]'
  )
  assert listed.long_factor == (2.0, 4.0)
  with pytest.raises(ValueError, match='factor=nan'):
    methods.parsed('linear:theta=1e4,factor=nan')
  with pytest.raises(ValueError, match='make 4 pairs; give one number'):
    spectra.of(listed, 8)
  with pytest.raises(ValueError, match='a method is wanted here'):
    methods.parsed('config.json')
  for words, match in (
    ('yarn:factor', "'factor' is no field=value"),
    ('yarm:theta=1e4', 'Did you mean'),
    ('{"name": ', 'is not JSON'),
  ):
    with pytest.raises(ValueError, match=match):
      methods.parsed(words)
  assert methods.expanded('rope:theta=1e4', 64) == {
    'rope:theta=1e4': positions.build({'name': 'rope', 'theta': 1e4})
  }


def test_a_config_gives_each_of_its_layers_spectra(tmp_path):
  path = tmp_path / 'config.json'

  def read(given, head_dim=64):
    path.write_text(json.dumps(given))
    return methods.expanded(str(path), head_dim)

  llama = {
    'model_type': 'llama', 'head_dim': 64, 'rope_theta': 5e5,
    'max_position_embeddings': 8192,
  }  # fmt: skip
  assert read(llama)[str(path)].theta == 5e5
  with pytest.raises(ValueError, match='turn 64 coordinates, but head_dim=8'):
    read(llama, 8)
  assert methods.trained(str(path), 64) == {'theta': 5e5, 'train_len': 8192}
  with pytest.raises(ValueError, match='holds no object'):
    read([1])
  with pytest.raises(ValueError, match='cannot be read'):
    methods.expanded(str(tmp_path / 'absent.json'), 64)
  gemma = {
    'model_type': 'gemma3_text', 'head_dim': 64, 'rope_theta': 1e6,
    'rope_local_base_freq': 1e4, 'sliding_window': 512,
    'sliding_window_pattern': 6, 'max_position_embeddings': 32768,
    'num_hidden_layers': 6,
  }  # fmt: skip
  found = read(gemma)
  assert [spectra.of(p, 64).frequency_f[1] for p in found.values()] == [
    pytest.approx(1e4 ** (-1 / 32)), pytest.approx(1e6 ** (-1 / 32)),
  ]  # fmt: skip
  assert [name.rpartition('layers ')[2] for name in found] == [
    '0, 1, 2, 3, 4', '5',
  ]  # fmt: skip


def test_a_study_says_and_writes_what_it_found(tmp_path):
  said = []
  wanted = settings.Settings(64, 2048, 1e4, 512)
  made = lab.study(wanted, str(tmp_path), said.append)
  names = {path.name for path in made}
  assert names == {
    'pairs.csv', 'decay.csv', 'decay.svg', 'decay.png', 'pairs.svg',
    'pairs.png', 'windows.svg', 'windows.png', 'spectrum.html',
  }  # fmt: skip
  text = '\n'.join(said)
  frequencies = [1e4 ** (-k / 32) for k in range(32)]
  at = first_negative(frequencies, 2048)
  assert f'first negative at distance {at:,}' in text
  turned = sum(512 * f / math.tau >= 1 for f in frequencies)
  assert f'critical dimension {2 * turned} of 64' in text
  power = math.log(2048 / math.tau) / math.log(512 / math.tau)
  assert f'critical base {1e4**power:,.0f}: ' in text
  # With the critical base the law extrapolates to about the tuned length.
  reach = math.tau * (1e4**power) ** (2 * turned / 64)
  assert f': {reach:,.0f} tokens' in text
  assert f'{1024 / math.pi:,.0f}, {512 / math.pi:,.0f}, 81' in text
  carried = windows.shipped()[64, 2048]
  assert f'{carried.first:.7g} to {carried.inner[0, 1]:.7g}' in text
  page = (tmp_path / 'spectrum.html').read_text()
  opened = json.loads(re.search(r'"first":({"scheme[^}]*})', page)[1])
  stops = [
    json.loads(re.search(rf'"{name}":(\[[^]]*\])', page)[1])
    for name in ('thetas', 'factors', 'lengths')
  ]
  assert [
    stop[opened[name]]
    for name, stop in zip(('theta', 'factor', 'length'), stops, strict=True)
  ] == [1e4, 4, 2048]
  assert 'config.position = ' in text
  with (tmp_path / 'pairs.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert {row['label'] for row in rows} == set(methods.scaled(1e4, 512, 2048))
  row = next(r for r in rows if r['label'] == 'linear' and r['pair'] == '5')
  assert float(row['frequency']) == pytest.approx(frequencies[5] / 4)
  with (tmp_path / 'decay.csv').open() as file:
    rows = [r for r in csv.DictReader(file) if r['label'] == 'rope']
  assert [int(r['distance']) for r in rows] == list(range(2048))
  assert float(rows[77]['value']) == pytest.approx(
    2 * plain_sum(frequencies, 77), rel=1e-6
  )


def test_differences_and_variants_are_told(tmp_path):
  said = []
  yarn = 'yarn:theta=1e4,factor=16,train_len=4096'
  made = lab.variants(yarn, 128, 65536, str(tmp_path), said.append)
  assert 'up to 3.04x apart (pair 38)' in '\n'.join(said)
  assert {p.name for p in made} == {'decay.csv', 'decay.svg', 'decay.png'}
  said.clear()
  lab.difference([yarn, yarn + ',ramp=paper'], 128, 65536, None, said.append)
  assert 'up to 3.04x apart (pair 38)' in '\n'.join(said)
  with pytest.raises(ValueError, match='takes two methods'):
    lab.difference([yarn], 128, 65536, None, said.append)


def test_the_classic_study_has_its_bounds(tmp_path):
  said = []
  made = lab.preset(128, str(tmp_path), said.append)
  assert {p.name for p in made} == {'decay.csv', 'decay.svg', 'decay.png'}
  assert '5e6, bound on 65536' in said[0]
  assert '14607' in said[0]


def test_a_method_says_what_its_model_was_trained_with():
  ntk = 'ntk:theta=5e5,factor=4'
  found = settings.settled(128, 65536, given=(ntk,))
  assert (found.theta, found.train_len) == (5e5, 4096)
  yarn = 'yarn:theta=1e4,factor=16,train_len=2048'
  assert settings.settled(128, 65536, given=(yarn,)).train_len == 2048
  for arguments, match in (
    ({'theta': 1e6, 'given': (ntk,)}, 'theta=1e[+]06, but the methods say 5'),
    ({'train_len': 4096, 'given': (yarn,)}, 'train_len=4096, but the methods'),
    ({'given': (ntk, yarn)}, 'are of different models: theta=5'),
    ({'given': ('rerope:theta=1e4,window=512',)}, 'more than its frequencies'),
    ({'given': ('xpos:theta=1e4',)}, 'more than its frequencies'),
  ):
    with pytest.raises(ValueError, match=match):
      lab.study(settings.settled(128, 65536, **arguments), None, pytest.fail)
  for head_dim, target, match in ((4, 8192, 'head_dim=4'), (64, 2**25, '2')):
    with pytest.raises(ValueError, match=match):
      settings.settled(head_dim, target)


def test_places_that_cannot_be_written_to_are_told_first(tmp_path):
  file = tmp_path / 'file'
  file.write_text('mine')
  wanted = settings.Settings(64, 2048, 1e4, 512)
  for run in (
    lambda: lab.study(wanted, str(file), pytest.fail),
    lambda: lab.preset(64, str(file), pytest.fail),
    lambda: lab.variants('yarn', 64, 2048, str(file), pytest.fail),
  ):
    with pytest.raises(ValueError, match='no folder that can be written to'):
      run()
  with pytest.raises(ValueError, match='cannot be written'):
    lab.certify(str(tmp_path), [64], [128], pytest.fail)
  with pytest.raises(ValueError, match='head_dim=7'):
    lab.certify(str(tmp_path / 'w.csv'), [64, 7], [128], pytest.fail)
  with pytest.raises(ValueError, match='--lengths=abc: give whole numbers'):
    settings.numbers('lengths', ['abc'])
  assert file.read_text() == 'mine'


@pytest.mark.parametrize(
  ('words', 'said'),
  [
    (['--head_dim=7'], 'head_dim=7'),
    (['--theta=nan'], 'theta=nan'),
    (['--target_len=512'], 'target_len=512 is below train_len=4096'),
    (['--method=yarn:theta=1e4'], 'needs factor, train_len'),
    (['--preset=decay', '--theta=1e4'], '--preset does not read --theta'),
    (['--certify=w.csv', '--lengths=abc'], '--lengths=abc: give whole numbers'),
  ],
)
def test_the_entry_point_tells_mistakes_in_a_line(words, said, tmp_path):
  made = subprocess.run(
    [sys.executable, '-m', 'experiments.spectrum', *words],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(__file__).parents[1],
    check=False,
  )
  assert made.returncode == 2, made.stderr
  lines = [x for x in made.stderr.splitlines() if x.startswith('spectrum:')]
  assert len(lines) == 1, made.stderr
  assert said in lines[0]
  assert not made.stdout


def test_published_bases_stand_beside_the_certified_ones():
  table = windows.shipped()
  text = bases.table([table[128, 4096], table[128, 8192]])
  assert '27000: fails at 4,079' in text
  assert '84000: ok' in text
  assert 'paper' not in bases.table([table[64, 4096]])


def test_a_table_of_windows_is_gone_on_with(tmp_path):
  path, said = tmp_path / 'windows.csv', []
  lab.certify(str(path), [64], [128], said.append)
  first = windows.read(path)[64, 128]
  marked = windows.Windows(64, 128, first.bounds * 2)
  windows.write(path, [marked])
  lab.certify(str(path), [32, 64], [128], said.append)
  table = windows.read(path)
  assert set(table) == {(32, 128), (64, 128)}
  np.testing.assert_allclose(table[64, 128].bounds, marked.bounds)


def test_a_spectrum_says_what_is_wrong_with_it():
  for given, match in (
    ({'frequency_f': []}, 'one number per pair'),
    ({'frequency_f': [[1.0]]}, 'one number per pair'),
    ({'frequency_f': [1.0, math.nan]}, r'frequency_f\[1\]=nan'),
    ({'frequency_f': [1.0], 'original_f': [1.0, 2.0]}, 'give one per pair'),
    ({'frequency_f': [1.0], 'amplitude': 0.0}, 'amplitude=0.0'),
  ):
    with pytest.raises(ValueError, match=match):
      spectra.Spectrum('mine', **given)
  with pytest.raises(ValueError, match='turns nothing by frequencies'):
    spectra.of(positions.build({'name': 'alibi'}), 64)
  with pytest.raises(ValueError, match='no layer of this layout turns'):
    spectra.of_layout([positions.build({'name': 'nope'})], 64)


def test_layers_with_different_spectra_are_told_apart():
  layout = positions.layout(
    positions.irope(
      rotary={'name': 'rope', 'theta': 5e5}, chunk=256, floor_scale=256
    )
  )
  ((layers, spectrum),) = spectra.of_layout(layout, 64)
  assert layers == (0, 1, 2)
  assert spectrum.frequency_f[1] == pytest.approx(5e5 ** (-1 / 32))
