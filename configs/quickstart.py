"""What breaks beyond the trained length, and which scaling mends it?

Trains four methods at 128 bytes on State of the Union messages and reads them
up to 2048 bytes (16x) from presidents that none of them has seen.

  make study

Time: under 10 minutes on 2 CPU cores.
"""

from rope_jax import config as config_lib

FACTOR = 'auto'  # eval_len / train_len, at least 1.


def get_config():
  """The quickstart study."""
  config = config_lib.default()
  config.name = 'quickstart'
  config.methods = {
    'rope': {'name': 'rope', 'theta': 1e4},
    'alibi': {'name': 'alibi'},
    't5': {'name': 't5', 'buckets': 32, 'max_distance': 128},
    'sinusoidal': {'name': 'sinusoidal'},
  }
  config.variants = {
    'linear': {'name': 'linear', 'factor': FACTOR},
    'ntk': {'name': 'ntk', 'factor': FACTOR},
    'dynamic_ntk': {'name': 'dynamic_ntk'},
    'yarn': {'name': 'yarn', 'factor': FACTOR},
  }
  config.model.layers = 3
  config.model.width = 128
  config.model.heads = 4
  config.model.scan = False
  config.train.train_len = 128
  config.train.batch = 16
  config.train.steps = 500
  config.train.warmup = 50
  config.train.learning_rate = 4e-3
  config.train.checkpoint_every = 250
  config.eval.lengths = (128, 256, 512, 1024, 2048)
  config.eval.span = 4096
  config.eval.documents = 16
  config.eval.protocols = ('whole', 'last(64)')
  return config
