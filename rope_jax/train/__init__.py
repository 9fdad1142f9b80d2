"""Training: a configuration and a folder in, trained weights out."""

from rope_jax.train.inputs import build_corpus, build_sampler, share_tokenizer
from rope_jax.train.load import load_weights, read_config
from rope_jax.train.loop import TrainResult, train
from rope_jax.train.run import Diverged
from rope_jax.train.signals import Interrupted

__all__ = [
  'Diverged',
  'Interrupted',
  'TrainResult',
  'build_corpus',
  'build_sampler',
  'load_weights',
  'read_config',
  'share_tokenizer',
  'train',
]
