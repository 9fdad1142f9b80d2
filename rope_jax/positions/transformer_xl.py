"""Transformer-XL: learned projections of a sinusoidal code of the distance."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rope_jax.positions import _phases, _tables, base

_EXACT = jax.lax.Precision.HIGHEST  # Waves cancel; bfloat16 passes would show.


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerXl(base.Position):
  """Content and position biases of Transformer-XL.

  score(i, j) = ((q_i + u) . k_j + (q_i + v) . W R(i - j)) / sqrt(h),
  R(d) = (sin(d f_0), sin(d f_1), ..., cos(d f_0), ...), f_k = 1e4^(-2k/D)

  with D = model_dim, vectors u and v of head_dim for each head and a matrix W
  from D to head_dim for each head. sin and cos of a difference are sums of
  products of those of its parts, so the position term is one product over D
  of a query's side and a key's side: no row of R per pair of tokens, no shift
  of a matrix, and nothing that depends on the length. Phases are exact modulo
  a turn at any int32 position (`_phases.py`).

  Args:
    clamp_len: distances are clipped to -clamp_len ... clamp_len, >= 1, which
      then costs one product per distance in that range; None is no limit.

  Raises:
    ValueError: clamp_len out of range; an odd model_dim.

  Example:
    >>> shape = {'heads': 4, 'head_dim': 8, 'model_dim': 32}
    >>> params = TransformerXl().init(jax.random.key(0), **shape)
    >>> {name: x.shape for name, x in sorted(params.items())}
    {'u': (4, 8), 'v': (4, 8), 'w': (32, 4, 8)}

  Source: Dai et al. 2019, arXiv:1901.02860, section 3.3; kimiyoung/
    transformer-xl, `pytorch/mem_transformer.py`, `RelPartialLearnableMultiHead
    Attn`.

  Differs: u and v belong to a layer (`untie_r` of the original, whose default
    is one pair for all layers). The original's values above the diagonal are
    left over from its shift and have to be masked; here they are the formula's
    for negative distances, clipped on both sides.
  """

  clamp_len: int | None = None

  def __post_init__(self):
    base.require(
      self,
      'clamp_len',
      self.clamp_len is None or self.clamp_len >= 1,
      'a number of tokens >= 1, or None for no limit',
    )

  def check(self, *, heads, head_dim, model_dim):
    del heads, head_dim
    if model_dim % 2:
      raise ValueError(
        f'TransformerXl: model_dim={model_dim} is odd; sines and cosines of '
        'the distance share it, so it must be even.'
      )

  def init(self, key, *, heads, head_dim, model_dim):
    self.check(heads=heads, head_dim=head_dim, model_dim=model_dim)
    u, v, w = jax.random.split(key, 3)
    shape = (model_dim, heads, head_dim)
    return {
      'u': 0.02 * jax.random.normal(u, shape[1:]),
      'v': 0.02 * jax.random.normal(v, shape[1:]),
      'w': jax.random.normal(w, shape) * model_dim**-0.5,
    }

  def bias(self, params, q_btnh, k_bskh, places):
    u_nh, v_nh = params['u'][places.heads], params['v'][places.heads]
    w_dnh = params['w'][:, places.heads]
    q_btnh = q_btnh.astype(jnp.float32)
    width, (n, h) = w_dnh.shape[0], u_nh.shape
    keys = k_bskh.shape[2]
    content_bkgs = jnp.einsum(
      'kgh,bskh->bkgs',
      u_nh.reshape(keys, n // keys, h),
      k_bskh.astype(jnp.float32),
    )
    content_bns = content_bkgs.reshape(-1, n, k_bskh.shape[1])
    # What every query asks of the code: its sines, then its cosines.
    asked_btnd = jnp.einsum('btnh,dnh->btnd', q_btnh + v_nh[None, None], w_dnh)
    frequency_f = 1e4 ** (-np.arange(0, width, 2) / width)
    if self.clamp_len is None:
      position = _by_addition(asked_btnd, frequency_f, places)
    else:
      position = _by_table(asked_btnd, frequency_f, places, self.clamp_len)
    return (content_bns[:, :, None, :] + position) * h**-0.5


def _waves(pos_bt, frequency_f):
  phase_btf = _phases.phase(pos_bt, frequency_f)
  return jnp.sin(phase_btf), jnp.cos(phase_btf)


def _by_addition(asked_btnd, frequency_f, places):
  """The product with R(i - j) as one over functions of i and functions of j.

  sin(i - j) = sin i cos j - cos i sin j,
  cos(i - j) = cos i cos j + sin i sin j.
  """
  for_sin, for_cos = jnp.split(asked_btnd, 2, axis=-1)
  sin_i, cos_i = (
    x[:, :, None, :] for x in _waves(places.q_pos_bt, frequency_f)
  )
  sin_j, cos_j = _waves(places.k_pos_bs, frequency_f)
  query_btnd = jnp.concatenate(
    [for_sin * sin_i + for_cos * cos_i, for_cos * sin_i - for_sin * cos_i],
    axis=-1,
  )
  key_bsd = jnp.concatenate([cos_j, sin_j], axis=-1)
  return jnp.einsum('btnd,bsd->bnts', query_btnd, key_bsd, precision=_EXACT)


def _by_table(asked_btnd, frequency_f, places, reach):
  """The product with R at all clipped distances, then one for each pair."""
  distance_1r = np.arange(-reach, reach + 1, dtype=np.int32)[None]
  code_rd = jnp.concatenate(_waves(distance_1r, frequency_f), axis=-1)[0]
  found_bntr = jnp.einsum(
    'btnd,rd->bntr', asked_btnd, code_rd, precision=_EXACT
  )
  row_bts = jnp.clip(places.distance(), -reach, reach) + reach
  return _tables.pick(found_bntr, row_bts)
