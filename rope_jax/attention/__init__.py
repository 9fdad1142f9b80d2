"""Attention under any positional method: `attend` and its `Mask`."""

from rope_jax.attention.attend import HOWS, attend
from rope_jax.attention.mask import Mask, context_length

__all__ = ['HOWS', 'Mask', 'attend', 'context_length']
