"""Sinusoidal encodings: the paper's and tensor2tensor's, odd widths."""

import functools

import jax
import numpy as np
import oracles
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {},
]


def build(**fields):
  return positions.build({'name': 'sinusoidal', **fields})


@functools.partial(jax.jit, static_argnums=0)
def embed(position, x, pos):
  return position.embed({}, x, pos)


def table(position, pos, width):
  pos = np.asarray(pos, np.int32)
  return embed(position, np.zeros((*pos.shape, width), np.float32), pos)


@pytest.mark.parametrize('width', [16, 17])
@pytest.mark.parametrize(
  ('variant', 'oracle'),
  [('paper', oracles.sinusoidal_paper), ('t2t', oracles.sinusoidal_t2t)],
)
def test_tables_equal_the_loops_at_scattered_positions(
  rng, variant, oracle, width
):
  pos = rng.integers(0, 2**24, (2, 9))
  got = table(build(variant=variant, theta=500.0), pos, width)
  want = np.stack([oracle([int(p) for p in row], width, 500.0) for row in pos])
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_golden_table_of_an_odd_width():
  got = table(build(theta=100.0), [[0, 1, 2]], 3)
  want = [[0, 1, 0], [0.84147098, 0.54030231, 0], [0.90929743, -0.41614684, 0]]
  np.testing.assert_allclose(got[0], want, atol=1e-7)


def test_it_is_added_to_the_embeddings(rng):
  x = rng.normal(size=(1, 3, 16)).astype(np.float32)
  pos = np.array([[5, 1, 9]], np.int32)
  got = embed(build(), x, pos)
  np.testing.assert_allclose(got - table(build(), pos, 16), x, atol=1e-6)


def test_two_hyperparameters_in_one_process_do_not_mix():
  pos = [[3, 700]]
  methods = [build(), build(theta=500.0), build(variant='t2t')]
  forwards = [np.asarray(table(m, pos, 16)) for m in methods]
  embed.clear_cache()
  backwards = [np.asarray(table(m, pos, 16)) for m in methods[::-1]][::-1]
  np.testing.assert_array_equal(forwards, backwards)
  for other in forwards[1:]:
    assert np.abs(other - forwards[0]).max() > 0.1


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'theta': 1.0}, r'theta=1\.0.*above 1'),
    ({'theta': float('inf')}, 'theta=inf.*above 1'),
    ({'variant': 'concat'}, "variant='concat'.*'paper', 't2t'"),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
