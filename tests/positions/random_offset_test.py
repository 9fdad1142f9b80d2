"""Random offset: one number per row, uniform, ends included."""

import hooks
import jax
import numpy as np
import pytest

from rope_jax import model, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'max_offset': 50},
]


def build(**fields):
  return positions.build({'name': 'random_offset', 'max_offset': 7, **fields})


def test_a_row_is_shifted_as_a_whole():
  packed = [[0, 1, 2, 3, 0, 1, 0, 1]] * 30
  offsets = hooks.draw(build(), packed) - np.array(packed)
  assert (offsets == offsets[:, :1]).all()
  assert len(np.unique(offsets[:, 0])) > 4


def test_offsets_are_uniform_with_both_ends():
  """4,000 rows hold each of 8 offsets 500 times, give or take 21."""
  counts = np.bincount(hooks.draw(build(), hooks.rows(4000, 2))[:, 0])
  assert len(counts) == 8
  assert np.abs(counts - 500).max() < 100


def test_no_offset_changes_nothing():
  np.testing.assert_array_equal(
    hooks.draw(build(max_offset=0), hooks.rows(3, 5)), hooks.rows(3, 5)
  )


def test_the_key_decides():
  pos = hooks.rows(9, 4)
  np.testing.assert_array_equal(
    hooks.draw(build(), pos), hooks.draw(build(), pos)
  )
  assert (hooks.draw(build(), pos) != hooks.draw(build(), pos, seed=1)).any()


def test_rows_draw_alike_under_vmap():
  keys = jax.random.split(jax.random.key(3), 4)
  pos = hooks.rows(2, 5).astype(np.int32)
  mapped = jax.vmap(build().train_positions, in_axes=(0, None))(keys, pos)
  for key, got in zip(keys, mapped, strict=True):
    np.testing.assert_array_equal(got, build().train_positions(key, pos))


def test_training_of_an_absolute_embedding_shows_what_is_drawn():
  learned = positions.build({'name': 'learned', 'train_len': 64})
  both = positions.compose(learned, build())
  key, pos = jax.random.key(0), hooks.rows(8, 5).astype(np.int32)
  got = model.train_positions((both,), key, pos)
  np.testing.assert_array_equal(got, build().train_positions(key, pos))
  assert (np.asarray(got) != pos).any()


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'max_offset': -1}, 'max_offset=-1.*>= 0'),
    ({'max_offset': None}, 'needs max_offset'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
