"""The platform's best schedule behind one forward and one backward pass."""

from __future__ import annotations

import functools
from typing import Any

import jax

from rope_jax.attention import blocks, tpu, trees
from rope_jax.attention.blocks import Schedule
from rope_jax.attention.inputs import Inputs
from rope_jax.attention.rule import Rule
from rope_jax.positions.base import Params, Position

# Tiles that a core's cache holds, a head or two at a time; or few large
# products over all heads at once.
SHORT = Schedule(q_block=128, k_block=128, heads=2, multiple=8)
LONG = Schedule(q_block=256, k_block=256, heads=1, multiple=8)
WIDE = Schedule(q_block=512, k_block=1024, heads=None, multiple=128)


def forward(
  position: Position,
  rule: Rule,
  schedule: Schedule | None,
  params: Params,
  inputs: Inputs,
) -> tuple[jax.Array, jax.Array]:
  """`blocks.forward` by a schedule; None is the best one of the platform that
  the program is compiled for."""
  if schedule is not None:
    return blocks.forward(position, rule, schedule, params, inputs)
  ways = _ways(position, rule, inputs, blocks.forward, tpu.forward)
  return jax.lax.platform_dependent(params, inputs, **ways)


def on_cpu(queries: int, keys: int) -> Schedule:
  """The best schedule on CPU: large tiles for long rows, since short ones would
  lose much under the diagonal."""
  return LONG if min(queries, keys) >= 8 * LONG.q_block else SHORT


def _ways(
  position: Position, rule: Rule, inputs: Inputs, tiled: Any, kernel: Any
) -> Any:
  """What to run on each platform."""
  cpu = on_cpu(*inputs.counts)
  ways = {
    name: functools.partial(tiled, position, rule, schedule)
    for name, schedule in (('cpu', cpu), ('default', WIDE))
  }
  if tpu.why_not(position) is None and rule.cap is None:
    ways['tpu'] = functools.partial(kernel, position, rule)
  return ways


def gradients(
  position: Position,
  rule: Rule,
  schedule: Schedule | None,
  params: Params,
  inputs: Inputs,
  lse_bnt: jax.Array,
  out_bnth: jax.Array,
  d_out_bnth: jax.Array,
) -> tuple[list[jax.Array], list[jax.Array]]:
  """`blocks.gradients` likewise."""
  more = (lse_bnt, out_bnth, d_out_bnth)
  if schedule is not None:
    return blocks.gradients(position, rule, schedule, params, inputs, *more)
  ways = _ways(position, rule, inputs, blocks.gradients, tpu.gradients)
  return jax.lax.platform_dependent(params, inputs, *more, **ways)


def _flash(position, rule, schedule, params, inputs):
  return _flash_forward(position, rule, schedule, params, inputs)[0]


def _flash_forward(position, rule, schedule, params, inputs):
  out, lse = forward(position, rule, schedule, params, inputs)
  out = out.astype(inputs.turned[0][0].dtype)
  return out, (params, inputs, out, lse)


def _flash_backward(position, rule, schedule, kept, d_out):
  params, inputs, out, lse = kept
  found = gradients(position, rule, schedule, params, inputs, lse, out, d_out)
  return trees.cotangents(params, inputs, *found)


flash = jax.custom_vjp(_flash, nondiff_argnums=(0, 1, 2))
"""Attention by blocks, with a backward pass by blocks.

(position, rule, schedule, params, inputs) -> [b, n, t, h], of the queries'
dtype; the first three are static.
"""
flash.defvjp(_flash_forward, _flash_backward)
