"""Other people's formats: Hugging Face configs, and what sets two apart."""

from rope_jax.interop.compare import Diff, LayerDiff, diff
from rope_jax.interop.hf_read import layout_from_hf, position_from_hf
from rope_jax.interop.hf_write import position_to_hf

__all__ = [
  'Diff',
  'LayerDiff',
  'diff',
  'layout_from_hf',
  'position_from_hf',
  'position_to_hf',
]
