"""A tiny configuration and corpus that train in a second, and a way to run
them in another process: python training_support.py WORKDIR key=value ..."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from rope_jax import config as config_lib
from rope_jax import data


def tiny(**overrides: Any) -> Any:
  """2 layers, width 16, rows of 16 tokens; overrides are dotted names with
  '__' for the dot."""
  config = config_lib.default()
  config.name = 'tiny'
  config.model.update(layers=2, width=16, heads=2, mlp_dim=32, scan=False)
  config.position = {'name': 'rope', 'theta': 1e4}
  config.train.update(
    train_len=16,
    batch=8,
    steps=6,
    warmup=2,
    log_every=2,
    checkpoint_every=2,
    learning_rate=1e-2,
  )
  config.mesh.update(data=2)
  config.eval.update(lengths=(16, 32), documents=1, tokens=64)
  with config.ignore_type():
    for name, value in overrides.items():
      config.update_from_flattened_dict({name.replace('__', '.'): value})
  return config


class Slow:
  """A sampler that takes its time, and may give bad weights at one step."""

  def __init__(self, sampler: Any, seconds: float = 0.0, bad: int = -1):
    self._sampler, self._seconds, self._bad = sampler, seconds, bad

  def batch(self, step: int, process: int = 0, processes: int = 1):
    """That of the sampler, later."""
    time.sleep(self._seconds)
    batch = self._sampler.batch(step, process, processes)
    if step == self._bad:
      batch['weight'] = batch['weight'] * np.float32('nan')
    return batch


def sampler(config: Any) -> data.Sampler:
  """Documents of 5 to 60 bytes in a language of few words."""
  rng = np.random.default_rng(0)
  words = ['rope ', 'yarn ', 'far ', 'near ', 'token. ']
  texts = [
    ''.join(rng.choice(words, size=rng.integers(2, 12))) for _ in range(60)
  ]
  corpus = data.tokenize(data.documents_from_texts(texts), data.ByteTokenizer())
  return data.Sampler(
    corpus,
    train_len=config.train.train_len,
    batch=config.train.batch,
    seed=config.train.seed,
  )


def main(argv: list[str]) -> None:
  """Trains in a process of its own, to be killed."""
  workdir, *pairs = argv
  settings = {k: json.loads(v) for k, _, v in (p.partition('=') for p in pairs)}
  seconds = settings.pop('seconds', 0.0)
  config = tiny(**settings)
  from rope_jax import runtime, train

  runtime.join(config.distributed)
  train.train(config, workdir, sampler=Slow(sampler(config), seconds))


if __name__ == '__main__':
  main(sys.argv[1:])
