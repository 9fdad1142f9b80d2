"""What `experiments.spectrum` is asked for, checked before any work."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rope_jax import positions
from rope_jax.report import csvfile
from rope_jax.spectrum import methods, recommend, spectra

_MOST = 2**24  # Distances of a curve that memory holds.


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to look at; see `settled`.

  Args:
    head_dim: width of a head, even, >= 6.
    target_len: tokens wanted, >= train_len, up to 2^24.
    theta: base that the model is trained with, > 1.
    train_len: tokens of training, >= 7.
    methods: as `methods.expanded` takes them; () is the base itself and its
      usual scalings to the target.
    tuning: whether the recommendation may tune the model.
    scratch: whether it is for a model that is not trained yet.
    most: bases above this are not recommended.

  Raises:
    ValueError: a setting out of range.
  """

  head_dim: int
  target_len: int
  theta: float = 1e4
  train_len: int = 4096
  methods: tuple[str, ...] = ()
  tuning: bool = False
  scratch: bool = False
  most: float = math.inf

  def __post_init__(self):
    recommend.check(
      self.head_dim, self.target_len, self.train_len, self.theta, self.most
    )
    if self.head_dim < 6 or self.target_len > _MOST:
      raise ValueError(
        f'head_dim={self.head_dim}, target_len={self.target_len}: the lab is '
        f'for widths of 6 and more, and every distance up to {_MOST:,} tokens.'
      )

  def built(self) -> dict[str, positions.Position]:
    """The methods to look at, by label."""
    usual = methods.scaled(self.theta, self.train_len, self.target_len)
    if not self.methods:
      return {name: methods.parsed(words) for name, words in usual.items()}
    found: dict[str, positions.Position] = {}
    for words in self.methods:
      found |= methods.expanded(words, self.head_dim)
    return found


def settled(
  head_dim: int,
  target_len: int,
  theta: float | None = None,
  train_len: int | None = None,
  given: tuple[str, ...] = (),
  **more: Any,
) -> Settings:
  """Settings whose theta and train_len are the methods' own, where they say.

  Args:
    head_dim: width of a head.
    target_len: tokens wanted.
    theta: base; None is that of the methods or configs, or 1e4.
    train_len: tokens of training; None likewise, or 4096.
    given: the methods.
    **more: the other fields of Settings.

  Raises:
    ValueError: a setting out of range, or at odds with the methods.
  """
  spectra.check_head_dim(head_dim)
  said: dict[str, float] = {}
  for words in given:
    for field, value in methods.trained(words, head_dim).items():
      if said.setdefault(field, value) != value:
        raise ValueError(
          f'the methods are of different models: {field}={said[field]:g} and '
          f'{value:g} ({words}); look at them one by one, or use --diff.'
        )
  for field, value in (('theta', theta), ('train_len', train_len)):
    if value is not None and field in said and value != said[field]:
      raise ValueError(
        f'{field}={value:g}, but the methods say {said[field]:g}; leave '
        f'--{field} out, or give methods of that {field}.'
      )
  base = said.get('theta', 1e4) if theta is None else theta
  length = said.get('train_len', 4096) if train_len is None else train_len
  return Settings(head_dim, target_len, base, int(length), given, **more)


def check_flags(
  mode: str, present: Iterable[str], reads: Mapping[str, Sequence[str]]
) -> None:
  """Raises ValueError for flags that a way of running does not read."""
  other = sorted(set(present) - {mode, *reads[mode]})
  if other:
    what = f'--{mode}' if mode else 'the study of a base'
    listed = ', '.join(f'--{name}' for name in reads[mode])
    raise ValueError(
      f'{what} does not read --{", --".join(other)}; it reads {listed}.'
    )


def numbers(flag: str, texts: Iterable[int | str]) -> list[int]:
  """Whole numbers from texts, at least one."""
  texts = list(texts)
  try:
    found = [int(text) for text in texts]
  except ValueError:
    found = []
  if not found:
    raise ValueError(
      f'--{flag}={",".join(map(str, texts))}: give whole numbers, such as '
      f'--{flag}=64,128.'
    )
  return found


def check_folder(out: str | None) -> None:
  """Raises ValueError unless files can be written there."""
  if out is None:
    return
  try:
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    csvfile.write_atomically(pathlib.Path(out) / '.writable', b'').unlink()
  except OSError as error:
    raise ValueError(
      f'--out={out}: no folder that can be written to ({error.strerror}).'
    ) from None
