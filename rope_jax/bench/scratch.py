"""Scratch memory of attention compiled for a TPU or GPU that is not there.

Of values and all gradients of one row of four heads of 64, causal; in a process
of its own, since a process compiles for one target.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from rope_jax import attend, compile_for, positions

HEADS, WIDTH = 4, 64
SPECS = {
  'deberta': {'name': 'deberta', 'span': 64},
  'rope': {'name': 'rope', 'theta': 1e4},
  'kerple-power': {'name': 'kerple', 'variant': 'power'},
  'self_extend': {
    'name': 'self_extend', 'theta': 1e4, 'group': 4, 'window': 512,
  },
  'rope, log_n': {
    'name': 'compose',
    'parts': [
      {'name': 'rope', 'theta': 1e4},
      {'name': 'log_n', 'train_len': 512},
    ],
  },
  't5, window': {
    'name': 'compose',
    'parts': [{'name': 't5'}, {'name': 'local', 'window': 1000}],
  },
}  # fmt: skip


def _arrays(target, tree):
  here = SingleDeviceSharding(compile_for.devices(target)[0])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), tree
  )


def _ours(target, dtype, name, length):
  method = positions.build(SPECS.get(name, {'name': name}))
  params = jax.eval_shape(
    lambda: method.init(
      jax.random.key(0), heads=HEADS, head_dim=WIDTH, model_dim=256
    )
  )
  x = jax.ShapeDtypeStruct((1, length, HEADS, WIDTH), dtype)
  row = jax.ShapeDtypeStruct((1, length), jnp.int32)

  def loss(params, q, k, v, d, pos):
    out = attend(
      method, params, q, k, v, q_pos_bt=pos, k_pos_bs=pos, how='auto'
    )
    return (out.astype(jnp.float32) * d).sum()

  given = _arrays(target, (params, x, x, x, x, row))
  return jax.jit(jax.grad(loss, (0, 1, 2, 3))).lower(*given)


def _library(target, dtype, length):
  """The flash kernel that comes with JAX, which knows no such bias."""
  from jax.experimental.pallas.ops.tpu import flash_attention

  x = jax.ShapeDtypeStruct((1, HEADS, length, WIDTH), dtype)

  def loss(q, k, v, d):
    out = flash_attention.flash_attention(
      q, k, v, causal=True, sm_scale=WIDTH**-0.5
    )
    return (out.astype(jnp.float32) * d).sum()

  given = _arrays(target, (x, x, x, x))
  return jax.jit(jax.grad(loss, (0, 1, 2))).lower(*given)


def _scratch(target, dtype, name, length):
  """Scratch bytes of a device; `name` is a method, or 'library'."""
  if name == 'library':
    lowered = _library(target, dtype, length)
  else:
    lowered = _ours(target, dtype, name, length)
  kernels = lowered.as_text().count('tpu_custom_call')
  used = lowered.compile().memory_analysis()
  assert used is not None
  return {'kernels': kernels, 'bytes': used.temp_size_in_bytes}


def measured(target: str, dtype: str, *wanted: str) -> dict[str, Any]:
  """Compiles in another process.

  Args:
    target: as in `compile_for.devices`, such as 'tpu-v5e-4'.
    dtype: of the arrays.
    *wanted: NAME:LENGTH each, with a method's name, one of `SPECS`, or
      'library' for the flash kernel that comes with JAX.

  Returns:
    By what was wanted: 'bytes' of scratch memory of a device, and 'kernels', of
    our or the library's making, in the program.

  Raises:
    RuntimeError: it does not compile; with the end of what was said.
  """
  done = subprocess.run(
    [sys.executable, '-m', 'rope_jax.bench.scratch', target, dtype, *wanted],
    capture_output=True,
    text=True,
    check=False,
  )
  if done.returncode:
    raise RuntimeError(f'{target}: {done.stderr[-3000:]}')
  return json.loads(done.stdout)


def main(target: str, dtype: str, *wanted: str) -> None:
  """Prints one line of JSON."""
  jax.config.update('jax_platforms', 'cpu')
  found = {}
  for one in wanted:
    name, length = one.split(':')
    found[one] = _scratch(target, jnp.dtype(dtype), name, int(length))
  print(json.dumps(found))


if __name__ == '__main__':
  main(*sys.argv[1:])
