"""What of parameters and inputs has a gradient, and trees of gradients."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.attention.inputs import Inputs
from rope_jax.positions.base import Params


def floats_of(inputs: Inputs) -> list[jax.Array]:
  """What of the inputs has a cotangent: queries, keys and values."""
  return [
    x
    for x in jax.tree.leaves((inputs.turned, inputs.plain, inputs.v_bksh))
    if x is not None
  ]


def with_floats(inputs: Inputs, floats: list[jax.Array]) -> Inputs:
  tree = jax.tree.structure((inputs.turned, inputs.plain, inputs.v_bksh))
  turned, plain, v = jax.tree.unflatten(tree, floats)
  return dataclasses.replace(inputs, turned=turned, plain=plain, v_bksh=v)


def learned_of(params: Params) -> tuple[list[jax.Array], Any]:
  """The leaves that have a gradient, and what puts such leaves back.

  The second takes new leaves and, for the others, what to make of each; by
  default they stay what they are.
  """
  leaves, tree = jax.tree.flatten(params)
  floats = [jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves]

  def fill(new, other=lambda x: x):
    new = iter(new)
    both = zip(leaves, floats, strict=True)
    found = [next(new) if is_float else other(x) for x, is_float in both]
    return jax.tree.unflatten(tree, found)

  kept = [jnp.asarray(x) for x, f in zip(leaves, floats, strict=True) if f]
  return kept, fill


def is_query(inputs: Inputs) -> list[bool]:
  """Of each of `floats_of`, whether it belongs to the queries."""
  pairs = len(inputs.turned) + (inputs.plain is not None)
  return [True, False] * pairs + [False]


def cotangents(
  params: Params,
  inputs: Inputs,
  d_params: list[jax.Array],
  d_floats: list[jax.Array],
) -> tuple[Params, Inputs]:
  """`gradients` as trees like the parameters and inputs."""

  def none(x):
    return np.zeros(np.shape(x), jax.dtypes.float0)

  placeholders: Any = [0] * len(d_floats)
  found = jax.tree.map(none, with_floats(inputs, placeholders))
  return learned_of(params)[1](d_params, none), with_floats(found, d_floats)
