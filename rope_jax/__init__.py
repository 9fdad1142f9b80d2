"""rope_jax: every positional method under one training loop, proved."""

from rope_jax import evaluate, interop, positions
from rope_jax.attention import Mask, attend
from rope_jax.model import generate

__all__ = ['Mask', 'attend', 'evaluate', 'generate', 'interop', 'positions']
__version__ = '0.1.0'
