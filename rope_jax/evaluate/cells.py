"""Measures a trained model: every variant at every length, into the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rope_jax import config as config_lib
from rope_jax import data
from rope_jax.data.documents import NoSplit
from rope_jax.data.windows import TooShort
from rope_jax.evaluate import nll, protocols, refusals, variants
from rope_jax.evaluate.store import Cell, Store
from rope_jax.model import ModelConfig
from rope_jax.positions import Layout

# Called with (what, tokens done, tokens in all).
Progress = Callable[[str, int, int], None]


def span(config: Any) -> int:
  """Tokens of each document that are predicted."""
  return config.eval.span or max(config.eval.lengths)


def open_documents(config: Any) -> data.Documents:
  """What the evaluation's documents are chosen from: needs no tokenizer.

  Raises:
    ValueError: no such data set or split, or too few documents in it.
  """
  try:
    found = data.load_split(config.data, config.data.eval_split)
  except NoSplit as error:
    raise ValueError(refusals.no_split(config, error)) from error
  if len(found) < config.eval.documents:
    raise ValueError(refusals.too_few(config, found.name, len(found)))
  return found


def documents(
  config: Any,
  tokenizer: data.Tokenizer,
  source: data.Documents | None = None,
) -> list[data.EvalDocument]:
  """The documents of the evaluation: span + 1 tokens of each.

  Args:
    config: its `data` and `eval`.
    tokenizer: the model's.
    source: from `open_documents`, where that was asked first.

  Raises:
    ValueError: too few are long enough; says how many are.
  """
  source = open_documents(config) if source is None else source
  length, count = span(config) + 1, config.eval.documents
  try:
    return data.evaluation_documents(
      source, tokenizer, length=length, count=count
    )
  except TooShort as error:
    raise ValueError(refusals.too_short(config, error)) from error


def documents_fingerprint(chosen: Sequence[data.EvalDocument]) -> str:
  """A short hash of the tokens that are read."""
  digest = hashlib.sha256()
  for document in chosen:
    digest.update(document.id.encode())
    digest.update(document.tokens.astype(np.int32).tobytes())
  return digest.hexdigest()[:16]


def check(config: Any) -> None:
  """Checks protocols and variants before any work is done."""
  lengths = tuple(config.eval.lengths)
  if not config.eval.protocols:
    raise ValueError(
      'config.eval.protocols is empty; give at least one of whole, last(k), '
      "slide(stride), such as ('whole', 'last(64)')."
    )
  for length in lengths:
    protocols.starts(
      tuple(config.eval.protocols), length, span(config), max(lengths)
    )
  for name, spec in config_lib.plain(config.variants).items():
    if name == variants.AS_TRAINED:
      raise ValueError(
        f'config.variants has {name!r}, which means as trained and is always '
        'measured; give the variant another name.'
      )
    trained, known = variants.Rope(theta=1e4), config.train.train_len
    for length in lengths:
      try:
        variants.layout_under(
          spec, (trained,), train_len=known, eval_len=length
        )
      except ValueError as error:
        raise ValueError(f'config.variants.{name}: {error}') from error


def measure(
  config: Any,
  model_config: ModelConfig,
  layout: Layout,
  weights: Any,
  chosen: Sequence[data.EvalDocument],
  store: Store,
  *,
  step: int,
  progress: Progress | None = None,
) -> list[variants.Skipped]:
  """Fills the store with the cells that are not there yet.

  Args:
    config: the experiment's configuration: its `eval` and `variants`.
    model_config: the model's shape.
    layout: the methods it was trained with.
    weights: its weights, on their mesh.
    chosen: the documents, span + 1 tokens each.
    store: where cells are kept. A cell of the same weights' step, methods,
      windows and documents is not measured again.
    step: of the training, for the record.
    progress: told after every cell that was not there.

  Returns:
    What could not be measured, and why.
  """
  check(config)
  lengths = tuple(int(length) for length in config.eval.lengths)
  specs: Mapping[str, Any] = {
    variants.AS_TRAINED: None,
    **config_lib.plain(config.variants),
  }
  print_of = documents_fingerprint(chosen)
  skipped, plan = [], []
  for length in lengths:
    seen: list[tuple[str, Layout]] = []
    for name, spec in specs.items():
      try:
        under = variants.layout_under(
          spec, layout, train_len=config.train.train_len, eval_len=length
        )
        if under is None:
          continue
        model_config.check(under)
        nll.check_reach(under, length)
      except ValueError as error:
        skipped.append(variants.Skipped(name, length, str(error)))
        continue
      head_dim = model_config.head_dim
      like = next(
        (
          other
          for other, earlier in seen
          if variants.same_scores(under, earlier, head_dim, length)
        ),
        None,
      )
      seen.append((name, under))
      plan.append((name, length, under, like))
  total = span(config) * len(chosen) * len(plan)  # At least: 'whole'.
  done = 0
  for name, length, under, like in plan:
    start = protocols.starts(
      tuple(config.eval.protocols), length, span(config), max(lengths)
    )
    meta = {
      'variant': name,
      'length': length,
      'layout': variants.describe(under),
      'step': step,
      'documents': print_of,
      'starts': hashlib.sha256(start.tobytes()).hexdigest()[:16],
    }
    have = store.read(name, length)
    fresh = have is None or have.meta != json.loads(json.dumps(meta))
    if fresh:
      source = store.read(like, length) if like is not None else None
      if source is not None:
        cell = Cell(source.document, source.start, source.nll, meta)
      else:
        cell = _measure_cell(
          config, model_config, under, weights, chosen, start, length, meta
        )
      store.write(cell)
    done += span(config) * len(chosen)
    if progress and fresh:
      progress(f'{variants.shown(name)} at {length}', done, total)
  return skipped


def _measure_cell(
  config, model_config, layout, weights, chosen, start, length, meta
) -> Cell:
  document = np.repeat(np.arange(len(chosen), dtype=np.int32), len(start))
  begin = np.tile(start.astype(np.int32), len(chosen))
  multiple = nll.rows_multiple(weights['embed'])
  rows = max(multiple, config.eval.tokens // length // multiple * multiple)
  rows = min(rows, -(-len(document) // multiple) * multiple)
  found = []
  for first in range(0, len(document), rows):
    picks = np.arange(first, first + rows).clip(max=len(document) - 1)
    windows = np.stack(
      [
        chosen[document[i]].tokens[begin[i] : begin[i] + length + 1]
        for i in picks
      ]
    ).astype(np.int32)
    found.append(nll.windows_nll(model_config, layout, weights, windows))
  losses = np.concatenate(found)[: len(document)]
  return Cell(document, begin, losses, meta)
