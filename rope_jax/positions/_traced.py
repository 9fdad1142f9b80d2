"""A rotary method whose spectrum is data: many spectra, one program."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from rope_jax.positions import _phases, _turn, base, rope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced(base.Position):
  """Rotates by the spectrum in its parameters, exactly as a fixed one would.

  Its parameters are `words`, the fixed-point frequencies of `_phases`, and
  `amplitude`; `trace` makes them. They are shared by all layers of a slot.

  Args:
    pairing: as of `Rope`.
    width: coordinates that pairs are formed in, see `_turn.turn`.
    slot: which slot of the layout this serves; tells equal ones apart.
  """

  rotary: ClassVar[bool] = True
  shared: ClassVar[bool] = True

  pairing: str
  width: int
  slot: int = 0

  def rotate(self, params, q_btnh, k_bskh, places):
    def waves(pos_bt, length_bt):
      del length_bt
      phase_btf = _phases.phase_of_words(pos_bt, *params['words'])
      return _turn.waves(phase_btf, params['amplitude'])

    return _turn.turn_both(
      waves, q_btnh, k_bskh, places, self.pairing, self.width
    )


def trace(
  position: base.Position, head_dim: int, context_len: int, slot: int
) -> tuple[base.Position, Any]:
  """A rotary method at one context length, with its spectrum as data.

  Args:
    position: any method.
    head_dim: width of a head.
    context_len: tokens in every sequence that will be read.
    slot: its slot in the layout.

  Returns:
    (Traced, params) where the method turns q and k by `frequencies` alone;
    (position, None) for any other.
  """
  if not rope.by_spectrum(position):
    return position, None
  assert isinstance(position, rope.Rope)
  frequency_f, amplitude = position.frequencies(head_dim, context_len)
  pairs, width = position.pairs(head_dim), position.rotary_dim(head_dim)
  params = {
    'words': _phases.fixed_point(frequency_f[:pairs]),
    'amplitude': np.float32(amplitude),
  }
  return Traced(pairing=position.pairing, width=width, slot=slot), params
