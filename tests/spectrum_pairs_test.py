"""What pairs see, against a painted circle, published counts and loops."""

import csv
import math

import numpy as np
import pytest

from rope_jax import positions
from rope_jax.spectrum import pairs as pairs_lib
from rope_jax.spectrum import spectra
from rope_jax.spectrum.spectra import Spectrum

ROPE = {'name': 'rope', 'theta': 1e4}
YARN = {'name': 'yarn', 'theta': 1e4, 'factor': 16.0, 'train_len': 4096}


def seen_by(spec, head_dim, train_len, target_len):
  position = positions.build(spec)
  spectrum = spectra.of(position, head_dim, target_len)
  return pairs_lib.pairs(spectrum, train_len, target_len, position)


def painted(original, frequency, train_len, target_len, bins=360_000):
  """Coverage and the first new position, by painting bins of the circle.

  A position paints the arc from its phase to the next position's. An arc that
  touches fewer than two unpainted bins past its ends is taken as painted.
  """
  trained = np.zeros(bins, bool)
  turn = 2 * math.pi

  def arc(position, step):
    low, high = (
      (position + end) * step / turn * bins for end in (0, 1)
    )  # In bins.
    return np.arange(math.floor(low + 0.5), math.floor(high + 0.5)) % bins

  for position in range(train_len):
    trained[arc(position, original)] = True
  target, first = np.zeros(bins, bool), None
  for position in range(target_len):
    at = arc(position, frequency)
    if first is None and (~trained[at]).sum() > 2:
      first = position
    target[at] = True
  both = (trained & target).sum()
  return both / max(target.sum(), 1), first


@pytest.mark.parametrize(
  'spec',
  [
    {'name': 'rope', 'theta': 100.0},
    {'name': 'rope', 'theta': 3000.0},
    {'name': 'linear', 'theta': 3000.0, 'factor': 2.5},
    {'name': 'linear', 'theta': 3000.0, 'factor': 5.0},
    {'name': 'ntk', 'theta': 3000.0, 'factor': 5.0},
    {'name': 'yarn', 'theta': 3000.0, 'factor': 3.0, 'train_len': 41},
    {'name': 'p_rope', 'theta': 3000.0, 'fraction': 0.75},
  ],
  ids=str,
)
def test_coverage_is_that_of_a_painted_circle(spec):
  found = seen_by(spec, 12, 41, 205)
  assert found.still.sum() == (2 if spec['name'] == 'p_rope' else 0)
  for at in np.flatnonzero(~found.still):
    coverage, first = painted(found.original[at], found.frequency[at], 41, 205)
    assert found.coverage[at] == pytest.approx(coverage, abs=1e-3), at
    assert (int(found.first_new[at]) if found.new[at] else None) == first, at
  if spec['name'] == 'rope':  # The comparison is not of nothing.
    assert 0 < found.new.sum() < 6


