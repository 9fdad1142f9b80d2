"""rope_jax: every positional method under one training loop, proved."""

from rope_jax import evaluate, interop, positions
from rope_jax.attention import Mask, attend

__all__ = ['Mask', 'attend', 'evaluate', 'interop', 'positions']
__version__ = '0.1.0'
