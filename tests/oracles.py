"""Float64 loops written from the papers: what every method is proved against.

Shares no code with rope_jax and imports no jax. Speed is no concern here.
"""

import cmath
import math
from decimal import Decimal, localcontext

import numpy as np

# 60 digits: enough to reduce a phase of 2^31 radians without a trace.
PI = Decimal('3.14159265358979323846264338327950288419716939937510582097494')


def attention(
  q, k, v, *, rotate=None, bias=None, seen=None, score=None, value=None, cap=0
):
  """Softmax attention, one query, head and key at a time.

  Args:
    q: [b, t, n, h]; query head m reads key head m // (n / k).
    k: [b, s, k, h].
    v: [b, s, k, h].
    rotate: (x [h], 'q' or 'k', row, index) -> [h].
    bias: (row, head, i, j) -> what is added to the scaled score.
    seen: (row, i, j) -> bool; None is causal, the queries being the last.
    score: (row, head, i, j) -> the whole logit, in place of the scaled product
      of rotated q and k plus bias.
    value: (row, head, i, j) -> [h], in place of v_j.
    cap: each logit x becomes cap tanh(x / cap), unless 0.

  Returns:
    float64 [b, t, n, h]; zero where nothing is seen.
  """
  q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
  b, t, n, h = q.shape
  s, group = k.shape[1], n // k.shape[2]
  if seen is None:

    def seen(row, i, j):
      return j <= i + s - t

  if rotate is not None:
    q, k = (
      np.array(
        [
          [[rotate(x, which, row, at) for x in heads] for at, heads in tokens]
          for row, tokens in ((r, list(enumerate(x))) for r, x in enumerate(xs))
        ]
      )
      for xs, which in ((q, 'q'), (k, 'k'))
    )
  out = np.zeros((b, t, n, h))
  for row in range(b):
    for head in range(n):
      for i in range(t):
        visible = [j for j in range(s) if seen(row, i, j)]
        scores = []
        for j in visible:
          if score is not None:
            scores.append(score(row, head, i, j))
            continue
          product = float(q[row, i, head] @ k[row, j, head // group]) / h**0.5
          scores.append(product + (bias(row, head, i, j) if bias else 0.0))
        if cap:
          scores = [cap * math.tanh(x / cap) for x in scores]
        weights = [math.exp(x - max(scores)) for x in scores]
        for weight, j in zip(weights, visible, strict=True):
          found = v[row, j, head // group]
          if value is not None:
            found = value(row, head, i, j)
          out[row, i, head] += weight / sum(weights) * found
  return out


def exact_phase(position: int, frequency: float) -> float:
  """position x frequency reduced to [-pi, pi], by long decimals."""
  with localcontext() as context:
    context.prec = 60
    turn = 2 * PI
    phase = Decimal(position) * Decimal(frequency)
    return float(phase - turn * (phase / turn).to_integral_value())


# RoPE, in its four forms. Each takes x [d], a position and d/2 frequencies.


def rope_matrix(x, position, frequency):
  """RoFormer eq. 15: a block-diagonal matrix; neighbours are pairs."""
  matrix = np.zeros((len(x), len(x)))
  for i, f in enumerate(frequency):
    c, s = math.cos(position * f), math.sin(position * f)
    matrix[2 * i, 2 * i], matrix[2 * i, 2 * i + 1] = c, -s
    matrix[2 * i + 1, 2 * i], matrix[2 * i + 1, 2 * i + 1] = s, c
  return matrix @ np.asarray(x, np.float64)


def rope_complex(x, position, frequency):
  """Neighbours as one complex number, times cis(position x frequency)."""
  out = []
  for i, f in enumerate(frequency):
    z = complex(x[2 * i], x[2 * i + 1]) * cmath.exp(1j * position * f)
    out += [z.real, z.imag]
  return np.array(out)


def rope_interleaved(x, position, frequency):
  """x cos + rotate_every_two(x) sin."""
  turned = np.array(
    [-x[i + 1] if i % 2 == 0 else x[i - 1] for i in range(len(x))]
  )
  angle = position * np.repeat(frequency, 2)
  return x * np.cos(angle) + turned * np.sin(angle)


def rope_half(x, position, frequency):
  """x cos + rotate_half(x) sin, cos and sin repeated as (f, f)."""
  half = len(x) // 2
  turned = np.concatenate([-x[half:], x[:half]])
  angle = position * np.concatenate([frequency, frequency])
  return x * np.cos(angle) + turned * np.sin(angle)


def rope(x, position, frequency, amplitude=1.0, pairing='half'):
  """Turns the leading coordinates that have a frequency; leaves the rest."""
  width = 2 * len(frequency)
  form = rope_half if pairing == 'half' else rope_interleaved
  turned = amplitude * form(np.asarray(x[:width]), position, frequency)
  return np.concatenate([turned, x[width:]])


# Frequencies of d/2 pairs.


def rope_frequencies(d, theta):
  return np.array([1.0 / theta ** (2 * i / d) for i in range(d // 2)])


def linear_frequencies(d, theta, factor):
  return np.array([f / factor for f in rope_frequencies(d, theta)])


def ntk_frequencies(d, theta, factor):
  return rope_frequencies(d, theta * factor ** (d / (d - 2)))


def dynamic_ntk_frequencies(d, theta, train_len, length, factor=None):
  """The paper's; with a factor, the one of huggingface/transformers."""
  if length <= train_len:
    return rope_frequencies(d, theta)
  stretch = length / train_len
  if factor is not None:
    stretch = factor * length / train_len - (factor - 1)
  return ntk_frequencies(d, theta, stretch)


def yarn_frequencies(
  d, theta, factor, train_len, *, fast=32, slow=1, ramp='code', truncate=True
):
  """Definition 2 of the paper, or its ramp as the code bases draw it."""
  out = []
  for i, f in enumerate(rope_frequencies(d, theta)):
    if ramp == 'paper':
      wavelength = 2 * math.pi / f
      keep = (train_len / wavelength - slow) / (fast - slow)
    else:

      def dim(rotations):
        return (
          d * math.log(train_len / (rotations * 2 * math.pi)) / 2
        ) / math.log(theta)

      low, high = dim(fast), dim(slow)
      if truncate:
        low, high = math.floor(low), math.ceil(high)
      low, high = max(low, 0), min(high, d - 1)
      high = low + 0.001 if high <= low else high
      keep = 1 - (i - low) / (high - low)
    keep = min(max(keep, 0.0), 1.0)
    out.append((1 - keep) * f / factor + keep * f)
  return np.array(out)


# Biases.


def alibi_slopes(heads):
  """The paper's: a geometric series that starts at its ratio 2^(-8/n); for
  other n, that of the power of two below and every other one of the next."""
  if math.log2(heads).is_integer():
    start = 2 ** (-(2 ** -(math.log2(heads) - 3)))
    return [start * start**i for i in range(heads)]
  below = 2 ** math.floor(math.log2(heads))
  return alibi_slopes(below) + alibi_slopes(2 * below)[::2][: heads - below]


def t5_bucket(distance, buckets, max_distance, bidirectional=False):
  """Raffel et al., with the logarithm in 50 digits (distance = i - j)."""
  start = 0
  if bidirectional:
    buckets //= 2
    start = buckets if distance < 0 else 0
    distance = abs(distance)
  distance = max(distance, 0)
  exact = buckets // 2
  if distance < exact:
    return start + distance
  with localcontext() as context:
    context.prec = 50
    share = (Decimal(distance) / exact).ln() / (
      Decimal(max_distance) / exact
    ).ln()
    # A power that is exactly a whole number may come out just below it.
    step = int(share * (buckets - exact) + Decimal('1e-40'))
  return start + min(exact + step, buckets - 1)


# Absolute embeddings: [positions, d].


def sinusoidal_paper(positions, d, theta=1e4):
  out = np.zeros((len(positions), d))
  for row, p in enumerate(positions):
    for i in range(d // 2):
      phase = exact_phase(p, theta ** (-2 * i / d))
      out[row, 2 * i], out[row, 2 * i + 1] = math.sin(phase), math.cos(phase)
  return out


def sinusoidal_t2t(positions, d, theta=1e4):
  """tensor2tensor: all sines, then all cosines; the last wavelength is
  2 pi theta exactly."""
  pairs = d // 2
  out = np.zeros((len(positions), d))
  step = math.log(theta) / max(pairs - 1, 1)
  for row, p in enumerate(positions):
    for i in range(pairs):
      phase = exact_phase(p, math.exp(-i * step))
      out[row, i], out[row, pairs + i] = math.sin(phase), math.cos(phase)
  return out


def learned(table, positions, beyond, factor=None):
  """One row a position; what comes after the last is up to `beyond`."""
  last = len(table) - 1
  out = []
  for p in positions:
    at = p if factor is None else p / factor
    inside = 0 <= at <= last
    if not inside and beyond == 'clip':
      at, inside = min(max(at, 0), last), True
    if not inside:
      out.append(np.full(table.shape[1], np.nan))
      continue
    low = math.floor(at)
    high = min(low + 1, last)
    out.append(table[low] + (at - low) * (table[high] - table[low]))
  return np.array(out)
