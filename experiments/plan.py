"""Does a configuration fit an accelerator? Asks the accelerator's compiler.

  python -m experiments.plan --config=configs/base.py --target=tpu-v5e-16

No accelerator is needed: see `rope_jax.compile_for`.
"""

from __future__ import annotations

import json
from typing import Any

import jax
from absl import app, flags

from experiments import common
from rope_jax import compile_for, runtime


def run(config: Any, target: str, *, quick: bool = False) -> dict[str, Any]:
  """Compiles for a target; see `rope_jax.compile_for.report`."""
  if quick:
    jax.config.update('jax_exec_time_optimization_effort', -1.0)
  jax.config.update('jax_platforms', 'cpu')
  return compile_for.report(config, target)


def table(made: dict[str, Any]) -> str:
  """The report as lines of text.

  >>> part = {'bytes': 2**30, 'argument_bytes': 2**29, 'temp_bytes': 2**29,
  ...         'fits': True, 'seconds': 3.0, 'length': 8}
  >>> print(table({'target': 'tpu-v5e-16', 'devices': 16, 'mesh': {'data': 16},
  ...              'limit_bytes': 2**34, 'train': part, 'evaluate': part}))
  tpu-v5e-16: 16 devices of 16.0 GiB, mesh data=16
  train               1.00 GiB a device (state 0.50, temporary 0.50): fits
  evaluate at 8       1.00 GiB a device (state 0.50, temporary 0.50): fits
  """
  gib = compile_for.GIB
  mesh = ', '.join(f'{k}={v}' for k, v in made['mesh'].items())
  lines = [
    f'{made["target"]}: {made["devices"]} devices of '
    f'{made["limit_bytes"] / gib:.1f} GiB, mesh {mesh}'
  ]
  for name in ('train', 'evaluate'):
    part = made[name]
    label = f'{name} at {part["length"]}' if name == 'evaluate' else name
    lines.append(
      f'{label:<19} {part["bytes"] / gib:.2f} GiB a device (state '
      f'{part["argument_bytes"] / gib:.2f}, temporary '
      f'{part["temp_bytes"] / gib:.2f}): '
      f'{"fits" if part["fits"] else "DOES NOT FIT"}'
    )
  return '\n'.join(lines)


def main(argv: list[str]) -> int:
  """Prints the report; the exit code is 1 if a program does not fit."""
  fits = True

  def work() -> None:
    nonlocal fits
    given = flags.FLAGS
    made = run(given.config, given.target, quick=given.quick)
    fits = made['train']['fits'] and made['evaluate']['fits']
    print(json.dumps(made, indent=2) if given.json else table(made))

  return common.guarded('plan', argv, work) or int(not fits)


if __name__ == '__main__':
  common.define_flags(workdir=False)
  flags.DEFINE_enum(
    'target', 'tpu-v5e-16', compile_for.targets(), 'What to compile for.'
  )
  flags.DEFINE_bool(
    'quick',
    False,
    'Have the compiler try less hard: several times faster, a few per cent '
    'more memory.',
  )
  flags.DEFINE_bool('json', False, 'Print JSON.')
  app.run(main, flags_parser=runtime.parse_flags)
