"""The arrays that both sides of the bench work on."""

from __future__ import annotations

import numpy as np

WIDTH = 64  # Of a head.
BUCKETS, FAR = 32, 128  # T5's.


def attention(heads: int, tokens: int) -> list[np.ndarray]:
  """q, k, v and the output's cotangent: float32 [1, t, n, 64] each."""
  rng = np.random.default_rng(heads * tokens)
  shape = (1, tokens, heads, WIDTH)
  return [rng.standard_normal(shape, np.float32) for _ in range(4)]


def table(heads: int) -> np.ndarray:
  """A T5 table: float32 [32, n]."""
  rng = np.random.default_rng(heads)
  return rng.standard_normal((BUCKETS, heads), np.float32) / 8


def batch(rows: int, tokens: int, vocab: int) -> np.ndarray:
  """Token ids: int32 [rows, tokens + 1]."""
  rng = np.random.default_rng(rows)
  return rng.integers(0, vocab, (rows, tokens + 1), np.int32)
