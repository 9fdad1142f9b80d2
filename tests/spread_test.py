"""What devices find in their own keys is merged, however far apart it is."""

import functools

import hooks
import jax
import numpy as np
import pytest

from rope_jax import positions
from rope_jax.attention import Mask, attend

AUTO = jax.sharding.AxisType.Auto
# Of each head: the scores of the first half of the keys, and of the second.
# exp(200) is more than float32 can hold, and exp(-200) less.
LEVELS = [(200, -200), (-200, 200), (-200, -200), (200, 200), (0, 1)]
B, T, S, H = 2, 8, 16, 4
FIRST = 4  # Where the queries begin: the first see no key of the second half.


def exact(q_btnh, k_bsnh, v_bsnh):
  """Causal attention in float64, query by query."""
  q, k, v = (np.float64(x) for x in (q_btnh, k_bsnh, v_bsnh))
  out = np.zeros(q.shape)
  for b, t, n in np.ndindex(q.shape[:3]):
    seen = FIRST + t + 1
    scores = k[b, :seen, n] @ q[b, t, n] / np.sqrt(H)
    weights = np.exp(scores - scores.max())
    out[b, t, n] = weights @ v[b, :seen, n] / weights.sum()
  return out


@pytest.mark.parametrize('ways', [2, 4])
def test_the_largest_score_of_all_devices_counts(rng, ways):
  heads = len(LEVELS)
  q = rng.normal(size=(B, T, heads, H)).astype(np.float32)
  k, v = (
    rng.normal(size=(B, S, heads, H)).astype(np.float32) for _ in range(2)
  )
  q[..., 0] = 1
  level = np.repeat(np.float32(LEVELS).T, S // 2, axis=0)  # [s, n]
  k[..., 0] = level * np.sqrt(H)
  mesh = jax.make_mesh(
    (ways,), ('seq',), axis_types=(AUTO,), devices=jax.devices()[:ways]
  )
  q_pos = np.arange(FIRST, FIRST + T, dtype=np.int32)[None].repeat(B, 0)
  k_pos = np.arange(S, dtype=np.int32)[None].repeat(B, 0)
  go = hooks.jit(
    functools.partial(
      attend, positions.build({'name': 'nope'}), {}, q_pos_bt=q_pos,
      k_pos_bs=k_pos, mask=Mask(q_order_bt=q_pos), how='spread', mesh=mesh,
    )
  )  # fmt: skip
  np.testing.assert_allclose(go(q, k, v), exact(q, k, v), atol=1e-4)
