"""Local attention: a sliding window or chunks, by position."""

import dataclasses

from rope_jax.positions import base
from rope_jax.positions._area import Area

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

  @property
  def area(self) -> Area:
    """The pairs of tokens that see each other."""
    if self.kind == 'sliding':
      return Area(low=1 - self.window, high=self.window)
    return Area(low=0, high=1, unit=self.window)

  def views(self, places):
    return (base.View(places, self.area),)
