"""What the entry points share: telling a mistake, reading a config's note."""

from __future__ import annotations

import ast
import pathlib
import shlex
import sys
import time
from collections.abc import Callable

from absl import flags, logging
from ml_collections import config_flags


def define_flags(*, workdir: bool = True) -> None:
  """Defines the flags of an entry point.

  Not done at import, so that one process can import several of them.

  Args:
    workdir: whether it writes a folder, and shows how far it is.
  """
  config_flags.DEFINE_config_file(
    'config', None, 'The file of the configuration, such as one of configs/.'
  )
  flags.mark_flag_as_required('config')
  if workdir:
    flags.DEFINE_string(
      'workdir',
      None,
      'The folder for what is made; work that was stopped goes on from it.',
    )
    flags.DEFINE_bool('progress', True, 'Show how far it is.')
    flags.mark_flag_as_required('workdir')


def note(config_file: str | None) -> str:
  """The docstring of a config file: its lab note."""
  if not config_file:
    return ''
  path = pathlib.Path(config_file.partition(':')[0])
  return ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''


def report_run(
  name: str, argv: list[str], run: Callable[..., dict[str, pathlib.Path]]
) -> int:
  """Runs what the flags say and prints its table, its files and its time.

  Args:
    name: of the program.
    argv: what was left of the command line.
    run: (config, workdir, note=, command=, progress=) -> what was written;
      'extension' is printed where it is there, else 'table'.

  Returns:
    The exit code, see `guarded`.
  """

  def work() -> None:
    began = time.monotonic()
    paths = run(
      flags.FLAGS.config,
      flags.FLAGS.workdir,
      note=note(config_flags.get_config_filename(flags.FLAGS['config'])),
      command=f'python -m experiments.{name} {shlex.join(sys.argv[1:])}',
      progress=flags.FLAGS.progress,
    )
    table = paths.get('extension', paths['table'])
    print(table.read_text(encoding='utf-8'))
    for path in paths.values():
      print(path)
    print(f'done in {(time.monotonic() - began) / 60:.1f} minutes')

  return guarded(name, argv, work)


def guarded(name: str, argv: list[str], run: Callable[[], None]) -> int:
  """Runs, and tells what the package refuses in one line without a traceback.

  Args:
    name: of the program.
    argv: what was left of the command line; only the program itself may be.
    run: what to do.

  Returns:
    The exit code: 0, 2 for a mistake of the user's, 1 for a training that
    diverged.
  """
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)  # Libraries tell a lot at INFO.
  if len(argv) > 1:
    print(f'{name}: no such argument: {" ".join(argv[1:])}', file=sys.stderr)
    return 2
  try:
    run()
  except (ValueError, FloatingPointError) as error:
    if not _ours(error):
      raise
    print(f'{name}: {error}', file=sys.stderr)
    return 2 if isinstance(error, ValueError) else 1
  return 0


def _ours(error: BaseException) -> bool:
  """Whether the package raised it itself, and not a library beneath it."""
  trace = error.__traceback__
  while trace is not None and trace.tb_next is not None:
    trace = trace.tb_next
  if trace is None:
    return False
  here = pathlib.Path(trace.tb_frame.f_code.co_filename).parent
  return 'rope_jax' in here.parts and 'site-packages' not in here.parts
