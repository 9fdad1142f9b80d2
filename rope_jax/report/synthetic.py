"""A made-up study that looks like a real one, to try the report on."""

from __future__ import annotations

import math

import numpy as np

from rope_jax.report.inputs import AS_TRAINED, POOLED, StudyData

# How the loss of a method rises, in nats per token for each doubling of the
# length, and where it saturates.
_RISE = {
  'rope': (0.55, 1.3),
  'sinusoidal': (1.9, 3.6),
  'alibi': (0.0, 0.0),
  't5': (0.03, 0.1),
  'nope': (0.8, 2.0),
  'learned': (2.5, 4.0),
}
# How much of it a variant leaves, and what it costs at the trained length.
_LEFT = {
  'linear': (0.25, 0.15),
  'ntk': (0.06, 0.02),
  'dynamic_ntk': (0.09, 0.0),
  'yarn': (0.05, 0.01),
}


def synthetic(
  *,
  methods=('rope', 'alibi', 't5', 'sinusoidal'),
  variants=None,
  train_len=128,
  lengths=(128, 256, 512, 1024, 2048),
  seeds=1,
  protocols=('whole', 'last(64)', 'slide(64)'),
  absent=(),
  diverged=(),
  seed=0,
) -> StudyData:
  """Makes a study up.

  Args:
    methods: names.
    variants: method to its variants; None for the four of rope.
    train_len: trained length, tokens.
    lengths: evaluated lengths, tokens.
    seeds: how many trainings.
    protocols: names.
    absent: (method, variant, length) cells to leave out.
    diverged: (method, variant, length) cells with a NaN loss.
    seed: of the noise.

  Returns:
    A `StudyData` of numbers that mean nothing.
  """
  rng = np.random.default_rng(seed)
  if variants is None:
    variants = {'rope': ('linear', 'ntk', 'dynamic_ntk', 'yarn')}
  rows, positions, training = [], [], []
  for method in methods:
    base = 1.31 + rng.normal(0, 0.012)
    training += [_training(rng, method, s, base) for s in range(seeds)]
    for variant in (AS_TRAINED, *variants.get(method, ())):
      for length in lengths:
        cell = method, variant, length
        if cell in absent:
          continue
        loss = math.nan if cell in diverged else _loss(cell, base, train_len)
        positions.append(_position(rng, cell, base, train_len))
        for protocol in protocols:
          rows += _rows(rng, cell, train_len, protocol, loss, seeds)
  return StudyData(
    title='Which positional method extrapolates from 128 to 2048 tokens?',
    question=(
      'Trained at a short length, what breaks beyond it, which variant mends '
      'it, and by how much?\n\nSynthetic numbers, to try the report on.'
    ),
    train_len=train_len,
    rows=rows,
    by_position=positions,
    training=training,
    config={
      'train_len': train_len,
      'model': {'layers': 4, 'width': 128, 'heads': 4, 'dtype': 'float32'},
      'methods': {m: {'name': m} for m in methods},
      'seeds': list(range(seeds)),
    },
    versions={'jax': '0.10.2', 'flax': '0.12.8', 'rope_jax': '0.1.0'},
    caveats=['The numbers are made up.'],
    failures=[f'{m} + {v} at {n}: left out' for m, v, n in absent],
    command='python -m experiments.study --config=configs/quickstart.py '
    '--workdir=runs/quickstart',
  )


def _loss(cell, base, train_len) -> float:
  method, variant, length = cell
  slope, most = _RISE.get(method.split('-')[0], (0.3, 0.8))
  octaves = max(0.0, math.log2(length / train_len))
  rise = most * math.tanh(slope * octaves / most) if most else 0.0
  left, cost = 1.0, 0.0
  for name, (part, price) in _LEFT.items():
    if variant.startswith(name):
      left, cost = part, price
  return base + left * rise + cost - 0.015 * math.tanh(octaves)


def _rows(rng, cell, train_len, protocol, loss, seeds) -> list[dict]:
  method, variant, length = cell
  early = 0.35 * 60 / length if protocol == 'whole' else 0.0
  each = [loss + early + rng.normal(0, 0.012) for _ in range(seeds)]
  errors = [0.012] * seeds
  pooled = float(np.mean(each))
  spread = float(np.std(each, ddof=1)) if seeds > 1 else 0.0
  each.append(pooled)
  errors.append(math.hypot(0.012, spread / math.sqrt(seeds)))
  return [
    {
      'method': method,
      'variant': variant,
      'train_len': train_len,
      'eval_len': length,
      'protocol': protocol,
      'nll': nll,
      'stderr': error,
      'perplexity': math.exp(nll),
      'bits_per_byte': nll / math.log(2),
      'tokens': 44 * 64,
      'documents': 44,
      'seed': name,
    }
    for name, nll, error in zip(
      [*range(seeds), POOLED], each, errors, strict=True
    )
  ]


def _position(rng, cell, base, train_len) -> dict:
  method, variant, length = cell
  position = np.unique(np.geomspace(1, length, 60).astype(int))
  end = np.array(
    [_loss((method, variant, n), base, train_len) for n in position]
  )
  nll = np.array(end) + 1.4 / np.sqrt(1 + position)
  nll += rng.normal(0, 0.02, position.size)
  return {
    'method': method,
    'variant': variant,
    'eval_len': length,
    'seed': POOLED,
    'position': position,
    'nll': nll,
    'stderr': np.full(position.size, 0.03),
  }


def _training(rng, method, seed, base) -> dict:
  step = np.arange(0, 1500, 10)
  loss = base + 0.1 + 4.1 * np.exp(-step / 60) + 0.9 * np.exp(-step / 500)
  val = step[::15]
  return {
    'method': method,
    'seed': seed,
    'step': step,
    'tokens': step * 2048,
    'loss': loss + rng.normal(0, 0.05, step.size),
    'val_step': val,
    'val_loss': loss[::15] + 0.02,
    'tokens_per_second': 11000.0,
  }
