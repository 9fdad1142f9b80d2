"""PoSE: training skips positions once in a row, to meet long distances."""

import dataclasses

import jax
import jax.numpy as jnp

from rope_jax.positions import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pose(base.Position):
  """Positional skip-wise training: two chunks with a random gap between them.

  position(p) = p + u [p >= split],   split ~ U{1 ... ceil(train_len / 2)},
                                      u ~ U{0 ... target_len - train_len}

  drawn anew for each row, so that rows of train_len tokens meet all distances
  up to target_len - 1. Evaluation shows plain positions. Compose it with the
  method that reads them, usually a RoPE scaling by target_len / train_len.

  Args:
    train_len: tokens in a row of training, at most.
    target_len: tokens to extend to, >= train_len.

  Raises:
    ValueError: `train_positions` of rows with more than train_len tokens.

  Example:
    >>> pos, key = jnp.arange(4)[None], jax.random.key(0)
    >>> Pose(train_len=4, target_len=4).train_positions(key, pos)
    Array([[0, 1, 2, 3]], dtype=int32)

  Source: Zhu et al. 2023, arXiv:2309.10400, section 3.2; dwzhu-pku/PoSE,
    `train_preprocess_function_pose`.

  Differs: the code also takes the second chunk's text from further on in the
    document, up to 5 train_len; here the text is contiguous. The first chunk
    begins at 0, as in the code since its revision; the paper draws a skip for
    it as well. The documents of a packed row are each split at the row's
    split.
  """

  train_len: int
  target_len: int

  def __post_init__(self):
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')
    base.require(
      self,
      'target_len',
      self.target_len >= self.train_len,
      f'>= train_len={self.train_len}',
    )

  def shown(self, train_len):
    return train_len + self.target_len - self.train_len

  def train_positions(self, key, pos_bt):
    pos_bt = jnp.asarray(pos_bt, jnp.int32)
    b, t = pos_bt.shape
    if t > self.train_len:
      raise ValueError(
        f'Pose: train_len={self.train_len} is below the {t} tokens of a row, '
        f'which would go beyond target_len; train_len must be >= {t}.'
      )
    half = (self.train_len + 1) // 2
    most = self.target_len - self.train_len
    of_split, of_skip = jax.random.split(key)
    split_b1 = jax.random.randint(of_split, (b, 1), 1, half + 1, jnp.int32)
    skip_b1 = jax.random.randint(of_skip, (b, 1), 0, most + 1, jnp.int32)
    return pos_bt + jnp.where(pos_bt >= split_b1, skip_b1, 0)
