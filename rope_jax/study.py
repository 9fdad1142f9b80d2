"""A study: trains every method and seed, measures all variants, reports."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from rope_jax import config as config_lib
from rope_jax import data, evaluate, model, report, train, workdir
from rope_jax.evaluate import cells, variants
from rope_jax.evaluate.progress import bar
from rope_jax.gather import Series, natural, study_data
from rope_jax.gather import gather as gather_rows
from rope_jax.report.inputs import AS_TRAINED

Say = Callable[[str], None]


def methods(config: Any) -> dict[str, Any]:
  """The study's methods: name -> spec or layout of specs."""
  found = config_lib.plain(config.methods)
  if not found:
    raise ValueError(
      'config.methods is empty; a study trains at least one, such as '
      "{'rope': {'name': 'rope', 'theta': 1e4}}."
    )
  return found


def run_config(config: Any, method: str, seed: int) -> Any:
  """The configuration of one of the study's trainings."""
  one = config.copy_and_resolve_references()
  with one.unlocked():
    one.name = f'{method}, seed {seed}'
    del one.position  # It may be a spec, and this one a layout.
    one.position = methods(config)[method]
    one.train.seed = int(seed)
    if config.variants_of and method not in config.variants_of:
      one.variants = {}
  return one


def run_dir(folder: pathlib.Path, method: str, seed: int) -> pathlib.Path:
  """Where one training keeps its files."""
  if not re.fullmatch(r'[A-Za-z0-9_.=+-]+', method):
    raise ValueError(
      f'config.methods has {method!r}: a method names a folder, so use '
      'letters, digits and _ . = + - alone.'
    )
  return folder / 'runs' / method / f'seed_{seed}'


def check(config: Any) -> None:
  """Checks all that needs neither data nor a compiler."""
  config_lib.check(config)
  cells.check(config)
  check_seeds(config)
  unknown = set(config.variants_of) - set(methods(config))
  if unknown:
    raise ValueError(
      f'config.variants_of={tuple(config.variants_of)!r} names '
      f'{", ".join(sorted(unknown))}, which config.methods does not have: '
      f'{", ".join(methods(config))}.'
    )
  shape = config_lib.model_config(config, vocab=2)
  for method in methods(config):
    run_dir(pathlib.Path(), method, 0)
    layout = config_lib.layout(run_config(config, method, 0))
    shape.check(layout)
    model.check_training(layout, config.train.train_len)


def check_seeds(config: Any) -> None:
  """Checks that config.seeds are different integers from 0 on."""
  seeds = tuple(config.seeds)
  if (
    not seeds
    or len(set(seeds)) != len(seeds)
    or any(not isinstance(s, int) or s < 0 for s in seeds)
  ):
    raise ValueError(
      f'config.seeds={seeds!r} must be one or more different integers >= 0, '
      'such as (0, 1, 2).'
    )


def run(
  config: Any,
  folder: str | pathlib.Path,
  *,
  note: str = '',
  command: str = '',
  say: Say = print,
  progress: bool = True,
) -> dict[str, pathlib.Path]:
  """Runs a study, or what is left of it, and writes its report.

  Args:
    config: see `rope_jax.config.default`; `methods` and `seeds` say what is
      trained, `variants` and `eval` what is measured.
    folder: the study's workdir. What it holds is not done again.
    note: the study's question, for the report: the config's docstring.
    command: how to run it, for the report.
    say: told what goes on, a line at a time.
    progress: whether to draw progress bars.

  Returns:
    The paths of what was written, by name.

  Raises:
    ValueError: a configuration that cannot run, before any work is done.
  """
  check(config)
  folder = pathlib.Path(folder)
  workdir.check_owner(folder, config, 'a study')
  if jax.process_count() > 1:
    raise ValueError(
      f'a study runs in one process, and there are {jax.process_count()}; '
      'leave config.distributed alone, or train with experiments.train.'
    )
  source = cells.open_documents(config)
  corpus, tokenizer, mark = train.build_corpus(config, folder)
  train.build_sampler(config, corpus)  # Refuses what it cannot sample.
  chosen = evaluate.documents(config, tokenizer, source)
  say(
    f'{len(chosen)} documents of {evaluate.span(config)} tokens to measure on: '
    f'{", ".join(d.id for d in chosen[:4])}, ...'
  )
  with workdir.alone(folder):
    workdir.claim(folder, config, 'a study', {'data': mark})
    failures = _train_and_measure(config, folder, chosen, say, progress)
    gathered = gather(config, folder, chosen)
    made = study_data(
      config,
      gathered,
      note=note,
      command=command,
      train_len=config.train.train_len,
      caveats=caveats(config, chosen),
      failures=failures,
    )
    return report.write_report(folder, made)


