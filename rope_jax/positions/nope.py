"""NoPE: no positional information but the causal mask."""

import dataclasses

from rope_jax.positions import base


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nope(base.Position):
  """No position encoding: every hook does nothing.

  scores_ij = q_i . k_j / sqrt(head_dim)

  A causal decoder still learns where it is from how many keys it sees.

  Example:
    >>> Nope().relative
    True

  Source: Kazemnejad et al. 2023, arXiv:2305.19466, and on its limits Barbero
    et al. 2024, arXiv:2410.06205, proposition 5.2.
  """
