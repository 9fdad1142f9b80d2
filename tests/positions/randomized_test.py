"""Randomized positions: sorted samples without replacement."""

import hooks
import jax
import numpy as np
import pytest

from rope_jax import model, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'max_len': 128},
]


def build(**fields):
  return positions.build({'name': 'randomized', 'max_len': 12, **fields})


def test_each_row_is_a_rising_sample_of_the_range():
  got = hooks.draw(build(max_len=40), hooks.rows(300, 10))
  assert (np.diff(got, axis=1) > 0).all()
  assert (got.min(), got.max()) == (0, 39)
  assert len({tuple(row) for row in got.tolist()}) > 290  # A draw per row.


def test_every_position_is_as_likely_as_another():
  """4,000 rows of 3 of 12 hold each position 1,000 times, give or take 27."""
  got = hooks.draw(build(), hooks.rows(4000, 3))
  counts = np.bincount(got.ravel(), minlength=12)
  assert np.abs(counts - 1000).max() < 130


def test_every_pair_is_as_likely_as_another():
  """Without replacement and without preference: 66 pairs of 12."""
  got = hooks.draw(build(), hooks.rows(6600, 2))
  pairs = np.bincount(got[:, 0] * 12 + got[:, 1], minlength=144)
  seen = pairs[pairs > 0]
  assert len(seen) == 66
  assert 60 < seen.min() <= seen.max() < 145


def test_a_row_of_the_whole_range_is_the_range():
  np.testing.assert_array_equal(
    hooks.draw(build(), hooks.rows(3, 12)), hooks.rows(3, 12)
  )


def test_documents_of_a_packed_row_share_its_sample():
  packed = [[0, 1, 2, 3, 0, 1, 0, 1, 2]]
  got = hooks.draw(build(), packed)[0]
  whole = hooks.draw(build(), hooks.rows(1, 9))[0]
  np.testing.assert_array_equal(got, whole[np.array(packed[0])])
  assert (np.diff(got[:4]) > 0).all()


def test_a_position_that_no_row_holds_is_not_taken_for_another():
  assert hooks.draw(build(), [[0, 1, 9]])[0, 2] == -1


def test_the_key_decides():
  pos = hooks.rows(5, 6)
  np.testing.assert_array_equal(
    hooks.draw(build(), pos), hooks.draw(build(), pos)
  )
  assert (hooks.draw(build(), pos) != hooks.draw(build(), pos, seed=1)).any()


def test_rows_draw_alike_under_vmap():
  keys = jax.random.split(jax.random.key(3), 4)
  pos = hooks.rows(2, 6).astype(np.int32)
  mapped = jax.vmap(build().train_positions, in_axes=(0, None))(keys, pos)
  for key, got in zip(keys, mapped, strict=True):
    np.testing.assert_array_equal(got, build().train_positions(key, pos))


def test_training_shows_what_is_drawn_and_evaluation_does_not(rng):
  rope = positions.build({'name': 'rope', 'theta': 1e4})
  both = positions.compose(rope, build())
  key, pos = jax.random.key(0), hooks.rows(2, 6).astype(np.int32)
  got = model.train_positions((both, rope), key, pos)
  np.testing.assert_array_equal(got, build().train_positions(key, pos))
  assert (np.asarray(got) != pos).any()
  c = hooks.case(rng)
  plain, composed = (
    hooks.attend(p, {}, c.q, c.k, c.v, c.q_pos, c.k_pos) for p in (rope, both)
  )
  np.testing.assert_array_equal(plain, composed)


def test_rows_longer_than_the_range_are_refused():
  with pytest.raises(ValueError, match=r'max_len=12.*rows of 13.*>= 13'):
    hooks.draw(build(), hooks.rows(1, 13))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'max_len': 0}, 'max_len=0.*>= 1'),
    ({'max_len': None}, 'needs max_len'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
