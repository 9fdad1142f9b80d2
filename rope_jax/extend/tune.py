"""Extension by training: each scheme trained on from one base, one report."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rope_jax import config as config_lib
from rope_jax import data, evaluate, report, study, train, workdir
from rope_jax import mesh as meshes
from rope_jax.evaluate import cells
from rope_jax.evaluate.progress import bar
from rope_jax.extend import plan as plans
from rope_jax.extend import table
from rope_jax.gather import Series, gather, natural, study_data
from rope_jax.report.csvfile import write_atomically
from rope_jax.report.inputs import AS_TRAINED
from rope_jax.study import Say
from rope_jax.train import start as starts

BASE = 'base'  # What the report calls the model that all begins from.
WORK = 'an extension by training'  # What its workdir says that it holds.


def run(
  config: Any,
  folder: str | pathlib.Path,
  *,
  note: str = '',
  command: str = '',
  say: Say = print,
  progress: bool = True,
) -> dict[str, pathlib.Path]:
  """Runs an extension by training, or what is left of it, and reports.

  Trains the base in folder/base, unless config.start names one; measures it as
  trained, under config.variants and under the scheme of each entry of
  config.tune; trains each entry on from it, once a seed, in
  folder/tuned/NAME/seed_S, and measures that under its own scheme.

  Args:
    config: see `rope_jax.config.default`. An entry's `position` is a layout, or
      a spec in place of the base's plain RoPE that inherits what it leaves out
      (theta, train_len; a factor of 'auto' is the entry's train_len / the
      base's); its `train` overrides fields of config.train.
    folder: the workdir. What it holds is not done again.
    note: the question, for the report: the config's docstring.
    command: how to run it, for the report.
    say: told what goes on, a line at a time.
    progress: whether to draw progress bars.

  Returns:
    The paths of what was written, by name: those of `report.write_report`, and
    'extension', the table of the literature.

  Raises:
    ValueError: a configuration that cannot run, before any work is done.
  """
  folder = pathlib.Path(folder)
  plans.check(config)
  if jax.process_count() > 1:
    raise ValueError(
      f'an extension runs in one process, and there are {jax.process_count()}; '
      'leave config.distributed alone, or train with experiments.train.'
    )
  source = cells.open_documents(config)
  mesh, start = None, None
  if config.start:
    rows = config.train.batch // config.train.accumulate
    mesh = meshes.make_mesh(config.mesh, rows)
    start = starts.find(config.start, mesh)
    config = starts.fill(config, start)
  base = plans.base_of(config, folder, start)
  plan = {n: plans.checked(config, n, base) for n in plans.names(config)}
  workdir.check_owner(folder, config, WORK)
  corpus, tokenizer, mark = train.build_corpus(config, folder, start)
  for one in plan.values():
    train.build_sampler(one, corpus)  # Refuses what it cannot sample.
  chosen = evaluate.documents(config, tokenizer, source)
  about = {'data': mark} | ({'start': start.mark} if start else {})
  with workdir.alone(folder):
    workdir.claim(folder, config, WORK, about)
    work = _Work(config, folder, base, plan, chosen, say, progress)
    work.zero_shot(start)
    del start  # A pretrained model is in memory until now.
    work.tune()
    return work.report(note, command)


class _Work:
  """One call of `run`: what it measures and trains."""

  def __init__(self, config, folder, base, plan, chosen, say, progress):
    self._config, self._folder, self._plan = config, folder, plan
    self._base: plans.Base = base
    self._chosen: Sequence[data.EvalDocument] = chosen
    self._say, self._progress = say, progress
    self._failures: list[str] = []
    # Entries whose scheme is that of an earlier one, or of the base, zero-shot.
    self.same: dict[str, str] = {}
    seen = {plans.shown(base.layout): AS_TRAINED}
    for name, one in plan.items():
      key = plans.shown(config_lib.layout(one))
      if key in seen:
        self.same[name] = seen[key]
      seen.setdefault(key, name)

  def zero_shot(self, start: starts.Start | None) -> None:
    """Trains or takes the base, and measures it under every scheme."""
    config, base = self._config, self._base
    if start is None:
      self._say(f'training the base at {base.train_len} tokens')
      one = plans.alone(config, BASE)
      train.share_tokenizer(self._folder, base.path)
      done = train.train(one, base.path, progress=self._progress)
      shape, weights, step = done.config, done.weights, done.step
    else:
      self._say(f'the base is {base.path}')
      weights, step = start.take(), 0
      shape = config_lib.model_config(config, start.shape.vocab)
    reading = config.copy_and_resolve_references()
    with reading.unlocked():
      reading.train.train_len = base.train_len
    self._measure(reading, AS_TRAINED, shape, base.layout, weights, step)
    for name, one in self._plan.items():
      if name not in self.same:
        layout = config_lib.layout(one)
        self._measure(one, name, shape, layout, weights, step)

  def tune(self) -> None:
    """Trains every entry and seed on from the base, and measures it."""
    pairs = [(n, int(s)) for n in self._plan for s in self._config.seeds]
    for index, (name, seed) in enumerate(pairs):
      self._say(f'[{index + 1}/{len(pairs)}] {name}, seed {seed}')
      one = plans.tuned_config(self._config, name, seed, self._base)
      where = self._tuned(name, seed)
      done = train.train(one, where, progress=self._progress)
      self._fill(one, f'{name} tuned', done, where / 'nll')

  def _tuned(self, name: str, seed: int) -> pathlib.Path:
    return self._folder / 'tuned' / name / f'seed_{seed}'

  def _store(self, name: str) -> pathlib.Path:
    """Where the losses of the base under a scheme are."""
    name = 'as_trained' if name == AS_TRAINED else f'under_{name}'
    return self._folder / 'zero_shot' / name

  def _measure(self, one, name, shape, layout, weights, step) -> None:
    label = BASE if name == AS_TRAINED else f'{BASE} + {name}'
    done = train.TrainResult(shape, layout, weights, step, {}, step, 0.0)
    self._fill(one, label, done, self._store(name))

  def _fill(self, one, label, done: train.TrainResult, where) -> None:
    with bar(f'{label}: measuring', show=self._progress) as tell:
      skipped = evaluate.measure(
        one,
        done.config,
        done.layout,
        done.weights,
        self._chosen,
        evaluate.Store(where),
        step=done.step,
        progress=tell,
      )
    for cell in skipped:
      under = '' if cell.variant == AS_TRAINED else f', {cell.variant}'
      text = f'{label}{under}, {cell.length} tokens: {cell.reason}'
      if text not in self._failures:
        self._failures.append(text)

  def report(self, note: str, command: str) -> dict[str, pathlib.Path]:
    """Writes the report and the table."""
    config, base = self._config, self._base
    first = {0: evaluate.Store(self._store(AS_TRAINED))}
    series = [
      Series(BASE, variant, base.train_len, first, variant)
      for variant in (AS_TRAINED, *sorted(config.variants, key=natural))
    ]
    lines, training = [table.Line('as trained', BASE, AS_TRAINED)], []
    lines += [table.Line(s.variant, BASE, s.variant) for s in series[1:]]
    if not config.start:
      training.append((BASE, 0, base.path / 'metrics.jsonl'))
    for name, one in self._plan.items():
      if name not in self.same:
        stores = {0: evaluate.Store(self._store(name))}
        series.append(Series(BASE, name, base.train_len, stores, AS_TRAINED))
        lines.append(table.Line(name, BASE, name))
      where = {int(s): self._tuned(name, int(s)) for s in config.seeds}
      stores = {s: evaluate.Store(run / 'nll') for s, run in where.items()}
      label = f'{name} tuned'
      length = one.train.train_len
      series.append(Series(label, AS_TRAINED, length, stores, AS_TRAINED))
      lines.append(table.Line(name, label, AS_TRAINED, one.train))
      training += [(label, s, r / 'metrics.jsonl') for s, r in where.items()]
    gathered = gather(config, series, training, self._chosen)
    _pad(gathered['influence'])
    made = study_data(
      config,
      gathered,
      note=note,
      command=command,
      train_len=base.train_len,
      caveats=self._caveats(),
      failures=self._failures,
      tuned={f'{n} tuned': (n, self.same.get(n) or n) for n in self._plan},
    )
    text = table.extension_md(made, lines, self.same)
    paths = report.write_report(self._folder, made)
    where = self._folder / 'extension.md'
    return {**paths, 'extension': write_atomically(where, text.encode())}

  def _caveats(self) -> list[str]:
    said = [
      f'{name}: {one.train.steps:,} steps of {one.train.batch} x '
      f'{one.train.train_len} tokens'
      for name, one in self._plan.items()
    ]
    trained = (
      f'Fine-tuned from {self._base.path.name} ({"; ".join(said)}): '
      'differences between schemes may change with longer training and larger '
      'models.'
    )
    found = study.caveats(self._config, self._chosen, trained)
    if self._config.start and not (self._base.path / 'checkpoints').is_dir():
      found.append(
        'The documents may have been among those that the pretrained model was '
        'trained on.'
      )
    return found


def _pad(influence: dict[Any, np.ndarray]) -> None:
  """Gives figures of one seed zeros for the others' seeds, so that they pair.

  The first entries of every vector are the documents, in one order.
  """
  most = max((len(v) for v in influence.values()), default=0)
  for key, value in influence.items():
    influence[key] = np.pad(value, (0, most - len(value)))
