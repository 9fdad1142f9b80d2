"""Positions that training shows in place of the real ones."""

from __future__ import annotations

import jax
import numpy as np

from rope_jax import positions
from rope_jax.positions import Layout, Position, parts

Array = jax.Array | np.ndarray


def _drawing(layout: Layout) -> Position | None:
  """The one part of a layout that draws training positions, if any."""
  found = dict.fromkeys(
    part
    for position in layout
    for part in parts(position)
    if positions.overrides(part, 'train_positions')
  )
  if len(found) > 1:
    raise ValueError(
      'the layout draws training positions in more than one way: '
      f'{", ".join(map(repr, found))}. Keep one.'
    )
  return next(iter(found), None)


def train_positions(
  layout: Layout, key: jax.Array, pos_bt: Array
) -> Array | None:
  """The positions that training shows, or None where nothing draws any.

  Raises:
    ValueError: methods of the layout draw them in more than one way.
  """
  drawing = _drawing(layout)
  return drawing and drawing.train_positions(key, pos_bt)


def check_training(layout: Layout, train_len: int) -> None:
  """Checks that a layout can be trained in rows of train_len tokens.

  Raises:
    ValueError: a method ends before a position that training shows, or two
      methods would draw what is shown.
  """
  drawing = _drawing(layout)
  shown = drawing.shown(train_len) if drawing else train_len
  for position in layout:
    for part in parts(position):
      if drawing and part.rotary and positions.overrides(part, 'views'):
        raise ValueError(
          f'{type(part).__name__} re-maps the real positions, in whose place '
          f'{type(drawing).__name__} shows others in training. Train with one, '
          'and read the weights under the other.'
        )
      if part.reach is not None and part.reach < shown:
        raise ValueError(
          f'{type(part).__name__} is defined for {part.reach} positions, but '
          f'training shows {shown} (train_len={train_len}). Make it reach '
          f'{shown}, or train with fewer.'
        )
