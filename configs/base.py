"""How far does a 12-layer rotary model of PG-19 read beyond 512 tokens?

The configuration to launch on accelerators, unchanged, and to derive others
from: 12 layers, width 768, 12 heads, 512 tokens, bfloat16, books of PG-19.

Command:
  tfds build pg19                     # Once: about 11 GB of books.
  python -m experiments.train --config=configs/base.py --workdir=runs/base
  On a TPU pod, the same on every host with
  --config.distributed.coordinator=auto.
Hardware: 16 TPU v5e chips, or 8 H100s; any number that divides 512 rows does.
  python -m experiments.plan --config=configs/base.py --target=tpu-v5e-16
  compiles the step for it and says what memory it takes, with no accelerator.
Expected: 20,000 steps of 512 x 512 tokens are 5.2 billion tokens; at 6 x 110
  million parameters a token about 3.5e18 FLOPs, so an hour on 16 v5e at a third
  of their peak (3.2e15 FLOP/s). Reckoned, not run: no accelerator was at hand.
Result: none yet.
"""

from typing import Any

from rope_jax import config as config_lib


def get_config() -> Any:
  """The configuration."""
  config = config_lib.default()
  config.name = 'base'
  config.data.update(
    name='tfds:pg19',
    tokenizer='bpe:32768',
    train_split='train',
    eval_split='test',
  )
  config.model.update(
    layers=12,
    width=768,
    heads=12,
    dtype='bfloat16',
    remat='dots',
    scan=True,
  )
  config.position = {'name': 'rope', 'theta': 1e4}
  config.train.update(
    train_len=512,
    batch=512,
    steps=20_000,
    learning_rate=6e-4,
    warmup=1_000,
    log_every=100,
    checkpoint_every=1_000,
    keep=3,
  )
  config.mesh.update(data=-1, fsdp=1, tensor=1)
  config.eval.update(
    lengths=(512, 1024, 2048, 4096, 8192),
    documents=64,
    protocols=('whole', 'last(256)'),
    tokens=131_072,
  )
  config.variants = {
    'linear 4x': {'name': 'linear', 'theta': 1e4, 'factor': 4.0},
    'ntk 4x': {'name': 'ntk', 'theta': 1e4, 'factor': 4.0},
    'yarn 4x': {
      'name': 'yarn',
      'theta': 1e4,
      'factor': 4.0,
      'train_len': 512,
    },
  }
  return config
