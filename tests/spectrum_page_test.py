"""spectrum.html: the numbers it is made of, and what it refuses."""

import html.parser
import itertools
import json
import math

import numpy as np
import pytest
from spectrum_loops import (
  FACTORS,
  HEAD,
  LENGTHS,
  THETAS,
  TRAIN,
  frequencies,
  total,
)

from rope_jax import positions
from rope_jax.spectrum import curves, spectra
from rope_jax.spectrum.page import write_page


def test_bins_hold_what_a_loop_finds():
  # Bins that cross the blocks' edges at 65,537, and one that ends there.
  start_b = np.array([1, 2, 3, 1000, 60_000, 65_537, 65_538, 66_000, 70_000])
  found = curves.summed(spectra.plain(30.0, 6), start_b)
  values = [total(frequencies(30.0, 6), m) for m in range(70_001)]
  ends = [*start_b[1:].tolist(), 70_001]
  for i, (start, end) in enumerate(zip(start_b.tolist(), ends, strict=True)):
    part = values[start:end]
    assert found['low'][i] == pytest.approx(min(part), abs=1e-9)
    assert found['high'][i] == pytest.approx(max(part), abs=1e-9)
    assert found['mean'][i] == pytest.approx(math.fsum(part) / len(part))
    assert found['value'][i] == pytest.approx(values[start], abs=1e-9)
  assert found['first'] == next(m for m in range(70_001) if values[m] < 0)


# From ../shared/reference/methods.md, 3.1.
@pytest.mark.parametrize(
  ('theta', 'first'), [(500, 171), (1e4, 1707), (5e5, 18438), (1e6, 27115)]
)
def test_published_first_violations(theta, first):
  found = curves.summed(spectra.plain(theta, HEAD), curves.bins())
  assert found['first'] == first


def test_bins_start_at_powers_of_two_and_the_trained_length():
  start_b = curves.bins(3000).tolist()
  assert {3000, *(2**k for k in range(21))} <= set(start_b)
  assert start_b == sorted(set(start_b))
  # About 4.4 % wide, once that is a token or more.
  wide = [b / a for a, b in itertools.pairwise(start_b) if a > 16]
  assert max(wide) < 1.1


class Links(html.parser.HTMLParser):
  """What a page would fetch, and the text of its data."""

  def __init__(self, text):
    super().__init__()
    self.fetched, self.data, self._inside = [], '', False
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self._inside = attrs.get('id') == 'study'
    self.fetched += [attrs[k] for k in ('src', 'href') if k in attrs]

  def handle_endtag(self, tag):
    self._inside = False

  def handle_data(self, data):
    if self._inside:
      self.data += data


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  folder = tmp_path_factory.mktemp('spectrum') / 'new'
  return write_page(folder, HEAD, TRAIN, THETAS[::-1], FACTORS)


def test_the_page_is_one_file(path):
  assert path.name == 'spectrum.html'
  assert [p.name for p in path.parent.iterdir()] == [path.name]
  text = path.read_text(encoding='utf-8')
  found = Links(text)
  assert found.fetched == []
  assert '{{' not in text[: text.index('<script')]
  data = json.loads(found.data)
  assert data['thetas'] == sorted(THETAS)
  assert data['lengths'] == LENGTHS
  # Each scheme at each theta and factor above 1, and each theta unscaled.
  assert len(data['entries']) == 3 + 4 * 3 * 2
  # What the whole page would have, with 13 thetas and 7 factors.
  entry = len(json.dumps(data['entries'][-1], separators=(',', ':')))
  plotly = len(text) - len(found.data)
  assert plotly + (13 + 4 * 13 * 6) * 1.1 * entry < 12e6


def test_a_factor_of_one_scales_nothing(path):
  data = json.loads(Links(path.read_text(encoding='utf-8')).data)
  for scheme in curves.SCHEMES:
    for at, theta in enumerate(THETAS):
      assert data['table'][scheme][at][0] == data['table']['none'][at][0]
      spec = curves.scaled(scheme, theta, 1, TRAIN)
      one = spectra.of(positions.build(spec), HEAD)
      np.testing.assert_allclose(one.frequency_f, frequencies(theta))
      assert one.amplitude == 1


def test_a_method_of_the_users_own_goes_by_the_length():
  spec = {'name': 'dynamic_ntk', 'theta': 2e4, 'train_len': TRAIN}
  data = curves.chart_data(16, TRAIN, [1e4], [1, 2], positions.build(spec))
  assert data['schemes'][0]['name'] == 'given'
  given = [data['entries'][i] for i in data['given']]
  # Not scaled at the trained length, and further apart at each length.
  assert given[0] is data['entries'][data['givenUnscaled']]
  assert len({id(entry) for entry in given}) == len(given) == 9
  for length, entry in zip(LENGTHS, given, strict=True):
    theta = 2e4 * (length / TRAIN) ** (16 / 14)
    at = data['start'].index(length)
    expected = total(frequencies(theta, 16), length)
    assert entry['value'][at] == pytest.approx(expected, abs=2e-4)
  json.dumps(data, allow_nan=False)


def test_pairs_that_stand_still_are_no_number_on_the_page():
  position = positions.build({'name': 'p_rope', 'theta': 1e4, 'fraction': 0.5})
  data = curves.chart_data(8, TRAIN, [1e4], [1], position)
  entry = data['entries'][data['given'][0]]
  assert entry['wave'][2:] == [None, None]
  assert entry['wave'][:2] == [
    pytest.approx(math.tau, rel=1e-5),
    pytest.approx(math.tau * 10, rel=1e-5),
  ]
  assert all(share == 1 for share in entry['cover'][-1][2:])
  assert entry['first'] is None  # Two that stand still outweigh two that turn.


def test_a_head_of_one_pair(tmp_path):
  path = write_page(tmp_path, 2, 100, [1e4], [2])
  data = json.loads(Links(path.read_text(encoding='utf-8')).data)
  assert [s['name'] for s in data['schemes']] == [
    'none',
    'linear',
    'yarn',
    'llama3',
  ]
  assert data['entries'][0]['first'] == 2  # cos 2 < 0.


def test_the_users_theta_is_a_stop_of_the_slider(tmp_path, monkeypatch):
  monkeypatch.setattr(curves, 'THETAS', (1e3, 1e6))
  position = positions.build({'name': 'rope', 'theta': 12345.0})
  path = write_page(tmp_path, 8, 64, factors=[1], position=position)
  data = json.loads(Links(path.read_text(encoding='utf-8')).data)
  assert data['thetas'] == [1e3, 12345.0, 1e6]
  assert data['first']['theta'] == 1


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'head_dim': 7}, 'head_dim=7'),
    ({'head_dim': 0}, 'head_dim=0'),
    ({'train_len': 1}, 'train_len=1'),
    ({'train_len': 2**20}, 'train_len=1048576'),
    ({'train_len': 4096.0}, 'train_len=4096.0'),
    ({'thetas': [1e4, 1.0]}, 'thetas: 1;'),
    ({'thetas': [math.nan]}, 'thetas: nan'),
    ({'thetas': []}, 'thetas: empty'),
    ({'factors': [0.5]}, 'factors: 0.5'),
    ({'factors': [math.inf]}, 'factors: inf'),
    ({'position': positions.build({'name': 'alibi'})}, 'turns nothing'),
  ],
)
def test_bad_input_writes_nothing(tmp_path, change, said):
  given = {'head_dim': 8, 'train_len': 64, 'thetas': [1e4], 'factors': [1]}
  with pytest.raises(ValueError, match=said):
    write_page(tmp_path / 'out', **(given | change))
  assert not (tmp_path / 'out').exists()
