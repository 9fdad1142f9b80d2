"""Float64 loops of the relative methods, one pair of tokens at a time.

Written from the papers; shares no code with rope_jax and imports no jax. `c` is
a case: q [b, t, n, h], k and v [b, s, k, h], q_pos [b, t], k_pos [b, s]. What
comes back are keywords of `oracles.attention`.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
from oracles import exact_phase


def _doubles(*arrays):
  return (np.asarray(x, np.float64) for x in arrays)


def _distance(c, row, i, j):
  return int(c.q_pos[row, i]) - int(c.k_pos[row, j])


def shaw(c, keys, values, reach):
  """Eq. 3 and 4; tables [2 reach + 1, h] by key minus query."""
  q, k, v, keys = _doubles(c.q, c.k, c.v, keys)
  group, h = q.shape[2] // k.shape[2], q.shape[3]

  def entry(row, i, j):
    ahead = -_distance(c, row, i, j)
    return max(-reach, min(reach, ahead)) + reach

  def score(row, head, i, j):
    key = k[row, j, head // group] + keys[entry(row, i, j)]
    return float(q[row, i, head] @ key) / math.sqrt(h)

  def value(row, head, i, j):
    own = v[row, j, head // group]
    return own if values is None else own + values[entry(row, i, j)]

  return {'score': score, 'value': value}


def sinusoid(distance, width):
  """Transformer-XL's R: all sines, then all cosines."""
  phases = [
    exact_phase(distance, 10000 ** (-2 * i / width)) for i in range(width // 2)
  ]
  return np.array([math.sin(x) for x in phases] + [math.cos(x) for x in phases])


def transformer_xl(c, u, v, w, clamp_len=None):
  """Section 3.3, terms (a) to (d); u, v [n, h] and w [model_dim, n, h]."""
  q, k, u, v, w = _doubles(c.q, c.k, u, v, w)
  group, h = q.shape[2] // k.shape[2], q.shape[3]

  def score(row, head, i, j):
    distance = _distance(c, row, i, j)
    if clamp_len is not None:
      distance = max(-clamp_len, min(clamp_len, distance))
    place = sinusoid(distance, w.shape[0]) @ w[:, head]
    query, key = q[row, i, head], k[row, j, head // group]
    terms = query @ key + query @ place + u[head] @ key + v[head] @ place
    return float(terms) / math.sqrt(h)

  return {'score': score}


def deberta_bucket(distance, span, max_distance=None):
  """The log buckets of versions 2 and 3, with logarithms in 50 digits."""
  if max_distance is None:
    return distance
  mid, size = span // 2, abs(distance)
  if size <= mid:
    return distance
  with localcontext() as context:
    context.prec = 50
    share = (Decimal(size) / mid).ln() / (Decimal(max_distance - 1) / mid).ln()
    # A power that is exactly a whole number may come out just above it.
    step = math.ceil(share * (mid - 1) - Decimal('1e-40'))
  return (mid + step) * (1 if distance > 0 else -1)


def deberta(c, c2p, p2c, span, max_distance=None, p2c_index='code'):
  """Eq. 4 with tables [2 span, n, h] in place of P W_k and P W_q."""
  q, k, c2p, p2c = _doubles(c.q, c.k, c2p, p2c)
  group, h = q.shape[2] // k.shape[2], q.shape[3]

  def entry(distance):
    bucket = deberta_bucket(distance, span, max_distance)
    return min(max(bucket + span, 0), 2 * span - 1)

  def score(row, head, i, j):
    distance = _distance(c, row, i, j)
    query, key = q[row, i, head], k[row, j, head // group]
    back = distance if p2c_index == 'code' else -distance
    total = query @ key
    total += query @ c2p[entry(distance), head]
    total += key @ p2c[entry(back), head]
    return float(total) / math.sqrt(3 * h)

  return {'score': score}


def kerple(c, a, p, variant):
  """a and p of each head, as they stand in the kernel."""

  def bias(row, head, i, j):
    distance = abs(_distance(c, row, i, j))
    if variant == 'log':
      return -p[head] * math.log(1 + a[head] * distance)
    return -a[head] * distance ** p[head]

  return {'bias': bias}


def fire(c, params, threshold, epsilon=1e-6):
  """The network one unit at a time."""
  found = {name: np.asarray(x, np.float64) for name, x in params.items()}

  def psi(x):
    return math.log(abs(found['c'] * x) + 1)

  def bias(row, head, i, j):
    reach = max(abs(found['m'] * threshold), int(c.q_pos[row, i]))
    share = psi(_distance(c, row, i, j)) / (psi(reach) + epsilon)
    total = 0.0
    for unit, weight in enumerate(found['w_in']):
      hidden = max(weight * share + found['b_in'][unit], 0.0)
      total += hidden * found['w_out'][unit, head]
    return total

  return {'bias': bias}


def sandwich_bias(distance, head, heads, width=128, theta=10000.0):
  """Head is 0 for the first."""
  total = 0.0
  for pair in range(1, width // 2 + 1):
    total += math.cos(exact_phase(distance, theta ** (-2 * pair / width)))
  return (total - width / 2) * heads / (8 * (head + 1))


def sandwich(c, heads, width=128, theta=10000.0):
  def bias(row, head, i, j):
    return sandwich_bias(_distance(c, row, i, j), head, heads, width, theta)

  return {'bias': bias}
