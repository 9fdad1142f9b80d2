"""The decoder: its shape, weights, forward pass and NNX shell."""

from rope_jax.model.config import ModelConfig
from rope_jax.model.decode import Cache, empty_cache, extend
from rope_jax.model.decoder import forward, losses
from rope_jax.model.generate import generate
from rope_jax.model.loss import next_token_nll, projected_nll
from rope_jax.model.shown import check_training, train_positions
from rope_jax.model.stream import Stream, empty_stream, stream_losses
from rope_jax.model.transformer import Transformer, merge, split, with_layout
from rope_jax.model.weights import Weights, init_weights

__all__ = [
  'Cache',
  'ModelConfig',
  'Stream',
  'Transformer',
  'Weights',
  'check_training',
  'empty_cache',
  'empty_stream',
  'extend',
  'forward',
  'generate',
  'init_weights',
  'losses',
  'merge',
  'next_token_nll',
  'projected_nll',
  'split',
  'stream_losses',
  'train_positions',
  'with_layout',
]
