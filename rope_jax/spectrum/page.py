"""spectrum.html: one self-contained page of sliders over computed curves."""

from __future__ import annotations

import html
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rope_jax import positions
from rope_jax.report.csvfile import write_atomically
from rope_jax.report.inline import as_json, asset, filled
from rope_jax.spectrum import curves, spectra

_OWN = 'rope_jax.spectrum'


def write_page(
  folder: str | os.PathLike,
  head_dim: int,
  train_len: int,
  thetas: Sequence[float] | None = None,
  factors: Sequence[float] = curves.FACTORS,
  position: positions.Position | None = None,
  first: tuple[float, float, int] | None = None,
) -> pathlib.Path:
  """Writes spectrum.html: what each setting does, by moving sliders.

  One file with plotly, its data and its script inside; it needs no network.

  Args:
    folder: made if need be; a file of the same name is replaced.
    head_dim: width of a head, even, >= 2.
    train_len: tokens of training, in [2, 2^20).
    thetas: bases of the slider, > 1, in any order; None is 13 of them from 1e3
      to 1e9, and the position's own.
    factors: of the scalings, >= 1, in any order.
    position: a method of the user's own, a choice beside the schemes; where it
      depends on the length, so does what the page shows of it.
    first: (theta, factor, length) that the page opens at.

  Returns:
    The path of the page.

  Raises:
    ValueError: an argument out of range; a position that turns nothing.
  """
  spectra.check_head_dim(head_dim)
  if not _whole(train_len) or not 2 <= train_len < curves.LAST:
    raise ValueError(
      f'train_len={train_len!r}: the page goes to {curves.LAST} tokens, so '
      f'this must be an integer in [2, {curves.LAST}).'
    )
  if position is not None:
    spectra.of(position, head_dim)
  theta = curves.own_theta(position)
  if thetas is None:
    thetas = curves.THETAS if theta is None else (*curves.THETAS, theta)
  data = curves.chart_data(
    int(head_dim),
    int(train_len),
    _ascending('thetas', thetas, 'bases above 1', lambda x: x > 1),
    _ascending('factors', factors, 'numbers >= 1', lambda x: x >= 1),
    position,
    first,
  )
  path = pathlib.Path(folder) / 'spectrum.html'
  return write_atomically(path, page(data).encode())


def page(data: dict[str, Any]) -> str:
  """The text of spectrum.html, of what `curves.chart_data` gives."""
  import plotly.offline

  head_dim, train_len = data['headDim'], data['trainLen']
  facts = (
    f'<b>{head_dim // 2}</b> pairs',
    f'trained at <b>{train_len:,}</b> tokens',
    f'distances to <b>{curves.LAST:,}</b>',
    f'<b>{len(data["entries"])}</b> settings',
  )
  title = f'Spectrum of a head of {head_dim}, trained at {train_len:,}'
  slots = {
    'title': html.escape(title),
    'style': asset('report.css') + asset('spectrum.css', _OWN),
    'facts': ''.join(f'<li>{fact}</li>' for fact in facts),
    'data': as_json(data),
    'plotly': plotly.offline.get_plotlyjs(),
    # In order: they share one scope.
    'script': asset('plotting.js') + asset('spectrum.js', _OWN),
  }
  return filled(asset('spectrum.html', _OWN), slots)


def _whole(value: Any) -> bool:
  return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _ascending(field, values, kind, allowed) -> list[float]:
  """The values in order, each once; ValueError names a bad one."""
  found = [float(value) for value in values]
  bad = [v for v in found if not (math.isfinite(v) and allowed(v))]
  if bad or not found:
    what = f'{bad[0]:g}' if bad else 'empty'
    raise ValueError(
      f'{field}: {what}; give finite {kind}, at least one, such as '
      f'{getattr(curves, field.upper())[2]:g}.'
    )
  return sorted(set(found))
