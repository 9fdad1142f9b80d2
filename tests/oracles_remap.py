"""Pretended distances and drawn positions, one pair at a time, by the papers.

Shares no code with rope_jax and imports no jax. Each function takes the
positions of a query and of a key at or before it, and returns the distance that
the method shows them at, or None where the query does not see the key.
"""

import math

import oracles


def self_extend(i, j, *, group, window):
  """Exact among neighbours; else of floored positions, shifted so that the
  groups go on where the neighbours end."""
  if i - j < window:
    return i - j
  floored = math.floor(i / group) - math.floor(j / group)
  return floored + window - math.floor(window / group)


def rerope(i, j, *, window):
  return min(i - j, window)


def leaky_rerope(i, j, *, window, factor):
  return i - j if i - j < window else window + (i - j - window) / factor


def dual_chunk(i, j, *, chunk, local):
  """The paper's position indices, written out as the lists that it prints."""
  size = chunk - local
  keys = list(range(size))
  intra = list(range(size))
  successive = [min(size + r, chunk) for r in range(size)]
  apart = i // size - j // size
  if apart == 0:
    return intra[i % size] - keys[j % size]
  if apart == 1:
    return successive[i % size] - keys[j % size]
  return successive[-1] - keys[j % size]


def streaming(i, j, *, window, sinks):
  """Plays the cache: which tokens are in it, and at which place."""
  cache = []
  for token in range(i + 1):
    cache.append(token)
    if len(cache) > sinks + window:
      del cache[sinks]
  if j not in cache:
    return None
  return cache.index(i) - cache.index(j)


def lm_infinite(i, j, *, window, sinks):
  """A Lambda: the first tokens and the last; no distance above the ceiling."""
  if i - j >= window and j >= sinks:
    return None
  return min(i - j, window)


def local(i, j, *, window, kind='sliding'):
  if kind == 'sliding':
    seen = i - window + 1 <= j <= i + window - 1
  else:
    seen = any(
      start <= i < start + window and start <= j < start + window
      for start in range(0, max(i, j) + 1, window)
    )
  return i - j if seen else None


def callbacks(
  c,
  pretended,
  frequency,
  *,
  amplitude=1.0,
  pairing='half',
  bias=None,
  scale=None,
):
  """Keywords of `oracles.attention` for a case in token order.

  Args:
    c: q, k, q_pos and k_pos; the queries are the last of the keys.
    pretended: (i, j) -> distance or None.
    frequency: radians per token of each pair; None does not turn.
    amplitude: on both q and k.
    pairing: of `oracles.rope`.
    bias: (head, distance) -> what is added to the scaled score.
    scale: (head, real query position) -> the factor on all of the score.
  """
  group = c.q.shape[2] // c.k.shape[2]
  ahead = c.k.shape[1] - c.q.shape[1]

  def distance(row, i, j):
    return pretended(int(c.q_pos[row, i]), int(c.k_pos[row, j]))

  def seen(row, i, j):
    return j <= i + ahead and distance(row, i, j) is not None

  def score(row, head, i, j):
    far = distance(row, i, j)
    q = c.q[row, i, head].astype(float)
    k = c.k[row, j, head // group].astype(float)
    if frequency is not None:
      q = oracles.rope(q, far, frequency, amplitude, pairing)
      k = oracles.rope(k, 0, frequency, amplitude, pairing)
    found = float(q @ k) / len(q) ** 0.5
    if bias is not None:
      found += bias(head, far)
    if scale is not None:
      found *= scale(head, int(c.q_pos[row, i]))
    return found

  return {'seen': seen, 'score': score}


# Temperatures: the factor on the scores of the query at position i.


def log_n(i, *, train_len):
  return max(1.0, math.log(i + 1) / math.log(train_len))


def llama4(i, *, floor_scale, attn_scale):
  return math.log(math.floor((i + 1) / floor_scale) + 1) * attn_scale + 1


def log_law(tokens, *, slope, train_len):
  return 1 + slope * math.log(max(1, tokens / train_len))
