"""Learned absolute embeddings: a table of one vector per position."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from rope_jax.positions import base

POLICIES = ('error', 'clip', 'interpolate')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned(base.Position):
  """A learned vector per position, added to the token embeddings.

  x_p += sqrt(d) table[p]

  The table is kept at the scale of the token embeddings, whose factor sqrt(d)
  it shares. What happens past its end is a choice:

  'error':       `reach` is train_len, which evaluation checks before it
                 compiles; a position beyond it gives NaN, never another row.
  'clip':        every position past the end gets the last row (what JAX's
                 indexing would do without saying so).
  'interpolate': row p / factor, linear between rows; reach is then
                 factor x (train_len - 1) + 1.

  Args:
    train_len: rows of the table, > 0.
    beyond: 'error', 'clip' or 'interpolate'.
    factor: for 'interpolate' only, >= 1; there it has no default.

  Example:
    >>> Learned(train_len=128).reach
    128

  Source: Gehring et al. 2017, arXiv:1705.03122, section 3.1;
    openai/gpt-2, `src/model.py`, `wpe`.
  """

  relative: ClassVar[bool] = False
  shared: ClassVar[bool] = True  # `embed` runs once, before the layers.

  train_len: int
  beyond: str = 'error'
  factor: float | None = None

  def __post_init__(self):
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')
    base.require(self, 'beyond', self.beyond in POLICIES, f'one of {POLICIES}')
    if self.beyond == 'interpolate':
      base.require(
        self,
        'factor',
        self.factor is not None and 1 <= self.factor < math.inf,
        "a number >= 1 with beyond='interpolate'",
      )
    else:
      base.require(
        self, 'factor', self.factor is None, "None unless beyond='interpolate'"
      )

  @property
  def reach(self):
    if self.beyond == 'clip':
      return None
    # Rounds off the error of a product of decimals: 100 x 1.15.
    return int(round((self.factor or 1) * (self.train_len - 1), 9)) + 1

  def init(self, key, *, heads, head_dim, model_dim):
    del heads, head_dim
    table = jax.random.normal(key, (self.train_len, model_dim), jnp.float32)
    return {'table': table * (0.5 * model_dim**-0.5)}

  def embed(self, params, x_btd, pos_bt):
    table, pos_bt = params['table'], jnp.asarray(pos_bt)
    last = self.train_len - 1
    if self.factor is not None:
      at_bt = pos_bt.astype(jnp.float32) / self.factor
      low_bt = jnp.clip(jnp.floor(at_bt).astype(jnp.int32), 0, last)
      high_bt = jnp.minimum(low_bt + 1, last)
      share_bt1 = (at_bt - low_bt.astype(jnp.float32))[:, :, None]
      rows = table[low_bt] * (1 - share_bt1) + table[high_bt] * share_bt1
    else:
      rows = table[jnp.clip(pos_bt, 0, last)]
    if self.reach is not None:
      outside_bt = (pos_bt < 0) | (pos_bt >= self.reach)
      rows = jnp.where(outside_bt[:, :, None], jnp.nan, rows)
    return x_btd + (rows * x_btd.shape[-1] ** 0.5).astype(x_btd.dtype)
