"""The table of bases: certified windows beside what was published."""

from __future__ import annotations

from collections.abc import Iterable

from rope_jax.spectrum import text, violation
from rope_jax.spectrum.windows import Windows

NOTE = (
  'first window: the least bases whose sum of cosines is >= 0 at every\n'
  'distance below the length; all from: every base from here on. Published\n'
  'bases: the distance of their first negative sum, or ok.'
)


def table(found: Iterable[Windows]) -> str:
  """Windows as text, beside the published bases where there are any.

  Args:
    found: windows, of any widths and lengths.

  Example:
    >>> from rope_jax.spectrum import windows
    >>> print(table([windows.certify(64, 1024)]))
    head_dim    length          first window  windows  all from
              (tokens)               (bases)             (base)
          64     1,024  7752.982 to 8385.632        7  23019.33
  """
  published = {row.length: row for row in violation.published()}
  rows, known = [], False
  for each in found:
    low, high = each.inner[0]
    row = published.get(each.length) if each.head_dim == 128 else None
    known = known or row is not None
    rows.append(
      (
        f'{each.head_dim}',
        f'{each.length:,}',
        f'{low:.7g} to {high:.7g}',
        f'{len(each.inner):,}',
        f'{each.robust:.7g}',
        _verdict(row.paper, row.paper_violation) if row else '',
        _verdict(row.su, row.su_violation) if row else '',
      )
    )
  heads = [
    ('head_dim', ''),
    ('length', '(tokens)'),
    ('first window', '(bases)'),
    ('windows', ''),
    ('all from', '(base)'),
    ("paper's", ''),
    ("Su's", ''),
  ]
  if not known:
    heads, rows = heads[:-2], [row[:-2] for row in rows]
  return text.aligned(heads, rows)


def _verdict(theta: float, at: int | None) -> str:
  return f'{theta:g}: ' + ('ok' if at is None else f'fails at {at:,}')
