"""What RoPE can and cannot reach, before anything is trained.

  python -m experiments.spectrum --head_dim=128 --theta=1e4 --train_len=4096 \
    --target_len=65536 --out=runs/spectrum
  python -m experiments.spectrum --preset=decay --out=runs/decay
  python -m experiments.spectrum --diff --method=a/config.json \
    --method=yarn:theta=1e4,factor=16,train_len=4096
  python -m experiments.spectrum \
    --variants=yarn:theta=1e4,factor=16,train_len=4096
  python -m experiments.spectrum --certify=windows.csv --head_dims=128
"""

from __future__ import annotations

import pathlib
import time

import rich.progress
from absl import app, flags

from experiments import common
from rope_jax import runtime
from rope_jax.spectrum import lab


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_integer('head_dim', 128, 'Width of a head.')
  flags.DEFINE_float('theta', 1e4, 'Base the model is trained with.')
  flags.DEFINE_integer('train_len', 4096, 'Tokens of training.')
  flags.DEFINE_integer('target_len', 65536, 'Tokens wanted.')
  flags.DEFINE_multi_string(
    'method', [],
    'name:field=value,... or a config.json; may be given several times. Left '
    'out: the base and its usual scalings.',
  )  # fmt: skip
  flags.DEFINE_string('out', None, 'Folder for tables, pictures and the page.')
  flags.DEFINE_bool('tuning', False, 'Recommend bases for tuning as well.')
  flags.DEFINE_enum('preset', None, ['decay'], 'The classic study instead.')
  flags.DEFINE_bool('diff', False, 'Where two --method part.')
  flags.DEFINE_string('variants', None, 'A method: its paper against its code.')
  flags.DEFINE_string(
    'certify', None, 'Make a table of certified windows, or go on with it.'
  )
  flags.DEFINE_list(
    'head_dims', ['32', '64', '96', '128', '256'], 'Its widths.'
  )
  flags.DEFINE_list(
    'lengths', [str(2**k) for k in range(10, 21)], 'Its lengths, tokens.'
  )


def run() -> None:
  """Does what the flags say."""
  given = flags.FLAGS
  if given.certify:
    numbers = _numbers('head_dims'), _numbers('lengths')
    with rich.progress.Progress(
      *rich.progress.Progress.get_default_columns(), transient=True
    ) as progress:
      task = progress.add_task('range of bases', total=1.0)
      lab.certify(
        given.certify, *numbers, progress.console.print,
        lambda share: progress.update(task, completed=share),
      )  # fmt: skip
    return
  started = time.perf_counter()
  settings = lab.Settings(
    given.head_dim, given.theta, given.train_len, given.target_len,
    tuple(given.method), given.tuning,
  )  # fmt: skip
  made: list[pathlib.Path] = []
  if given.preset:
    made = lab.preset(given.head_dim, given.out, print)
  elif given.variants:
    lab.variants(given.variants, settings, print)
  elif given.diff:
    lab.difference(given.method, settings, print)
  else:
    made = lab.study(settings, given.out, print)
  for path in made:
    print(f'wrote {path}')
  print(f'{time.perf_counter() - started:.1f} s')


def _numbers(flag: str) -> list[int]:
  texts = getattr(flags.FLAGS, flag)
  try:
    return [int(text) for text in texts]
  except ValueError:
    raise ValueError(f'--{flag}={",".join(texts)}: whole numbers.') from None


if __name__ == '__main__':
  define_flags()
  runtime.use_cpu_alone()
  app.run(
    lambda argv: common.guarded('spectrum', argv, run),
    flags_parser=runtime.parse_flags,
  )
