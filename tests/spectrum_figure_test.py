"""Pictures of spectra: do they draw what a plain loop computes?"""

import math
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pytest

from rope_jax import positions
from rope_jax.spectrum import decay, spectra
from rope_jax.spectrum.figure import decay_figure, decay_panels, save
from rope_jax.spectrum.figure_heat import heat_map
from rope_jax.spectrum.pairs import pairs

TRAIN, TARGET = 512, 4096


def looped(theta, head_dim, distance):
  """The sum of cosines, by the definition."""
  return sum(
    math.cos(distance * theta ** (-2 * k / head_dim))
    for k in range(head_dim // 2)
  )


def cosines(theta, length, label=None):
  return decay.cosines(spectra.plain(theta, 16, label), length)


def texts(figure):
  """(text, its box in pixels) of everything written."""
  renderer = figure.canvas.get_renderer()
  figure.draw(renderer)
  found = [*figure.texts]
  for axes in figure.axes:
    found += [*axes.texts, axes.title, axes._left_title]
    found += [axes.xaxis.label, axes.yaxis.label]
    for axis, view in (
      (axes.xaxis, axes.get_xlim()),
      (axes.yaxis, axes.get_ylim()),
    ):
      low, high = sorted(view)
      found += [
        label
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if low <= tick.get_loc() <= high
      ]
  return [
    (text.get_text(), text.get_window_extent(renderer))
    for text in found
    if text.get_text() and text.get_visible()
  ]


def check_readable(figure):
  """Nothing written is cut off, and no two texts lie over each other."""
  written = texts(figure)
  whole = figure.bbox
  for text, box in written:
    assert whole.x0 <= box.x0, text
    assert box.x1 <= whole.x1, text
    assert whole.y0 <= box.y0, text
    assert box.y1 <= whole.y1, text
  # Half a pixel of a box is its margin, not ink.
  for i, (one, a) in enumerate(written):
    for other, b in written[i + 1 :]:
      apart = a.x1 <= b.x0 or b.x1 <= a.x0
      apart |= a.y1 <= b.y0 + 0.5 or b.y1 <= a.y0 + 0.5
      assert apart, (one, other)


def words(figure):
  return [text for text, _ in texts(figure)]


def test_a_short_curve_is_drawn_point_by_point():
  axes = decay_figure([cosines(1e4, 300)], 'Short').axes[0]
  drawn = next(line for line in axes.lines if line.get_label() != '_child0')
  x, y = drawn.get_data()
  assert axes.get_xscale() == 'log'
  assert x.tolist() == list(range(1, 300))
  expected = [looped(1e4, 16, m) for m in range(1, 300)]
  np.testing.assert_allclose(y, expected, atol=1e-10)


@pytest.mark.parametrize('log', [True, False])
def test_the_band_of_a_long_curve_loses_nothing(log):
  figure = decay_figure([cosines(5e2, 20_000)], 'Long', log=log)
  axes = figure.axes[0]
  assert axes.get_xscale() == ('log' if log else 'linear')
  (band,) = axes.collections
  corners = band.get_paths()[0].vertices
  values = [looped(5e2, 16, m) for m in range(20_000)]
  first = 1 if log else 0
  assert corners[:, 1].min() == pytest.approx(min(values), abs=1e-10)
  assert corners[:, 1].max() == pytest.approx(max(values[first:]), abs=1e-10)
  # Also far out, where a value in 28 is drawn: no bin misses its extremes.
  far = corners[(corners[:, 0] > 15_100) & (corners[:, 0] < 19_900), 1]
  assert far.max() == pytest.approx(max(values[15_050:19_950]), abs=1e-10)
  assert far.min() == pytest.approx(min(values[15_050:19_950]), abs=1e-10)
  assert corners[:, 0].max() > 19_900


def test_axes_say_their_units_and_the_trained_length():
  curve = decay.ones(spectra.plain(1e4, 16), 2000)
  figure = decay_figure([curve], 'Title', train_len=1024)
  said = words(figure)
  assert 'distance (tokens)' in said
  assert 'inner product, q = k = 1' in said
  assert 'trained at 1,024' in said
  axes = figure.axes[0]
  marks = [line for line in axes.lines if set(line.get_xdata()) == {1024}]
  assert len(marks) == 1
  zeros = [line for line in axes.lines if set(line.get_ydata()) == {0}]
  assert len(zeros) == 1
  beyond = decay_figure([curve], 'Title', train_len=5000)
  assert not any('trained' in text for text in words(beyond))


def test_negative_distances_have_a_linear_axis():
  curve = decay.ones(spectra.plain(1e4, 16), 400, 200)
  axes = decay_figure([curve], 'Middle').axes[0]
  assert axes.get_xscale() == 'linear'
  assert axes.get_xlim() == (-200, 199)


@pytest.mark.parametrize('count', [1, 5, 16])
def test_curves_that_end_together_are_named_apart(count):
  curves = [
    cosines(1e4 * 2**i, 5000, f'theta {i}, $x$ <') for i in range(count)
  ]
  figure = decay_figure(curves, 'A title $a$ & more', train_len=TRAIN)
  check_readable(figure)
  assert 'theta 0, $x$ <' in words(figure)


def test_panels_can_be_read():
  one = spectra.plain(1e4, 16)
  figure = decay_panels(
    [
      ('Window of 4096', [decay.ones(one, 4096)]),
      ('Window of 65536', [decay.ones(one, 65536)]),
      ('In the middle', [decay.ones(one, 4096, 2048)]),
      ('Random', [decay.random(one, 4096, draws=16, draw='uniform')]),
      ('Two', [cosines(1e4, 500, 'one'), cosines(1e6, 500, 'other')]),
    ],
    train_len=TRAIN,
  )
  check_readable(figure)
  assert len(figure.axes) == 5
  legend = figure.axes[-1].get_legend()
  assert [t.get_text() for t in legend.get_texts()] == ['one', 'other']
  assert all(axes.get_legend() is None for axes in figure.axes[:4])


def test_bad_curves():
  with pytest.raises(ValueError, match='at least one Curve'):
    decay_figure([], 'None')
  with pytest.raises(ValueError, match='panels: empty'):
    decay_panels([])
  with pytest.raises(ValueError, match='log=False'):
    decay_figure([cosines(1e4, 1)], 'Zero alone')


def seen(spec, label):
  position = positions.build(spec)
  return pairs(spectra.of(position, 16, None, label), TRAIN, TARGET)


@pytest.fixture
def rows():
  return [
    seen({'name': 'rope', 'theta': 1e4}, 'none'),
    seen({'name': 'linear', 'theta': 1e4, 'factor': 8.0}, 'linear, factor 8'),
    seen({'name': 'p_rope', 'theta': 1e4, 'fraction': 0.75}, 'a $p$ <rope>'),
  ]


def test_a_heat_map_has_the_numbers(rows):
  figure = heat_map(rows, shown=('ratio', 'coverage', 'turns_target'))
  check_readable(figure)
  ratio, coverage, turns = (
    axes.collections[0].get_array() for axes in figure.axes[::2]
  )
  frequency = [1e4 ** (-2 * k / 16) for k in range(8)]
  np.testing.assert_allclose(ratio[0], 1.0)
  np.testing.assert_allclose(ratio[1], 1 / 8)
  for row, by in ((0, 1), (1, 8)):
    for k, f in enumerate(frequency):
      trained = min(1, TRAIN * f / (2 * math.pi))
      needed = min(1, TARGET * f / by / (2 * math.pi))
      assert coverage[row, k] == pytest.approx(min(1, trained / needed))
      assert turns[row, k] == pytest.approx(TARGET * f / by / (2 * math.pi))
  # A quarter of the pairs of p-RoPE do not turn.
  still = [False] * 6 + [True] * 2
  for shown in (ratio, coverage, turns):
    assert np.ma.getmaskarray(shown)[2].tolist() == still
    assert not np.ma.getmaskarray(shown)[:2].any()
  assert 'share of phases trained' in words(figure)
  assert 'Trained at 512 tokens, target 4,096' in words(figure)


def test_a_heat_map_of_nothing_scaled(rows):
  figure = heat_map(rows[:1])
  check_readable(figure)
  figure = heat_map([seen({'name': 'rope', 'theta': 2.0}, 'all turn')])
  check_readable(figure)


def test_bad_heat_maps(rows):
  with pytest.raises(ValueError, match='rows: empty'):
    heat_map([])
  with pytest.raises(ValueError, match='shown: empty'):
    heat_map(rows, shown=())
  with pytest.raises(ValueError, match=r"'colour' must be one of \('ratio'"):
    heat_map(rows, shown=('colour',))
  other = pairs(spectra.plain(1e4, 16, 'other'), TRAIN, 2 * TARGET)
  with pytest.raises(ValueError, match="'other' has"):
    heat_map([*rows, other])


def test_files_are_the_same_whatever_the_settings(tmp_path, rows):
  def files(folder):
    figures = {
      'decay': decay_figure([cosines(1e4, 6000)], 'Decay', train_len=TRAIN),
      'heat': heat_map(rows),
    }
    found = [save(figure, folder, name) for name, figure in figures.items()]
    return [path for paths in found for path in paths.values()]

  first = files(tmp_path / 'a' / 'b')
  with matplotlib.rc_context({'font.size': 20, 'svg.hashsalt': 'other'}):
    second = files(tmp_path / 'c')
  assert [path.name for path in first] == [
    'decay.svg',
    'decay.png',
    'heat.svg',
    'heat.png',
  ]
  for one, other in zip(first, second, strict=True):
    assert one.read_bytes() == other.read_bytes()
  for path in first[::2]:
    root = xml.etree.ElementTree.parse(path).getroot()
    assert root.tag.endswith('svg')
    assert 'dc:date' not in path.read_text()
  for path in first[1::2]:
    assert path.read_bytes().startswith(b'\x89PNG')
  # Nothing temporary stays.
  assert len(list((tmp_path / 'a' / 'b').iterdir())) == 4


@pytest.mark.parametrize('name', ['', 'a/b', '..'])
def test_bad_names(tmp_path, rows, name):
  with pytest.raises(ValueError, match="must be a file's name"):
    save(heat_map(rows), tmp_path, name)
