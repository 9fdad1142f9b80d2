"""A study: trains every method and seed, measures all variants, reports."""

from __future__ import annotations

import pathlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from rope_jax import config as config_lib
from rope_jax import data, evaluate, metrics, model, report, train, workdir
from rope_jax.evaluate import cells
from rope_jax.evaluate.progress import bar
from rope_jax.report.inputs import AS_TRAINED, POOLED

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
  workdir.check_owner(folder, config, begun=('runs',))
  if jax.process_count() > 1:
    raise ValueError(
      f'a study runs in one process, and there are {jax.process_count()}; '
      'leave config.distributed alone, or train with experiments.train.'
    )
  corpus, tokenizer, mark = train.build_corpus(config, folder)
  train.build_sampler(config, corpus)  # Refuses what it cannot sample.
  chosen = evaluate.documents(config, tokenizer)
  say(
    f'{len(chosen)} documents of {evaluate.span(config)} tokens to measure on: '
    f'{", ".join(d.id for d in chosen[:4])}, ...'
  )
  with workdir.alone(folder):
    workdir.claim(folder, config, {'data': mark}, begun=('runs',))
    failures = _train_and_measure(config, folder, chosen, say, progress)
    gathered = gather(config, folder, chosen)
    title, _, question = note.strip().partition('\n')
    return report.write_report(
      folder,
      report.StudyData(
        title=title.rstrip('.') or str(config.name),
        question=question.strip(),
        train_len=config.train.train_len,
        command=command,
        config=config_lib.plain(config),
        versions=workdir.versions(),
        caveats=caveats(config, chosen),
        failures=failures,
        **gathered,
      ),
    )


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
    _share_tokenizer(folder, where)
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
      text = f'{method}, {cell.variant}, {cell.length} tokens: {cell.reason}'
      if text not in failures:
        failures.append(text)
  return failures


def _share_tokenizer(folder: pathlib.Path, where: pathlib.Path) -> None:
  """Gives a training the study's BPE, if it has one: it is learnt once."""
  learnt, own = folder / 'tokenizer.json', where / 'tokenizer.json'
  if learnt.exists() and not own.exists():
    where.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(learnt, own)


def gather(
  config: Any,
  folder: pathlib.Path,
  chosen: Sequence[data.EvalDocument],
) -> dict[str, Any]:
  """Reads stores and metrics into the report's rows, seeds pooled and apart."""
  lengths = [int(length) for length in config.eval.lengths]
  names = [AS_TRAINED, *sorted(config.variants, key=_natural)]
  byte_lengths = np.stack([d.bytes_per_token for d in chosen])
  sizes = {'span': evaluate.span(config), 'longest': max(lengths)}
  rows, positions, training, influence = [], [], [], {}
  for method in sorted(methods(config), key=_natural):
    stores = {
      int(seed): evaluate.Store(run_dir(folder, method, seed) / 'nll')
      for seed in config.seeds
    }
    for seed in stores:
      path = run_dir(folder, method, seed) / 'metrics.jsonl'
      training.append({'method': method, 'seed': seed, **_curve(path)})
    for variant in names:
      for length in lengths:
        read = {s: store.read(variant, length) for s, store in stores.items()}
        found = {s: cell for s, cell in read.items() if cell is not None}
        if not found:
          continue
        key = {
          'method': method,
          'variant': variant,
          'train_len': config.train.train_len,
          'eval_len': length,
        }
        for protocol in config.eval.protocols:
          sums = {
            s: evaluate.sums(c, protocol, byte_lengths=byte_lengths, **sizes)
            for s, c in found.items()
          }
          for seed, one in sums.items():
            rows.append(_row(key, protocol, evaluate.figure([one]), seed))
          pooled = evaluate.figure(list(sums.values()))
          rows.append(_row(key, protocol, pooled, POOLED))
          if len(pooled.influence):
            where = (method, variant, length, protocol)
            influence[where] = pooled.influence
        curve = evaluate.by_position(list(found.values()))
        positions.append(
          {
            'method': method,
            'variant': variant,
            'eval_len': length,
            'seed': POOLED,
            'position': curve.position,
            'nll': curve.nll,
            'stderr': curve.stderr,
          }
        )
  return {
    'rows': rows,
    'by_position': positions,
    'training': training,
    'influence': influence,
  }


def _natural(name: str) -> list[tuple[int, int, str]]:
  """A sorting key that puts 'ntk-2' before 'ntk-16'."""
  parts = re.split(r'(\d+)', name)
  return [(0, int(p), '') if p.isdigit() else (1, 0, p) for p in parts]


def _row(
  key: Mapping[str, Any],
  protocol: str,
  figure: evaluate.Figure,
  seed: int | str,
) -> dict[str, Any]:
  return {
    **key,
    'protocol': protocol,
    'nll': figure.nll,
    'stderr': figure.stderr,
    'perplexity': figure.perplexity,
    'bits_per_byte': figure.bits_per_byte,
    'tokens': figure.tokens,
    'documents': figure.documents,
    'seed': seed,
  }


def _curve(path: pathlib.Path) -> dict[str, np.ndarray]:
  """A training curve out of metrics.jsonl."""
  rows = metrics.read(path)
  return {
    name: np.array([row[name] for row in rows], float)
    for name in ('step', 'tokens', 'loss', 'tokens_per_second')
  }


def caveats(config: Any, chosen: Sequence[data.EvalDocument]) -> list[str]:
  """What a reader must know before quoting a number."""
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
    f'{config.train.steps:,} steps of {config.train.batch} x '
    f'{config.train.train_len} tokens: differences between methods may change '
    'with longer training and larger models.',
  ]
  if config.data.tokenizer == 'bytes':
    found.append(
      'Tokens are bytes: lengths and perplexities are per byte and do not '
      'compare with those of subword models; bits per byte do.'
    )
  return found
