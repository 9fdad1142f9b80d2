"""What an entry point sets up before JAX asks for its devices."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import pathlib
import sys
import textwrap
from typing import Any

import jax

CACHE = '~/.cache/rope_jax/xla'
# Where Linux shows a TPU, an NVIDIA or an AMD card to a process.
_DEVICE_FILES = (
  '/dev/accel*',
  '/dev/vfio/[0-9]*',
  '/dev/nvidia*',
  '/dev/nvhost*',
  '/dev/dxg',
  '/dev/kfd',
)
# Ways of asking what a program is for.
_HELP = {'--help', '-help', '--helpshort', '-helpshort', '-h', '-?'}


def setup(config: Any = None, *, keep: bool = True) -> None:
  """Prepares JAX for a run; entry points call it first, imports never do.

  Quiets the plug-ins, keeps compiled programs on disk, makes each CPU core a
  device, and joins the other processes of a run.

  Args:
    config: a whole configuration, for its `distributed` section; None is one
      process.
    keep: whether to call `keep_memory`: for many short steps. Few long ones
      with large arrays gain nothing by it, and get `one_arena` instead.

  Raises:
    ValueError: a `distributed` section that is not whole.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  if config is not None:
    check_distributed(config.distributed)
  use_cpu_alone()
  use_cpu_cores()
  if keep:
    keep_memory()
  else:
    one_arena()
  keep_programs()
  if config is not None:
    join(config.distributed)


def use_cpu_alone() -> None:
  """Spares a machine without accelerators the plug-ins' search for them."""
  if jax.config.jax_platforms or not sys.platform.startswith('linux'):  # pyright: ignore[reportAttributeAccessIssue]
    return
  if not any(glob.glob(pattern) for pattern in _DEVICE_FILES):
    jax.config.update('jax_platforms', 'cpu')


def use_cpu_cores() -> None:
  """Makes each CPU core a device, which is how small programs run fastest.

  Does nothing if a backend is up, or if the user has set their number with
  JAX_NUM_CPU_DEVICES or XLA_FLAGS.
  """
  chosen = (
    'host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
    or jax.config.jax_num_cpu_devices > 0  # pyright: ignore[reportAttributeAccessIssue]
  )
  if not chosen and sys.platform.startswith('linux'):
    with contextlib.suppress(RuntimeError):  # Too late: a backend is up.
      jax.config.update('jax_num_cpu_devices', len(os.sched_getaffinity(0)))


def keep_memory() -> None:
  """Has a CPU process keep the memory of large arrays for the next ones.

  By default glibc gives it back to the system whenever it is freed, and XLA
  frees all scratch memory after every call: a training step then spends a sixth
  of its time on pages that are handed out anew. Does nothing where arrays are
  elsewhere, or under another C library.
  """
  one_arena()
  # From malloc.h: nothing by mmap, nothing given back, 64 MB taken at a time.
  _mallopt((-4, 0), (-1, 2**31 - 1), (-2, 2**26))


def one_arena() -> None:
  """Has the threads of a CPU process free memory for one another.

  By default glibc has an arena for every thread of XLA's, up to eight a core,
  each of which keeps what was freed in it. Does nothing where `keep_memory`
  does nothing.
  """
  _mallopt((-8, 1))


def _mallopt(*options: tuple[int, int]) -> None:
  """Sets options of glibc's malloc, by their numbers in malloc.h."""
  chosen = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
  if chosen != 'cpu' or not sys.platform.startswith('linux'):
    return
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt is not None:
    for option, value in options:
      mallopt(option, value)


def keep_programs() -> None:
  """Keeps compiled programs in JAX_COMPILATION_CACHE_DIR, or in `CACHE`."""
  if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
    folder = os.path.expanduser(CACHE)
    jax.config.update('jax_compilation_cache_dir', folder)


def check_distributed(distributed: Any) -> None:
  """Raises ValueError for a `distributed` section that is not whole."""
  place = distributed.coordinator
  processes, process = distributed.processes, distributed.process
  if place in ('', 'auto'):
    if processes or process != -1:
      raise ValueError(
        f'config.distributed.coordinator={place!r} with processes={processes} '
        f"and process={process}: give the first process's HOST:PORT as "
        'coordinator, or leave the other two alone.'
      )
  elif ':' not in place or processes < 1 or not 0 <= process < processes:
    raise ValueError(
      f'config.distributed has coordinator={place!r}, processes={processes}, '
      f"process={process}; give the first process's HOST:PORT, the number of "
      'processes, and which one this is, from 0 on.'
    )


def join(distributed: Any) -> None:
  """Joins the other processes, if the section names any."""
  if distributed.coordinator == 'auto':
    jax.distributed.initialize()
  elif distributed.coordinator:
    jax.distributed.initialize(
      distributed.coordinator, distributed.processes, distributed.process
    )


def parse_flags(argv: list[str]) -> list[str]:
  """Parses flags for `app.run`; a key no config has is one line, exit code 2.

  --help prints what the program is for and its own flags, --helpfull those of
  libraries too; the exit code is then 0.

  Example:
    app.run(main, flags_parser=runtime.parse_flags)
  """
  from absl import app

  if not _HELP.isdisjoint(argv[1:]):
    print(_help_text(argv[0]))
    sys.exit(0)
  if '--helpfull' in argv:
    app.usage(writeto_stdout=True, exitcode=0)
  try:
    return app.parse_flags_with_usage(argv)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    # ml_collections quotes its messages twice.
    text = ' '.join(str(error).replace('\\n', ' ').replace('\\', '').split())
    if isinstance(error, (AttributeError, KeyError)):
      text = text.strip('\'"').replace("' Did", '. Did', 1)
      text = f'the configuration has no field {text}'
    name = pathlib.Path(argv[0]).stem
    print(f'{name}: {text}', file=sys.stderr)
    sys.exit(2)


def _help_text(program: str) -> str:
  """The docstring of a program, its own flags, and where the fields are."""
  from absl import flags

  doc = sys.modules['__main__'].__doc__ or ''
  lines = [doc.strip(), '', 'Flags:']
  package = pathlib.Path(program).parent.name
  for module, found in flags.FLAGS.flags_by_module_dict().items():
    if module == program or module.partition('.')[0] == package:
      for flag in found:
        lines += _wrapped(f'  --{_flag_text(flag)}', '      ')
  if 'config' in flags.FLAGS:
    lines += ['', 'Fields of the configuration:']
    lines += _wrapped(
      "  --config.eval.lengths='(512, 1024)', --config.train.steps=10 and so "
      'on change what the file says. rope_jax/config.py has every field, with '
      'its default and meaning; configs/ has files to begin from.',
      '  ',
    )
  return '\n'.join([*lines, '', '--helpfull lists the flags of libraries too.'])


def _flag_text(flag: Any) -> str:
  """'NAME=...  What it does (required)', or the default."""
  values = getattr(flag.parser, 'enum_values', None)
  notes = [f'one of {", ".join(values)}'] if values else []
  if flag.validators:
    notes.append('required')
  elif flag.default:
    notes.append('default ' + flag.default_as_str.strip("'"))
  name = f'[no]{flag.name}' if flag.boolean else f'{flag.name}=...'
  # absl puts the values before it, and 'repeat this option' after it.
  told = flag.help.rpartition('>: ')[2].partition(';\n')[0]
  return f'{name}  {told}' + (f' ({"; ".join(notes)})' if notes else '')


def _wrapped(text: str, indent: str) -> list[str]:
  return textwrap.wrap(
    text, 80, subsequent_indent=indent, break_on_hyphens=False
  )
