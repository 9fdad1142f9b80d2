"""Shaw et al.: learned vectors for clipped distances, at keys and at values."""

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions import _tables, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shaw(base.Position):
  """Relative position representations of keys and values.

  score(i, j) = q_i . (k_j + a_r) / sqrt(h),   out_i = sum_j w_ij (v_j + c_r),
  r = clip(j - i, -max_distance, max_distance)

  The tables a and c have one row of head_dim per clipped distance (key minus
  query, so row 0 is the farthest past), which all heads share; each layer has
  its own. Queries meet the table before distances pick from the products, and
  weights are summed by distance before they meet it: memory is
  O(t max_distance), and no vector per pair of tokens is formed.

  Args:
    max_distance: in tokens, > 0; keys farther away share a row on each side.
    with_values: whether the values get theirs too, as in the paper. Many ports
      drop that term.

  Example:
    >>> shape = {'heads': 4, 'head_dim': 8, 'model_dim': 32}
    >>> params = Shaw(max_distance=16).init(jax.random.key(0), **shape)
    >>> params['keys'].shape, params['values'].shape
    ((33, 8), (33, 8))

  Source: Shaw et al. 2018, arXiv:1803.02155, eq. 3 and 4; tensorflow/
    tensor2tensor, `common_attention.dot_product_attention_relative`.
  """

  max_distance: int
  with_values: bool = True

  def __post_init__(self):
    base.require(
      self, 'max_distance', self.max_distance > 0, 'a number of tokens >= 1'
    )

  def init(self, key, *, heads, head_dim, model_dim):
    del heads, model_dim
    shape = (2 * self.max_distance + 1, head_dim)
    keys, values = jax.random.split(key)
    params = {'keys': jax.random.normal(keys, shape) * head_dim**-0.5}
    if self.with_values:
      params['values'] = jax.random.normal(values, shape) * head_dim**-0.5
    return params

  def _row(self, places: base.Places) -> jax.Array:
    """The table's row of each pair of tokens: int32 [b, t, s]."""
    reach = self.max_distance
    return jnp.clip(-places.distance(), -reach, reach) + reach

  def bias(self, params, q_btnh, k_bskh, places):
    del k_bskh
    found_bntr = jnp.einsum(
      'btnh,rh->bntr', q_btnh.astype(jnp.float32), params['keys']
    )
    found_bntr = found_bntr * q_btnh.shape[-1] ** -0.5
    return _tables.pick(found_bntr, self._row(places))

  def values(self, params, weights_bnts, places):
    if not self.with_values:
      return None
    table_rh = params['values']
    by_row_bntr = _tables.gather(
      weights_bnts, self._row(places), table_rh.shape[0]
    )
    return jnp.einsum('bntr,rh->btnh', by_row_bntr, table_rh)
