"""FIRE: a small network reads the distance as a share of the query's reach."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from rope_jax.positions import _curve, base

_ROWS = 16  # Queries whose hidden units are in memory at once.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fire(_curve.Curve):
  """Functional interpolation for relative positions.

  bias_h(i, j) = mlp_h(psi(i - j) / (psi(max(i, |m| threshold)) + epsilon)),
  psi(x) = ln(1 + |c x|)

  with a network of one hidden layer (ReLU) from one number to one bias a head,
  and learned numbers c and m, for each layer. i is the query's position, so a
  distance is a share of the context so far, whatever its length; up to
  position |m| threshold, a share of that. The bias is therefore not a function
  of the distance alone.

  It costs `hidden` multiplications per head and pair of tokens: half of what
  the scores cost at a head_dim of 64. The hidden units, `hidden` numbers per
  pair, exist for sixteen queries at a time and are computed again in the
  backward pass.

  Args:
    hidden: units of the network, >= 1.
    threshold: in tokens, > 0; below it all contexts use one scale.
    init_c: where c starts, > 0.
    epsilon: added to the divisor, > 0.

  Example:
    >>> shape = {'heads': 4, 'head_dim': 8, 'model_dim': 32}
    >>> params = Fire().init(jax.random.key(0), **shape)
    >>> params['w_in'].shape, params['w_out'].shape, float(params['m'])
    ((32,), (32, 4), 1.0)

  Source: Li et al. 2024, arXiv:2310.04418, section 3; mcleish7/arithmetic,
    `cramming/architectures/embeddings.py`, `FIRE`.

  Differs: the network's last layer has no constant, since the softmax cannot
    tell one that is added to all scores of a head. The code shows randomized
    positions in training; here that is a method of its own, to be composed
    with this one.
  """

  relative: ClassVar[bool] = False
  reads: ClassVar[str] = 'positions'

  hidden: int = 32
  threshold: float = 512.0
  init_c: float = 0.1
  epsilon: float = 1e-6

  def __post_init__(self):
    base.require(self, 'hidden', self.hidden >= 1, 'a number of units >= 1')
    for field in ('threshold', 'init_c', 'epsilon'):
      value = getattr(self, field)
      base.require(self, field, 0 < value < math.inf, 'a number above 0')

  def init(self, key, *, heads, head_dim, model_dim):
    del head_dim, model_dim
    keys = iter(jax.random.split(key, 3))

    def uniform(*shape):
      bound = 1.0 if len(shape) == 1 else self.hidden**-0.5
      return jax.random.uniform(next(keys), shape, minval=-bound, maxval=bound)

    return {
      'c': jnp.float32(self.init_c),
      'm': jnp.float32(1.0),
      'w_in': uniform(self.hidden),
      'b_in': uniform(self.hidden),
      'w_out': uniform(self.hidden, heads),
    }

  def coefficients(self, params, heads, total, head_dim):
    del total, head_dim
    shared = jnp.concatenate(
      [
        jnp.stack([params['c'], jnp.abs(params['m']) * self.threshold]),
        params['w_in'],
        params['b_in'],
      ]
    )
    w_out_nu = params['w_out'][:, heads].T
    shared_ns = jnp.broadcast_to(shared, (w_out_nu.shape[0], shared.shape[0]))
    return jnp.concatenate([shared_ns, w_out_nu], axis=1)

  def share(self, c, distance, q_pos) -> jax.Array:
    """What the network reads: float32, in [0, 1] for keys at or before the
    query and from position 0 on."""
    rate, least = c[:2]

    def psi(x):
      return jnp.log1p(jnp.abs(rate * x.astype(jnp.float32)))

    reach = jnp.maximum(q_pos.astype(jnp.float32), least)
    return psi(distance) / (psi(reach) + self.epsilon)

  def curve(self, c, distance, q_pos, product):
    del product
    share = self.share(c, distance, q_pos)
    found, units = 0.0, self.hidden
    for w_in, b_in, w_out in zip(
      c[2 : 2 + units], c[2 + units : 2 + 2 * units], c[2 + 2 * units :],
      strict=True,
    ):  # fmt: skip
      found = found + w_out * jnp.maximum(w_in * share + b_in, 0.0)
    return jnp.asarray(found)

  def bias(self, params, q_btnh, k_bskh, places):
    """What `curve` says, by products of matrices, a few queries at a time."""
    del q_btnh, k_bskh
    w_in, b_in = params['w_in'], params['b_in']
    w_out_un = params['w_out'][:, places.heads]
    scales = (params['c'], jnp.abs(params['m']) * self.threshold)

    @jax.checkpoint
    def network(share_bs):
      hidden_bsu = jax.nn.relu(
        share_bs[:, :, None] * w_in[None, None] + b_in[None, None]
      )
      return jnp.einsum('bsu,un->bns', hidden_bsu, w_out_un)

    q_pos_bt1 = jnp.asarray(places.q_pos_bt)[:, :, None]
    share_bts = self.share(scales, places.distance(), q_pos_bt1)
    share_tbs = jnp.moveaxis(share_bts, 1, 0)
    if len(share_tbs) <= _ROWS:
      found_tbns = jax.vmap(network)(share_tbs)
    else:
      found_tbns = jax.lax.map(network, share_tbs, batch_size=_ROWS)
    return jnp.moveaxis(found_tbns, 0, 2)