def _train_and_measure(
  config: Any,
  folder: pathlib.Path,
  chosen: Sequence[data.EvalDocument],
  say: Say,
  progress: bool,
) -> list[str]:
  """Does what is left to do; returns what could not be measured, and why."""
  pairs = [(m, int(s)) for m in methods(config) for s in config.seeds]
  failures: list[str] = []
  for index, (method, seed) in enumerate(pairs):
    one = run_config(config, method, seed)
    where = run_dir(folder, method, seed)
    say(f'[{index + 1}/{len(pairs)}] {method}, seed {seed}')
    train.share_tokenizer(folder, where)
    trained = train.train(one, where, progress=progress)
    with bar(f'{method}: measuring', show=progress) as tell:
      skipped = evaluate.measure(
        one,
        trained.config,
        trained.layout,
        trained.weights,
        chosen,
        evaluate.Store(where / 'nll'),
        step=trained.step,
        progress=tell,
      )
    for cell in skipped:
      under = variants.shown(cell.variant)
      text = f'{method}, {under}, {cell.length} tokens: {cell.reason}'
      if text not in failures:
        failures.append(text)
  return failures


def gather(
  config: Any,
  folder: pathlib.Path,
  chosen: Sequence[data.EvalDocument],
) -> dict[str, Any]:
  """Reads stores and metrics into the report's rows, seeds pooled and apart."""
  names = [AS_TRAINED, *sorted(config.variants, key=natural)]
  series, training = [], []
  for method in sorted(methods(config), key=natural):
    where = {int(s): run_dir(folder, method, s) for s in config.seeds}
    stores = {s: evaluate.Store(run / 'nll') for s, run in where.items()}
    for variant in names:
      one = Series(method, variant, config.train.train_len, stores, variant)
      series.append(one)
    training += [(method, s, r / 'metrics.jsonl') for s, r in where.items()]
  return gather_rows(config, series, training, chosen)


def caveats(
  config: Any, chosen: Sequence[data.EvalDocument], trained: str = ''
) -> list[str]:
  """What a reader must know before quoting a number.

  Args:
    config: the study's configuration.
    chosen: the documents that were measured on.
    trained: how the models were trained, if not as config.train says.
  """
  seeds, groups = len(config.seeds), len({d.group for d in chosen})
  found = [
    f'{seeds} seed{"s" if seeds > 1 else ""} a method: '
    + (
      'the standard errors include the spread between seeds.'
      if seeds > 1
      else 'the standard errors are over documents alone and say nothing about '
      'another initialisation or data order.'
    ),
    f'Measured on the first {evaluate.span(config):,} tokens of {len(chosen)} '
    f'documents of {config.data.name} ({config.data.eval_split} split, '
    f'{groups} groups); documents of one group may be alike, which makes '
    'standard errors by document optimistic.',
    trained
    or f'{config.train.steps:,} steps of {config.train.batch} x '
    f'{config.train.train_len} tokens: differences between methods may change '
    'with longer training and larger models.',
  ]
  if config.data.tokenizer == 'bytes':
    found.append(
      'Tokens are bytes: lengths and perplexities are per byte and do not '
      'compare with those of subword models; bits per byte do.'
    )
  return found
