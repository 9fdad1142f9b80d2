"""Blocks of sums of cosines, against loops over math.cos."""

import math

import numpy as np
import pytest
from spectrum_loops import frequencies, total

from rope_jax.spectrum import spectra, sums


@pytest.mark.parametrize(
  ('head_dim', 'start', 'length'),
  [(2, 0, 1), (2, 0, 513), (6, 1, 1000), (8, 65_000, 67_000), (258, 7, 300)],
)
def test_blocks_of_sums(head_dim, start, length):
  spectrum = spectra.plain(1e4, head_dim)
  made = list(sums.cosine_blocks(spectrum, length, start))
  firsts = [first for first, _ in made]
  assert firsts == list(range(start, length, 1 << 16))
  values = np.concatenate([value_m for _, value_m in made])
  expected = [
    total(frequencies(1e4, head_dim), m) for m in range(start, length)
  ]
  np.testing.assert_allclose(values, expected, atol=1e-9, rtol=0)


def test_blocks_of_a_spectrum_that_grows_and_stands_still():
  spectrum = spectra.Spectrum('still', np.array([1.0, 0.1, 0.0]), 1.5)
  ((_, value_m),) = sums.cosine_blocks(spectrum, 700)
  expected = [2.25 * (math.cos(m) + math.cos(m * 0.1)) + 1 for m in range(700)]
  np.testing.assert_allclose(value_m, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(('length', 'start'), [(0, 0), (5, 5), (5, -1)])
def test_blocks_of_no_distance(length, start):
  with pytest.raises(ValueError, match='length'):
    sums.cosine_blocks(spectra.plain(1e4, 8), length, start)
