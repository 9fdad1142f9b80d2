"""What a report is made of: `StudyData`, and how its cells are looked up."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

POOLED = 'all'  # `seed` of the row that pools every seed.
AS_TRAINED = 'none'  # `variant` of the method as it was trained.

COLUMNS = (
  'method',
  'variant',
  'train_len',
  'eval_len',
  'protocol',
  'nll',
  'stderr',
  'perplexity',
  'bits_per_byte',
  'tokens',
  'documents',
  'seed',
)

# How the report names a unit, by the column of curves.csv that holds it.
UNITS = {
  'bits_per_byte': 'bits per byte',
  'nll': 'nats per token',
  'perplexity': 'perplexity',
}

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class StudyData:
  """Everything a report shows, as plain data.

  Args:
    title: one line.
    question: the docstring of the study's config, its lab note.
    train_len: trained length, tokens.
    rows: one mapping for each row of curves.csv, with exactly `COLUMNS`;
      `seed` is an int, or 'all' for the row that pools the seeds (always
      there); nll and stderr in nats per token. A row whose nll is NaN or
      infinite is shown as diverged; an absent row, or one with no tokens,
      as missing.
    by_position: mappings with method, variant, eval_len, seed and the arrays
      position [p] (number of preceding tokens), nll [p], stderr [p].
    training: mappings with method, seed and the arrays step [s], tokens [s],
      loss [s] in nats per token, and optionally val_step [v], val_loss [v],
      tokens_per_second.
    config: the configuration, nested.
    versions: package to version.
    caveats: sentences a reader must know before quoting a number.
    failures: what was skipped, each with its reason.
    influence: (method, variant, eval_len, protocol) -> the vector whose norm
      is the stderr of the pooled row, in nats: one entry a document (and a
      seed), so that the norm of a difference of two is the standard error of
      the paired difference. Where absent, errors add as if independent.
    command: the shell command that reproduces the study.
    tuned: of an extension by training, method -> (scheme, variant): a method
      that was trained on from the first one, what a reader calls its scheme,
      and the variant of the first one that is the same scheme without training
      ('none' where that is the first one as it was trained).

  Raises:
    ValueError: a row lacks a column, has one too many, or there is no pooled
      row at all.
  """

  title: str
  question: str
  train_len: int
  rows: Sequence[Row]
  by_position: Sequence[Row] = ()
  training: Sequence[Row] = ()
  config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  versions: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  caveats: Sequence[str] = ()
  failures: Sequence[str] = ()
  influence: Mapping[Any, np.ndarray] = dataclasses.field(default_factory=dict)
  command: str = ''
  tuned: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    for i, row in enumerate(self.rows):
      missing = [c for c in COLUMNS if c not in row]
      unknown = [c for c in row if c not in COLUMNS]
      if missing or unknown:
        raise ValueError(
          f'rows[{i}] has missing columns {missing} and unknown columns '
          f'{unknown}; a row has exactly {", ".join(COLUMNS)}.'
        )
    if not any(row['seed'] == POOLED for row in self.rows):
      raise ValueError(
        f"rows has {len(self.rows)} rows and none with seed '{POOLED}': "
        'nothing was evaluated, or the seeds were not pooled. Add the pooled '
        'row for every method, variant, eval_len and protocol.'
      )

  @property
  def methods(self) -> tuple[str, ...]:
    """Method names in order of appearance."""
    return _unique(row['method'] for row in self.rows)

  @property
  def variants(self) -> tuple[str, ...]:
    """Variant names in order of appearance, without 'none'."""
    names = _unique(row['variant'] for row in self.rows)
    return tuple(name for name in names if name != AS_TRAINED)

  @property
  def series(self) -> tuple[tuple[str, str], ...]:
    """(method, variant) pairs: each method as trained, then its variants."""
    seen = {(row['method'], row['variant']) for row in self.rows}
    order = (AS_TRAINED, *self.variants)
    return tuple((m, v) for m in self.methods for v in order if (m, v) in seen)

  @property
  def lengths(self) -> tuple[int, ...]:
    """Evaluated lengths, ascending, in tokens."""
    return tuple(sorted({int(row['eval_len']) for row in self.rows}))

  @property
  def protocols(self) -> tuple[str, ...]:
    """Protocol names in order of appearance."""
    return _unique(row['protocol'] for row in self.rows)

  @property
  def protocol(self) -> str:
    """The protocol of the figure and the findings.

    `last` if there is one, since its target tokens are the same at every
    length, so that a curve shows the effect of the context alone; then
    `slide` and `whole`, which count all tokens at every length, then `prefix`
    of a number, then whatever came first.
    """
    for kind in ('last', 'slide', 'whole', 'prefix('):
      for name in self.protocols:
        if name.startswith(kind):
          return name
    return self.protocols[0]

  @property
  def alone(self) -> bool:
    """Whether it reads one model under schemes: rows are named by these."""
    return bool(self.tuned) or (len(self.methods) == 1 and bool(self.variants))

  @property
  def kind(self) -> str:
    """What a row of a table is."""
    return 'scheme' if self.alone else 'method'

  def label(self, method: str, variant: str) -> str:
    """What a reader calls a series.

    Of several methods 'rope' and 'rope + ntk'; of one model 'as trained' and
    'ntk'; where schemes were trained, 'ntk zero-shot' and 'ntk fine-tuned'.
    """
    if method in self.tuned:
      return label(f'{self.tuned[method][0]} fine-tuned', variant)
    if not self.alone:
      return label(method, variant)
    if variant == AS_TRAINED:
      return 'as trained'
    return f'{variant} zero-shot' if self.tuned else variant

  def start(self, method: str) -> tuple[str, str]:
    """The series that changes are told against: as trained, of the base."""
    return (self.methods[0] if method in self.tuned else method), AS_TRAINED

  @property
  def seeds(self) -> tuple[int, ...]:
    """The seeds that have rows of their own."""
    seeds = _unique(r['seed'] for r in self.rows if r['seed'] != POOLED)
    return tuple(sorted(int(seed) for seed in seeds))

  @property
  def certain(self) -> bool:
    """Whether any standard error is known: there are several documents."""
    return any(
      _number(row['stderr']) is not None
      for row in self.rows
      if row['seed'] == POOLED
    )

  @property
  def unit(self) -> str:
    """Bits per byte where they are known, else perplexity."""
    known = any(_number(r['bits_per_byte']) is not None for r in self.rows)
    return 'bits_per_byte' if known else 'perplexity'


@dataclasses.dataclass(frozen=True)
class Value:
  """A measured number: value and standard error in one unit.

  A diverged one (NaN or infinite loss) has value NaN. `influence` is the
  vector whose norm is the stderr, where it is known; see `StudyData`.
  """

  value: float
  stderr: float
  influence: np.ndarray | None = dataclasses.field(default=None, compare=False)

  @property
  def diverged(self) -> bool:
    return not math.isfinite(self.value)


def cells(data: StudyData, protocol: str, unit: str) -> dict[Any, Value]:
  """Returns the pooled value of each (method, variant, length) measured."""
  found = {}
  for row in data.rows:
    if row['seed'] == POOLED and row['protocol'] == protocol:
      key = row['method'], row['variant'], int(row['eval_len'])
      value = read(row, unit, data.influence.get((*key, protocol)))
      if value is not None:
        found[key] = value
  return found


def read(
  row: Row, unit: str, influence: np.ndarray | None = None
) -> Value | None:
  """Reads a row in a unit; None where nothing was scored.

  The standard error is that of nll carried over to first order: times the
  row's own ratio for bits per byte, times the perplexity for perplexity.
  """
  if not row['tokens']:
    return None
  nll = _number(row['nll'])
  value = _number(row[unit])
  if nll is None or value is None:
    return Value(math.nan, math.nan)
  stderr = _number(row['stderr'])
  slope = {'nll': 1.0, 'perplexity': value}.get(unit)
  if slope is None:
    slope = value / nll if nll else 1.0
  return Value(
    value,
    math.nan if stderr is None else stderr * slope,
    None if influence is None else influence * slope,
  )


def bits_per_nat(data: StudyData) -> float | None:
  """The study's median of bits per byte over nats per token, or None."""
  ratios = sorted(
    bits / nll
    for row in data.rows
    if (nll := _number(row['nll']))
    and (bits := _number(row['bits_per_byte'])) is not None
  )
  return ratios[len(ratios) // 2] if ratios else None


def label(method: str, variant: str) -> str:
  """'rope' as trained, 'rope + ntk' with a variant."""
  return method if variant == AS_TRAINED else f'{method} + {variant}'


def family(variant: str) -> str:
  """The scheme of a variant: 'ntk' of 'ntk', 'ntk-16', 'ntk(factor=16)'."""
  return re.split(r'[\s(@:=/-]|x?\d', variant, maxsplit=1)[0] or variant


def times(length: int, train_len: int) -> str:
  """The length as a multiple of the trained one: '16x', '1.5x'."""
  return f'{length / train_len:.3g}x'


def _number(value) -> float | None:
  """A finite float, or None."""
  if value is None or value == '':
    return None
  value = float(value)
  return value if math.isfinite(value) else None


def _unique(values) -> tuple:
  return tuple(dict.fromkeys(values))
