"""The suite `phases`: what exact phases cost, and how wrong others are."""

from __future__ import annotations

import dataclasses
import math
from decimal import Decimal, localcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.bench.timing import Say, Timing, clocked, paired, show
from rope_jax.positions import _phases, _turn, rope


def _float32_phase(pos_bt: jax.Array, frequency_f: np.ndarray) -> jax.Array:
  """What most libraries compute: a float32 product."""
  frequency_11f = frequency_f.astype(np.float32)[None, None, :]
  return pos_bt[:, :, None].astype(jnp.float32) * frequency_11f


def phases(rounds: int = 30) -> list[Timing]:
  """The cost of exact phases against float32 products.

  Each with cosine and sine, for 8192 positions of 64 pairs, and with the
  rotation of 8 heads of width 128 as well.
  """
  frequency_f = rope.series(1e4, 128)
  pos_bt = jnp.arange(8192, dtype=jnp.int32)[None]
  x_btnh = jax.random.normal(jax.random.key(0), (1, 8192, 8, 128))

  def table(phase):
    def run(pos_bt):
      return _turn.waves(phase(pos_bt, frequency_f))

    return jax.jit(run)

  def turned(phase):
    def run(x_btnh, pos_bt):
      return _turn.turn(x_btnh, table(phase)(pos_bt), 'half', 128)

    return jax.jit(run)

  ways = {'float32 product': _float32_phase, 'exact': _phases.phase}
  tables = {way: table(phase) for way, phase in ways.items()}
  rotations = {way: turned(phase) for way, phase in ways.items()}
  return [
    *paired(
      'cos and sin, 8192 x 64',
      {w: clocked(lambda f=f: f(pos_bt)) for w, f in tables.items()},
      rounds,
    ),
    *paired(
      'rotation, 8192 x 8 x 128',
      {w: clocked(lambda f=f: f(x_btnh, pos_bt)) for w, f in rotations.items()},
      rounds,
    ),
  ]


def phase_errors() -> list[tuple[int, float, float]]:
  """(position, error of float32 products, error of exact phases), in radians.

  The largest over 64 pairs of base 1e4 and the 64 positions below each power
  of two, against 60-digit decimals.
  """
  frequency_f = rope.series(1e4, 128)
  exact = jax.jit(lambda pos: _phases.phase(pos, frequency_f))
  plain = jax.jit(lambda pos: _float32_phase(pos, frequency_f))
  found = []
  for power in (12, 17, 20, 24, 28, 31):
    pos_bt = np.arange(2**power - 64, 2**power, dtype=np.int64)[None]
    truth = _reduced(pos_bt[0], frequency_f)
    errors = []
    for phase in (plain, exact):
      got = np.asarray(phase(jnp.asarray(pos_bt, jnp.int32)), np.float64)[0]
      gap = np.remainder(got - truth + math.pi, 2 * math.pi) - math.pi
      errors.append(float(np.abs(gap).max()))
    found.append((2**power, errors[0], errors[1]))
  return found


def _reduced(positions: np.ndarray, frequency_f: np.ndarray) -> np.ndarray:
  """position x frequency less whole turns: float64 [t, f]."""
  with localcontext() as context:
    context.prec = 60
    turn = 2 * Decimal(
      '3.14159265358979323846264338327950288419716939937510582097494'
    )
    return np.array(
      [
        [
          float((Decimal(int(p)) * Decimal(float(f))) % turn)
          for f in frequency_f
        ]
        for p in positions
      ]
    )


def run(say: Say) -> list[dict[str, Any]]:
  """The suite 'phases': prints its tables, returns its rows."""
  say('largest phase error, radians')
  say(f'{"below position":>16} {"float32 product":>16} {"exact":>10}')
  rows: list[dict[str, Any]] = []
  for position, plain, exact in phase_errors():
    say(f'{position:>16,} {plain:>16.1e} {exact:>10.1e}')
    rows.append(
      {'position': position, 'float32_error': plain, 'exact_error': exact}
    )
  timings = phases()
  show(timings, say)
  return rows + [dataclasses.asdict(t) for t in timings]
