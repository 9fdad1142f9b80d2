"""Which named tensor of a file is which part of our tree of weights."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from rope_jax.model import ModelConfig
from rope_jax.model.weights import norms

Shape = tuple[int, ...]
Path = tuple[str, ...]


class Source(Protocol):
  """Named tensors of a file or a folder, in the layout of Hugging Face.

  Attributes:
    where: the file or folder, for messages.
  """

  where: str

  def shapes(self) -> Mapping[str, Shape]:
    """The shape of each tensor, by name; reads none."""
    ...

  def read(self, name: str) -> np.ndarray:
    """One tensor: float32, float16 or bfloat16."""
    ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Names:
  """What a family calls its tensors, without `.weight` and `.bias`.

  Attributes:
    embed, final_norm, unembed: outside of the layers.
    layer: before the names that follow; {} is the layer's number.
    q, k, v: projections to heads; or
    qkv: all three in one, which replaces them.
    by_head: rows of qkv are q, k and v of each head in turn, rather than all
      of q, all of k, all of v.
    o: from the heads.
    gate, up: into the MLP; or
    gate_up: both in one, which replaces them.
    down: out of the MLP.
    norms: by our names.
    aliases: other names that a tensor has in some files.
  """

  embed: str = 'model.embed_tokens'
  final_norm: str = 'model.norm'
  unembed: str = 'lm_head'
  layer: str = 'model.layers.{}.'
  q: str = 'self_attn.q_proj'
  k: str = 'self_attn.k_proj'
  v: str = 'self_attn.v_proj'
  qkv: str | None = None
  by_head: bool = False
  o: str = 'self_attn.o_proj'
  gate: str = 'mlp.gate_proj'
  up: str = 'mlp.up_proj'
  gate_up: str | None = None
  down: str = 'mlp.down_proj'
  norms: Mapping[str, str] = dataclasses.field(
    default_factory=lambda: {
      'attention_norm': 'input_layernorm',
      'mlp_norm': 'post_attention_layernorm',
      'q_norm': 'self_attn.q_norm',
      'k_norm': 'self_attn.k_norm',
    }
  )
  aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Piece:
  """Rows of a tensor, and the box of a leaf of our tree that they fill.

  The rows from `first` on, read as shape `split` with their axes in the order
  `axes`, are the box of the leaf that begins at `start`.
  """

  name: str
  shape: Shape
  leaf: Path
  split: Shape
  axes: Shape
  start: Shape
  first: int = 0

  @property
  def size(self) -> Shape:
    """The shape of the box; a layer's begins with 1."""
    permuted = tuple(self.split[axis] for axis in self.axes)
    return (1,) * (len(self.start) - len(permuted)) + permuted

  @property
  def rows(self) -> slice:
    """The rows of the tensor."""
    count = math.prod(self.split) // math.prod(self.shape[1:])
    return slice(self.first, self.first + count)

  def to_box(self, tensor: np.ndarray) -> np.ndarray:
    """The box, in a view of the tensor where numpy has one."""
    part = tensor[self.rows].reshape(self.split)
    return part.transpose(self.axes).reshape(self.size)

  def to_rows(self, leaf: np.ndarray, tensor: np.ndarray) -> None:
    """Fills the rows of a tensor from a leaf."""
    spans = zip(self.start, self.size, strict=True)
    box = leaf[tuple(slice(a, a + n) for a, n in spans)]
    part = box.reshape([self.split[axis] for axis in self.axes])
    rows = tensor[self.rows]
    rows[...] = part.transpose(np.argsort(self.axes)).reshape(rows.shape)


def pieces(config: ModelConfig, names: Names) -> list[Piece]:
  """Every part of every tensor of a model, leaf by leaf of our tree.

  Args:
    config: the model's shape.
    names: what its family calls the tensors.

  Returns:
    Pieces that fill each leaf of `init_weights` exactly once.
  """
  d, v = config.width, config.vocab
  embed = f'{names.embed}.weight', f'{names.unembed}.weight'
  found = [Piece(embed[0], (v, d), ('embed',), (v, d), (0, 1), (0, 0))]
  if not config.tie_embeddings:
    found.append(Piece(embed[1], (v, d), ('unembed',), (v, d), (1, 0), (0, 0)))
  found += _norm(config, names.final_norm, (), 'final_norm', d)
  layer = _layer(config, names)
  for leaf, number in itertools.product(by_leaf(layer), range(config.layers)):
    found += [
      dataclasses.replace(
        piece,
        name=names.layer.format(number) + piece.name,
        start=(number, *piece.start),
      )
      for piece in layer
      if piece.leaf == leaf
    ]
  return found


