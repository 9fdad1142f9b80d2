"""Does a larger base, trained from scratch, carry RoPE beyond its length?

Trains RoPE with theta 1e4, 1e5, 1e6 and 1e7 at train_len and reads every one,
as trained, to 16x.

Command: python -m experiments.study --config=configs/theta.py:tiny \
  --workdir=runs/theta-tiny
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
  config.name = 'theta'
  config.methods = {
    f'theta_1e{power}': {'name': 'rope', 'theta': 10.0**power}
    for power in (4, 5, 6, 7)
  }
  config.variants = {}
  return config
