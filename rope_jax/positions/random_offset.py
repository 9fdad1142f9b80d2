"""Random offset: training shifts all positions of a row by one number."""

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomOffset(base.Position):
  """Positions shifted in training, so that no method can rely on where it is.

  position(p) = p + k,   k ~ U{0 ... max_offset}

  drawn anew for each row. Evaluation shows plain positions. It makes absolute
  embeddings behave almost like relative ones (SHAPE), and shows an embedding
  of digits positions beyond the trained length (Abacus). A relative method
  does not notice.

  Args:
    max_offset: the largest offset, >= 0 tokens.

  Example:
    >>> pos, key = jnp.arange(4)[None], jax.random.key(0)
    >>> RandomOffset(max_offset=0).train_positions(key, pos)
    Array([[0, 1, 2, 3]], dtype=int32)

  Source: Kiyono et al. 2021, arXiv:2109.05644, section 3, and McLeish et al.
    2024, arXiv:2405.17399, section 3; mcleish7/arithmetic, `abacus.py`.

  Differs: Abacus draws one offset for a batch, from 0 ... 99; here each row
    has its own, as in SHAPE.
  """

  max_offset: int

  def __post_init__(self):
    base.require(
      self, 'max_offset', self.max_offset >= 0, 'a number of tokens >= 0'
    )

  def shown(self, train_len):
    return train_len + self.max_offset

  def train_positions(self, key, pos_bt):
    pos_bt = jnp.asarray(pos_bt, jnp.int32)
    shape = (pos_bt.shape[0], 1)
    return pos_bt + jax.random.randint(
      key, shape, 0, self.max_offset + 1, jnp.int32
    )
