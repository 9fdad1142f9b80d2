"""Which scaling of a trained RoPE, by which factor, reads how far?

Trains RoPE once and reads the same weights under linear (PI), NTK-aware and
YaRN scaling by factors 2, 4, 8 and 16, and under dynamic NTK, at every length
up to 16x: what a factor buys beyond the trained length, and what it costs
within.

Command: python -m experiments.study --config=configs/ntk.py:tiny \
  --workdir=runs/ntk-tiny
  Without :tiny the model of configs/base.py (12 layers, 512 tokens, PG-19), on
  accelerators.
Time: tiny, 5 minutes on 2 CPU cores.
Result (tiny, seed 0, bits per byte by last(64), standard errors about 0.07): as
  trained, 2.14 at 128 and 4.62 at 2048. YaRN reads to its factor x 128 and
  breaks beyond: yarn-4 2.45 at 512, yarn-8 2.69 at 1024, yarn-16 3.27 at 2048.
  NTK reads to about half its factor up to 4 and no further than 4x by any
  (ntk-4 2.21 at 256, ntk-16 2.49 at 512, 3.27 at 1024). Linear, with no
  fine-tuning, is worse than no scaling up to 512 at every factor (linear-2 3.54
  at 256 against 2.73). What it costs at 128: ntk-16 +0.17, yarn-16 +0.34,
  linear-2 +1.40; dynamic NTK nothing.
"""

from typing import Any

from configs import base, quickstart


def get_config(size: str = '') -> Any:
  """The study at a size: 'tiny', or '' for accelerators."""
  config = quickstart.sized(size, base.get_config)
  config.name = 'ntk'
  config.methods = {'rope': {'name': 'rope', 'theta': 1e4}}
  config.variants = {
    f'{name}-{factor}': {'name': name, 'factor': float(factor)}
    for name in ('linear', 'ntk', 'yarn')
    for factor in (2, 4, 8, 16)
  } | {'dynamic_ntk': {'name': 'dynamic_ntk'}}
  return config