def by_leaf(found: Sequence[Piece]) -> dict[Path, list[Piece]]:
  """The pieces of each leaf, in their order."""
  leaves: dict[Path, list[Piece]] = {}
  for piece in found:
    leaves.setdefault(piece.leaf, []).append(piece)
  return leaves


def _norm(config, name, path, ours, n) -> list[Piece]:
  """The weight of a norm over n numbers, and its bias if it has one."""
  made = [Piece(f'{name}.weight', (n,), (*path, ours), (n,), (0,), (0,))]
  if config.norm == 'layer':
    leaf = (*path, f'{ours}_bias')
    made.append(Piece(f'{name}.bias', (n,), leaf, (n,), (0,), (0,)))
  return made


def _layer(config: ModelConfig, names: Names) -> list[Piece]:
  """The pieces of one layer; names and places without its number."""
  d, n, k, h = config.width, config.heads, config.kv_heads, config.head_dim
  g, m = n // k, config.mlp_dim
  found: list[Piece] = []

  def into(name, ours, rows, split, bias, start=None, first=0):
    """Rows of a projection from the model's width, and of its bias."""
    start, axes = start or (0,) * len(split), tuple(range(len(split)))
    weight, leaf = f'{name}.weight', ('blocks', f'w{ours}')
    turned, shape = (len(split), *axes), (rows, d)
    found.append(
      Piece(weight, shape, leaf, (*split, d), turned, (0, *start), first)
    )
    if bias:
      leaf = ('blocks', f'b{ours}')
      found.append(
        Piece(f'{name}.bias', (rows,), leaf, split, axes, start, first)
      )

  def out(name, ours, split, bias):
    """A projection to the model's width, and its bias."""
    axes = (*range(1, len(split) + 1), 0)
    shape, leaf = (d, math.prod(split)), ('blocks', f'w{ours}')
    start = (0,) * len(axes)
    found.append(Piece(f'{name}.weight', shape, leaf, (d, *split), axes, start))
    if bias:
      leaf = ('blocks', f'b{ours}')
      found.append(Piece(f'{name}.bias', (d,), leaf, (d,), (0,), (0,)))

  bias = config.qkv_bias
  if names.qkv is None:
    into(names.q, 'qkv', n * h, (k, g, h), bias)
    into(names.k, 'qkv', k * h, (k, 1, h), bias, (0, g, 0))
    into(names.v, 'qkv', k * h, (k, 1, h), bias, (0, g + 1, 0))
  elif names.by_head:
    into(names.qkv, 'qkv', (n + 2 * k) * h, (k, g + 2, h), bias)
  else:
    rows, key, value = (n + 2 * k) * h, n * h, (n + k) * h
    into(names.qkv, 'qkv', rows, (k, g, h), bias)
    into(names.qkv, 'qkv', rows, (k, 1, h), bias, (0, g, 0), key)
    into(names.qkv, 'qkv', rows, (k, 1, h), bias, (0, g + 1, 0), value)
  out(names.o, 'o', (n, h), config.out_bias)
  bias = config.mlp_bias
  if not config.gated:
    into(names.up, '_up', m, (m,), bias)
  elif names.gate_up is None:
    into(names.gate, '_gate_up', m, (1, m), bias)
    into(names.up, '_gate_up', m, (1, m), bias, (1, 0))
  else:
    into(names.gate_up, '_gate_up', 2 * m, (2, m), bias)
  out(names.down, '_down', (m,), bias)
  for ours in norms(config):
    found += _norm(config, names.norms[ours], ('blocks',), ours, d)
  if config.qk_norm:
    for ours in ('q_norm', 'k_norm'):
      name = f'{names.norms[ours]}.weight'
      found.append(Piece(name, (h,), ('blocks', ours), (h,), (0,), (0,)))
  return found
