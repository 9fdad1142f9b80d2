"""The TPU kernels through the real TPU compiler, without a TPU."""

import pytest

from rope_jax import compile_for
from rope_jax.bench.scratch import measured


def scratch(target, dtype, *wanted):
  """What the bench measures, if the target's compiler is here."""
  absent = compile_for.missing(target)
  if absent:
    pytest.skip(f'cannot compile for {target} without {absent}')
  return measured(target, dtype, *wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
  ('target', 'dtype', 'names'),
  [
    (
      'tpu-v5e-4',
      'bfloat16',
      ('rope', 'alibi', 't5', 'kerple', 'kerple-power', 'fire', 'sandwich'),
    ),
    ('tpu-v5e-4', 'float32', ('t5, window', 'rope, log_n')),
    ('tpu-v5p-4', 'bfloat16', ('t5', 'sandwich')),
    ('tpu-v6e-4', 'bfloat16', ('t5', 'kerple')),
  ],
)
def test_the_kernels_compile(target, dtype, names):
  """Forward, and backward for queries and for keys: three kernels each."""
  found = scratch(target, dtype, *(f'{name}:1024' for name in names))
  assert {made['kernels'] for made in found.values()} == {3}


@pytest.mark.slow
def test_methods_without_a_kernel_go_by_large_tiles():
  found = scratch('tpu-v5e-4', 'bfloat16', 'deberta:2048', 'self_extend:2048')
  assert {made['kernels'] for made in found.values()} == {0}


@pytest.mark.slow
def test_memory_with_a_learned_bias_is_linear_and_below_the_librarys_without():
  """The library's flash kernel keeps its normalisers 128-fold."""
  found = scratch(
    'tpu-v5e-4', 'bfloat16',
    't5:32768', 'library:32768', 't5:65536', 't5:131072', 'library:131072',
  )  # fmt: skip
  used = {name: made['bytes'] for name, made in found.items()}
  assert used['t5:32768'] < 1.1 * used['library:32768']
  assert used['t5:131072'] < 1.1 * used['library:131072']
  # Below 65,536 tokens much of it stays on the chip and is not counted.
  assert used['t5:131072'] < 2.6 * used['t5:65536']
