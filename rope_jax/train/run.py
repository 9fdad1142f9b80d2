"""One call of `train`: step, report, save, and stop cleanly."""

from __future__ import annotations

import collections
import contextlib
import math
import pathlib
import signal
import time
from typing import Any

import jax

from rope_jax import data, metrics
from rope_jax.checkpoint import Checkpoints
from rope_jax.model import Weights
from rope_jax.train import lora, schedule
from rope_jax.train import program as programs
from rope_jax.train.signals import Interrupted, Signals

# Steps that may wait on the device; more would only hold their batches.
IN_FLIGHT = 8


class Diverged(FloatingPointError):
  """A loss or gradient that is not finite.

  Attributes:
    step: the step that first had one, from 1 on.
    last_good: the step of the newest checkpoint, None if there is none.
  """

  def __init__(self, message: str, step: int, last_good: int | None):
    super().__init__(message)
    self.step, self.last_good = step, last_good


class Run:
  """One call of `train`: the state of the loop."""

  def __init__(
    self, config, workdir, stages, checkpoints, sampler, progress, begin=None
  ):
    self._config, self._workdir = config, workdir
    self._begin = begin  # Reads the weights to begin from, if any are given.
    self._stages = schedule.stages(config.train)
    self._programs: list[programs.Program] = stages
    self._program: programs.Program = stages[0]  # Their states are alike.
    self._checkpoints: Checkpoints = checkpoints
    self._sampler: programs.Batches = sampler
    self._show = progress and jax.process_index() == 0
    self.compile_seconds = 0.0
    self.step = self.resumed_from = 0
    self.last: dict[str, float] = {}
    self._tokens = 0.0  # Targets trained on, in the whole run.
    self._seconds = 0.0  # Spent on steps, in the whole run.
    self._saved: int | None = None
    self._pending: collections.deque[tuple[int, Any]] = collections.deque()

  def go(self) -> Weights:
    """Runs to the end; returns the weights."""
    train, name = self._config.train, self._config.name
    found = self._checkpoints.restore(_items(self._program.targets))
    if found:
      self.step, items, about = found
      state = self._program.load(_state(self._program.targets, items))
      self._tokens, self._seconds = about['tokens'], about['seconds']
      self.resumed_from = self._saved = self.step
    else:
      state = self._program.init(self._begin and self._begin())
    self._begin = None
    with contextlib.ExitStack() as stack:
      show = metrics.Progress(name, train.steps, self.step, show=self._show)
      stack.enter_context(show)
      if found:
        done = ' (finished)' if self.step >= train.steps else ''
        show.say(f'resumed at step {self.step}{done}')
      rows = metrics.read(pathlib.Path(self._workdir) / 'metrics.jsonl')
      self.last = metrics.summary([r for r in rows if r['step'] <= self.step])
      if self.step < train.steps:
        writer = None
        if jax.process_index() == 0:
          writer = stack.enter_context(
            metrics.Writer(
              self._workdir, self.step, tensorboard=train.tensorboard
            )
          )
        state = self._loop(state, show, writer)
    return lora.merged(self._program.save(state).weights)

  def _loop(self, state, show, writer):
    train = self._config.train

    def at(step):
      return schedule.stage_at(self._stages, step)

    with (
      data.Prefetch(
        lambda step: step,
        self.step,
        train.steps,
        place=lambda step: self._programs[at(step)].place(self._sampler, step),
      ) as batches,
      Signals() as signals,
    ):
      compiled = {}
      for step, batch in batches:
        stage = at(step)
        if stage not in compiled:
          compiled[stage] = self._compile(stage, state, batch, show)
        state, out = compiled[stage](state, batch)
        self.step = step + 1
        self._pending.append((self.step, out))
        if len(self._pending) > IN_FLIGHT:
          jax.block_until_ready(self._pending[-IN_FLIGHT][1])
        last = self.step == train.steps
        if last or self.step == 1 or self.step % train.log_every == 0:
          self._report(show, writer)
        caught = signals.caught(self.step)
        if caught or last or self.step % train.checkpoint_every == 0:
          self._save(state)
        if caught:
          self._stop(caught)
    self._checkpoints.wait()
    return state

  def _compile(self, stage, state, batch, show):
    ways, length = self._program.devices, self._stages[stage].train_len
    rows = f'rows of {length} tokens ' if len(self._stages) > 1 else ''
    show.say(f'compiling {rows}for {ways} device{"s" if ways > 1 else ""} ...')
    first = self.compile_seconds == 0.0
    if not first:
      jax.block_until_ready(state)  # Not to be counted as compiling.
    began = time.monotonic()
    compiled = self._programs[stage].step.lower(state, batch).compile()
    took = time.monotonic() - began
    self.compile_seconds += took
    show.say(f'compiled in {took:.1f} s')
    if first:
      show.begin()
      self._mark, self._mark_tokens = time.monotonic(), self._tokens
    else:
      self._mark += took
    return compiled

  def _settle(self) -> dict[str, float]:
    """Fetches the metrics of all steps since the last time, and checks them.

    A run asks for this before it reports or saves, so that a state that is not
    finite is neither reported as good nor saved.
    """
    row = {}
    while self._pending:
      step, out = self._pending.popleft()
      row = {k: float(_scalar(v)) for k, v in out.items()}
      if not (math.isfinite(row['loss']) and math.isfinite(row['grad_norm'])):
        self._diverged(step, row)
      self._tokens += row['tokens']
    return row

  def _diverged(self, step: int, row: dict[str, float]) -> None:
    self._checkpoints.wait()
    good = self._saved
    where = (
      f'the last good checkpoint is {self._checkpoints.folder / str(good)}'
      if good is not None
      else 'no checkpoint had been saved yet'
    )
    raise Diverged(
      f'step {step}: loss={row["loss"]}, grad_norm={row["grad_norm"]} is not '
      f'finite; {where}, and nothing after it was saved. Lower '
      f'config.train.learning_rate={self._config.train.learning_rate} or '
      f'config.train.clip={self._config.train.clip}, or raise '
      f'config.train.warmup={self._config.train.warmup}.',
      step,
      good,
    )

  def _report(self, show, writer) -> None:
    row = self._settle()
    now = time.monotonic()
    passed = max(now - self._mark, 1e-9)
    self._seconds += passed
    row = {
      'step': self.step,
      'loss': row['loss'],
      'learning_rate': row['learning_rate'],
      'grad_norm': row['grad_norm'],
      'tokens': self._tokens,
      'tokens_per_second': (self._tokens - self._mark_tokens) / passed,
      'seconds': self._seconds,
    }
    self._mark, self._mark_tokens = now, self._tokens
    self.last = row
    if writer:
      writer.write(row)
    show.update(row)

  def _save(self, state) -> None:
    """Begins to save this step, unless it is saved."""
    if self._saved == self.step:
      return
    self._settle()
    seconds = self._seconds + time.monotonic() - self._mark
    about = {
      'tokens': self._tokens,
      'seconds': seconds,
      'vocab': int(self._program.targets.weights['embed'].shape[0]),
    }
    self._checkpoints.save(self.step, _items(self._program.save(state)), about)
    self._saved = self.step

  def _stop(self, number: int) -> None:
    self._checkpoints.wait()
    if jax.process_index() == 0:
      print(
        f'{signal.Signals(number).name}: saved step {self.step} under '
        f'{self._checkpoints.folder}; the same command goes on from there.',
        flush=True,
      )
    raise Interrupted(number, self.step)


def _items(state: Any) -> dict[str, Any]:
  return {
    'weights': state.weights,
    'optimizer': state.optimizer,
    'progress': {'step': state.step},
  }


def _state(targets: Any, items: dict[str, Any]) -> Any:
  return type(targets)(
    items['progress']['step'], items['weights'], items['optimizer']
  )


def _scalar(value: jax.Array) -> Any:
  """A metric: one number, or under pmap the same one from each device."""
  return value.addressable_data(0).reshape(-1)[0] if value.ndim else value
