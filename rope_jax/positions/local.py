"""Local attention: a sliding window or chunks, by position."""

import dataclasses

import jax.numpy as jnp

from rope_jax.positions import _remap, base

KINDS = ('sliding', 'chunk')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Local(base.Position):
  """Lets a query see the keys near it alone; no position encoding itself.

  'sliding': i sees j where |i - j| < window
  'chunk':   i sees j where floor(i / window) = floor(j / window)

  Composed with a method, it gives that method's layers of a layout a window:
  local and global layers in turn (Gemma), RoPE in chunks and NoPE in turn
  (Llama 4).

  Args:
    window: tokens, >= 1, the query included.
    kind: 'sliding' or 'chunk'.

  Example:
    >>> from rope_jax import positions
    >>> local = {'name': 'local', 'window': 512}
    >>> rope = {'name': 'rope', 'theta': 1e4}
    >>> whole = {'name': 'rope', 'theta': 1e6}
    >>> parts = {'name': 'compose', 'parts': [rope, local]}
    >>> len(positions.layout([parts] * 5 + [whole]))
    6

  Source: Beltagy et al. 2020, arXiv:2004.05150, section 3.1, for 'sliding';
    meta-llama/llama-models, `llama4/model.py`, for 'chunk'.
  """

  window: int
  kind: str = 'sliding'

  def __post_init__(self):
    base.require(self, 'window', self.window >= 1, 'a number of tokens >= 1')
    base.require(self, 'kind', self.kind in KINDS, f'one of {KINDS}')

  @property
  def relative(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
    return self.kind == 'sliding'

  def views(self, places):
    def near(q_pos_bt, k_pos_bs):
      if self.kind == 'sliding':
        return jnp.abs(_remap.distance(q_pos_bt, k_pos_bs)) < self.window
      return (
        _remap.distance(
          jnp.asarray(q_pos_bt) // self.window,
          jnp.asarray(k_pos_bs) // self.window,
        )
        == 0
      )

    return (base.View(places, near),)
