"""What breaks beyond the trained length, and which scaling mends it?

Trains four methods at 128 bytes on State of the Union messages and reads them
up to 2048 bytes (16x) from presidents that none of them has seen; the rotary
one also under four scalings of the same weights.

Command: make study
Time: 8 minutes on 2 CPU cores, after installing.
Result (seed 0, bits per byte by last(64), standard errors about 0.07): RoPE
  breaks, from 2.14 at 128 to 2.76 at 256 and 4.63 at 2048. YaRN mends it most
  (2.25 at 256, 2.45 at 512, 3.27 at 2048, 55 % of the rise), NTK up to 4x
  (2.88 at 512), linear without fine-tuning nowhere. Sinusoidal breaks at once
  (2.65, then 4.09 at 256). T5 holds to 4x its length (2.11, 2.23 at 512) and
  then rises (3.11 at 2048). ALiBi is worse at 128 (2.37) and flat to 2048.
"""

from collections.abc import Callable
from typing import Any

from rope_jax import config as config_lib


def get_config() -> Any:
  """The quickstart study."""
  config = small()
  config.name = 'quickstart'
  config.methods = {
    'rope': {'name': 'rope', 'theta': 1e4},
    'alibi': {'name': 'alibi'},
    't5': {'name': 't5', 'buckets': 32, 'max_distance': 128},
    'sinusoidal': {'name': 'sinusoidal'},
  }
  config.variants = {
    'linear': {'name': 'linear', 'factor': 'auto'},
    'ntk': {'name': 'ntk', 'factor': 'auto'},
    'dynamic_ntk': {'name': 'dynamic_ntk'},
    'yarn': {'name': 'yarn', 'factor': 'auto'},
  }
  return config


def small() -> Any:
  """A decoder of 0.4 million weights, on bytes, that a laptop trains in
  minutes: what `:tiny` means in the other studies."""
  config = config_lib.default()
  config.data.name = 'sotu'
  config.model.update(layers=2, width=128, heads=4, scan=False)
  config.train.update(
    train_len=128,
    batch=16,
    steps=400,
    warmup=40,
    learning_rate=4e-3,
    checkpoint_every=200,
  )
  config.eval.update(
    lengths=(128, 256, 512, 1024, 2048),
    span=2048,
    documents=24,
    protocols=('whole', 'last(64)'),
  )
  return config


def sized(size: str, large: Callable[[], Any]) -> Any:
  """The configuration of a size: 'tiny' is `small()`, '' is `large()`.

  Raises:
    ValueError: another size.
  """
  if size not in ('', 'tiny'):
    raise ValueError(
      f"size {size!r} is not one of ':tiny' and nothing (the accelerator size)."
    )
  config = small() if size else large()
  if not size:
    config.eval.lengths = tuple(config.train.train_len * 2**i for i in range(5))
  return config
