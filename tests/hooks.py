"""Calls a method's hooks on plain arrays and compares them with the oracle."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import oracles

from rope_jax import attention, positions

# Tiny programs run once: compiling them plainly takes half the time.
jit = functools.partial(
  jax.jit,
  compiler_options={
    'xla_backend_optimization_level': 0,
    'xla_llvm_disable_expensive_passes': True,
  },
)


def case(rng, *, b=2, t=5, s=7, n=4, k=2, h=8, top=5000):
  """Random inputs of `attend`: grouped heads, and scattered positions that
  differ from row to row."""
  return types.SimpleNamespace(
    q=rng.normal(size=(b, t, n, h)).astype(np.float32),
    k=rng.normal(size=(b, s, k, h)).astype(np.float32),
    v=rng.normal(size=(b, s, k, h)).astype(np.float32),
    q_pos=rng.integers(0, top, (b, t)).astype(np.int32),
    k_pos=rng.integers(0, top, (b, s)).astype(np.int32),
  )


@functools.partial(jit, static_argnames=('position', 'how', 'schedule', 'cap'))
def attend(position, params, q, k, v, q_pos, k_pos, how='naive', **others):
  return attention.attend(
    position, params, q, k, v, q_pos_bt=q_pos, k_pos_bs=k_pos, how=how, **others
  )


def assert_attends(position, c, *, params=None, oracle, atol=1e-5, **others):
  """`attend` under a method equals the float64 loops under its oracle.

  Args:
    position: the method.
    c: a `case`.
    params: the method's parameters.
    oracle: keywords of `oracles.attention`.
    atol: how far apart they may be.
    **others: of `attend`.
  """
  got = attend(
    position, params or {}, c.q, c.k, c.v, c.q_pos, c.k_pos, **others
  )
  want = oracles.attention(c.q, c.k, c.v, **oracle)
  np.testing.assert_allclose(got, want, atol=atol, rtol=0)


def turning(c, frequency, amplitude=1.0, pairing='half'):
  """The oracle's `rotate` for a spectrum, or one spectrum per (which, row)."""
  at = {'q': c.q_pos, 'k': c.k_pos}

  def rotate(x, which, row, index):
    f = frequency(which, row) if callable(frequency) else frequency
    position = int(at[which][row, index])
    return oracles.rope(x, position, f, amplitude, pairing)

  return {'rotate': rotate}


def places(q_pos, k_pos, *, heads=4, chosen=None, length=0):
  """Places of whole rows; `chosen` heads out of `heads`."""
  chosen = np.arange(heads) if chosen is None else np.asarray(chosen)
  length = np.full((q_pos.shape[0], 1), length, np.int32)
  return positions.Places(
    q_pos_bt=q_pos,
    k_pos_bs=k_pos,
    q_length_bt=length,
    k_length_bs=length,
    heads=chosen.astype(np.int32),
    total_heads=heads,
  )


def biases(position, params, q_pos, k_pos, **others):
  """The bias alone: [b, n, t, s]."""
  at = places(q_pos, k_pos, **others)
  n = len(at.heads)
  q = jnp.zeros((*q_pos.shape, n, 8))
  k = jnp.zeros((*k_pos.shape, n, 8))
  return np.asarray(position.bias(params, q, k, at))


@functools.partial(jit, static_argnames='position')
def rotate(position, x, pos, length):
  """What `rotate` makes of queries x [b, t, n, h] at pos [b, t]."""
  at = positions.Places(
    q_pos_bt=pos,
    k_pos_bs=pos,
    q_length_bt=length,
    k_length_bs=length,
    heads=np.arange(x.shape[2], dtype=np.int32),
    total_heads=x.shape[2],
  )
  return position.rotate({}, x, x, at)[0]


def order_matters_not(spec, *others, params=None, h=16):
  """Several hyperparameters in one process, forwards and backwards: a cache
  keyed on too little would return the first one's numbers for the second."""
  c = case(np.random.default_rng(0), h=h, top=2000)
  specs = [spec, *({**spec, **other} for other in others)]

  def run(spec):
    position = positions.build(spec)
    weights = params(position) if params else {}
    length = int(max(c.q_pos.max(), c.k_pos.max())) + 1
    at = places(c.q_pos, c.k_pos, length=length)
    given = jnp.asarray(c.q), jnp.asarray(c.k)
    q, k = position.rotate(weights, *given, at)
    bias = position.bias(weights, *given, at)
    scores = jnp.einsum('btnh,bsnh->bnts', q, jnp.repeat(k, 2, axis=2))
    return np.asarray(scores if bias is None else scores + bias)

  forwards = [run(s) for s in specs]
  backwards = [run(s) for s in reversed(specs)][::-1]
  for at, (a, b) in enumerate(zip(forwards, backwards, strict=True)):
    np.testing.assert_array_equal(a, b)
    assert at == 0 or np.abs(a - forwards[0]).max() > 1e-4, specs[at]


def draw(method, pos, seed=0):
  """The training positions that a method draws for rows `pos`."""
  key = jax.random.key(seed)
  got = jit(method.train_positions)(key, np.asarray(pos, np.int32))
  assert got.dtype == np.int32
  return np.asarray(got)


def rows(count, tokens):
  """Positions 0, 1, ... of `count` rows."""
  return np.tile(np.arange(tokens), (count, 1))


def assert_packed_equals_alone(position, rng):
  """A row of 30 + 100 tokens equals the two alone: each has its own length."""
  c = case(rng, b=1, t=130, s=130)
  pos = np.concatenate([np.arange(30), np.arange(100)])[None].astype(np.int32)
  segment = np.repeat([[7, 1000]], [30, 100], axis=1).astype(np.int32)
  mask = attention.Mask(q_segment_bt=segment, k_segment_bs=segment)
  packed = attend(position, {}, c.q, c.k, c.v, pos, pos, mask=mask)
  for cut in (slice(0, 30), slice(30, 130)):
    arrays = (c.q[:, cut], c.k[:, cut], c.v[:, cut], pos[:, cut], pos[:, cut])
    alone = attend(position, {}, *arrays)
    np.testing.assert_allclose(packed[:, cut], alone, atol=1e-5)
