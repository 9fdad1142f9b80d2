"""What the temperatures share: how many keys a query has, all heads alike."""

import jax
import jax.numpy as jnp

from rope_jax.positions import base


def visible(places: base.Places) -> jax.Array:
  """Tokens of a query's own sequence up to itself: float32 [b, t], >= 1."""
  before_bt = jnp.asarray(places.q_pos_bt, jnp.float32)  # 2^31 fits in there.
  return jnp.maximum(before_bt + 1, 1)


def of_all_heads(scale_bt: jax.Array, places: base.Places) -> jax.Array:
  """A factor by query, [b, t] or [b, 1], for the heads at hand: [b, n, t]."""
  b, t = places.q_pos_bt.shape
  return jnp.broadcast_to(scale_bt[:, None, :], (b, len(places.heads), t))
