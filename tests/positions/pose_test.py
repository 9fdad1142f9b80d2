"""PoSE: one gap in a row, uniform, and never beyond the target."""

import hooks
import jax
import numpy as np
import pytest

from rope_jax import model, positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'train_len': 80, 'target_len': 128},
]


def build(**fields):
  defaults = {'train_len': 9, 'target_len': 15}
  return positions.build({'name': 'pose', **defaults, **fields})


def test_each_row_is_two_runs_with_one_gap():
  got = hooks.draw(build(), hooks.rows(2000, 9))
  steps = np.diff(got, axis=1)
  assert (got[:, 0] == 0).all()
  assert ((steps > 1).sum(axis=1) <= 1).all()
  assert (steps >= 1).all()
  assert got.max() == 14  # target_len - 1, and no further.


def test_splits_and_skips_are_uniform_and_independent():
  """5 splits (1 ... ceil(9 / 2)) by 7 skips (0 ... 6): 35 pairs of 100."""
  got = hooks.draw(build(), hooks.rows(3500, 9))
  skip = got[:, -1] - 8
  assert (np.bincount(skip, minlength=7) > 430).all()
  assert (np.bincount(skip, minlength=7) < 570).all()
  gapped = skip > 0  # Where there is no skip the split leaves no trace.
  split = np.argmax(got[gapped] > np.arange(9), axis=1)
  pairs = np.zeros((6, 7), int)
  np.add.at(pairs, (split, skip[gapped]), 1)
  assert (pairs[0] == 0).all()
  assert pairs[1:, 1:].min() > 60
  assert pairs[1:, 1:].max() < 145


def test_all_distances_of_the_target_are_met():
  got = hooks.draw(build(), hooks.rows(2000, 9))
  met = (got[:, :, None] - got[:, None, :]).ravel()
  assert set(met[met >= 0].tolist()) == set(range(15))


def test_documents_of_a_packed_row_are_split_alike():
  packed = [0, 1, 2, 3, 4, 0, 1, 2, 3]
  got = hooks.draw(build(), [packed] * 50)
  assert (np.diff(got[:, :5], axis=1) >= 1).all()
  np.testing.assert_array_equal(got[:, :4], got[:, 5:])


def test_an_even_row_splits_in_its_first_half():
  got = hooks.draw(build(train_len=4, target_len=100), hooks.rows(500, 4))
  split = np.argmax(got > np.arange(4), axis=1)
  assert set(split.tolist()) <= {0, 1, 2}
  assert {1, 2} <= set(split.tolist())


def test_no_longer_target_changes_nothing():
  np.testing.assert_array_equal(
    hooks.draw(build(target_len=9), hooks.rows(3, 9)), hooks.rows(3, 9)
  )


def test_the_key_decides_and_rows_differ():
  pos = hooks.rows(20, 9)
  np.testing.assert_array_equal(
    hooks.draw(build(), pos), hooks.draw(build(), pos)
  )
  assert (hooks.draw(build(), pos) != hooks.draw(build(), pos, seed=1)).any()
  assert len({tuple(row) for row in hooks.draw(build(), pos).tolist()}) > 5


def test_rows_draw_alike_under_vmap():
  keys = jax.random.split(jax.random.key(3), 4)
  pos = hooks.rows(2, 9).astype(np.int32)
  mapped = jax.vmap(build().train_positions, in_axes=(0, None))(keys, pos)
  for key, got in zip(keys, mapped, strict=True):
    np.testing.assert_array_equal(got, build().train_positions(key, pos))


def test_training_under_a_scaling_shows_what_is_drawn():
  yarn = positions.build(
    {'name': 'yarn', 'theta': 1e4, 'factor': 2.0, 'train_len': 9}
  )
  both = positions.compose(yarn, build())
  key, pos = jax.random.key(0), hooks.rows(8, 9).astype(np.int32)
  got = model.train_positions((both,), key, pos)
  np.testing.assert_array_equal(got, build().train_positions(key, pos))
  assert (np.asarray(got) != pos).any()


def test_rows_longer_than_the_trained_length_are_refused():
  with pytest.raises(ValueError, match=r'train_len=9.*10 tokens.*>= 10'):
    hooks.draw(build(), hooks.rows(1, 10))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
    ({'target_len': 8}, 'target_len=8.*>= train_len=9'),
    ({'target_len': None}, 'needs target_len'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
