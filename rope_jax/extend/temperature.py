"""The temperature that attention wants at each length, as a law of ln s."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rope_jax import model as model_lib
from rope_jax.extend.spectra import Spectra
from rope_jax.positions import Layout

FURTHER = 8  # Amplitudes tried beyond the grid where its edge is best.


@dataclasses.dataclass(frozen=True)
class Law:
  """1 / sqrt(t) = a + b ln s, for lengths of s x train_len tokens.

  Attributes:
    a, b: of the law; YaRN's are 1 and 0.1.
    points: (s, best amplitude, its nll) that it was fitted to.
  """

  a: float
  b: float
  points: tuple[tuple[float, float, float], ...]

  def amplitude(self, s: float) -> float:
    """1 / sqrt(t): the factor on cos and sin of both q and k."""
    return self.a + self.b * math.log(s)

  def temperature(self, s: float) -> float:
    """t, which scores are divided by.

    >>> round(Law(1.0, 0.1, ()).temperature(16.0), 4)
    0.613
    """
    return self.amplitude(s) ** -2


def fit_temperature(
  config: model_lib.ModelConfig,
  layout: Layout,
  weights: Any,
  windows_by_length: Mapping[int, np.ndarray],
  *,
  train_len: int,
  base: Mapping[str, Any],
  amplitudes: Sequence[float] = (0.9, 1.0, 1.1, 1.2, 1.3, 1.4),
  at_once: int = 4,
  progress: Callable[[int, int], None] | None = None,
) -> Law:
  """Fits the law of YaRN's temperature to one model.

  1 / sqrt(t) = a + b ln s,   s = length / train_len

  At each length the model reads windows under the spectrum of `base` with each
  amplitude; the least of the parabola through the best and its two neighbours
  is that length's 1 / sqrt(t). The grid is continued by its own step where its
  edge is best. a and b are the least squares over the lengths.

  Args:
    config: the model's shape.
    layout: its methods; plain RoPE among them takes the spectrum.
    weights: its weights.
    windows_by_length: tokens -> int32 [b, tokens + 1] ids; at least two
      lengths, none below train_len.
    train_len: tokens the model was trained at.
    base: spec of the spectrum, such as {'name': 'yarn', 'factor': 'auto'}; a
      factor of 'auto' is s. Its own amplitude is replaced.
    amplitudes: rising, at least three, evenly spaced.
    at_once: amplitudes in one call of the compiled function.
    progress: called with (lengths done, lengths in all).

  Returns:
    The law.

  Raises:
    ValueError: arguments out of range; a length at which the nats still fall
      far beyond the amplitudes.

  Source: Peng et al. 2023, arXiv:2309.00071, section 3.4 and appendix A.2.

  Differs: there one pair (a, b) was fitted over several models of one family.
  """
  grid = _grid(amplitudes)
  if len(windows_by_length) < 2 or min(windows_by_length) < train_len:
    raise ValueError(
      f'windows_by_length has the lengths {sorted(windows_by_length)}; it must '
      f'have at least two, none below train_len={train_len}.'
    )
  benches = {}
  for length, windows_bt in sorted(windows_by_length.items()):
    benches[length] = Spectra(
      config, layout, weights, windows_bt, train_len=train_len, at_once=at_once
    )
    if benches[length].length != length:
      raise ValueError(
        f'windows_by_length[{length}] has {benches[length].length + 1} tokens '
        f'a row; it must have {length + 1}, one to read first.'
      )
  points = []
  for done, (length, bench) in enumerate(benches.items()):
    best, nats = _least(bench, base, grid)
    points.append((length / train_len, best, nats))
    if progress:
      progress(done + 1, len(benches))
  s, best, _ = np.array(points).T
  b, a = np.polyfit(np.log(s), best, 1)
  return Law(float(a), float(b), tuple(points))


def _grid(amplitudes: Sequence[float]) -> list[float]:
  grid = [float(x) for x in amplitudes]
  steps = np.diff(grid)
  even = len(grid) >= 3 and np.allclose(steps, steps[0], rtol=1e-6, atol=0)
  if not even or steps[0] <= 0 or grid[0] <= 0:
    raise ValueError(
      f'amplitudes={tuple(grid)} must be at least three numbers > 0 that rise '
      'in equal steps.'
    )
  return grid


def _least(
  bench: Spectra, base: Mapping[str, Any], grid: list[float]
) -> tuple[float, float]:
  """The best amplitude at one length, and its nats."""
  layout = bench.under(dict(base))
  step, low, high = grid[1] - grid[0], 0, len(grid) - 1

  def measure(steps: range) -> dict[int, float]:
    values = [grid[0] + at * step for at in steps]
    nats = bench.measure([layout] * len(values), values)
    return dict(zip(steps, nats.tolist(), strict=True))

  known = measure(range(low, high + 1))
  for _ in range(FURTHER):
    at = min(known, key=known.__getitem__)
    if at == low and grid[0] + (low - 1) * step > 0:
      low -= 1
      known |= measure(range(low, low + 1))
    elif at == high:
      high += 1
      known |= measure(range(high, high + 1))
  at = min(known, key=known.__getitem__)
  if at in (low, high):
    table = ', '.join(
      f'{grid[0] + i * step:g}: {known[i]:.4f}' for i in sorted(known)
    )
    raise ValueError(
      f'amplitudes: at {bench.length} tokens the best is the last that was '
      f'tried ({table}); give amplitudes around the best.'
    )
  left, middle, right = (known[at + i] for i in (-1, 0, 1))
  curve = left - 2 * middle + right
  shift = 0.0 if curve <= 0 else (left - right) / (2 * curve)
  return (
    grid[0] + (at + shift) * step,
    middle - shift * (left - right) / 4,
  )
