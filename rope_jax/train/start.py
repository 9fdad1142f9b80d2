"""Where weights begin: another run's, or a pretrained model's."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.sharding import Mesh

from rope_jax import config as config_lib
from rope_jax import data, model, positions
from rope_jax.checkpoint import SEAL, Checkpoints
from rope_jax.data.pretrained_tokenizer import PretrainedTokenizer
from rope_jax.model import ModelConfig, Weights
from rope_jax.model.weights import init_positions
from rope_jax.positions import Layout
from rope_jax.train import load

# Fields of config.model that say how a model is run, not what it is.
HOW = ('dtype', 'remat', 'scan', 'attention')
_ENDS = 2**20  # Bytes at either end of a file by which it is known.
_HUB = re.compile(r'\w[\w.-]*/[\w.-]+')  # OWNER/MODEL.


@dataclasses.dataclass(frozen=True)
class Start:
  """Weights to begin from.

  Attributes:
    path: where they are.
    shape: their model's.
    layout: the methods they were trained under.
    train_len: tokens of the rows they were trained on.
    mark: which weights they are, for versions.json.
    tokenizer: what config.data.tokenizer becomes: that of the run, or 'start'
      for a pretrained model's own.
    own_tokenizer: makes the latter; None for a run's.
    take: reads them, each on its place of the mesh; to be called once.
  """

  path: pathlib.Path
  shape: ModelConfig
  layout: Layout
  train_len: int
  mark: str
  tokenizer: str
  own_tokenizer: Callable[[], data.Tokenizer] | None
  take: Callable[[], Weights]


def find(path: str | os.PathLike[str], mesh: Mesh | None = None) -> Start:
  """What is at config.start: a run's workdir, a HF folder or a .gguf file, or
  either in a package (`package:NAME`).

  Args:
    path: where.
    mesh: where its weights are to go, sharded by name; None is one device.

  Raises:
    ValueError: nothing is there that can be begun from.
  """
  from rope_jax.interop import packages

  try:
    where = packages.resolve(str(path))
  except ValueError as error:  # It begins with the path.
    raise ValueError(f'config.start={error}') from error
  if (where / 'checkpoints').is_dir() and (where / 'config.json').exists():
    return _of_run(where, mesh)
  known = (where / 'config.json').exists() or where.suffix == '.gguf'
  if known and where.exists():
    return _of_pretrained(where, mesh)
  raise ValueError(
    f'config.start={str(path)!r} {_lacks(where)} Give the workdir of a '
    'training, a Hugging Face folder (config.json and .safetensors), a .gguf '
    'file, or package:NAME for a Python package that holds such a folder or '
    'file.'
  )


def _lacks(where: pathlib.Path) -> str:
  """What is wrong with a path that nothing can begin from."""
  if where.is_dir():
    files = sorted(where.glob('*.gguf'))
    told = f' Give the file itself: {files[0]}.' if files else ''
    return f'holds no config.json.{told}'
  if where.exists():
    return 'is a file, and no .gguf.'
  name = str(where)
  if not _HUB.fullmatch(name) or where.parent.is_dir():
    return 'does not exist.'
  return (
    'does not exist here. If it names a model of the Hugging Face Hub: nothing '
    'is downloaded here. Download it on a machine with internet, by `hf '
    f'download {name} --local-dir DIR` (huggingface-cli before version 1 of '
    'huggingface_hub), and give that folder.'
  )


def _of_run(where: pathlib.Path, mesh: Mesh | None) -> Start:
  config = load.read_config(where)
  layout = config_lib.layout(config)
  with Checkpoints(where / 'checkpoints', read_only=True) as checkpoints:
    steps = checkpoints.steps()
    if not steps:
      raise ValueError(
        f'config.start={str(where)!r} has no checkpoint yet: train it first.'
      )
    step = steps[-1]
    vocab = int(checkpoints.about(step)['vocab'])
  newest = where / 'checkpoints' / str(step)
  files = sorted(p for p in newest.rglob('*') if p.is_file() and p.name != SEAL)

  def take() -> Weights:
    *_, weights, found = load.load_weights(where, mesh)
    if found != step:
      raise ValueError(
        f'config.start={str(where)!r}: its newest checkpoint, step {step}, is '
        f'damaged. Move it out of {newest.parent} to begin from step {found}.'
      )
    return weights

  return Start(
    where,
    config_lib.model_config(config, vocab),
    layout,
    int(config.train.train_len),
    f'step {step}, {_digest(newest, files)}',
    config.data.tokenizer,
    None,
    take,
  )


def _of_pretrained(where: pathlib.Path, mesh: Mesh | None) -> Start:
  from rope_jax import interop

  found = interop.load_pretrained(where, mesh=mesh)
  files = [where]
  if where.is_dir():
    files = sorted(p for p in where.iterdir() if p.is_file())
    files = [p for p in files if p.suffix in ('.json', '.safetensors')]
  shape, layout = found.model.config, found.model.layout
  held = [model.split(found.model)[1]]
  found = dataclasses.replace(found, model=None)  # Held once, until taken.
  end = found.config.get('eos_token_id')

  def own_tokenizer() -> Any:
    if found.tokenizer is None:
      raise ValueError(
        f'config.start={str(where)!r} has no tokenizer to make ids with: put '
        'its tokenizer.json beside the weights.'
      )
    try:
      return PretrainedTokenizer(
        found.tokenizer,
        vocab=shape.vocab,
        eos=end[0] if isinstance(end, list) else end,
      )
    except ValueError as error:
      file = where / 'tokenizer.json' if where.is_dir() else where
      raise ValueError(f'{file}: {error}') from error

  return Start(
    where,
    shape,
    layout,
    found.train_len,
    _digest(where.parent, files),
    'start',
    own_tokenizer,
    held.pop,
  )


def _digest(root: pathlib.Path, files: Iterable[pathlib.Path]) -> str:
  """A hash of names, sizes and both ends of files: quick at any size."""
  digest = hashlib.sha256()
  for file in files:
    size = file.stat().st_size
    digest.update(f'{file.relative_to(root)} {size} '.encode())
    with open(file, 'rb') as stream:
      digest.update(stream.read(_ENDS))
      stream.seek(max(size - _ENDS, 0))
      digest.update(stream.read(_ENDS))
  return f'sha256 {digest.hexdigest()[:16]}'


def fill(config: Any, start: Start) -> Any:
  """The configuration of a training that begins from a start.

  A field of config.model, config.data.tokenizer or config.position that is at
  its default becomes what the start has; another value must be what the start
  has, but for the position, which may be any that learns nothing new, and for
  `HOW`, which are the configuration's own.

  Args:
    config: a whole configuration; not changed.
    start: from `find`.

  Returns:
    A copy, with every field in full.

  Raises:
    ValueError: a model of another shape, another tokenizer, or a method whose
      parameters the start does not have.
  """
  one = config.copy_and_resolve_references()
  default = config_lib.default()
  have = dataclasses.asdict(start.shape)
  names = [name for name in default.model if name not in HOW]
  with one.unlocked():
    for section, name, known in (
      *(('model', name, have[name]) for name in names),
      ('data', 'tokenizer', start.tokenizer),
    ):
      value = config[section][name]
      if value not in (default[section][name], known):
        raise ValueError(
          f'config.{section}.{name}={value!r} is not what config.start='
          f'{str(start.path)!r} has, {known!r}. Leave it out, and it is taken '
          'from there.'
        )
      one[section][name] = known
    if not config.position:
      del one.position
      one.position = [positions.spec(p) for p in start.layout]
  _check_parameters(one, start)
  return one


def check_vocab(start: Start, ids: int) -> int:
  """How many ids the start has, if its tokenizer's are among them.

  Raises:
    ValueError: they are not.
  """
  vocab = start.shape.vocab
  if ids > vocab or (start.tokenizer != 'start' and ids != vocab):
    raise ValueError(
      f'config.start={str(start.path)!r} has embeddings of {vocab} ids, and '
      f'its tokenizer makes {ids}: they do not belong together. Give the '
      'tokenizer that it was trained with.'
    )
  return vocab


def _check_parameters(config: Any, start: Start) -> None:
  layout = config_lib.layout(config)
  start.shape.check(layout)

  def learns(layout: Layout) -> dict[str, tuple[int, ...]]:
    tree = jax.eval_shape(
      lambda: init_positions(jax.random.key(0), start.shape, layout)
    )
    return {
      jax.tree_util.keystr(path, simple=True, separator='.'): leaf.shape
      for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }

  wanted, have = learns(layout), learns(start.layout)
  if wanted != have:
    names = ', '.join(type(p).__name__ for p in layout)
    raise ValueError(
      f'config.position: {names} learns {wanted or "nothing"}, and '
      f'config.start={str(start.path)!r} has learnt {have or "nothing"}. '
      'Continue with a method of the same parameters, or train it from the '
      'beginning.'
    )
