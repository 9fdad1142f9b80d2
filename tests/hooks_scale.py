"""What the tests of temperatures share: the factors alone, and the loops."""

import hooks
import hooks_remap
import numpy as np
import oracles_remap


def scales(position, q_pos, *, params=None, length=0, **others):
  """The factor of each row, head and query: float32 [b, n, t]."""
  q_pos = np.asarray(q_pos, np.int32)
  places = hooks.places(q_pos, q_pos[:, :1], length=length, **others)
  got = position.scale(params or {}, places)
  assert got.dtype == np.float32
  assert got.shape[1:] == (len(places.heads), q_pos.shape[1])
  assert got.shape[0] in (1, q_pos.shape[0])
  return np.asarray(got)


def one(position, at, **others):
  """The factor of the first head's query at one position."""
  return float(scales(position, [[at]], **others)[0, 0, 0])


def assert_attends(position, c, scale, *, params=None, **others):
  """`attend` equals loops that multiply the score by scale(head, i)."""
  hooks.assert_attends(
    position,
    c,
    params=params,
    oracle=oracles_remap.callbacks(
      c, lambda i, j: i - j, None, scale=scale, **others
    ),
  )


def case(rng):
  """Queries before and after position 16, keys large enough to matter."""
  c = hooks_remap.case(rng, t=9, s=20)
  c.k *= 2
  return c
