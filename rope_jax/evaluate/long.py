"""Measures a large model on long documents: one cell a document, variant and
length, each kept as soon as it is there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax import config as config_lib
from rope_jax import data
from rope_jax.evaluate import nll, protocols, variants
from rope_jax.evaluate.cells import Progress, span
from rope_jax.evaluate.store import Cell, Store
from rope_jax.evaluate.streamed import Reader
from rope_jax.model import ModelConfig
from rope_jax.positions import Layout

# Fields of a model that say how it is run, and not what its losses are.
HOW = ('attention', 'remat', 'scan')


class LongStore:
  """The cells of every document, in a folder for each: `nll/000`, ..."""

  def __init__(self, folder: pathlib.Path, documents: int):
    self._stores = [Store(folder / f'{at:03d}') for at in range(documents)]

  def of(self, document: int) -> Store:
    """The cells of one document."""
    return self._stores[document]

  def read(self, variant: str, length: int) -> Cell | None:
    """The cells of all documents as one, or None where one is missing."""
    found = [store.read(variant, length) for store in self._stores]
    there = [cell for cell in found if cell is not None]
    if len(there) < len(found):
      return None
    return Cell(
      np.concatenate([cell.document for cell in there]),
      np.concatenate([cell.start for cell in there]),
      np.concatenate([cell.nll for cell in there]),
      there[0].meta,
    )


@dataclasses.dataclass(frozen=True)
class Reading:
  """What has to be read for one variant at one length of every document.

  Attributes:
    variant, length: of the cell.
    layout: the methods to read it under.
    start: int [w], where its windows start.
    like: for each window the cell, of an earlier reading, that has a window
      which begins with the same losses; None where it is read itself.
  """

  variant: str
  length: int
  layout: Layout
  start: np.ndarray
  like: tuple[tuple[str, int] | None, ...]

  @property
  def own(self) -> list[int]:
    """Where the windows start that are read."""
    pairs = zip(self.start, self.like, strict=True)
    return [int(start) for start, like in pairs if like is None]


def plan(
  config: Any, model_config: ModelConfig, layout: Layout, train_len: int
) -> tuple[list[Reading], list[variants.Skipped]]:
  """What will be read, longest first, and what cannot be.

  A window is not read again if a longer one from the same token, or that of
  another variant, has the same scores: under a method that does not read the
  length of the context, one pass gives every shorter context.

  Args:
    config: its `eval` and `variants`.
    model_config: the model's shape.
    layout: the methods it was trained with.
    train_len: tokens it was trained at.

  Raises:
    ValueError: a protocol that has no meaning, or a variant that cannot be read
      at any of the lengths.
  """
  named: Mapping[str, Any] = {
    variants.AS_TRAINED: None,
    **config_lib.plain(config.variants),
  }
  lengths = sorted((int(n) for n in config.eval.lengths), reverse=True)
  found: list[Reading] = []
  skipped: list[variants.Skipped] = []
  for length in lengths:
    for name, spec in named.items():
      try:
        under = variants.layout_under(
          spec, layout, train_len=train_len, eval_len=length
        )
        if under is None:
          raise ValueError(
            'the model has no plain RoPE that another method could replace'
          )
        model_config.check(under)
        nll.check_reach(under, length)
      except ValueError as error:
        skipped.append(variants.Skipped(name, length, str(error)))
        continue
      start = protocols.starts(
        tuple(config.eval.protocols), length, span(config), max(lengths)
      )
      alike = [
        one
        for one in found
        if one.own
        and variants.same_scores(
          under, one.layout, model_config.head_dim, length, one.length
        )
      ]
      like = (
        next(((o.variant, o.length) for o in alike if s in o.own), None)
        for s in start
      )
      found.append(Reading(name, length, under, start, tuple(like)))
  for name in named:
    why = [one.reason for one in skipped if one.variant == name]
    if len(why) == len(lengths):
      what = 'config.start as trained'
      if name != variants.AS_TRAINED:
        what = f'config.variants.{name}'
      raise ValueError(
        f'{what} cannot be read at any of config.eval.lengths='
        f'{tuple(config.eval.lengths)}: {why[-1]}'
      )
  return found, skipped


def measure(
  config: Any,
  model_config: ModelConfig,
  layout: Layout,
  weights: Any,
  chosen: Sequence[data.EvalDocument],
  store: LongStore,
  *,
  train_len: int,
  progress: Progress | None = None,
  say: Callable[[str], None] | None = None,
) -> list[variants.Skipped]:
  """Fills the store with the cells that are not there yet, document by
  document.

  Args:
    config: its `eval` and `variants`.
    model_config: the model's shape.
    layout: the methods it was trained with.
    weights: its weights, on their mesh.
    chosen: the documents, span + 1 tokens each.
    store: where cells are kept. A cell of the same weights, methods, windows
      and document is not read again.
    train_len: tokens it was trained at.
    progress: told after every chunk that was read.
    say: told of cells that are there but of something else, and are read again.

  Returns:
    What could not be measured, and why; cells with losses that are not finite
    among it.

  Raises:
    ValueError: what `plan` raises, or a document that is too short, before
      anything is read.
  """
  readings, skipped = plan(config, model_config, layout, train_len)
  for document in chosen:
    need = max(int(one.start.max()) + one.length for one in readings) + 1
    if len(document.tokens) < need:
      raise ValueError(
        f'document {document.id} has {len(document.tokens)} tokens, and '
        f'config.eval.lengths={tuple(config.eval.lengths)} with '
        f'config.eval.protocols={tuple(config.eval.protocols)} read {need} of '
        'it, one of them to predict alone. Choose shorter lengths, or longer '
        'documents.'
      )
  mark = weights_fingerprint(weights)
  kind = _kind(model_config)
  total = sum(one.length * len(one.own) for one in readings) * len(chosen)
  reader: Reader | None = None
  done = 0
  for at, document in enumerate(chosen):
    for one in readings:
      meta = _meta(config, one, document, mark, kind)
      kept = store.of(at)
      have = kept.read(one.variant, one.length)
      said = f'{document.id}, {variants.shown(one.variant)} at {one.length:,}'
      fresh = have is None or have.meta != meta
      if have is not None and fresh and say:
        other = [name for name in meta if have.meta.get(name) != meta[name]]
        say(f'{said}: measured again, for its {", ".join(other)} changed')
      if fresh:
        reader = reader or Reader(
          model_config,
          weights,
          max(r.length for r in readings),
          chunk=config.eval.chunk,
          cache_dtype=config.eval.cache_dtype,
        )
        losses, before = [], done
        for begin, like in zip(one.start, one.like, strict=True):
          if like is not None:
            losses.append(_beginning(kept, like, begin, one.length))
            continue

          def tell(tokens, before=before, said=said):
            if progress:
              progress(said, before + tokens, total)

          window = document.tokens[begin : begin + one.length + 1]
          losses.append(reader.read(one.layout, window[None], tell=tell)[0])
          before += one.length
        where = np.full(len(one.start), at, np.int32)
        have = Cell(where, one.start, np.stack(losses), meta)
        kept.write(have)
      assert have is not None
      skipped += _not_finite(have, one, document)
      done += one.length * len(one.own)
  return skipped


def _not_finite(cell: Cell, one: Reading, document) -> list[variants.Skipped]:
  """What to say of a cell that has losses that are no numbers."""
  bad = int(np.count_nonzero(~np.isfinite(cell.nll)))
  text = f'{bad} of {cell.nll.size} losses of {document.id} are not finite'
  return [variants.Skipped(one.variant, one.length, text)] if bad else []


def _kind(model_config: ModelConfig) -> dict[str, Any]:
  """What of a model's shape its losses depend on, its weights apart."""
  fields = dataclasses.asdict(model_config)
  return {k: v for k, v in fields.items() if k not in HOW}


