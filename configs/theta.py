"""Does a larger base, trained from scratch, carry RoPE beyond its length?

Trains RoPE with theta 1e4, 1e5, 1e6 and 1e7 at train_len and reads every one,
as trained, to 16x.

Command: python -m experiments.study --config=configs/theta.py:tiny \
  --workdir=runs/theta-tiny
  Without :tiny the model of configs/base.py (12 layers, 512 tokens, PG-19), on
  accelerators.
Time: tiny, 7 minutes on 2 CPU cores.
Result (tiny, seed 0, bits per byte by last(64), standard errors about 0.07):
  no. All four are alike at 128 (2.13 to 2.18) and break beyond it, the larger
  ones sooner: at 256, 2.73 with 1e4, 4.06 with 1e5, 4.27 with 1e6, 3.13 with
  1e7; at 2048, 4.62, 5.09, 5.17 and 4.94. A larger base leaves more pairs with
  less than a turn within the trained length, so more of them meet new phases
  beyond it. One seed; more with --config.seeds='(0,1,2)'.
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
