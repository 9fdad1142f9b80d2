"""What the tests of re-mappings share: a case in token order, all distances."""

import hooks
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_remap

from rope_jax import positions


def case(rng, *, t=9, s=34, h=8):
  """A row 0 ... s - 1 and a gappy one, in token order; queries are the last."""
  c = hooks.case(rng, t=t, s=s, h=h)
  gaps = rng.integers(1, 6, s)
  c.k_pos = np.stack([np.arange(s), np.cumsum(gaps) - gaps[0]]).astype(np.int32)
  c.q_pos = c.k_pos[:, -t:]
  return c


def pretended(position, q_pos, k_pos):
  """The distance of each pair under a method's views: float64 [t, s].

  NaN where no view has the pair; no two may have it.
  """
  q_pos, k_pos = (np.asarray(x, np.int32)[None] for x in (q_pos, k_pos))
  out = np.full((q_pos.shape[1], k_pos.shape[1]), np.nan)
  for view in position.views(hooks.places(q_pos, k_pos)):
    assert jnp.asarray(view.places.q_pos_bt).dtype == jnp.int32
    assert jnp.asarray(view.places.k_pos_bs).dtype == jnp.int32
    inside = np.ones(out.shape, bool)
    if view.region is not None:
      inside = np.asarray(view.region(q_pos, k_pos)[0])
    assert inside.shape == out.shape
    assert np.isnan(out[inside]).all(), 'views overlap'
    found = np.asarray(view.places.distance()[0], np.float64)
    out = np.where(inside, found / view.places.divisor, out)
  return out


def assert_distances(position, oracle, *, offset=0, count=130):
  """All pairs of `count` positions pretend what the oracle says."""
  pos = np.arange(offset, offset + count)
  got = pretended(position, pos, pos)
  for i in range(count):
    for j in range(i + 1):
      want = oracle(int(pos[i]), int(pos[j]))
      want = np.nan if want is None else want
      np.testing.assert_allclose(
        got[i, j], want, rtol=1e-12, err_msg=f'{pos[i]}, {pos[j]}'
      )


def assert_attends(position, c, oracle, *, theta=1e4, atol=1e-5, **others):
  """`attend` equals loops that turn each pair by its pretended distance."""
  frequency = oracles.rope_frequencies(c.q.shape[-1], theta)
  callbacks = oracles_remap.callbacks(c, oracle, frequency, **others)
  hooks.assert_attends(position, c, oracle=callbacks, atol=atol)


def assert_plain(position, c):
  """Attention is that of plain RoPE."""
  rope = positions.build({'name': 'rope', 'theta': position.theta})
  got, want = (
    hooks.attend(p, {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
    for p in (position, rope)
  )
  np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


def furthest(position, count):
  """The largest distance that `count` tokens meet."""
  pos = np.arange(count)
  got = pretended(position, pos, pos)
  return np.nanmax(got[np.tril_indices(count)])
