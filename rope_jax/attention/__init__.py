"""Attention under any positional method: `attend` and its `Mask`."""

from rope_jax.attention.attend import HOWS, attend
from rope_jax.attention.blocks import Schedule
from rope_jax.attention.mask import Mask, context_length
from rope_jax.attention.ring import zigzag

__all__ = ['HOWS', 'Mask', 'Schedule', 'attend', 'context_length', 'zigzag']
