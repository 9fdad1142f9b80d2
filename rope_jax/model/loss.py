"""Cross-entropy without logits in memory: the vocabulary in chunks."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.varying import alike, uniform

Array = jax.Array | np.ndarray

CHUNK = 4096  # Entries of the vocabulary that have logits at a time.


def next_token_nll(logits_btv: jax.Array, targets_bt: Array) -> jax.Array:
  """Negative log likelihood of each target, in nats: float32 [b, t]."""
  picked_bt1 = jnp.take_along_axis(
    logits_btv, jnp.asarray(targets_bt)[:, :, None], axis=-1
  )
  return jax.nn.logsumexp(logits_btv, axis=-1) - picked_bt1[:, :, 0]


def to_logits(
  x_btd: jax.Array, table_vd: jax.Array, cap: float = 0.0
) -> jax.Array:
  """float32 [b, t, v], of products in the dtype of x; capped by cap tanh(x /
  cap), unless cap is 0."""
  found = jnp.einsum(
    'btd,vd->btv',
    x_btd,
    table_vd.astype(x_btd.dtype),
    preferred_element_type=jnp.float32,
  )
  return cap * jnp.tanh(found / cap) if cap else found


def projected_nll(
  x_btd: jax.Array,
  table_vd: jax.Array,
  targets_bt: Array,
  chunk: int = CHUNK,
  cap: float = 0.0,
) -> jax.Array:
  """`next_token_nll` of `to_logits`, by chunks of the vocabulary.

  nll = log(sum_v exp(x . table_v)) - x . table_target

  A vocabulary of more than `chunk` entries never has all its logits in memory,
  forward or backward: a chunk's are made, used and, for gradients, made again.
  Entries of a chunk lie evenly over the table, so that a table split over
  devices by rows stays where it is.

  Args:
    x_btd: states after the last norm, float32 or bfloat16.
    table_vd: the output table.
    targets_bt: int32 ids in [0, v).
    chunk: entries at a time, >= 1.
    cap: of the logits, see `to_logits`.

  Returns:
    Nats, float32 [b, t].

  Raises:
    ValueError: a chunk below 1.

  Source: Wijmans et al. 2024, arXiv:2411.09009, for the idea.
  """
  if chunk < 1:
    raise ValueError(f'projected_nll: chunk={chunk} must be >= 1.')
  targets_bt = jnp.asarray(targets_bt)
  if table_vd.shape[0] <= chunk:
    return next_token_nll(to_logits(x_btd, table_vd, cap), targets_bt)
  return _chunked(chunk, cap, *uniform((x_btd, table_vd, targets_bt)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _chunked(chunk, cap, x_btd, table_vd, targets_bt):
  return _chunked_forward(chunk, cap, x_btd, table_vd, targets_bt)[0]


def _pieces(chunk: int, table_vd: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Chunks [pieces, c, d], and which entries each holds: [pieces, c]."""
  v, d = table_vd.shape
  pieces = -(-v // chunk)
  padded = jnp.pad(table_vd, [(0, -v % pieces), (0, 0)])
  entries = jnp.arange(padded.shape[0], dtype=jnp.int32)
  split = (padded.shape[0] // pieces, pieces)
  return (
    jnp.swapaxes(padded.reshape(*split, d), 0, 1),
    jnp.swapaxes(entries.reshape(split), 0, 1),
  )


def _piece_logits(x_btd, piece, v, cap):
  table_cd, entry_c = piece
  there = entry_c[None, None] < v
  return jnp.where(there, to_logits(x_btd, table_cd, cap), -jnp.inf)


def _chunked_forward(chunk, cap, x_btd, table_vd, targets_bt):
  v, shape = table_vd.shape[0], targets_bt.shape

  def step(so_far, piece):
    highest, total, picked = so_far
    logits = _piece_logits(x_btd, piece, v, cap)
    now = jnp.maximum(highest, logits.max(axis=-1))
    total = total * jnp.exp(highest - now)
    total = total + jnp.exp(logits - now[..., None]).sum(axis=-1)
    is_target = piece[1][None, None] == targets_bt[:, :, None]
    picked = picked + jnp.where(is_target, logits, 0.0).sum(axis=-1)
    return (now, total, picked), None

  start = (
    jnp.full(shape, jnp.finfo(jnp.float32).min),
    jnp.zeros(shape),
    jnp.zeros(shape),
  )
  start = alike(start, x_btd)
  found, _ = jax.lax.scan(step, start, _pieces(chunk, table_vd))
  lse = found[0] + jnp.log(found[1])
  return lse - found[2], (x_btd, table_vd, targets_bt, lse)


def _chunked_backward(chunk, cap, kept, d_nll):
  x_btd, table_vd, targets_bt, lse = kept
  v, d = table_vd.shape

  def step(d_x, piece):
    logits = _piece_logits(x_btd, piece, v, cap)
    share = jnp.exp(logits - lse[..., None])
    is_target = piece[1][None, None] == targets_bt[:, :, None]
    d_logits = (share - is_target) * d_nll[..., None]
    if cap:
      slope = 1 - jnp.square(logits / cap)
      d_logits = jnp.where(share > 0, d_logits * slope, 0.0)
    d_logits = d_logits.astype(x_btd.dtype)
    table = piece[0].astype(x_btd.dtype)
    wide = {'preferred_element_type': jnp.float32}
    d_x = d_x + jnp.einsum('btc,cd->btd', d_logits, table, **wide)
    return d_x, jnp.einsum('btc,btd->cd', d_logits, x_btd, **wide)

  zero = alike(jnp.zeros(x_btd.shape, jnp.float32), x_btd)
  d_x, d_pieces = jax.lax.scan(step, zero, _pieces(chunk, table_vd))
  d_table = jnp.swapaxes(d_pieces, 0, 1).reshape(-1, d)[:v]
  none = np.zeros(targets_bt.shape, jax.dtypes.float0)
  return d_x.astype(x_btd.dtype), d_table.astype(table_vd.dtype), none


_chunked.defvjp(_chunked_forward, _chunked_backward)
