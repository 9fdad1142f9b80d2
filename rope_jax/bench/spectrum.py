"""The suite `spectrum`: curves to a million tokens, the certified table."""

from __future__ import annotations

import statistics
import time

from rope_jax.bench.figures import Figure
from rope_jax.bench.timing import Say
from rope_jax.spectrum import decay, spectra, windows

HEAD_DIM = 128
LENGTH = 2**20
LENGTHS = tuple(2**k for k in range(10, 18))
_ROUNDS = 5


def run(
  say: Say, length: int = LENGTH, lengths: tuple[int, ...] = LENGTHS
) -> list[Figure]:
  """Measures everything; about 3 minutes on two cores."""
  spectrum = spectra.plain(1e4, HEAD_DIM)
  figures = []
  for name, make in (
    ('sum of cosines', decay.cosines),
    ('q = k = 1', decay.ones),
    ('mean of |S_j|', decay.bound),
  ):
    what = f'{name}, every distance to {length:,}, head_dim {HEAD_DIM}'
    say(f'{what} ...')
    taken = []
    for _ in range(_ROUNDS):
      start = time.perf_counter()
      make(spectrum, length)
      taken.append(time.perf_counter() - start)
    figures.append(
      Figure(
        what, statistics.median(taken), unit='s', bar=2.0,
        low=min(taken), high=max(taken),
      )
    )  # fmt: skip
  total = 0.0
  for tokens in lengths:
    say(f'windows of bases for {tokens:,} tokens ...')
    start = time.perf_counter()
    found = windows.certify(HEAD_DIM, tokens)
    total += time.perf_counter() - start
    say(f'  {len(found.inner):,} windows, all from {found.robust:.8g}')
  what = (
    f'certified windows, head_dim {HEAD_DIM}, {lengths[0]:,} to '
    f'{lengths[-1]:,} tokens'
  )
  return [*figures, Figure(what, total, unit='s', bar=300.0)]
