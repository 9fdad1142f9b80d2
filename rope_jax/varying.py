"""What varies over the devices of a `jax.shard_map`, for loops inside one.

There the carry of a loop must vary over the same axes before and after, and a
fresh array varies over none.
"""

from __future__ import annotations

from typing import Any

import jax


def _axes(tree: Any) -> set[str]:
  found: set[str] = set()
  for leaf in jax.tree.leaves(tree):
    found |= set(jax.typeof(leaf).manual_axis_type.varying)
  return found


def alike(tree: Any, other: Any) -> Any:
  """The tree, its leaves said to vary over the axes that `other` varies over.

  Differentiable: what did not vary gets the sum of the devices' gradients.
  """
  wanted = _axes(other)
  if not wanted:
    return tree

  def one(leaf):
    more = tuple(sorted(wanted - _axes(leaf)))
    return jax.lax.pcast(leaf, more, to='varying') if more else leaf

  return jax.tree.map(one, tree)


def uniform(tree: Any) -> Any:
  """The tree, all of its leaves varying over what any of them varies over."""
  return alike(tree, tree)
