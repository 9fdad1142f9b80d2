"""Layouts of the literature: which layer has which method, as specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Specs, to be used as a config's `position` or given to `positions.layout`.
Specs = tuple[dict[str, Any], ...]


def every(period: int, special: Mapping, others: Mapping) -> Specs:
  """`special` at every period-th layer, the last of each period.

  Args:
    period: layers in a period, >= 2.
    special: the spec of the period's last layer.
    others: the spec of those before it.

  Raises:
    ValueError: a period below 2.

  Example:
    >>> [s['name'] for s in every(3, {'name': 'nope'}, {'name': 'alibi'})]
    ['alibi', 'alibi', 'nope']
  """
  if period < 2:
    raise ValueError(
      f'layout: period={period} leaves no other layers; it must be >= 2 (for '
      'one method everywhere, give that method alone).'
    )
  return (*(dict(others) for _ in range(period - 1)), dict(special))


def irope(
  *,
  rotary: Mapping,
  chunk: int,
  floor_scale: int,
  attn_scale: float = 0.1,
  period: int = 4,
) -> Specs:
  """iRoPE: rotary layers that see their own chunk, then one without positions
  that sees everything and sharpens its softmax with the position.

  Args:
    rotary: the spec of the rotary layers, such as {'name': 'rope', 'theta':
      5e5, 'pairing': 'interleaved'}.
    chunk: tokens of a chunk (8192 in Llama 4).
    floor_scale: tokens between two steps of the temperature (8192).
    attn_scale: how much the temperature grows with the logarithm.
    period: layers in a period.

  Returns:
    One spec for each layer of a period.

  Source: meta-llama/llama-models, `llama4/model.py`.

  Differs: Llama 4 also normalises q and k of the rotary layers after turning
    them; here `model.qk_norm` does so in every layer, before.
  """
  temperature = {
    'name': 'llama4_temperature',
    'floor_scale': floor_scale,
    'attn_scale': attn_scale,
  }
  return every(period, temperature, _within(rotary, chunk, 'chunk'))


def local_global(
  *, near: Mapping, far: Mapping, window: int, period: int = 6
) -> Specs:
  """Layers that see a window, then one that sees everything.

  Args:
    near: the spec of the local layers, such as RoPE with theta 1e4.
    far: the spec of the global layer: a larger theta, or a scaling on the long
      layers alone.
    window: tokens that a local layer sees (1024 in Gemma 3).
    period: layers in a period (6: five local, one global).

  Returns:
    One spec for each layer of a period.

  Source: Gemma Team 2025, arXiv:2503.19786, section 2.
  """
  return every(period, far, _within(near, window, 'sliding'))


def _within(method: Mapping, window: int, kind: str) -> dict[str, Any]:
  local = {'name': 'local', 'window': window, 'kind': kind}
  return {'name': 'compose', 'parts': (dict(method), local)}
