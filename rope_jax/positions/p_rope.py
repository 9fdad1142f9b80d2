"""p-RoPE: the fastest pairs of a head turn, the slow ones stand still."""

import dataclasses

from rope_jax.positions import base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class PRope(rope.Rope):
  """p-RoPE: RoPE without its slowest pairs, which become NoPE.

  f'_k = theta^(-2k / d) for k < fraction x d / 2,   f'_k = 0 for the others

  The series runs over the whole head, unlike `rope` with a fraction, and a
  pair keeps its place: with pairing 'half' the coordinates k and k + d/2 turn
  together, so that a head reads turned, still, turned, still.

  Composed with a scaling of the same theta and pairing it is that scaling on
  the pairs that turn: `compose(p_rope, yarn)`.

  Args:
    fraction: share of the pairs that turn, the fastest ones, in (0, 1]; the
      number of pairs is rounded down.
    partial: 'proportional', nothing else.

  Raises:
    ValueError: a field out of range; too small a fraction to turn a pair.

  Example:
    >>> frequency, _ = PRope(theta=1e4, fraction=0.5).frequencies(8)
    >>> frequency.round(6)
    array([1. , 0.1, 0. , 0. ])

  Source: Barbero et al. 2024, arXiv:2410.06205, appendix D;
    huggingface/transformers, `_compute_proportional_rope_parameters`.
  """

  fraction: float = dataclasses.field()
  partial: str = 'proportional'

  def __post_init__(self):
    super().__post_init__()
    base.require(
      self,
      'partial',
      self.partial == 'proportional',
      "'proportional' (for 'leading' take `rope` with a fraction)",
    )

  def join(self, other):
    if not rope.by_spectrum(other):
      return None
    assert isinstance(other, rope.Rope)
    for field, mine in (
      ('theta', self.theta),
      ('pairing', self.pairing),
      ('fraction', 1.0),
    ):
      theirs = getattr(other, field)
      if theirs != mine:
        given = getattr(self, field)
        raise ValueError(
          f'compose: PRope has {field}={given!r} and {type(other).__name__} '
          f'has {field}={theirs!r}; PRope picks from the pairs of a whole head '
          f'of its own series, so give {type(other).__name__} '
          f'{field}={mine!r}.'
        )
    return dataclasses.replace(
      other, fraction=self.fraction, partial='proportional'
    )
