"""What an entry point sets up, seen from a process of its own."""

import subprocess
import sys

import pytest

# Pages that the second of two large arrays needs anew, in a process that has
# only just freed the first.
PAGES = """
import resource, sys
import numpy as np
from rope_jax import runtime
runtime.use_cpu_alone()
if 'keep' in sys.argv:
  runtime.keep_memory()
np.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc alone')
def test_memory_that_is_kept_is_not_asked_for_again():
  given_back, kept = (
    int(
      subprocess.run(
        [sys.executable, '-c', PAGES, *argument],
        capture_output=True,
        text=True,
        check=True,
      ).stdout
    )
    for argument in ((), ('keep',))
  )
  assert kept < given_back / 10, (kept, given_back)


# How many arenas glibc has once eight threads have asked for memory.
ARENAS = """
import ctypes, sys, threading
from rope_jax import runtime
runtime.use_cpu_alone()
if 'one' in sys.argv:
  runtime.one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
meet = threading.Barrier(8)
def ask():
  meet.wait()
  libc.malloc(10_000)
  meet.wait()
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.malloc_info(0, libc.fdopen(1, b'w'))
libc.fflush(None)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='glibc alone')
def test_threads_have_their_memory_in_common():
  many, few = (
    subprocess.run(
      [sys.executable, '-c', ARENAS, *argument],
      capture_output=True,
      text=True,
      check=True,
    ).stdout.count('<heap nr=')
    for argument in ((), ('one',))
  )
  assert few <= 2 < many, (few, many)
