"""Which scaling of a trained RoPE, by which factor, reads how far?

Trains RoPE once and reads the same weights under linear (PI), NTK-aware and
YaRN scaling by factors 2, 4, 8 and 16, and under dynamic NTK, at every length
up to 16x: what a factor buys beyond the trained length, and what it costs
within.

Command: python -m experiments.study --config=configs/ntk.py:tiny \
  --workdir=runs/ntk-tiny
  Without :tiny the model of configs/base.py (12 layers, 512 tokens, PG-19), on
  accelerators.
Time: TODO
Result (tiny): TODO
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
