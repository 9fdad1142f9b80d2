"""Saves a model as a folder that Hugging Face's libraries load."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rope_jax import model as model_lib
from rope_jax import positions
from rope_jax.interop import hf_rewrite, hf_shape
from rope_jax.interop.place import named
from rope_jax.interop.pretrained import CONFIG, TOKENIZER, Pretrained
from rope_jax.interop.safetensor_files import DTYPES, write_folder
from rope_jax.interop.tensors import by_leaf, pieces
from rope_jax.positions import Position


def save_pretrained(
  pretrained: Pretrained,
  folder: str | os.PathLike[str],
  *,
  position: Position | Sequence[Position] | None = None,
  max_shard_bytes: float = 5e9,
) -> None:
  """Writes a model as a folder of config.json, safetensors and tokenizer.json.

  Loaded again, here or by transformers, it is the same model to the bit. The
  methods of `pretrained.model` are what is written: where they are no longer
  those of its config, the rope section is written anew. The folder is there
  whole or not at all.

  Args:
    pretrained: the model, with the config that it was loaded by. After
      training, `dataclasses.replace(pretrained, model=...)`.
    folder: where to; new, or empty.
    position: a method, or a layout, that replaces every layer's first.
    max_shard_bytes: bytes of a file, which only a larger tensor exceeds.

  Raises:
    ValueError: a folder that holds something; a method that transformers has no
      word for, or that the model type's code does not read; a model that is not
      of the shape that its config says; weights of a positional method.

  Example:
    >>> import tempfile
    >>> from rope_jax import interop
    >>> config = {'model_type': 'llama', 'vocab_size': 8, 'hidden_size': 4,
    ...           'num_hidden_layers': 1, 'num_attention_heads': 2,
    ...           'intermediate_size': 4, 'max_position_embeddings': 16}
    >>> shape = model_lib.ModelConfig(
    ...   vocab=8, layers=1, width=4, heads=2, mlp_dim=4, scale_embed=False,
    ...   tie_embeddings=False)
    >>> rope = positions.build({'name': 'rope', 'theta': 1e4})
    >>> made = model_lib.Transformer(shape, (rope,), key=jax.random.key(0))
    >>> yarn = positions.build(
    ...   {'name': 'yarn', 'theta': 1e4, 'factor': 4.0, 'train_len': 16})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   save_pretrained(Pretrained(made, None, rope, 16, config), folder,
    ...                   position=yarn)
    ...   loaded = interop.load_pretrained(folder)
    >>> loaded.position == yarn, loaded.config['rope_scaling']['rope_type']
    (True, 'yarn')

  Differs: transformers also writes generation_config.json and its own files
    beside tokenizer.json; here they are not kept.
  """
  folder = pathlib.Path(os.path.abspath(folder))
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise ValueError(
      f'folder={str(folder)!r} is not empty. Nothing is overwritten: give a '
      'new folder, or an empty one.'
    )
  if not max_shard_bytes > 0:
    raise ValueError(f'max_shard_bytes={max_shard_bytes} must be > 0.')
  model = pretrained.model
  config, wanted = _plan(pretrained, position)
  weights = model_lib.split(model)[1]
  plan = []
  for path, found in by_leaf(wanted).items():
    leaf: Any = weights
    for key in path:
      leaf = leaf[key]
    _check_leaf('.'.join(path), leaf)
    dtype = np.dtype(leaf.dtype)
    plan += dict.fromkeys((piece.name, piece.shape, dtype) for piece in found)
  config = _with_dtype(config, weights['embed'].dtype.name)
  _write(
    folder, pretrained, config, plan, named(weights, wanted), max_shard_bytes
  )


def _plan(pretrained: Pretrained, position: Any) -> tuple[dict[str, Any], list]:
  """The config to write, and the pieces of the tensors."""
  model, where = pretrained.model, 'config of the model'
  run = {
    field: getattr(model.config, field)
    for field in ('dtype', 'attention', 'scan', 'remat')
  }
  shape = hf_shape.read_shape(pretrained.config, where, **run)
  if shape != model.config:
    both = (dataclasses.asdict(model.config), dataclasses.asdict(shape))
    apart = ', '.join(
      f'{field}={value!r} (config: {both[1][field]!r})'
      for field, value in both[0].items()
      if value != both[1][field]
    )
    raise ValueError(
      f'the model is not of the shape that its config says: {apart}. Give the '
      'config.json of this model as pretrained.config.'
    )
  learnt = model_lib.split(model)[1].get('position')
  if learnt:
    raise ValueError(
      f'the model has weights of its positional methods ({", ".join(learnt)}), '
      'for which no config.json and no tensor of transformers has a place.'
    )
  layout = model.layout
  if position is not None:
    layout = (position,) if isinstance(position, Position) else tuple(position)
    layout = positions.layout(layout)
    shape.check(layout)
  config = hf_rewrite.with_layout(pretrained.config, shape, layout, where)
  family = hf_shape.family_of(config, where)
  config.setdefault('architectures', [family.architecture])
  return config, pieces(shape, family.names)


def _check_leaf(name: str, leaf: jax.Array) -> None:
  if not leaf.is_fully_addressable:
    raise ValueError(
      f'{name} is spread over several processes; gather the weights to one '
      'before they are saved.'
    )
  if np.dtype(leaf.dtype) not in DTYPES.values():
    raise ValueError(
      f'{name} is of {leaf.dtype}; weights are saved as float32, float16 or '
      'bfloat16.'
    )


def _with_dtype(config: dict[str, Any], dtype: str) -> dict[str, Any]:
  """The config, saying in which dtype the weights are."""
  made = copy.copy(config)
  keys = [key for key in ('torch_dtype', 'dtype') if key in made]
  return {**made, **dict.fromkeys(keys or ['torch_dtype'], dtype)}


def _write(
  folder, pretrained, config, plan, tensors, max_shard_bytes: float
) -> None:
  """Writes beside the folder, and renames when all is there."""
  folder.parent.mkdir(parents=True, exist_ok=True)
  scratch = folder.with_name(f'.{folder.name}.{os.getpid()}.part')
  shutil.rmtree(scratch, ignore_errors=True)
  scratch.mkdir()
  try:
    text = json.dumps(config, indent=2, sort_keys=True) + '\n'
    (scratch / CONFIG).write_text(text, encoding='utf-8')
    if pretrained.tokenizer is not None:
      text = pretrained.tokenizer.to_str(pretty=True)
      (scratch / TOKENIZER).write_text(text, encoding='utf-8')
    write_folder(scratch, plan, tensors, max_shard_bytes)
    os.replace(scratch, folder)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)
