"""Loads pretrained models: a folder of Hugging Face, or a GGUF file."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
from flax import nnx

from rope_jax import mesh as meshes
from rope_jax import model as model_lib
from rope_jax.interop import hf_shape
from rope_jax.interop.place import check_tensors, place
from rope_jax.interop.safetensor_files import INDEX, WHOLE, SafetensorFolder
from rope_jax.interop.tensors import Names, Piece, Source, pieces
from rope_jax.model import ModelConfig
from rope_jax.model.config import DTYPES
from rope_jax.positions import Layout, Position

if TYPE_CHECKING:
  import tokenizers

CONFIG, TOKENIZER = 'config.json', 'tokenizer.json'
_PICKLES = ('.bin', '.pt', '.pth', '.ckpt', '.pkl')


@dataclasses.dataclass(frozen=True)
class Pretrained:
  """A model that was trained elsewhere, and what is known about it.

  Attributes:
    model: the model, under the methods of its config.
    tokenizer: its tokenizer; None where the files have none.
    position: the one method of all layers, or the layout, one method a layer
      and repeated over them; what `evaluate.token_nll(position=...)` takes.
    train_len: tokens that it was trained at, before any scaling.
    config: its config.json, or what the metadata of a GGUF file amounts to.
  """

  model: model_lib.Transformer
  tokenizer: tokenizers.Tokenizer | None
  position: Position | tuple[Position, ...]
  train_len: int
  config: dict[str, Any]


def load_pretrained(
  path: str | os.PathLike[str],
  *,
  dtype: str = 'float32',
  mesh: jax.sharding.Mesh | None = None,
  attention: str = 'auto',
  scan: bool = True,
) -> Pretrained:
  """Loads a pretrained model; its files are only ever read.

  What its config.json says and is not read is an error, if it may change what
  the model computes; names and shapes of all tensors are checked before any is
  read. Each leaf of our tree is filled tensor by tensor as it will lie on the
  devices, so that there are never two copies of the model.

  Args:
    path: a folder with config.json, model.safetensors (or its index and
      shards) and, if it has one, tokenizer.json; or a .gguf file.
    dtype: 'float32' or 'bfloat16', of the weights and of the activations.
    mesh: what to shard the weights over, by `weight_shardings`; None is the
      first device.
    attention: `how` of `attend`.
    scan: loop over the layers in the program; see `ModelConfig`.

  Returns:
    The model, with what belongs to it.

  Raises:
    ValueError: nothing that can be read is there; an architecture, a key or a
      rope type that is not read; tensors that are missing, unexpected, of
      another shape or damaged; a tokenizer of another vocabulary; a pickle.

  Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...   config = pathlib.Path(folder, 'config.json')
    ...   _ = config.write_text('{"model_type": "bert"}')
    ...   load_pretrained(folder)
    Traceback (most recent call last):
    ...
    ValueError: ...: model_type='bert' is not an architecture that is read...

  Source: the modeling code of each family in huggingface/transformers.

  Differs: transformers guesses what a config leaves out or misspells, and
    draws weights that a file lacks; here both are errors. Only Llama, Mistral,
    Qwen 2 and 3, SmolLM3, GPT-NeoX, GLM 4, Gemma 1 to 3 (text) and Phi-3 are
    read.
  """
  path = pathlib.Path(path)
  if dtype not in DTYPES:
    raise ValueError(f'dtype={dtype!r} must be one of {DTYPES}.')
  config, source, tokenizer = _open(path)
  where = str(path / CONFIG if path.is_dir() else path)
  run = {'dtype': dtype, 'attention': attention, 'scan': scan}
  shape = hf_shape.read_shape(config, where, **run)
  layout = hf_shape.read_layout(config, shape, where)
  train_len = hf_shape.train_len_of(config, layout, where)
  if tokenizer is not None:
    _check_vocabulary(tokenizer, shape.vocab, str(path))
  if mesh is not None:
    meshes.check_heads(mesh, shape.heads, shape.mlp_dim)
  names = hf_shape.family_of(config, where).names
  wanted, tied = _names_of(source, pieces(shape, names), names, shape)
  check_tensors(source, wanted, tied)
  if isinstance(source, SafetensorFolder):
    source.check_dtypes(dict.fromkeys(piece.name for piece in wanted))
  graph, shapes = abstract(shape, layout)
  weights = place(source, wanted, shapes, dtype, mesh)
  return Pretrained(
    model=model_lib.merge(graph, weights),
    tokenizer=tokenizer,
    position=layout[0] if len(layout) == 1 else layout,
    train_len=train_len,
    config=config,
  )


def abstract(shape: ModelConfig, layout: Layout) -> tuple[Any, Any]:
  """The graph of a model, and the tree of its weights without their numbers."""
  return model_lib.split(
    nnx.eval_shape(
      lambda: model_lib.Transformer(shape, layout, key=jax.random.key(0))
    )
  )


def _names_of(
  source: Source, wanted: Sequence[Piece], names: Names, shape: ModelConfig
) -> tuple[list[Piece], str | None]:
  """The pieces by the names that the source has, and the name of an output
  projection that the embeddings should equal."""
  have = source.shapes()

  def known(name):
    other = names.aliases.get(name, name)
    return other if name not in have and other in have else name

  found = [dataclasses.replace(p, name=known(p.name)) for p in wanted]
  tied = known(f'{names.unembed}.weight') if shape.tie_embeddings else None
  return found, tied


def _open(
  path: pathlib.Path,
) -> tuple[dict[str, Any], Source, tokenizers.Tokenizer | None]:
  """The config, tensors and tokenizer at a path."""
  if path.suffix in _PICKLES:
    raise _pickled(path)
  if not path.exists():
    raise ValueError(
      f'path={str(path)!r} does not exist. Give a folder with {CONFIG} and '
      f'{WHOLE}, or a .gguf file; nothing is downloaded here.'
    )
  if path.suffix == '.gguf' and path.is_file():
    from rope_jax.interop import gguf_file

    return gguf_file.open_gguf(path)
  if not path.is_dir():
    raise ValueError(
      f'path={str(path)!r} is neither a folder nor a .gguf file. Give the '
      f'folder that holds {CONFIG} and {WHOLE}.'
    )
  names = sorted(entry.name for entry in path.iterdir())
  held = ', '.join(names[:8]) + (', ...' if len(names) > 8 else '') or 'nothing'
  if CONFIG not in names:
    gguf = [name for name in names if name.endswith('.gguf')]
    raise ValueError(
      f'path={str(path)!r} has no {CONFIG}; it holds {held}. '
      + (
        f'Give the file itself: {path / gguf[0]}.'
        if gguf
        else 'Give the folder of a model as transformers saves one.'
      )
    )
  config = _read_json(path / CONFIG)
  hf_shape.family_of(config, str(path / CONFIG))
  if WHOLE not in names and INDEX not in names:
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
      raise _pickled(path / pickles[0])
    raise ValueError(
      f'path={str(path)!r} has neither {WHOLE} nor {INDEX}; it holds {held}. '
      'Copy the weights beside its config.json.'
    )
  return config, SafetensorFolder(path), _read_tokenizer(path / TOKENIZER)


def _pickled(path: pathlib.Path) -> ValueError:
  return ValueError(
    f'{path} is a pickle, which is never loaded here: to unpickle a file runs '
    'whatever code is in it. If you trust where it comes from, convert it once '
    'in a place of its own, with '
    'transformers.AutoModelForCausalLM.from_pretrained(folder)'
    ".save_pretrained('converted'), which writes safetensors, or with "
    'convert.py of the safetensors project; then give the new folder.'
  )


def _read_json(path: pathlib.Path) -> dict[str, Any]:
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path} is not JSON ({error}). Copy it again.') from error
  if not isinstance(found, dict):
    raise ValueError(
      f'{path} holds a {type(found).__name__}; it must be a dictionary.'
    )
  return found


def _read_tokenizer(path: pathlib.Path) -> tokenizers.Tokenizer | None:
  if not path.exists():
    return None
  import tokenizers

  try:
    return tokenizers.Tokenizer.from_file(str(path))
  except Exception as error:  # The library raises Exception itself.
    raise ValueError(
      f'{path} is no tokenizer ({error}). Copy it again, or remove it to load '
      'the model without one.'
    ) from error


def _check_vocabulary(
  tokenizer: tokenizers.Tokenizer, vocab: int, where: str
) -> None:
  """Raises if the tokenizer makes ids that the model has no row for.

  Special tokens alone may lie beyond (Gemma 3 has one for images): no text
  makes one, unless it spells it out.
  """
  added = tokenizer.get_added_tokens_decoder()
  beyond = {
    token: number
    for token, number in tokenizer.get_vocab(with_added_tokens=True).items()
    if number >= vocab and not (number in added and added[number].special)
  }
  if beyond:
    token = max(beyond, key=beyond.__getitem__)
    raise ValueError(
      f'{where}: tokenizer and vocabulary disagree: {len(beyond)} tokens have '
      f'ids from vocab_size={vocab} on, as {token!r} with {beyond[token]}. '
      'They are of two models; take both from one place.'
    )
