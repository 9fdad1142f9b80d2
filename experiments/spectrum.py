"""What RoPE can and cannot reach, before anything is trained.

python -m experiments.spectrum --head_dim=128 --theta=1e4 --train_len=4096
  --target_len=65536 --out=runs/spectrum
python -m experiments.spectrum --preset=decay --out=runs/decay
python -m experiments.spectrum --diff --method=a/config.json
  --method=yarn:theta=1e4,factor=16,train_len=4096
python -m experiments.spectrum
  --variants=yarn:theta=1e4,factor=16,train_len=4096
python -m experiments.spectrum --certify=windows.csv --head_dims=128
"""

from __future__ import annotations

import itertools
import math
import time

import rich.progress
from absl import app, flags

from experiments import common
from rope_jax import runtime
from rope_jax.spectrum import lab, settings

# What each way of running reads; another flag given with it is refused.
_READS = {
  'preset': ('head_dim', 'out'),
  'variants': ('head_dim', 'target_len', 'out'),
  'diff': ('head_dim', 'target_len', 'method', 'out'),
  'certify': ('head_dims', 'lengths'),
  '': (
    'head_dim', 'theta', 'train_len', 'target_len', 'method', 'out', 'tuning',
    'scratch', 'max_theta',
  ),
}  # fmt: skip


def define_flags() -> None:
  """Defines the flags."""
  flags.DEFINE_integer('head_dim', 128, 'Width of a head.')
  flags.DEFINE_float(
    'theta', None, "Base the model is trained with; 1e4, or the method's own."
  )
  flags.DEFINE_integer(
    'train_len', None, "Tokens of training; 4096, or the method's own."
  )
  flags.DEFINE_integer('target_len', 65536, 'Tokens wanted.')
  flags.DEFINE_multi_string(
    'method',
    [],
    'name:field=value,... or a config.json; may be given several times. Left '
    'out: the base and its usual scalings.',
  )
  flags.DEFINE_string('out', None, 'Folder for tables, pictures and the page.')
  flags.DEFINE_bool('tuning', False, 'Recommend bases for tuning as well.')
  flags.DEFINE_bool('scratch', False, 'Recommend for a model to be trained.')
  flags.DEFINE_float('max_theta', math.inf, 'Recommend no base above this.')
  flags.DEFINE_enum('preset', None, ['decay'], 'The classic study instead.')
  flags.DEFINE_bool('diff', False, 'Where two --method part.')
  flags.DEFINE_string('variants', None, 'A method: its paper against its code.')
  flags.DEFINE_string(
    'certify', None, 'Make a table of certified windows, or go on with it.'
  )
  flags.DEFINE_list(
    'head_dims', ['32', '64', '96', '128', '256'], 'Widths of that table.'
  )
  flags.DEFINE_list(
    'lengths', [str(2**k) for k in range(10, 21)], 'Its lengths, tokens.'
  )


def run() -> None:
  """Does what the flags say."""
  given = flags.FLAGS
  present = {
    name
    for name in {*_READS, *itertools.chain(*_READS.values())} - {''}
    if given[name].present
  }
  if given.certify:
    settings.check_flags('certify', present, _READS)
    _certify(given)
    return
  started = time.perf_counter()
  if given.preset:
    settings.check_flags('preset', present, _READS)
    made = lab.preset(given.head_dim, given.out, print)
  elif given.variants:
    settings.check_flags('variants', present, _READS)
    made = lab.variants(
      given.variants, given.head_dim, given.target_len, given.out, print
    )
  elif given.diff:
    settings.check_flags('diff', present, _READS)
    made = lab.difference(
      given.method, given.head_dim, given.target_len, given.out, print
    )
  else:
    settings.check_flags('', present, _READS)
    wanted = settings.settled(
      given.head_dim,
      given.target_len,
      given.theta,
      given.train_len,
      tuple(given.method),
      tuning=given.tuning,
      scratch=given.scratch,
      most=given.max_theta,
    )
    made = lab.study(wanted, given.out, print)
  for path in made:
    print(f'wrote {path}')
  print(f'{time.perf_counter() - started:.1f} s')


def _certify(given) -> None:
  widths = settings.numbers('head_dims', given.head_dims)
  lengths = settings.numbers('lengths', given.lengths)
  with rich.progress.Progress(
    *rich.progress.Progress.get_default_columns(), transient=True
  ) as progress:
    task = progress.add_task('range of bases', total=1.0)
    lab.certify(
      given.certify,
      widths,
      lengths,
      progress.console.print,
      lambda share: progress.update(task, completed=share),
    )


if __name__ == '__main__':
  define_flags()
  runtime.use_cpu_alone()
  app.run(
    lambda argv: common.guarded('spectrum', argv, run),
    flags_parser=runtime.parse_flags,
  )
