"""From a length to a base or a scaling, with reasons."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rope_jax import positions
from rope_jax.spectrum import limits, pairs, spectra, violation, windows

_FAST = 32.0  # Turns in training above which a pair carries local order.
_SLOWED = 0.99  # A fast pair below this share of its frequency is slowed.


@dataclasses.dataclass(frozen=True)
class Choice:
  """One way to reach a length, with what the spectrum says of it.

  Attributes:
    spec: for `positions.build`.
    trains: what has to be trained: 'nothing', 'tuning' or 'everything'.
    new: pairs that see phases at the target that the trained model never saw;
      0 where the target length is trained on.
    slowed: pairs that turned more than 32 times in training and are slowed by
      more than 1 %.
    violation: the first distance below the target at which the sum of cosines
      is negative, or None.
    fragile: whether the base lies in a window, beside bases that fail.
    reasons: sentences.
  """

  spec: Mapping[str, Any]
  trains: str
  new: int
  slowed: int
  violation: int | None
  fragile: bool
  reasons: tuple[str, ...]

  @property
  def config(self) -> str:
    """The line to paste into a config."""
    return f'config.position = {dict(self.spec)!r}'

  def __str__(self):
    lines = [self.config, f'  trains: {self.trains}']
    return '\n'.join([*lines, *(f'  * {reason}' for reason in self.reasons)])


def recommend(
  head_dim: int,
  target_len: int,
  train_len: int | None = None,
  theta: float | None = None,
  *,
  tuning: bool = False,
  most: float = math.inf,
) -> tuple[Choice, ...]:
  """Ways to reach a length, the best first.

  Without `theta`: a base for a model to be trained from nothing. With it: what
  to do with a model trained with that base at train_len, without training it
  (scalings), or with `tuning` on texts of target_len (a larger base as well).

  They are ordered by: no pair sees phases that nothing was trained on; no fast
  pair slowed; no negative sum of cosines below the target; a base that no
  neighbour spoils; then by how many pairs, and the latest negative sum. What
  the spectrum does not say, such as what a temperature mends, does not count.

  Args:
    head_dim: width of a head, even, >= 6.
    target_len: tokens wanted.
    train_len: tokens of training, >= 7 and <= target_len; None is target_len.
    theta: base that a model was trained with, > 1; None is a new model.
    tuning: whether the model may be tuned on texts of target_len.
    most: bases above this are not offered.

  Raises:
    ValueError: an argument out of range; no base below `most` will do.

  Example:
    >>> best, *_ = recommend(128, 65536, 4096, 1e4)
    >>> best.spec['name'], best.new, best.slowed
    ('llama3', 0, 0)

  Source: Men et al. 2024, arXiv:2405.14591, for the bound on bases, certified
    in `windows`; Liu et al. 2023, arXiv:2310.05209, for the critical base;
    Peng et al. 2023, arXiv:2309.00071, for what must not be slowed.
  """
  train_len = target_len if train_len is None else train_len
  check(head_dim, target_len, train_len, theta, most)
  if theta is None:
    made = _new(head_dim, target_len, train_len, most)
  else:
    made = _scalings(head_dim, target_len, train_len, theta)
    if tuning:
      made += _bases(head_dim, target_len, train_len, theta, most)
  return tuple(sorted(made, key=_order))


def _order(choice: Choice):
  at = choice.violation
  return (
    choice.new > 0, choice.slowed > 0, at is not None, choice.fragile,
    choice.slowed, choice.new, -(at or 0),
  )  # fmt: skip


def check(
  head_dim: int,
  target_len: int,
  train_len: int,
  theta: float | None,
  most: float = math.inf,
) -> None:
  """Raises ValueError unless a model and a target are in range."""
  spectra.check_head_dim(head_dim)
  for field, value, least in (
    ('target_len', target_len, 7),
    ('train_len', train_len, 7),
  ):
    if not isinstance(value, int | np.integer) or value < least:
      raise ValueError(
        f'{field}={value!r} must be a whole number of tokens >= {least}.'
      )
  if target_len < train_len:
    raise ValueError(
      f'target_len={target_len} is below train_len={train_len}: a model needs '
      'nothing to read shorter texts; give a longer target_len.'
    )
  if theta is not None:
    windows.check_theta(theta)
    if theta > 1e50:
      raise ValueError(f'theta={theta:g} must be at most 1e50.')
  if not most > 1:
    raise ValueError(f'most={most!r} must be a base above 1.')


def certified(head_dim: int, length: int) -> windows.Windows:
  """Windows for a length: shipped, or found now (minutes above 65,536)."""
  return windows.shipped().get((head_dim, length)) or windows.certify(
    head_dim, length
  )


def _judged(
  spec: Mapping[str, Any],
  trains: str,
  head_dim: int,
  shown_len: int,
  target_len: int,
  theta: float,
  reasons: tuple[str, ...],
  fragile: bool = False,
) -> Choice:
  """A Choice with its facts: after what it trains, a model has seen the phases
  of base theta up to shown_len tokens."""
  position = positions.build(spec)
  spectrum = spectra.of(position, head_dim, target_len)
  at = violation.first_violation(spectrum, target_len)
  shown_f = spectra.plain(theta, head_dim).frequency_f
  spectrum = dataclasses.replace(spectrum, original_f=shown_f)
  seen = pairs.pairs(spectrum, shown_len, target_len)
  new = int(seen.new.sum())
  fast = seen.turns_trained > _FAST
  slowed = int((fast & (seen.ratio < _SLOWED)).sum())
  if new:
    reasons += (
      f'{new} of {seen.pair.size} pairs see phases that training never '
      f'showed, from position {seen.first:,} on.',
    )
  else:
    reasons += ('No pair sees a phase that training did not show.',)
  if trains == 'nothing':
    reasons += (
      f'{slowed} of the {int(fast.sum())} pairs that tell neighbours apart '
      f'(more than {_FAST:g} turns in training) are slowed by over 1 %.'
      if slowed
      else 'Pairs that tell neighbours apart keep their frequencies.',
    )
  reasons += (
    f'The sum of cosines is first negative at distance {at:,}.'
    if at is not None
    else f'The sum of cosines is >= 0 at all distances below {target_len:,}.',
  )
  return Choice(spec, trains, new, slowed, at, fragile, reasons)


def _scalings(head_dim, target_len, train_len, theta) -> list[Choice]:
  """What changes no weight."""
  factor = target_len / train_len
  rope = {'name': 'rope', 'theta': float(theta)}
  specs = [(rope, 'As it was trained.')]
  if factor > 1:
    scaled = {'theta': float(theta), 'factor': factor}
    long = {**scaled, 'train_len': int(train_len)}
    specs += [
      ({'name': 'yarn', **long}, 'Slows each pair by what it lacks of turns.'),
      (
        {
          'name': 'llama3',
          **long,
          'low_freq_factor': 1.0,
          'high_freq_factor': 4.0,
        },
        'Slows pairs of under four turns in training.',
      ),
      ({'name': 'linear', **scaled}, 'Every position divided by the factor.'),
      ({'name': 'ntk', **scaled}, 'A larger base, unchanged for the fastest.'),
    ]
  return [
    _judged(
      spec, 'nothing', head_dim, train_len, target_len, theta, (reason,)
    )
    for spec, reason in specs
  ]  # fmt: skip


def _bases(head_dim, target_len, train_len, theta, most) -> list[Choice]:
  """Larger bases, by tuning at the target length."""
  critical = limits.critical_base(theta, train_len, target_len)
  found = certified(head_dim, target_len)
  made = []
  for least, why in (
    (max(critical, theta), 'in a certified window'),
    (max(critical, theta, found.robust), 'no base from here on fails'),
  ):
    base = _rounded_up(found, least)
    if base > most or any(base == other.spec['theta'] for other in made):
      continue
    reason = (
      f'Above the critical base {critical:,.0f} of tuning at {target_len:,} '
      f'tokens; {why} (all bases from {found.robust:,.0f} carry that length).'
    )
    made.append(
      _judged(
        {'name': 'rope', 'theta': base}, 'tuning', head_dim, target_len,
        target_len, base, (reason,), base < found.robust,
      )
    )  # fmt: skip
  return made


def _new(head_dim, target_len, train_len, most) -> list[Choice]:
  """Bases for a model that is not trained yet."""
  found = certified(head_dim, target_len)
  made = []
  robust = _rounded_up(found, found.robust)
  critical = limits.critical_dimension(robust, head_dim, train_len)
  shown = (
    f'Of {head_dim // 2} pairs, {critical // 2} turn once in {train_len:,} '
    'tokens of training'
    + ('.' if train_len == target_len else '; beyond those the others are new.')
  )
  reason = f'All bases from {found.robust:,.7g} carry {target_len:,} tokens.'
  if robust <= most:
    spec = {'name': 'rope', 'theta': robust}
    made.append((spec, (reason, shown)))
  low, high = found.inner[0]
  if low < found.robust and low <= most:
    spec = {'name': 'rope', 'theta': float(f'{math.sqrt(low * high):.9g}')}
    window = (
      f'The least bases that do: [{low:,.7g}, {high:,.7g}], a window '
      f'{(high / low - 1) * 100:.2g} % wide; a base beside it fails.'
    )
    made.append((spec, (window,)))
  if train_len < target_len:
    small = limits.small_bases(train_len)[0]
    spec = {'name': 'rope', 'theta': float(f'{small:.6g}')}
    every = (
      f'Every pair makes a quarter turn in {train_len:,} tokens: reaches '
      'beyond them with a loss that rises slowly.'
    )
    if 1 < small <= most:
      made.append((spec, (every,)))
  if not made:
    raise ValueError(
      f'most={most:g}: for head_dim={head_dim} no base below it keeps the sum '
      f'of cosines >= 0 to {target_len:,} tokens; the least is {low:.7g}.'
    )
  return [
    _judged(
      spec,
      'everything',
      head_dim,
      train_len,
      target_len,
      spec['theta'],
      reasons,
      found.first <= spec['theta'] < found.robust,
    )
    for spec, reasons in made
  ]


def _rounded_up(found: windows.Windows, theta: float) -> float:
  """A base of two digits that is feasible, at or above theta if there is one
  in its window; else just inside the window's lower edge."""
  scale = 10 ** (math.floor(math.log10(theta)) - 1)
  for step in range(90):
    base = float(f'{(math.ceil(theta / scale) + step) * scale:.2g}')
    if base >= theta and found.holds(base):
      return base
  return float(f'{found.next(theta) * (1 + 1e-9):.12g}')
