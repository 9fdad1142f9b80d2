"""What the schedules of attention share: the static rule, and token arrays."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray

NEVER = np.iinfo(np.int32).max  # The order of a key that nobody sees.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
  """What is static of how a query sees keys, beside the method.

  Attributes:
    causal: by token order, k_order <= q_order.
    window: k_order > q_order - window; None is no limit.
    cap: scores become cap tanh(score / cap); None leaves them.
  """

  causal: bool = True
  window: int | None = None
  cap: float | None = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokens:
  """Where tokens stand; rows are b, or 1 for all of a batch.

  Attributes:
    q_order_bt, k_order_bs: int32, what the rule reads; a key of order `NEVER`
      is not there, and a query of order -1 sees nothing under causality.
    q_segment_bt, k_segment_bs: int32, a query sees its own segment alone; None
      (both) is one segment.
  """

  q_order_bt: Array
  k_order_bs: Array
  q_segment_bt: Array | None = None
  k_segment_bs: Array | None = None


def check_shape(what: str, x: Array | None, *allowed: tuple[int, ...]) -> None:
  """Raises ValueError if an array is there and not of a shape allowed."""
  if x is not None and np.shape(x) not in allowed:
    raise ValueError(
      f'{what} is {np.shape(x)}; it must be '
      f'{" or ".join(str(shape) for shape in allowed)}.'
    )


def seen(rule: Rule, tokens: Tokens) -> jax.Array:
  """Which pairs of the tokens at hand see each other: bool [b or 1, t, s]."""
  q, k = _pairs(tokens.q_order_bt, tokens.k_order_bs)
  found = k != NEVER
  if rule.causal:
    found &= k <= q
  if rule.window is not None:
    found &= k > q - rule.window
  if tokens.q_segment_bt is not None:
    q, k = _pairs(tokens.q_segment_bt, tokens.k_segment_bs)
    found &= q == k
  return found


def _pairs(q_bt, k_bs):
  return jnp.asarray(q_bt)[:, :, None], jnp.asarray(k_bs)[:, None]
