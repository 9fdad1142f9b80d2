"""spectrum.html in a real browser: sliders moved, numbers read."""

import ast
import json
import math
import re

import devtools
import pytest
from spectrum_loops import (
  FACTORS,
  HEAD,
  LAST,
  THETAS,
  TRAIN,
  cover,
  frequencies,
  negative,
  total,
)

from rope_jax import positions
from rope_jax.spectrum import curves
from rope_jax.spectrum.page import write_page

pytestmark = pytest.mark.skipif(
  devtools.BROWSER is None, reason=devtools.MISSING
)


@pytest.fixture(scope='module')
def path(tmp_path_factory):
  folder = tmp_path_factory.mktemp('spectrum')
  return write_page(folder, HEAD, TRAIN, THETAS, FACTORS)


@pytest.fixture(scope='module')
def browser(tmp_path_factory):
  with devtools.browser(tmp_path_factory.mktemp('profile')) as page:
    yield page


DRAWN = "document.documentElement.dataset.ropeCharts === '3'"


@pytest.fixture
def opened(browser, path):
  """Opens the page with some settings in its address."""

  def go(settings='', **size):
    browser.errors.clear()
    browser.open(path.as_uri() + settings, **size)
    browser.until(DRAWN)
    return browser

  yield go
  assert browser.errors == []


def settled(page, **want):
  """Waits until the charts show a setting."""
  for name, value in want.items():
    page.until(
      "JSON.parse(document.documentElement.dataset.setting || '{}')"
      f'.{name} === {json.dumps(value)}'
    )


def fact(page, name, column=0):
  return page.run(
    f'document.querySelectorAll(\'[data-fact="{name}"] td\')[{column}]'
    '.textContent'
  )


def said(page, slider):
  return page.run(f"document.getElementById('{slider}-value').textContent")


def pressed(page, slider, *keys):
  """Presses keys on a slider that has the focus, as a user would."""
  page.run(f"document.getElementById('{slider}').focus()")
  for key in keys:
    page.key(key)


def test_keys_move_the_theta_and_the_numbers_follow(opened):
  page = opened('#scheme=none&theta=1000&length=8192')
  for at, (key, theta) in enumerate(
    [('Home', 1e3), ('ArrowRight', 1e4), ('ArrowRight', 5e5)]
  ):
    pressed(page, 'theta', key)
    settled(page, theta=at)
    assert said(page, 'theta') == f'{theta:,.0f}'
    assert (
      page.run(
        "document.getElementById('theta').getAttribute('aria-valuetext')"
      )
      == f'{theta:,.0f}'
    )
    frequency_f = frequencies(theta)
    first = negative(frequency_f)
    assert fact(page, 'first') == f'{first:,} tokens'
    shown = float(fact(page, 'sum'))
    assert shown == pytest.approx(total(frequency_f, 8192), rel=1e-5)
    slowest = math.tau / frequency_f[-1]
    assert fact(page, 'slowest') == f'{float(f"{slowest:.6g}"):,.0f} tokens'
    new = sum(x < 1 for x in cover(frequency_f, frequency_f, 8192))
    assert fact(page, 'fresh') == f'{new} of 64'
  # It stops at its end, and the address remembers.
  pressed(page, 'theta', 'ArrowRight')
  page.until("location.hash.includes('theta=500000')")


def test_a_click_moves_the_factor_and_the_charts_follow(opened):
  page = opened('#scheme=ntk&theta=10000&factor=1&length=65536')
  left, top, width, height = page.box('#factor')
  page.click(left + width - 4, top + height / 2)
  settled(page, factor=2)
  assert said(page, 'factor') == '16'
  frequency_f = frequencies(1e4 * 16 ** (128 / 126))
  expected = cover(frequencies(1e4), frequency_f, 65536)
  bars = page.run("document.querySelector('#chart-cover .plot').data[0].y")
  assert bars == pytest.approx(expected, abs=1e-4)
  assert 0 < sum(x < 1 for x in bars) < 64
  points = page.run(
    "document.querySelector('#chart-wave .plot').data"
    ".filter((t) => t.mode === 'markers')"
    '.flatMap((t) => t.x.map((k, i) => [k, t.y[i]]))'
  )
  assert sorted(k for k, _ in points) == list(range(64))
  for k, wavelength in points:
    assert wavelength == pytest.approx(math.tau / frequency_f[k], rel=1e-5)
  shown = float(fact(page, 'sum')), float(fact(page, 'sum', 1))
  assert shown[0] == pytest.approx(total(frequency_f, 65536), abs=1e-4)
  assert shown[1] == pytest.approx(total(frequencies(1e4), 65536), abs=1e-4)


def test_the_length_moves_what_is_looked_at(opened):
  page = opened('#scheme=linear&theta=10000&factor=4&length=4096')
  frequency_f = [f / 4 for f in frequencies(1e4)]
  for at, length in ((0, 4096), (3, 32768), (8, LAST)):
    pressed(page, 'length', 'Home', *['ArrowRight'] * at)
    settled(page, length=at)
    assert said(page, 'length') == f'{length:,} tokens'
    new = sum(
      x < 1 - 1e-9 for x in cover(frequencies(1e4), frequency_f, length)
    )
    assert fact(page, 'fresh') == f'{new} of 64'
    expected = total(frequency_f, length)
    assert float(fact(page, 'sum')) == pytest.approx(expected, abs=1e-4)


