"""Certified windows of bases, against loops, intervals and other lengths."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from rope_jax.spectrum import certify, spectra, violation, windows

PI = Decimal('3.14159265358979323846264338327950288419716939937510582097494')


def holds(theta: float, head_dim: int, length: int) -> bool:
  """The definition, plainly."""
  frequencies = [theta ** (-2 * k / head_dim) for k in range(head_dim // 2)]
  return all(
    math.fsum(math.cos(m * f) for f in frequencies) >= 0 for m in range(length)
  )


@pytest.mark.parametrize(
  ('head_dim', 'length'), [(128, 600), (64, 500), (32, 700), (8, 333), (6, 50)]
)
def test_inside_holds_and_outside_does_not(head_dim, length):
  found = windows.certify(head_dim, length)
  rng = np.random.default_rng(0)
  ends = [[1.0001, found.bounds[0, 0]]]
  ends += np.stack([found.bounds[:-1, 3], found.bounds[1:, 0]], 1).tolist()
  inside = [[a, min(b, 1e3 * a)] for a, b in found.inner.tolist()]
  for intervals, wanted in ((inside, True), (ends, False)):
    for low, high in intervals[:12]:
      drawn = np.exp(rng.uniform(np.log(low), np.log(high), 3))
      for theta in (low * (1 + 1e-9), *drawn.tolist(), high * (1 - 1e-9)):
        assert holds(theta, head_dim, length) == wanted, theta
        assert found.holds(theta) == wanted, theta


def test_edges_are_brackets_of_the_stated_width():
  found = windows.certify(128, 600)
  low_outer, low, high, high_outer = found.bounds.T
  assert (low_outer <= low).all()
  assert (high <= high_outer).all()
  assert (np.log(low / low_outer) < 2.01e-10).all()
  assert (np.log(high_outer[:-1] / high[:-1]) < 2.01e-10).all()
  assert high[-1] == math.inf
  middle = math.sqrt(low[1] * low_outer[1])
  assert found.holds(middle) is None


def test_known_windows_of_head_width_128():
  """The grid figures that these proofs replace (`methods.md`, 3.1)."""
  short, long = windows.certify(128, 512), windows.certify(128, 1024)
  assert 2065 < short.first < 2070
  assert short.robust == pytest.approx(2934, rel=1e-3)
  # Grids saw [4303, 4328], [5608, 5640] and [6031, ...).
  assert long.inner.shape == (3, 2)
  (a, b), (c, d), (e, f) = long.inner
  assert 4290 < a < 4303
  assert 4328 < b < 4335
  assert 5600 < c < 5608
  assert 5640 < d < 5650
  assert 6015 < e < 6031
  assert f == math.inf


def test_base_10000_carries_1707_tokens_and_no_more():
  assert windows.certify(128, 1707).holds(1e4) is True
  assert windows.certify(128, 1708).holds(1e4) is False


def test_what_carries_a_length_carries_shorter_ones():
  long, short = windows.certify(64, 400), windows.certify(64, 300)
  for low, high in long.inner:
    inside = (short.inner[:, 0] <= low) & (high <= short.inner[:, 1])
    assert inside.any()
  assert short.first < long.first
  assert short.robust < long.robust


@pytest.mark.parametrize('shorter', [300, 149])
def test_windows_of_a_shorter_length_spare_work_and_change_nothing(shorter):
  known = windows.certify(64, shorter)
  found = windows.certify(64, 300 if shorter < 300 else 500, known=known)
  whole = windows.certify(64, found.length)
  assert found.bounds.shape == whole.bounds.shape
  np.testing.assert_allclose(found.bounds, whole.bounds, rtol=2.1e-10)
  with pytest.raises(ValueError, match='give shorter ones of the same width'):
    windows.certify(64, shorter, known=known)
  with pytest.raises(ValueError, match='give shorter ones of the same width'):
    windows.certify(32, 2 * shorter, known=known)


def test_the_tail_and_the_bounds_on_derivatives_hold():
  prover = certify.Prover(32, 300)
  end = prover.tail()
  assert holds(math.exp(end), 32, 300)
  # A window of the whole range gives the same as its pieces.
  whole, _ = prover.settle(np.array([0.0]), np.array([end]))
  pieces = windows.certify(32, 300)
  assert math.exp(whole.min()) == pytest.approx(pieces.first, rel=2e-10)


def test_sums_are_as_exact_as_claimed():
  prover = certify.Prover(128, 2**17)
  x = np.log([1e4, 5e5])
  made = prover._sums(x, 2**16, 2**17).reshape(2, -1)
  theta = np.exp(np.multiply.outer(x, -np.arange(64) / 64))
  gap = 0.0
  for m in np.random.default_rng(1).integers(2**16, 2**17, 400):
    exact = np.cos(m * theta).sum(axis=1)
    gap = max(gap, np.abs(made[:, m - 2**16] - exact).max())
  assert gap < prover._error_of_sums() < 2e-3


def test_a_table_is_read_as_written(tmp_path):
  found = windows.certify(64, 300)
  path = tmp_path / 'windows.csv'
  windows.write(path, [found])
  back = windows.read(path)[64, 300]
  np.testing.assert_array_equal(back.bounds, found.bounds)
  path.write_text('a,b\n')
  with pytest.raises(ValueError, match='first line must be head_dim'):
    windows.read(path)
  for line in ('1,2', '64,300,x,1,2,3', ''):
    path.write_text(','.join(windows.COLUMNS) + '\n' + line + '\n')
    with pytest.raises(
      ValueError, match=r'windows.csv: line 2 is .* six numbers'
    ):
      windows.read(path)


def test_the_table_that_ships_is_what_certify_finds():
  table = windows.shipped()
  for head_dim, length in ((128, 1024), (32, 1024), (64, 2048)):
    found = windows.certify(head_dim, length)
    kept = table[head_dim, length]
    np.testing.assert_allclose(kept.bounds, found.bounds, rtol=1e-9)
  lengths = {length for _, length in table}
  assert {2**k for k in range(10, 18)} <= lengths


def test_the_table_that_ships_has_the_known_figures():
  """Of `methods.md`, 3.1: first feasible, and the last that fails, on grids."""
  table = windows.shipped()
  for key, first, failing in (
    ((128, 2048), 11.6e3, 22579), ((128, 4096), 26965, 58480),
    ((64, 1024), 7793, 22961), ((64, 2048), 30396, 74159),
    ((64, 4096), 104896, 976365),
  ):  # fmt: skip
    # A grid meets a window late, and leaves the last gap early.
    assert 0.94 * first < table[key].first <= first
    assert failing <= table[key].robust < 1.02 * failing
  for (head_dim, length), found in table.items():
    assert found.bounds.shape[1] == 4
    for theta in (found.first * (1 + 1e-9), found.robust * (1 + 1e-9)):
      spectrum = spectra.plain(theta, head_dim)
      assert violation.first_violation(spectrum, length) is None
    below = found.bounds[-1, 0] * (1 - 1e-9)
    at = violation.first_violation(spectra.plain(below, head_dim), length)
    assert at is not None


@pytest.mark.parametrize(('head_dim', 'x'), [(512, 4.0), (64, 12.0), (8, 30.0)])
def test_every_bound_holds_for_random_intervals(head_dim, x):
  """Of sums and their rounding, of how far f_m moves; against 40 digits."""
  prover = certify.Prover(head_dim, 2**14)
  rng = np.random.default_rng(0)
  middle = np.array([x])
  low, high = np.array([x - 1e-5]), np.array([x + 1e-5])
  sums = prover._sums(middle, 2**13, 2**14).ravel()
  slope = 0.5 * (high - low) * (prover._theta(low) @ prover.u_f)
  drift = prover._drifts(low)
  for m in rng.integers(2**13, 2**14, 6).tolist():
    exact = precise_sum(x, head_dim, m)
    error = abs(float(Decimal(float(sums[m - 2**13])) - exact))
    assert error <= prover._error_of_sums() + m * drift[0]
    for there in (x - 1e-5, x + 0.7e-5):
      moved = abs(float(precise_sum(there, head_dim, m) - exact))
      assert moved <= m * slope[0]
  # A frequency in float64, and all of them: the drift covers their error.
  theta_f = prover._theta(middle)[0]
  for m in (2**13, 2**14 - 1):
    found = sum(Decimal(math.cos(m * float(t))) for t in theta_f)
    assert abs(float(found - precise_sum(x, head_dim, m))) < (
      m * drift[0] + (16 + 2 * prover.pairs) * 2.0**-53 * prover.pairs
    )
  assert drift[0] > 0


def precise_sum(x: float, head_dim: int, m: int) -> Decimal:
  """f_m(x) in 50-digit decimals: exponential and cosine by their series."""
  with localcontext() as context:
    context.prec = 50
    turn, total = 2 * PI, Decimal(0)
    for k in range(head_dim // 2):
      theta = (-Decimal(2 * k) / Decimal(head_dim) * Decimal(x)).exp()
      phase = (m * theta) % turn
      term = value = Decimal(1)
      for n in range(1, 60):
        term *= -phase * phase / ((2 * n - 1) * (2 * n))
        value += term
      total += value
  return total


def test_next_goes_to_the_window_above():
  found = windows.certify(128, 1024)
  assert found.next(1e3) == found.first
  assert found.next(4300.0) == 4300.0
  assert found.next(5000.0) == found.inner[1, 0]


@pytest.mark.parametrize(
  ('given', 'match'),
  [
    ({'head_dim': 7}, 'head_dim=7'),
    ({'head_dim': 4}, 'head_dim=4'),
    ({'head_dim': 0}, 'head_dim=0'),
    ({'length': 1}, 'length=1'),
    ({'length': 10.5}, 'length=10.5'),
    ({'tolerance': 0.5}, 'tolerance=0.5'),
    ({'tolerance': math.nan}, 'tolerance=nan'),
  ],
)
def test_what_cannot_be_certified_is_refused(given, match):
  with pytest.raises(ValueError, match=match):
    windows.certify(**{'head_dim': 64, 'length': 100, **given})


@pytest.mark.parametrize('theta', [1.0, -3.0, math.nan, math.inf, '1e4'])
def test_what_is_no_base_is_refused(theta):
  with pytest.raises(ValueError, match='theta='):
    windows.certify(8, 20).holds(theta)
