"""What the entry points share: telling a mistake, reading a config's note."""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import Callable

from absl import flags, logging


def note(config_file: str | None) -> str:
  """The docstring of a config file: its lab note."""
  if not config_file:
    return ''
  path = pathlib.Path(config_file.partition(':')[0])
  return ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''


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