def test_yarn_is_the_golden_one(opened, golden):
  known = golden['yarn']['llama2_7b_s16']
  amplitude = known['attention_factor']
  page = opened('#scheme=none&theta=10000&factor=16&length=16384')
  assert page.run("document.getElementById('factor').disabled")
  page.run("document.getElementById('scheme').focus()")
  # none, linear, ntk, yarn.
  for _ in range(3):
    page.key('ArrowDown')
  settled(page, scheme='yarn')
  assert not page.run("document.getElementById('factor').disabled")
  frequency_f, square = known['inv_freq_code'], amplitude**2
  expected = total(frequency_f, 16384, square)
  assert float(fact(page, 'sum')) == pytest.approx(expected, abs=1e-4)
  assert fact(page, 'first') == f'{negative(frequency_f):,} tokens'
  assert fact(page, 'amplitude') == (f'{amplitude:.4f} (scores × {square:.4f})')
  assert fact(page, 'critical') == fact(page, 'critical', 1) == '92 of 128'


def test_hovering_tells_a_value_and_its_band(opened):
  page = opened('#scheme=linear&theta=10000&factor=4&length=8192')
  left, top, width, height = page.box('#chart-decay .plot')
  page.mouse('mouseMoved', left + 0.5 * width, top + 0.5 * height)
  page.mouse('mouseMoved', left + 0.52 * width, top + 0.5 * height)
  layer = "[...document.querySelectorAll('#chart-decay .hoverlayer text')]"
  where, *lines = page.until(
    f'(() => {{ const t = {layer}.map((x) => x.textContent);'
    ' return t.length > 2 && t; })()'
  )
  distance = int(where.removeprefix('distance ').replace(',', ''))
  assert 50 < distance < 5000
  for line, name, by in zip(
    lines, ('this setting', 'unscaled'), (4, 1), strict=True
  ):
    frequency_f = [f / by for f in frequencies(1e4)]
    found = re.fullmatch(
      rf'{name} : (\S+)\s+from here to (\S+): (\S+) to (\S+)', line
    )
    assert found, line
    value, last, low, high = (float(x.replace(',', '')) for x in found.groups())
    values = [total(frequency_f, m) for m in range(distance, int(last) + 1)]
    assert value == pytest.approx(values[0], abs=1e-4)
    assert low == pytest.approx(min(values), abs=1e-3)
    assert high == pytest.approx(max(values), abs=1e-3)


def test_the_address_sets_everything(opened):
  page = opened('#scheme=llama3&theta=500000&factor=4&length=131072&dark')
  assert page.run("document.getElementById('scheme').value") == 'llama3'
  assert [said(page, s) for s in ('theta', 'factor', 'length')] == [
    '500,000',
    '4',
    '131,072 tokens',
  ]
  assert page.run('document.documentElement.dataset.theme') == 'dark'
  spec = page.run("document.getElementById('spec').textContent")
  assert positions.build(ast.literal_eval(spec)) == positions.build(
    curves.scaled('llama3', 5e5, 4, TRAIN)
  )
  # Nonsense is left alone.
  page = opened('#scheme=none-such&theta=7&length=oops')
  assert page.run("document.getElementById('scheme').value") == 'yarn'
  assert said(page, 'theta') == '10,000'


def test_light_and_dark_by_the_button(opened):
  page = opened('#light')
  paper = 'getComputedStyle(document.body).backgroundColor'
  light = page.run(paper)
  left, top, width, height = page.box('#theme')
  page.click(left + width / 2, top + height / 2)
  page.until("document.documentElement.dataset.theme === 'dark'")
  assert page.run(paper) != light


@pytest.mark.parametrize('width', [390, 1280])
def test_it_fits_a_width(opened, width):
  page = opened('#scheme=yarn', width=width, height=844, mobile=width < 600)
  assert page.run('document.documentElement.scrollWidth') <= width
  for name in ('scheme', 'theta', 'factor', 'length', 'theme'):
    left, _, wide, high = page.box(f'#{name}')
    assert left >= 0, name
    assert left + wide <= width, name
    assert wide >= 40, name
    assert high >= 24, name
    # Each is named for those who cannot see it.
    assert page.run(
      f"(() => {{ const e = document.getElementById('{name}');"
      ' return e.labels?.length === 1 || e.textContent.length > 0; })()'
    ), name
  for chart in ('decay', 'wave', 'cover'):
    _, _, wide, high = page.box(f'#chart-{chart} .plot')
    assert wide > 300
    assert high >= 300


def test_keys_alone_reach_every_control(opened):
  page = opened('#scheme=yarn')
  reached = []
  for _ in range(5):
    page.key('Tab')
    reached.append(page.run('document.activeElement.id'))
  assert reached == ['theme', 'scheme', 'theta', 'factor', 'length']