@pytest.mark.parametrize(
  ('name', 'theta', 'train_len'),
  [
    ('llama2(128,1e4,4096)', 1e4, 4096),
    ('llama1(128,1e4,2048)', 1e4, 2048),
    ('llama3(128,5e5,8192)', 5e5, 8192),
  ],
)
def test_pairs_that_training_turns_are_the_critical_dimension(
  golden, name, theta, train_len
):
  found = pairs_lib.pairs(spectra.plain(theta, 128), train_len, 4 * train_len)
  critical = golden['critical_dimension'][name]
  assert 2 * found.turned.sum() == critical
  # Those after it, and no others, see new phases: at the first new token.
  np.testing.assert_array_equal(found.new, found.pair >= critical // 2)
  assert set(found.first_new[found.new]) == {train_len}
  assert found.first == train_len


def test_figures_of_llama_2():
  """By hand: pair 46 has wavelength 2 pi 10000^(46 / 64)."""
  found = pairs_lib.pairs(spectra.plain(1e4, 128), 4096, 65536)
  wave = 2 * math.pi * 10000 ** (46 / 64)
  assert found.wavelength[46] == pytest.approx(wave, rel=1e-12)
  assert found.turns_trained[46] == pytest.approx(4096 / wave, rel=1e-12)
  assert found.turns_target[46] == pytest.approx(65536 / wave, rel=1e-12)
  assert found.coverage[46] == pytest.approx(4096 / wave, rel=1e-12)
  assert found.coverage[45] == 1.0
  assert found.turns_train[0] == pytest.approx(651.8986469, rel=1e-9)


def test_llama_3s_bands(golden):
  """Pairs 0-28 are kept, 35 on are slowed by 8: figures of the model card."""
  spec = {
    'name': 'llama3',
    'theta': 5e5,
    'factor': 8.0,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'train_len': 8192,
  }
  found = seen_by(spec, 128, 8192, 65536)
  assert (found.ratio[:29] == 1).all()
  assert ((found.ratio[29:35] < 1) & (found.ratio[29:35] > 1 / 8)).all()
  np.testing.assert_allclose(found.ratio[35:], 1 / 8, rtol=1e-15)
  assert not found.new.any()


@pytest.mark.parametrize('factor', [2.0, 3.0, 7.0, 10.0, 49.0, 64.0])
def test_linear_interpolation_shows_nothing_new_up_to_its_factor(factor):
  """And one token more is new, to every pair that training did not turn."""
  spec = {'name': 'linear', 'theta': 1e4, 'factor': factor}
  length = int(4096 * factor)
  within = seen_by(spec, 128, 4096, length)
  assert not within.new.any()
  assert (within.coverage == 1).all()
  series = 1e4 ** (-np.arange(64) / 64)
  turns = 4096 * series / (2 * math.pi)
  np.testing.assert_allclose(within.turns_trained, turns)
  np.testing.assert_allclose(within.turns_train, turns / factor)
  np.testing.assert_allclose(within.turns_target, turns)
  beyond = seen_by(spec, 128, 4096, length + 1)
  assert beyond.new.sum() == 18
  assert set(beyond.first_new[46:]) == {length}
  want = 4096 / (4096 + 1 / factor)
  np.testing.assert_allclose(beyond.coverage[46:], want, rtol=1e-12)


def test_ntk_aware_scaling_falls_short_of_its_factor():
  """Only the slowest pair is slowed by all of it, so that pairs 46 to 62 leave
  the trained arc before factor x train_len."""
  spec = {'name': 'ntk', 'theta': 1e4, 'factor': 16.0}
  found = seen_by(spec, 128, 4096, 65536)
  np.testing.assert_array_equal(np.flatnonzero(found.new), np.arange(46, 63))
  theta = 1e4 * 16 ** (128 / 126)
  for at in (46, 62):
    slowed = (theta / 1e4) ** (at / 64)
    assert found.first_new[at] == math.floor(4096 * slowed)


@pytest.mark.parametrize('theta', [500.0, 1e4, 12345.6, 5e5, 1e7])
@pytest.mark.parametrize('train_len', [100, 1000, 4095, 8192])
def test_rounding_moves_no_boundary(theta, train_len):
  found = pairs_lib.pairs(spectra.plain(theta, 96), train_len, train_len + 1)
  slow = train_len * theta ** (-np.arange(48) / 48) < 2 * math.pi
  np.testing.assert_array_equal(found.new, slow)
  assert set(found.first_new[slow]) <= {train_len}
  same = pairs_lib.pairs(spectra.plain(theta, 96), train_len, train_len)
  assert not same.new.any()


def test_trained_phases_lie_close_together():
  """The docstring's reason to look at arcs and not at points."""
  phases = np.sort(np.mod(np.arange(4096.0), 2 * math.pi))
  gaps = np.diff(np.append(phases, phases[0] + 2 * math.pi))
  assert gaps.max() < 0.01


def test_pairs_that_stand_still_see_nothing_new():
  found = seen_by({**ROPE, 'name': 'p_rope', 'fraction': 0.75}, 128, 64, 4096)
  assert found.still.sum() == 16
  still = found.still
  assert (found.coverage[still] == 1).all()
  assert (found.ratio[still] == 1).all()
  assert np.isinf(found.wavelength[still]).all()
  assert not found.new[still].any()
  assert found.new[~still].any()


def test_signs_of_frequencies():
  """A pair that turns backwards sees what one that turns forwards does."""
  forth = pairs_lib.pairs(Spectrum('forth', np.array([1.0, 0.01])), 50, 200)
  back = pairs_lib.pairs(Spectrum('back', np.array([-1.0, -0.01])), 50, 200)
  for column in pairs_lib.COLUMNS[3:]:
    np.testing.assert_array_equal(getattr(forth, column), getattr(back, column))
  against = Spectrum('x', np.array([1.0, -0.01]), 1.0, np.array([1.0, 0.01]))
  with pytest.raises(ValueError, match=r'frequency_f\[1\]=-0.01 turns against'):
    pairs_lib.pairs(against, 50, 200)


def test_a_pair_that_only_the_scaling_turns():
  spectrum = Spectrum('x', np.array([0.1]), 1.0, np.array([0.0]))
  found = pairs_lib.pairs(spectrum, 50, 200)
  assert found.coverage.tolist() == [0.0]
  assert found.first_new.tolist() == [1]  # Phase 0 was shown.
  assert np.isinf(found.ratio).all()


def test_amplitude_and_temperature_at_the_target():
  spec = {
    'name': 'compose',
    'parts': [YARN, {'name': 'log_n', 'train_len': 4096}],
  }
  found = seen_by(spec, 128, 4096, 65536)
  assert found.amplitude == pytest.approx(0.1 * math.log(16) + 1, rel=1e-12)
  assert found.square == pytest.approx(found.amplitude**2, rel=1e-12)
  want = math.log(65536) / math.log(4096)
  assert found.temperature == pytest.approx(want, rel=1e-6)
  text = pairs_lib.summary(found)
  assert 'Amplitude 1.2773: scores of turning pairs x 1.6314.' in text
  assert "The last token's scores x 1.3333." in text
  spectrum = spectra.of(positions.build(spec), 128, 65536)
  assert pairs_lib.pairs(spectrum, 4096, 65536).temperature == 1.0


def test_two_bases_in_one_process_in_both_orders():
  def once(theta):
    return pairs_lib.pairs(spectra.plain(theta, 64), 512, 8192)

  order = [once(theta) for theta in (1e4, 5e5, 5e5, 1e4)]
  np.testing.assert_array_equal(order[0].coverage, order[3].coverage)
  np.testing.assert_array_equal(order[1].coverage, order[2].coverage)
  assert order[1].new.sum() > order[0].new.sum()


def test_summary():
  plain = spectra.plain(1e4, 128)
  assert pairs_lib.summary(pairs_lib.pairs(plain, 4096, 65536)) == (
    '18 of 64 pairs never turn once in 4,096 tokens;\n'
    '18 see new phases at 65,536, from position 4,096 on (least coverage 0.08).'
  )
  text = pairs_lib.summary(pairs_lib.pairs(plain, 4096, 4096))
  assert text.endswith('none sees new phases at 4,096.')
  partly = seen_by(
    {**ROPE, 'name': 'p_rope', 'fraction': 0.75}, 128, 4096, 8192
  )
  assert ', 16 do not turn at all;' in pairs_lib.summary(partly)


def rows_of(text):
  """(first, last, verdict) of the rows of a table, which are unit lines on."""
  found = []
  for line in text.splitlines()[2:]:
    ends = [int(x) for x in line.split()[0].split('-')]
    found.append((ends[0], ends[-1], line))
  return found


def test_tables_have_every_pair_once():
  spec = {**ROPE, 'name': 'p_rope', 'fraction': 0.75}
  found = seen_by(spec, 128, 4096, 65536)
  runs = rows_of(pairs_lib.table(found, every=0))
  assert [(a, b) for a, b, _ in runs] == [(0, 45), (46, 47), (48, 63)]
  for row, verdict in zip(
    runs, ('every phase trained', 'new phases', 'does not turn'), strict=True
  ):
    assert row[2].endswith(verdict)
  full = rows_of(pairs_lib.table(found))
  assert [a for a, _, _ in full] == list(range(64))
  assert [a for a, _, _ in rows_of(pairs_lib.table(found, 8))] == list(
    range(0, 64, 8)
  )
  cells = full[46][2].split()
  assert cells[1:7] == ['4712', '1', '0.8693', '13.91', '0.87', '4,096']
  inside = seen_by({**ROPE, 'name': 'linear', 'factor': 16.0}, 128, 4096, 65536)
  assert pairs_lib.table(inside, 0).endswith('in the trained arc')


def test_csv_reads_back_exactly(tmp_path):
  found = seen_by(YARN, 128, 4096, 70000)
  path = found.csv(tmp_path / 'deep' / 'pairs.csv')
  with open(path, newline='', encoding='utf-8') as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 64
  for column in pairs_lib.COLUMNS[:-1]:
    read = [float(row[column]) for row in rows]
    np.testing.assert_array_equal(read, getattr(found, column), column)
  new = [int(row['first_new']) if row['first_new'] else -1 for row in rows]
  np.testing.assert_array_equal(new, found.first_new)
  assert max(new) > 0
  assert min(new) == -1
  last = rows[-1]
  assert float(last['amplitude']) == found.amplitude
  assert (last['train_len'], last['target_len']) == ('4096', '70000')
  assert last['label'] == found.label


@pytest.mark.parametrize(
  ('lengths', 'said'),
  [
    ((0, 10), 'train_len=0 must be a whole number of tokens >= 1'),
    ((-5, 10), 'train_len=-5'),
    ((10.5, 20), 'train_len=10.5'),
    ((float('nan'), 20), 'train_len=nan'),
    ((True, 20), 'train_len=True'),
    ((10, 9), 'target_len=9 must be at least train_len=10'),
    ((10, 20.0), 'target_len=20.0'),
    ((10, '20'), "target_len='20'"),
  ],
)
def test_bad_lengths_are_named(lengths, said):
  with pytest.raises(ValueError, match=said):
    pairs_lib.pairs(spectra.plain(1e4, 8), *lengths)


def test_a_bad_step_of_a_table_is_named():
  found = pairs_lib.pairs(spectra.plain(1e4, 8), 10, 20)
  with pytest.raises(ValueError, match='every=-1'):
    pairs_lib.table(found, -1)
