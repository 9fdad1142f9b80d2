"""What an extension by training does: its base, its entries, their checks."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from rope_jax import config as config_lib
from rope_jax import evaluate, positions, study
from rope_jax import mesh as meshes
from rope_jax.evaluate import cells
from rope_jax.gather import natural
from rope_jax.model import ModelConfig, check_training
from rope_jax.positions import Layout, Position
from rope_jax.positions.pose import Pose
from rope_jax.train import lora
from rope_jax.train import start as starts


@dataclasses.dataclass(frozen=True)
class Base:
  """The model that is extended, before any of its weights are at hand.

  Attributes:
    path: where its weights are, or will be.
    layout: the methods it was trained under.
    train_len: tokens of the rows it was trained on: the original length.
    shape: of the model; its vocab may be a stand-in.
  """

  path: pathlib.Path
  layout: Layout
  train_len: int
  shape: ModelConfig


def names(config: Any) -> list[str]:
  """The entries of config.tune, in the order in which they are done."""
  return sorted(config_lib.plain(config.tune), key=natural)


def base_of(
  config: Any, folder: pathlib.Path, start: starts.Start | None
) -> Base:
  """The model to extend: that of config.start, or the one to be trained."""
  if start is not None:
    return Base(start.path, start.layout, start.train_len, start.shape)
  shape = config_lib.model_config(config, vocab=2)
  layout = config_lib.layout(config)
  return Base(folder / 'base', layout, config.train.train_len, shape)


def tuned_config(config: Any, name: str, seed: int, base: Base) -> Any:
  """The configuration of one of the trainings that begin from the base."""
  entry = config_lib.plain(config.tune)[name]
  one = alone(config, f'{name}, seed {seed}')
  one.start = str(base.path)
  changes = {**entry.get('train', {}), 'seed': int(seed)}
  for field, value in changes.items():
    value = tuple(value) if isinstance(value, list) else value
    try:
      one.train[field] = value
    except TypeError as error:
      raise ValueError(
        f'config.tune.{name}.train.{field}={value!r} must be of the type of '
        f'config.train.{field}={config.train[field]!r}.'
      ) from error
  with one.unlocked():
    del one.position  # It may be a spec, and this one a layout.
    one.position = [
      positions.spec(p) for p in layout_of(entry['position'], one.train, base)
    ]
  return one


def layout_of(spec: Any, section: Any, base: Base) -> Layout:
  """The layout of an entry's position; see `tune.run`.

  Example:
    >>> from rope_jax import config, positions
    >>> rope = positions.build({'name': 'rope', 'theta': 1e4})
    >>> base = Base(pathlib.Path('base'), (rope,), 128, None)
    >>> section = config.default().train
    >>> section.train_len = 512
    >>> layout_of({'name': 'linear', 'factor': 'auto'}, section, base)[0].factor
    4.0
  """
  if isinstance(spec, Mapping):
    under = evaluate.layout_under(
      spec, base.layout, train_len=base.train_len, eval_len=section.train_len
    )
    if under is not None:
      return under
  return positions.layout(spec)


def alone(config: Any, name: str) -> Any:
  """A configuration of one training."""
  one = config.copy_and_resolve_references()
  with one.unlocked():
    one.name = name
    one.methods, one.variants, one.tune = {}, {}, {}
  return one


def check(config: Any) -> None:
  """Checks what can be checked before the start is read."""
  config_lib.check(config)
  cells.check(config)
  study.check_seeds(config)
  entries = config_lib.plain(config.tune)
  if not entries:
    raise ValueError(
      'config.tune is empty; name at least one scheme to train on under, such '
      "as {'linear': {'position': {'name': 'linear', 'factor': 4.0}, 'train': "
      "{'train_len': 512, 'steps': 100}}}."
    )
  known = set(config_lib.default().train) - {'seed'}
  for name, entry in entries.items():
    if not re.fullmatch(r'[A-Za-z0-9_.=+-]+', name):
      raise ValueError(
        f'config.tune has {name!r}: it names a folder, so use letters, digits '
        'and _ . = + - alone.'
      )
    if (
      not isinstance(entry, Mapping)
      or not entry.get('position')
      or not isinstance(entry['position'], (Mapping, list))
      or not isinstance(entry.get('train', {}), Mapping)
    ):
      raise ValueError(
        f'config.tune.{name}={entry!r} must have a position, a spec or a '
        'layout of specs, and may have a train, of fields of config.train, '
        "such as {'position': {'name': 'linear', 'factor': 4.0}, 'train': "
        "{'steps': 100}}."
      )
    for field, there, where in (
      *((f, {'position', 'train'}, '') for f in entry),
      *((f, known, 'train.') for f in entry.get('train', {})),
    ):
      if field not in there:
        close = difflib.get_close_matches(field, there, 1)
        hint = f' Did you mean {close[0]}?' if close else ''
        raise ValueError(
          f'config.tune.{name}.{where}{field} is not a field.{hint} Known: '
          f'{", ".join(sorted(there))}.'
        )


def checked(config: Any, name: str, base: Base) -> Any:
  """The configuration of an entry, checked as far as it can be."""
  try:
    one = tuned_config(config, name, 0, base)
    config_lib.check(one)
    layout = config_lib.layout(one)
    base.shape.check(layout)
    check_training(layout, one.train.train_len)
    lora.check(one.train, base.shape)
    meshes.make_mesh(one.mesh, one.train.batch // one.train.accumulate)
  except ValueError as error:
    text = str(error)
    for field in config_lib.plain(config.tune)[name].get('train', {}):
      # Where the value stands, and not the one that it takes the place of.
      own = f'config.tune.{name}.train.{field}'
      text = re.sub(rf'config\.train\.{field}\b', own, text)
    raise ValueError(f'config.tune.{name}: {text}') from error
  lengths = tuple(config.eval.lengths)
  if base.train_len not in lengths:
    raise ValueError(
      f'config.eval.lengths={lengths} must have {base.train_len}, the length '
      'that the base was trained at: what a scheme costs there is reported.'
    )
  return one


def shown(layout: Layout) -> Layout:
  """A layout without what only training shows."""

  def one(position: Position) -> Position:
    parts = positions.parts(position)
    kept = [part for part in parts if not isinstance(part, Pose)]
    return positions.compose(*kept)

  return tuple(map(one, layout))
