"""Terms read from a short table by distance: gather after the product.

A vector for each pair of tokens, [b, t, s, h], is never formed. The query (or
the key) is multiplied with the whole table first, and each pair of tokens then
picks its one number from the result.
"""

import jax
import jax.numpy as jnp


def pick(found_bntr: jax.Array, row_bts: jax.Array) -> jax.Array:
  """What each pair of tokens reads of its query's products with the table.

  Args:
    found_bntr: a number per query and row of the table.
    row_bts: int32 in [0, r), the row that each pair reads.

  Returns:
    [b, n, t, s].

  Example:
    >>> found = jnp.array([[[[10.0, 20.0, 30.0]]]])
    >>> pick(found, jnp.array([[[2, 0, 0, 1]]]))
    Array([[[[30., 10., 10., 20.]]]], dtype=float32)
  """
  return jnp.take_along_axis(
    found_bntr, row_bts[:, None], axis=-1, mode='promise_in_bounds'
  )


def gather(weights_bnts: jax.Array, row_bts: jax.Array, rows: int) -> jax.Array:
  """The transpose of `pick`: what each query's weights give to each row.

  Args:
    weights_bnts: a number per pair of tokens.
    row_bts: int32 in [0, rows), the row that each pair belongs to.
    rows: how many rows the table has.

  Returns:
    [b, n, t, rows], float32.

  Example:
    >>> weights = jnp.array([[[[0.5, 0.25, 0.125, 0.125]]]])
    >>> gather(weights, jnp.array([[[2, 0, 0, 1]]]), 3)
    Array([[[[0.375, 0.125, 0.5  ]]]], dtype=float32)
  """
  b, n, t, _ = weights_bnts.shape
  b_axis = jnp.arange(b)[:, None, None, None]
  n_axis = jnp.arange(n)[None, :, None, None]
  t_axis = jnp.arange(t)[None, None, :, None]
  zero = jnp.zeros((b, n, t, rows), jnp.float32)
  at = zero.at[b_axis, n_axis, t_axis, row_bts[:, None]]
  return at.add(weights_bnts.astype(jnp.float32), mode='promise_in_bounds')
