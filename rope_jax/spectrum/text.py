"""Tables as aligned text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(
  heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]
) -> str:
  """Columns as text: names over units over cells, aligned to the right.

  Args:
    heads: (name, unit) of each column; a column without a name is aligned to
      the left. Without any unit there is no line of them.
    rows: their cells, one for each column.

  Example:
    >>> print(aligned([('pair', ''), ('turns', 'in all'), ('', '')],
    ...               [['0', '12', 'fast'], ['1', '3', 'slow']]))
    pair   turns
          in all
       0      12  fast
       1       3  slow
  """
  units = [unit for _, unit in heads]
  lines = [[name for name, _ in heads], *([units] if any(units) else []), *rows]
  wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
  return '\n'.join(
    '  '.join(
      cell.rjust(width) if name else cell.ljust(width)
      for cell, width, (name, _) in zip(line, wide, heads, strict=True)
    ).rstrip()
    for line in lines
  )
