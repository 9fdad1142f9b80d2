"""Other people's formats: Hugging Face configs and models, GGUF files."""

from rope_jax.interop.compare import Diff, LayerDiff, diff
from rope_jax.interop.hf_read import layout_from_hf, position_from_hf
from rope_jax.interop.hf_write import position_to_hf
from rope_jax.interop.pretrained import Pretrained, load_pretrained
from rope_jax.interop.save import save_pretrained

__all__ = [
  'Diff',
  'LayerDiff',
  'Pretrained',
  'diff',
  'layout_from_hf',
  'load_pretrained',
  'position_from_hf',
  'position_to_hf',
  'save_pretrained',
]
