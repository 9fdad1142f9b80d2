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
