"""Colours, dashes and markers, the same in the figure and on the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rope_jax.report.inputs import AS_TRAINED, StudyData, family

# (on white, on dark): Okabe and Ito's colours without the yellow, which
# vanishes on white, then four of Paul Tol's muted ones.
COLOURS = (
  ('#0072b2', '#4ea6e6'),
  ('#d55e00', '#f07f36'),
  ('#009e73', '#2fc79b'),
  ('#cc79a7', '#e59ac4'),
  ('#e69f00', '#f2b93b'),
  ('#56b4e9', '#a5dbff'),
  ('#333333', '#e8e8e8'),
  ('#882255', '#d1588f'),
  ('#999933', '#c6c65a'),
  ('#332288', '#9a8cf0'),
  ('#44aa99', '#6fd6c5'),
  ('#8c564b', '#c08a7d'),
)
# matplotlib's marker, plotly's symbol.
_MARKERS = (
  ('o', 'circle'),
  ('s', 'square'),
  ('^', 'triangle-up'),
  ('D', 'diamond'),
  ('v', 'triangle-down'),
  ('P', 'cross'),
  ('X', 'x'),
  ('p', 'pentagon'),
)
_SOLID = ''
# On and off lengths in pixels, as plotly and SVG take them.
DASHES = ('7,3', '2,2', '10,3,2,3', '12,3', '5,2,2,2,2,2', '4,5')


@dataclasses.dataclass(frozen=True)
class Style:
  """How a series is drawn."""

  color: str
  dark: str
  marker: str
  symbol: str
  dash: str

  @property
  def linestyle(self):
    """The dash as matplotlib takes it."""
    if not self.dash:
      return '-'
    # A line of 1.4 points wide on paper: pixels are a little wide for it.
    return 0, tuple(0.8 * float(x) for x in self.dash.split(','))


def styles(data: StudyData) -> dict[tuple[str, str], Style]:
  """The style of each (method, variant) of a study.

  A method has one colour and one marker. A variant has a colour of its own,
  after those of the methods, a dash, and the marker of its method; so a chart
  of the methods and a chart of one method's variants both tell their lines
  apart, also without colour. Where the variants are families of several
  factors (ntk-2, ntk-4, ...), a family is a dash and a factor a colour. Where
  schemes were trained on, a scheme is a colour and a marker, zero-shot dashed.
  """
  if data.tuned:
    return _trained_on(data)
  methods, variants = data.methods, data.variants
  kin = families(variants)
  found = {}
  for method, variant in data.series:
    m = methods.index(method)
    marker, symbol = _MARKERS[m % len(_MARKERS)]
    if variant == AS_TRAINED:
      again = m // len(COLOURS)  # The colours come round: dashed then.
      place, dash = m, DASHES[(again - 1) % len(DASHES)] if again else _SOLID
    elif kin:
      names = list(kin)
      dash = DASHES[names.index(family(variant)) % len(DASHES)]
      place = len(methods) + kin[family(variant)].index(variant)
    else:
      v = variants.index(variant)
      place, dash = len(methods) + v, DASHES[v % len(DASHES)]
    color, dark = COLOURS[place % len(COLOURS)]
    found[method, variant] = Style(color, dark, marker, symbol, dash)
  return found


def _trained_on(data: StudyData) -> dict[tuple[str, str], Style]:
  """The styles of an extension by training; the base is dark."""
  dark = COLOURS[6]
  others = [one for one in COLOURS if one is not dark]
  schemes = [*data.variants, *(name for name, _ in data.tuned.values())]
  schemes = list(dict.fromkeys(schemes))
  found = {}
  for method, variant in data.series:
    if method not in data.tuned and variant == AS_TRAINED:
      found[method, variant] = Style(*dark, *_MARKERS[0], _SOLID)
      continue
    tuned = method in data.tuned
    at = schemes.index(data.tuned[method][0] if tuned else variant)
    color, night = others[at % len(others)]
    marker, symbol = _MARKERS[(at + 1) % len(_MARKERS)]
    dash = _SOLID if tuned else DASHES[0]
    found[method, variant] = Style(color, night, marker, symbol, dash)
  return found


def families(variants: Sequence[str]) -> dict[str, list[str]]:
  """Scheme to its variants, where there are too many to draw in one panel.

  Returns:
    For example {'ntk': ['ntk-2', 'ntk-4'], ...}; {} for six variants or
    fewer, and where schemes do not have two on average.
  """
  found: dict[str, list[str]] = {}
  for variant in variants:
    found.setdefault(family(variant), []).append(variant)
  many = len(variants) > 6 and 2 * len(found) <= len(variants)
  return found if many else {}