def _meta(
  config, one: Reading, document, mark: str, kind: Mapping[str, Any]
) -> dict[str, Any]:
  """What makes a cell what it is, as it reads back from a file."""
  read = document.tokens[: int(one.start.max()) + one.length + 1]
  meta = {
    'variant': one.variant,
    'length': one.length,
    'layout': variants.describe(one.layout),
    'weights': mark,
    'model': kind,
    'cache': config.eval.cache_dtype,
    'document': document.id,
    'tokens': hashlib.sha256(read.tobytes()).hexdigest()[:16],
    'starts': [int(start) for start in one.start],
  }
  return json.loads(json.dumps(meta))


def _beginning(
  kept: Store, like: tuple[str, int], begin: int, length: int
) -> np.ndarray:
  """The first losses of a window that has been read."""
  source = kept.read(*like)
  assert source is not None, like
  (row,) = np.flatnonzero(source.start == begin)
  return source.nll[row, :length]


@jax.jit
def _sum_of_bits(x: jax.Array) -> jax.Array:
  """A sum of an array's words, each by a factor of its place."""
  kind = jnp.uint16 if x.dtype.itemsize == 2 else jnp.uint32
  bits = jax.lax.bitcast_convert_type(x, kind).astype(jnp.uint32).ravel()
  place = jnp.arange(bits.size, dtype=jnp.uint32) * np.uint32(2654435761)
  return jnp.sum(bits * (place | np.uint32(1)), dtype=jnp.uint32)


def weights_fingerprint(weights: Any) -> str:
  """A short hash of what the weights are, whatever mesh they are on."""
  found = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
    found.update(f'{path} {leaf.shape} {leaf.dtype} '.encode())
    found.update(int(_sum_of_bits(leaf)).to_bytes(4, 'little'))
  return found.hexdigest()[:16]
