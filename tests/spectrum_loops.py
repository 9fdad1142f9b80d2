"""What spectrum.html shows, by plain loops over math.cos; and its settings."""

import math

HEAD, TRAIN = 128, 4096
THETAS, FACTORS = (1e3, 1e4, 5e5), (1, 4, 16)
LENGTHS = [4096 * 2**k for k in range(9)]
LAST = 2**20


def frequencies(theta, head_dim=HEAD):
  return [theta ** (-2 * k / head_dim) for k in range(head_dim // 2)]


def total(frequency_f, distance, square=1.0):
  """The sum of cosines, by the definition."""
  return square * math.fsum(math.cos(distance * f) for f in frequency_f)


def negative(frequency_f, start=1):
  """The first distance with a negative sum, found by trying each."""
  distance = start
  while total(frequency_f, distance) >= 0:
    distance += 1
  return distance


def cover(original_f, frequency_f, length):
  return [
    min(1, min(1, TRAIN * a / math.tau) / min(1, length * b / math.tau))
    for a, b in zip(original_f, frequency_f, strict=True)
  ]
