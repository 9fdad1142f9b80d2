"""Series whose losses are the same to the last bit, said once."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rope_jax.report.compare import join
from rope_jax.report.inputs import AS_TRAINED, POOLED, StudyData

_MOST = 20  # Names a sentence lists at most: a list of all is the point.


def ties(data: StudyData) -> list[str]:
  """Says which variants of a method changed nothing, and where.

  Two are the same at a length if their losses are, under every protocol, to
  the last bit: as where a factor is 1, or no window is exceeded.

  Args:
    data: the study.

  Returns:
    Sentences: the variants that are the method as trained at every length that
    was read, those that are it at some, and those that are one another.
  """
  found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
  for row in data.rows:
    if row['seed'] == POOLED and row['tokens']:
      at = found.setdefault((row['method'], row['variant']), {})
      at.setdefault(int(row['eval_len']), {})[row['protocol']] = row['nll']
  return [
    text
    for method in data.methods
    for text in _of(
      data, method, {v: x for (m, v), x in found.items() if m == method}
    )
  ]


def _of(
  data: StudyData,
  method: str,
  found: Mapping[str, Mapping[int, Mapping[str, float]]],
) -> list[str]:
  """The sentences on one method: found is variant to length to losses."""
  trained = found.get(AS_TRAINED, {})
  idle: list[str] = []
  partly: dict[tuple[int, ...], list[str]] = {}
  twins: dict[str, list[str]] = {}
  for variant in data.variants:
    mine = found.get(variant, {})
    both = [n for n in sorted(mine) if n in trained]
    same = tuple(n for n in both if _same(mine[n], trained[n]))
    name = data.label(method, variant)
    if same and len(same) == len(mine):
      idle.append(name)
      continue
    if same:
      partly.setdefault(same, []).append(name)
    if mine and all(_same(x, x) for x in mine.values()):
      twins.setdefault(repr(sorted(mine.items())), []).append(name)
  base = data.label(method, AS_TRAINED)
  like = f'the same losses {base if data.alone else f"as {base}"}'
  said = []
  if idle:
    it = 'it changes' if len(idle) == 1 else 'they change'
    said.append(
      f'{join(idle, _MOST)}: {like} at every length read, to the last bit; '
      f'{it} nothing there.'
    )
  for lengths, names in partly.items():
    have = 'has' if len(names) == 1 else 'have'
    said.append(f'At {_tokens(lengths)} {join(names, _MOST)} {have} {like}.')
  for names in twins.values():
    if len(names) > 1:
      said.append(
        f'{join(names, _MOST)} have the same losses as each other at every '
        'length.'
      )
  return said


def _same(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
  """Whether losses by protocol are equal and finite."""
  return dict(a) == dict(b) and all(math.isfinite(x) for x in a.values())


def _tokens(lengths) -> str:
  return f'{join([str(n) for n in lengths], _MOST)} tokens'
