"""`fused`: rotation-only methods by the platform's own flash kernel."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.attention import engine
from rope_jax.attention.inputs import Inputs
from rope_jax.attention.mask import Mask
from rope_jax.attention.rule import Rule
from rope_jax.positions import parts
from rope_jax.positions.base import Params, Position, overrides
from rope_jax.positions.nope import Nope


def why_not(position: Position) -> str | None:
  """What keeps a method from flash kernels, in words; None if nothing does.

  Flash kernels see one pair of queries and keys and know no bias. Rotations
  and temperatures are done to the queries and keys before.

  >>> from rope_jax import positions
  >>> why_not(positions.build({'name': 'rope', 'theta': 1e4}))
  >>> why_not(positions.build({'name': 'alibi'}))
  'Alibi adds a bias to the scores'
  """
  for part in parts(position):
    name = type(part).__name__
    if overrides(part, 'bias'):
      return f'{name} adds a bias to the scores'
    if overrides(part, 'values'):
      return f'{name} adds to the values'
    if overrides(part, 'views'):
      return f'{name} pretends positions, or sees some of them alone'
  return None


def why_not_mask(mask: Mask, queries: int, keys: int) -> str | None:
  """What keeps a mask from flash kernels, in words; None if nothing does."""
  if mask.q_order_bt is not None:
    return 'the mask has q_order_bt, an order of tokens of its own'
  if mask.k_count_b is not None:
    return 'the mask has k_count_b, a cache that is not full'
  if mask.causal and queries != keys:
    return f'{queries} queries see {keys} keys causally, not as many'
  if jax.default_backend() == 'gpu' and mask.q_segment_bt is not None:
    return 'the mask has segments, which cuDNN has not'
  return None


def why_not_here(q_btnh: jax.Array) -> str | None:
  """What keeps arrays from the kernel of the platform at hand."""
  dtype, width = q_btnh.dtype, q_btnh.shape[3]
  if jax.default_backend() != 'gpu':
    return None
  if dtype != jnp.bfloat16:
    return f'q is {dtype}, and cuDNN takes bfloat16'
  if width > 128 or width % 8:
    return f'heads are {width} wide; cuDNN takes multiples of 8 up to 128'
  return None


def check(
  position: Position,
  mask: Mask,
  cap: float | None,
  q_btnh: jax.Array,
  keys: int,
) -> None:
  """Raises ValueError if 'fused' was asked for and cannot be had."""
  reason = (
    why_not(position)
    or (None if cap is None else f'cap={cap} bounds the scores')
    or why_not_mask(mask, q_btnh.shape[1], keys)
    or why_not_here(q_btnh)
  )
  if reason is not None:
    raise ValueError(
      f"attend: how='fused' cannot be had: {reason}. Use 'blockwise', which is "
      "exact for all methods and masks, or 'auto', which takes the best."
    )


def can(
  position: Position,
  mask: Mask,
  cap: float | None,
  q_btnh: jax.Array,
  keys: int,
) -> bool:
  """Whether `check` has nothing to say."""
  try:
    check(position, mask, cap, q_btnh, keys)
  except ValueError:
    return False
  return True


def attention(
  position: Position, rule: Rule, params: Params, inputs: Inputs
) -> jax.Array:
  """Attention of what is turned already: [b, n, t, h], in the queries' dtype.

  On a GPU by cuDNN; on a TPU by our kernel and on CPU by tiles in cache, both
  as for a method that does nothing. Temperatures are multiplied into the
  queries.
  """
  q, k = inputs.turned[0]
  scale_bnt = position.scale(params, inputs.real)
  if scale_bnt is not None:
    q = (q * scale_bnt[..., None]).astype(q.dtype)
  if jax.default_backend() == 'gpu':
    return library(rule, q, k, inputs.v_bksh, 'cudnn')
  bare = dataclasses.replace(inputs, turned=((q, k),), plain=None)
  return engine.flash(Nope(), rule, None, {}, bare)


def library(
  rule: Rule,
  q_bnth: jax.Array,
  k_bksh: jax.Array,
  v_bksh: jax.Array,
  implementation: str,
) -> jax.Array:
  """JAX's own attention with our arguments: [b, n, t, h].

  Args:
    rule: causal, or not; with its window.
    q_bnth: turned queries.
    k_bksh: turned keys.
    v_bksh: values.
    implementation: 'cudnn', or 'xla', which materialises the scores.
  """
  q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q_bnth, k_bksh, v_bksh))
  window = None if rule.window is None else (rule.window - 1, 0)
  out = jax.nn.dot_product_attention(  # pyright: ignore[reportCallIssue]
    q,
    k,
    v,
    is_causal=rule.causal,
    local_window_size=window,
    implementation=implementation,  # pyright: ignore[reportArgumentType]
  )
  return jnp.swapaxes(out, 1, 2)
