"""ReRoPE: RoPE whose distances stop growing at the window."""

import dataclasses

from rope_jax.positions import _remap, base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rerope(_remap.Remap):
  """Rectified RoPE: all keys beyond a window look equally far away.

  distance(i, j) = min(i - j, window)

  Needs no training, at any length, if window is below the trained length. The
  reference multiplies queries by a log-n factor as well: compose it with
  `log_n`.

  Args:
    window: tokens, >= 1; the largest distance.

  Example:
    >>> Rerope(theta=1e4, window=512).window
    512

  Source: Su 2023, kexue.fm/archives/9708; bojone/rerope, `rerope_patch.py`.
  """

  window: int

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'window', self.window >= 1, 'a number of tokens >= 1')

  def views(self, places):
    return (
      base.View(places, _remap.nearer(self.window)),
      base.View(
        _remap.constant(places, self.window), _remap.farther(self.window)
      ),
    )
