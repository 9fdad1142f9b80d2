"""How far a model goes that is there already, and which scheme takes it on."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from rope_jax import config as config_lib
from rope_jax import data, evaluate, positions, report, workdir
from rope_jax import mesh as meshes
from rope_jax.evaluate import cells, long, variants
from rope_jax.evaluate.progress import bar
from rope_jax.gather import READ, Series, gather, natural, study_data
from rope_jax.model import ModelConfig
from rope_jax.report.inputs import AS_TRAINED
from rope_jax.study import Say
from rope_jax.train import start as starts

WORK = 'an extension without training'  # What its workdir says it holds.


def sized(config: Any) -> Any:
  """The configuration that is run: with full=False, what `quick` leaves of it.

  Raises:
    ValueError: `quick` names variants that there are not.
  """
  if config.full:
    return config
  one, quick = config.copy_and_resolve_references(), config.quick
  unknown = set(quick.variants) - set(config.variants)
  if unknown:
    raise ValueError(
      f'config.quick.variants has {", ".join(sorted(unknown))}, which '
      f'config.variants has not: {", ".join(config.variants)}.'
    )
  with one.unlocked():
    if quick.variants:
      one.variants = {n: config.variants[n] for n in quick.variants}
    if quick.lengths:
      one.eval.lengths = quick.lengths
    if quick.documents:
      one.eval.documents = quick.documents
  return one


def filled(config: Any, train_len: int) -> Any:
  """A configuration whose lengths, where it has none, are 1, 2 and 4 times the
  trained one."""
  one = config.copy_and_resolve_references()
  if not one.eval.lengths:
    one.eval.lengths = tuple(times * train_len for times in (1, 2, 4))
  # No batches are read here, so no length is too long for one.
  one.eval.tokens = max(one.eval.tokens, *one.eval.lengths)
  return one


def check(config: Any) -> None:
  """Checks what needs neither the model nor the data, lengths apart."""
  if not config.start:
    raise ValueError(
      'config.start is empty; name the model to extend: a Hugging Face folder, '
      'a .gguf file, the workdir of a training, or package:NAME for a Python '
      'package that holds one. To train a base first, give config.tune.'
    )
  mesh, chunk = config.mesh, config.eval.chunk
  if mesh.data not in (-1, 1) or mesh.fsdp != 1:
    raise ValueError(
      f'config.mesh has data={mesh.data}, fsdp={mesh.fsdp}, which share out '
      'rows, and one text is read at a time here. Set both to 1 and '
      'config.mesh.seq=-1, which shares out the tokens of a text.'
    )
  if chunk < 0:
    raise ValueError(
      f'config.eval.chunk={chunk} must be a number of tokens > 0, or 0 for '
      '2048.'
    )
  if config.eval.cache_dtype not in ('', 'float32', 'bfloat16'):
    raise ValueError(
      f'config.eval.cache_dtype={config.eval.cache_dtype!r} must be float32, '
      'bfloat16, or empty for that of the model.'
    )


def check_reading(config: Any) -> None:
  """Checks what needs lengths: they may be those of the model."""
  config_lib.check(config)
  cells.check(config)


def mesh_of(config: Any) -> Mesh:
  """The mesh: one row, its tokens over 'seq'.

  Raises:
    ValueError: sizes that do not fit the devices, or that do not divide the
      tokens read at a time.
  """
  mesh = meshes.make_mesh({**config.mesh, 'data': 1}, rows=1)
  chunk, ways = config.eval.chunk, mesh.shape['seq']
  if chunk % ways:
    raise ValueError(
      f'config.eval.chunk={chunk} must be a multiple of the {ways} devices of '
      f'config.mesh.seq={config.mesh.seq}, such as {-(-chunk // ways) * ways}.'
    )
  return mesh


def run(
  config: Any,
  folder: str | pathlib.Path,
  *,
  note: str = '',
  command: str = '',
  say: Say = print,
  progress: bool = True,
) -> dict[str, pathlib.Path]:
  """Measures a model under every variant at every length, and reports.

  Every (document, variant, length) is kept as soon as it is there, and is not
  measured again. The model is read in chunks, so that memory grows with the
  keys and values of a text alone.

  Args:
    config: see `rope_jax.config.default`: `start`, `data`, `eval`, `variants`,
      `full` and `quick`; of `model`, how it is run (dtype, scan, attention).
    folder: the workdir.
    note: the question, for the report: the config's docstring.
    command: how to run it, for the report.
    say: told what goes on, a line at a time.
    progress: whether to draw progress bars.

  Returns:
    The paths of what was written, by name.

  Raises:
    ValueError: a configuration that cannot run, before any work is done.
  """
  config = sized(config)
  check(config)
  if config.eval.lengths:
    check_reading(filled(config, 0))
  folder = pathlib.Path(folder)
  if jax.process_count() > 1:
    raise ValueError(
      f'an extension runs in one process, and there are {jax.process_count()}; '
      'leave config.distributed alone.'
    )
  workdir.check_owner(folder, config, WORK)
  source = cells.open_documents(config)
  mesh = mesh_of(config)
  say(f'loading {config.start} ...')
  start = starts.find(config.start, mesh)
  config = filled(config, start.train_len)
  check_reading(config)
  how = {name: config.model[name] for name in starts.HOW}
  shape = dataclasses.replace(start.shape, **how)
  long.plan(config, shape, start.layout, start.train_len)  # Refuses.
  tokenizer = tokenizer_of(start)
  chosen = evaluate.documents(config, tokenizer, source)
  say(told(start, chosen, config))
  store = long.LongStore(folder / 'nll', len(chosen))
  with workdir.alone(folder):
    workdir.claim(folder, config, WORK, {'start': start.mark})
    with bar('measuring', show=progress) as tell:
      skipped = long.measure(
        config,
        shape,
        start.layout,
        start.take(),
        chosen,
        store,
        train_len=start.train_len,
        progress=tell,
        say=say,
      )
    name = pathlib.Path(config.start.removeprefix('package:')).name
    name = name.removesuffix('.gguf')
    gathered = gather(
      config,
      [
        Series(name, variant, start.train_len, {0: store}, variant)  # pyright: ignore[reportArgumentType]
        for variant in (AS_TRAINED, *sorted(config.variants, key=natural))
      ],
      (),
      chosen,
    )
    made = study_data(
      config,
      gathered,
      note=note,
      command=command,
      train_len=start.train_len,
      caveats=caveats(config, chosen, shape, tokenizer),
      failures=[
        f'{variants.shown(s.variant)}, {s.length} tokens: {s.reason}'
        for s in skipped
      ],
      fields=READ,
    )
    return report.write_report(folder, made)


def tokenizer_of(start: starts.Start) -> data.Tokenizer:
  """The tokenizer that belongs to a start."""
  if start.own_tokenizer is not None:
    return start.own_tokenizer()
  return data.make_tokenizer(start.tokenizer, workdir=start.path)


def told(
  start: starts.Start, chosen: Sequence[data.EvalDocument], config: Any
) -> str:
  """What is measured, in a few words."""
  shape = start.shape
  names = sorted(
    {type(p).__name__ for q in start.layout for p in positions.parts(q)}
  )
  return (
    f'{shape.layers} layers of width {shape.width}, {", ".join(names)}, '
    f'trained at {start.train_len:,} tokens; {len(chosen)} '
    f'document{"s" if len(chosen) > 1 else ""} of {evaluate.span(config):,} '
    f'tokens: {", ".join(d.id for d in chosen[:4])}'
    + (', ...' if len(chosen) > 4 else '')
    + (
      ''
      if config.full
      else '; what config.quick leaves, --config.full=True measures all'
    )
  )


def caveats(
  config: Any,
  chosen: Sequence[data.EvalDocument],
  shape: ModelConfig,
  tokenizer: data.Tokenizer,
) -> list[str]:
  """What a reader must know before quoting a number."""
  groups = len({d.group for d in chosen})
  found = [
    'The documents may have been among those that the model was pretrained on: '
    'read how its losses change with the context, not what they are.',
    f'Measured on the first {evaluate.span(config):,} tokens of {len(chosen)} '
    f'document{"s" if len(chosen) > 1 else ""} of {config.data.name} '
    f'({config.data.eval_split} split, {groups} '
    f'group{"s" if groups > 1 else ""}).',
    "Perplexities are per token of this model's own tokenizer; bits per byte "
    'compare between models.',
  ]
  if len(chosen) == 1:
    found.append(
      'One document: there is no standard error, and a difference may be of '
      'this text alone. --config.full=True measures more.'
      if not config.full
      else 'One document: there is no standard error.'
    )
  if tokenizer.prefix:
    count = len(tokenizer.prefix)
    found.append(
      f'Documents begin with what the tokenizer puts before a text, {count} '
      f'id{"s" if count > 1 else ""}; windows further on begin in the text.'
    )
  kept = config.eval.cache_dtype or shape.dtype
  if kept != 'float32' or shape.dtype != 'float32':
    found.append(f'Computed in {shape.dtype}, with keys and values in {kept}.')
  return found
