"""Randomized positions: training shows a sorted random sample of a range."""

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Randomized(base.Position):
  """Positions drawn in training from a range longer than any row.

  position(p) = sample[p],   sample = sort(t of {0 ... max_len - 1})

  drawn without replacement for a row of t tokens, so that order is kept and
  distances up to max_len - 1 are met. Evaluation shows plain positions.
  Compose it with the method that reads them.

  Args:
    max_len: how many positions there are, >= the tokens in a row.

  Raises:
    ValueError: `train_positions` of rows with more than max_len tokens.

  Example:
    >>> pos = jnp.arange(4)[None]
    >>> Randomized(max_len=4).train_positions(jax.random.key(0), pos)
    Array([[0, 1, 2, 3]], dtype=int32)

  Source: Ruoss et al. 2023, arXiv:2305.16843, section 3; google-deepmind/
    randomized_positional_encodings, `models/positional_encodings.py`.

  Differs: the code draws one sample for a batch, and draws in evaluation as
    well; here each row has its own, in training alone. The documents of a
    packed row begin at the row's first drawn position, each.
  """

  max_len: int

  def __post_init__(self):
    base.require(self, 'max_len', self.max_len >= 1, 'a number >= 1')

  def shown(self, train_len):
    return self.max_len

  def train_positions(self, key, pos_bt):
    pos_bt = jnp.asarray(pos_bt, jnp.int32)
    b, t = pos_bt.shape
    if t > self.max_len:
      raise ValueError(
        f'Randomized: max_len={self.max_len} is too few positions for rows of '
        f'{t} tokens; max_len must be >= {t}.'
      )

    def draw(one):
      return jnp.sort(jax.random.permutation(one, self.max_len)[:t])

    sample_bt = jax.vmap(draw)(jax.random.split(key, b)).astype(jnp.int32)
    # Not the last position for what no row holds, as indexing would give.
    return jnp.take_along_axis(
      sample_bt, pos_bt, axis=1, mode='fill', fill_value=-1
    )
