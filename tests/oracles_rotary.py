"""Float64 loops of the rotary scalings, written from the papers and sources.

Shares no code with rope_jax and imports no jax.
"""

import cmath
import math
from fractions import Fraction

import numpy as np
import oracles


def p_rope_frequencies(d, theta, fraction):
  """Barbero et al., appendix D: the whole head's series, then zeros."""
  turning = math.floor(fraction * (d / 2))
  return np.array(
    [theta ** (-2 * k / d) if k < turning else 0.0 for k in range(d // 2)]
  )


def llama3_frequencies(d, theta, factor, low, high, train_len):
  """By wavelength, as the llama-models code decides it."""
  out = []
  for f in oracles.rope_frequencies(d, theta):
    wavelength = 2 * math.pi / f
    if wavelength < train_len / high:
      out.append(f)
    elif wavelength > train_len / low:
      out.append(f / factor)
    else:
      smooth = (train_len / wavelength - low) / (high - low)
      out.append((1 - smooth) * f / factor + smooth * f)
  return np.array(out)


def ntk_by_parts_frequencies(
  d,
  theta,
  factor,
  train_len,
  variant,
  betas=(1.25, 0.75),
  gammas=(16, 2),
  slow=1,
  fast=32,
):
  """Definition 2 of YaRN, or what its repository had before."""
  plain = oracles.rope_frequencies(d, theta)
  if variant == 'paper':
    out = []
    for f in plain:
      ratio = train_len / (2 * math.pi / f)
      gamma = (ratio - slow) / (fast - slow)
      gamma = 0.0 if ratio < slow else 1.0 if ratio > fast else gamma
      out.append((1 - gamma) * f / factor + gamma * f)
    return np.array(out)

  def ramp(fast, slow):
    def dim(rotations):
      return (
        d
        * math.log(train_len / (rotations * 2 * math.pi))
        / (2 * math.log(theta))
      )

    low, high = max(math.floor(dim(fast)), 0), min(math.ceil(dim(slow)), d - 1)
    if low == high:
      high += 0.001
    return [min(max((k - low) / (high - low), 0), 1) for k in range(d // 2)]

  ntk = oracles.ntk_frequencies(d, theta, factor)
  to_linear, to_scaled = ramp(*betas), ramp(*gammas)
  out = []
  for k, f in enumerate(plain):
    mixed = f / factor * to_linear[k] + ntk[k] * (1 - to_linear[k])
    out.append(mixed * to_scaled[k] + f * (1 - to_scaled[k]))
  return np.array(out)


def dynamic_yarn(d, theta, train_len, length, **options):
  """(frequencies, amplitude) of YaRN at length / train_len."""
  if length <= train_len:
    return oracles.rope_frequencies(d, theta), 1.0
  factor = length / train_len
  frequencies = oracles.yarn_frequencies(d, theta, factor, train_len, **options)
  return frequencies, 0.1 * math.log(factor) + 1


def qwen_alpha(length, train_len):
  """2^ceil(log2(l / L) + 1) - 1, at least 1, in exact fractions."""
  ratio, power = Fraction(length, train_len), 0
  while Fraction(2) ** power < ratio:  # The least power not below the ratio.
    power += 1
  return 2 ** (power + 1) - 1 if ratio > 1 else 1


def qwen_frequencies(d, theta, train_len, length):
  alpha = qwen_alpha(length, train_len)
  return oracles.ntk_frequencies(d, theta, float(alpha))


def longrope_frequencies(d, theta, short, long, train_len, length):
  factors = long if length > train_len else short
  plain = oracles.rope_frequencies(d, theta)
  return np.array([f / by for f, by in zip(plain, factors, strict=True)])


def longrope_amplitude(factor, train_len):
  return math.sqrt(1 + math.log(factor) / math.log(train_len))


def xpos_score(
  q, k, n, m, theta, *, gamma=0.4, scale_base=512, pairing, turning=None
):
  """Re sum q_k conj(k_k) e^(i (n - m) f_k) zeta_k^((n - m) / scale_base), over
  sqrt(h); coordinates beyond the first `turning` multiply as they are."""
  h = len(q)
  d = h if turning is None else turning
  score = float(np.dot(q[d:], k[d:]))
  for pair in range(d // 2):
    at = (pair, pair + d // 2)
    if pairing == 'interleaved':
      at = (2 * pair, 2 * pair + 1)
    a, b = (complex(float(x[at[0]]), float(x[at[1]])) for x in (q, k))
    phase = oracles.exact_phase(n - m, theta ** (-2 * pair / d))
    zeta = (2 * pair + gamma * d) / ((1 + gamma) * d)
    fade = math.exp((n - m) / scale_base * math.log(zeta))
    score += (a * b.conjugate() * cmath.exp(1j * phase)).real * fade
  return score / math.sqrt(h)
