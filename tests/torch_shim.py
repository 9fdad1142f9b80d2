"""As much of torch as `transformers.modeling_rope_utils` uses, in float64.

Its functions take nothing but arange and arithmetic from torch, so that with
this in its place they run as they are, without torch and without rounding.
"""

import numpy as np


class Tensor(np.ndarray):
  """An array with the two conversions of a tensor."""

  def to(self, *args, device=None, dtype=None):
    del args, device
    return self if dtype is None else self.astype(dtype)

  def float(self):
    return self.astype(np.float64)


def tensor(data, dtype=None, device=None):
  del device
  return np.asarray(data, dtype).view(Tensor)


def arange(*bounds, dtype=None, device=None):
  return tensor(np.arange(*bounds), dtype, device)


def zeros(size, dtype=None, device=None):
  return tensor(np.zeros(size), dtype, device)


def cat(parts, dim=0):
  return tensor(np.concatenate(parts, axis=dim))


def where(condition, one, other):
  return tensor(np.where(condition, one, other))


def clamp(x, low, high):
  return tensor(np.clip(x, low, high))


int64 = np.int64
float = float32 = np.float64
maximum = np.maximum
