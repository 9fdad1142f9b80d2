"""Schedules: the learning rate of a step, and how long its rows are."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax import data

SCHEDULES = ('cosine', 'linear', 'constant')


def learning_rate(train: Any, step: Any) -> jax.Array:
  """Linear warmup, then what `train.schedule` says.

  rate(i) = peak (i + 1) / warmup                              for i < warmup
  rate(i) = peak (r + (1 - r) fall(u)), u = (i - warmup) / (steps - warmup),
  with r = final_share and fall(u) = (1 + cos(pi u)) / 2 for 'cosine', 1 - u for
  'linear' and 1 for 'constant'.

  Args:
    train: a config's `train` section.
    step: steps done so far.

  Returns:
    float32 scalar.
  """
  at = jnp.asarray(step, jnp.float32)
  rise = (at + 1) / max(train.warmup, 1)
  done = (at - train.warmup) / max(train.steps - train.warmup, 1)
  done = jnp.clip(done, 0, 1)
  if train.schedule == 'cosine':
    left = (1 + jnp.cos(jnp.pi * done)) / 2
  else:
    left = 1 - done if train.schedule == 'linear' else jnp.ones(())
  fall = train.final_share + (1 - train.final_share) * left
  return train.learning_rate * jnp.where(at < train.warmup, rise, fall)


@dataclasses.dataclass(frozen=True)
class Stage:
  """Steps whose rows are of one length.

  Attributes:
    first: its first step.
    train_len: tokens of a row.
    batch: rows of a step, over all devices; batch x train_len is the same in
      every stage.
  """

  first: int
  train_len: int
  batch: int


def stages(train: Any) -> tuple[Stage, ...]:
  """The stages of `train.lengths`, or the one that train_len is.

  Args:
    train: a config's `train` section. `lengths` are pairs (first step, tokens
      of a row); `batch` is that of the last stage, and shorter rows are so
      many more that a step has as many tokens.

  Returns:
    At least one stage, the first from step 0 on.

  Raises:
    ValueError: pairs that do not rise from step 0 to below train.steps and to
      train_len, or a length that does not divide train_len.

  Example:
    >>> from rope_jax import config
    >>> train = config.default().train
    >>> train.update(train_len=128, batch=4, lengths=((0, 32), (50, 128)))
    >>> stages(train)
    (Stage(first=0, train_len=32, batch=16),
     Stage(first=50, train_len=128, batch=4))
  """
  given = train.lengths
  if not len(given):
    return (Stage(0, train.train_len, train.batch),)
  try:
    pairs = [(_whole(first), _whole(length)) for first, length in given]
  except (TypeError, ValueError):
    pairs = []
  firsts, lengths = [p[0] for p in pairs], [p[1] for p in pairs]
  good = (
    bool(pairs)
    and firsts[0] == 0
    and firsts == sorted(set(firsts))
    and firsts[-1] < train.steps
    and lengths == sorted(set(lengths))
    and lengths[0] >= 2
    and lengths[-1] == train.train_len
    and all(train.train_len % length == 0 for length in lengths)
  )
  if not good:
    raise ValueError(
      f'config.train.lengths={given!r} must be pairs (first step, tokens of a '
      f'row) that both rise: from step 0 to below train.steps={train.steps}, '
      f'and up to train.train_len={train.train_len}, which every length must '
      'divide; such as ((0, 128), (100, 512)), or () for train_len throughout.'
    )
  return tuple(
    Stage(first, length, train.batch * train.train_len // length)
    for first, length in pairs
  )


def _whole(value: Any) -> int:
  if isinstance(value, bool) or not isinstance(value, int):
    raise TypeError(value)
  return value


def stage_at(found: tuple[Stage, ...], step: int) -> int:
  """The index of the stage that a step is of."""
  return max(i for i, stage in enumerate(found) if stage.first <= step)


def at_stage(config: Any, stage: Stage) -> Any:
  """The configuration with the rows of a stage; all else is as it was."""
  one = config.copy_and_resolve_references()
  with one.unlocked():
    one.train.train_len, one.train.batch = stage.train_len, stage.batch
  return one


class Staged:
  """The batches of a length schedule, each stage with a sampler of its own.

  A batch depends on corpus, seed, stage and step alone. The first stage draws
  as it would without a schedule; each later one begins an epoch of its own,
  in an order of its own.

  Args:
    corpus: the tokenised documents.
    found: the stages.
    seed: any integer from 0 on.

  Raises:
    ValueError: no document is as long as the longest rows.
  """

  def __init__(self, corpus: data.Corpus, found: tuple[Stage, ...], seed: int):
    self.stages = found
    self._samplers = [
      data.Sampler(
        corpus,
        train_len=stage.train_len,
        batch=stage.batch,
        seed=_seed(seed, index),
      )
      for index, stage in enumerate(found)
    ]

  def batch(
    self, step: int, process: int = 0, processes: int = 1
  ) -> dict[str, np.ndarray]:
    """One process's rows of one step's batch; see `data.Sampler.batch`."""
    index = stage_at(self.stages, step)
    local = step - self.stages[index].first
    return self._samplers[index].batch(local, process, processes)


def _seed(seed: int, stage: int) -> int:
  """A seed for each stage, far from the seeds that users give."""
  if stage == 0:
    return seed
  drawn = np.random.SeedSequence((seed, stage)).generate_state(1, np.uint64)
  return int(drawn[0])
