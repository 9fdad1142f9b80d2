"""Which scheme takes a trained RoPE to four times its length, once fine-tuned?

Trains the quickstart's RoPE at 128 bytes, then trains it on for 100 steps at
512 under each scheme (PoSE in rows of 128 that show 512; YaRN once more by
low-rank changes of rank 8), and reads all of it, zero-shot and fine-tuned, at
128 to 2048 bytes of presidents that it has not seen.

Command: python -m experiments.extend --config=configs/extend_tiny.py \
  --workdir=runs/extend-tiny
Time: 6 minutes on 2 CPU cores.
Result (seed 0, bits per byte by last(64), standard errors about 0.07; the base
  has 2.14 at 128 and 3.63 at 512): as in the literature, linear is useless
  zero-shot (4.40 at 512) and works once fine-tuned (2.31), yet costs 0.17 at
  128. ABF, NTK, YaRN and LongRoPE go from 2.51, 2.88, 2.45 and 2.45 at 512 to
  2.10, 2.09, 2.10 and 2.10; at 128 the first three gain 0.05 by training
  longer, and LongRoPE does not (by `whole` it loses 0.03). PoSE equals linear
  without ever seeing a row of 512 (2.32). Low-rank YaRN gets most of it (2.14).
  So does plain RoPE get it (2.10): at this size 100 steps of long rows need no
  scheme, and beyond 512, where all rise, it rises least (2.32 at 1024 against
  2.62 to 3.75).
"""

from typing import Any

from configs import quickstart
from rope_jax.positions.rope import Rope
from rope_jax.positions.yarn import Yarn

FACTOR = 4  # Target length / trained length.
ROPE = {'name': 'rope', 'theta': 1e4}


def get_config() -> Any:
  """The base of the quickstart, and the schemes to train it on under."""
  config = quickstart.small()
  config.name = 'extend-tiny'
  config.position = ROPE
  short, steps = config.train.train_len, 100
  far = {
    'train_len': FACTOR * short,
    'batch': config.train.batch // FACTOR,  # As many tokens in a step.
    'steps': steps,
    'warmup': 10,
    'schedule': 'linear',
    'learning_rate': 1e-3,
    'checkpoint_every': steps,
  }
  linear = {'name': 'linear', 'factor': float(FACTOR)}
  pose = {'name': 'pose', 'train_len': short, 'target_len': FACTOR * short}
  skipping = {'name': 'compose', 'parts': [pose, linear]}
  near = {**far, 'train_len': short, 'batch': config.train.batch}
  schemes = {
    'rope': ROPE,  # No scaling: training at the longer length alone.
    'linear': linear,
    'ntk': {'name': 'ntk', 'factor': float(FACTOR)},
    'abf': {**ROPE, 'theta': 5e5},
    'yarn': {'name': 'yarn', 'factor': float(FACTOR)},
    'longrope': longrope(short, config.model.width // config.model.heads),
  }
  config.tune = {
    # A `train` for each, so that --config.tune.NAME.train.steps changes one.
    **{n: {'position': p, 'train': {**far}} for n, p in schemes.items()},
    'pose': {'position': skipping, 'train': near},
    'yarn_lora': {
      'position': schemes['yarn'],
      'train': {**far, 'weights': 'lora:8'},
    },
  }
  return config


def longrope(train_len: int, head_dim: int) -> dict[str, Any]:
  """LongRoPE with YaRN's divisors beyond the trained length, none within."""
  own, _ = Rope(theta=ROPE['theta']).frequencies(head_dim)
  yarn = Yarn(theta=ROPE['theta'], factor=FACTOR, train_len=train_len)
  slowed, _ = yarn.frequencies(head_dim)
  return {
    'name': 'longrope',
    'short_factor': (1.0,) * (head_dim // 2),
    'long_factor': tuple(round(float(x), 6) for x in own / slowed),
    'factor': float(FACTOR),
  }
