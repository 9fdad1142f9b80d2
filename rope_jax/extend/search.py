"""LongRoPE's search: which divisor of each pair's frequency reads far best."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rope_jax import model as model_lib
from rope_jax import positions
from rope_jax.extend.spectra import Spectra
from rope_jax.positions import Layout
from rope_jax.positions.rope import Rope

SEEDS = ('linear', 'ntk', 'yarn')
BEYOND = 1.25  # Divisors reach this times the factor, as in the paper.
STEP = 0.25  # Spread of a mutation, in the logarithm of a divisor.


@dataclasses.dataclass(frozen=True)
class Found:
  """What a search found.

  Attributes:
    spec: a `longrope`, to be built or used as a variant.
    nll: its mean nats per token on the windows that were searched.
    history: (generation, best nll, mean nll of the generation), the seeds'
      generation first.
    seeds: the nll of each seed by name.
    tried: how many spectra were measured.
  """

  spec: dict[str, Any]
  nll: float
  history: list[tuple[int, float, float]]
  seeds: dict[str, float]
  tried: int


def search(
  config: model_lib.ModelConfig,
  layout: Layout,
  weights: Any,
  windows_bt: np.ndarray,
  *,
  train_len: int,
  factor: float,
  population: int = 16,
  generations: int = 10,
  parents: int = 4,
  mutation: float = 0.3,
  seed: int = 0,
  attention_factor: float | None = None,
  at_once: int = 4,
  progress: Callable[[int, int, float], None] | None = None,
) -> Found:
  """Searches divisors, one a pair, that read long windows best.

  min over 1 <= d_1 <= d_2 <= ... <= 1.25 factor of the mean nats per token
  under f'_k = f_k / d_k.

  The first generation is linear interpolation (d_k = factor), NTK and YaRN at
  this factor, and mutations of them. Each later one is mutations and crossings
  of the best `parents` so far. All spectra of a generation are data of one
  compiled function.

  Args:
    config: the model's shape.
    layout: its methods; each slot of plain RoPE gets the same divisors.
    weights: its weights.
    windows_bt: int32 [b, t + 1] token ids, with t > train_len, for what is
      searched is the long list; usually t = factor x train_len.
    train_len: tokens the model was trained at.
    factor: tokens to be reached / train_len, >= 1; bounds the divisors and
      sets the amplitude.
    population: spectra in a generation, at least parents and the 3 seeds.
    generations: how many after the first, >= 0.
    parents: how many of the best breed, >= 2.
    mutation: chance of each pair to change, in (0, 1].
    seed: of the random numbers; the same one finds the same.
    attention_factor: amplitude of all spectra; None is LongRoPE's,
      sqrt(1 + ln(factor) / ln(train_len)).
    at_once: spectra in one call of the compiled function. Memory grows with
      it; a CPU is as fast with 1.
    progress: called with (spectra measured, spectra in all, best nll so far).

  Returns:
    What was found, at least as good on these windows as each seed.

  Raises:
    ValueError: a number out of range; windows that are empty or too short; a
      layout without plain RoPE.

  Example:
    >>> import jax
    >>> config = model_lib.ModelConfig(vocab=7, layers=1, width=8, heads=2)
    >>> layout = (positions.build({'name': 'rope', 'theta': 1e4}),)
    >>> weights = model_lib.init_weights(jax.random.key(0), config, layout)
    >>> found = search(config, layout, weights, np.ones((1, 9), np.int32),
    ...                train_len=4, factor=2.0, population=5, generations=1)
    >>> found.spec['name'], len(found.spec['long_factor']), found.tried
    ('longrope', 2, 6)

  Source: Ding et al. 2024, arXiv:2402.13753, section 3.2 and appendix;
    microsoft/LongRoPE, `evolution`.

  Differs: a mutation multiplies divisors by e^(0.25 x normal) and a child is
    sorted, where the paper draws anew from a grid of 0.01 until the order
    holds. n-hat, the first tokens that turn unscaled, is not searched (it would
    not be one spectrum); perplexity is of the windows given.
  """
  _check(population, generations, parents, mutation, factor, train_len)
  bench = Spectra(
    config, layout, weights, windows_bt, train_len=train_len, at_once=at_once
  )
  if bench.length <= train_len:
    raise ValueError(
      f'windows of {bench.length} tokens are not beyond train_len={train_len}, '
      'so that the long list would not be read; give longer windows.'
    )
  rng = np.random.default_rng(seed)
  total = population + generations * (population - parents)
  known: dict[tuple[float, ...], float] = {}
  done = 0

  def specs(divisors: tuple[float, ...]) -> dict[str, Any]:
    return {
      'name': 'longrope',
      'short_factor': (1.0,) * bench.pairs,
      'long_factor': divisors,
      'train_len': train_len,
      **(
        {'factor': float(factor)}
        if attention_factor is None
        else {'attention_factor': float(attention_factor)}
      ),
    }

  def measure(candidates: Sequence[tuple[float, ...]]) -> None:
    nonlocal done

    def tell(count):
      nonlocal done
      done += count
      if progress:
        progress(done, total, min(known.values(), default=math.inf))

    layouts = [bench.under(specs(one)) for one in candidates]
    nats = bench.measure(layouts, progress=tell)
    known.update(zip(candidates, nats.tolist(), strict=True))

  def bred(count: int, make: Callable[[], np.ndarray]) -> list:
    """As many new candidates."""
    made: dict[tuple[float, ...], None] = {}
    while len(made) < count:
      child = tuple(np.sort(np.clip(make(), 1.0, BEYOND * factor)).tolist())
      if child not in known:
        made[child] = None
    return list(made)

  def mutated(divisors: np.ndarray) -> np.ndarray:
    hit = rng.random(bench.pairs) < mutation
    hit[rng.integers(bench.pairs)] = True
    grown = np.exp(STEP * rng.standard_normal(bench.pairs))
    return np.where(hit, divisors * grown, divisors)

  starts = {name: _start(bench, name, factor) for name in SEEDS}
  measure(list(dict.fromkeys(starts.values())))
  bases = list(starts.values())
  measure(
    bred(
      population - len(known),
      lambda: mutated(np.array(bases[rng.integers(len(bases))])),
    )
  )
  history = [_row(0, known.values(), known)]

  def child() -> np.ndarray:
    one, other = rng.choice(len(best), 2, replace=False)
    if rng.random() < 0.5:
      return mutated(np.array(best[one]))
    either = rng.random(bench.pairs) < 0.5
    crossed = np.where(either, best[one], best[other])
    # Parents may be too alike for their crossings to be new.
    return crossed if rng.random() < 0.5 else mutated(crossed)

  for generation in range(1, generations + 1):
    best = sorted(known, key=known.__getitem__)[:parents]
    children = bred(population - parents, child)
    measure(children)
    history.append(_row(generation, (known[c] for c in children), known))
  winner = min(known, key=known.__getitem__)
  resolved = next(
    p
    for p, was in zip(bench.under(specs(winner)), layout, strict=True)
    if was is bench.plain
  )
  return Found(
    spec=positions.spec(resolved),
    nll=known[winner],
    history=history,
    seeds={name: known[start] for name, start in starts.items()},
    tried=len(known),
  )


def _row(generation: int, nats, known) -> tuple[int, float, float]:
  return generation, min(known.values()), float(np.mean(list(nats)))


def _start(bench: Spectra, name: str, factor: float) -> tuple[float, ...]:
  """The divisors of a method, made to rise and kept within bounds."""
  spec = {'name': name, 'factor': float(factor)}
  for position, was in zip(bench.under(spec), bench.layout, strict=True):
    if was is bench.plain:
      assert isinstance(position, Rope)
      head_dim = bench.config.head_dim
      scaled, _ = position.frequencies(head_dim)
      plain, _ = bench.plain.frequencies(head_dim)
      divisors = plain[: bench.pairs] / scaled[: bench.pairs]
      return tuple(np.maximum.accumulate(np.maximum(divisors, 1.0)).tolist())
  raise AssertionError('bench.plain is of bench.layout')


def _check(population, generations, parents, mutation, factor, train_len):
  for name, value, holds, allowed in (
    ('factor', factor, 1 <= factor < math.inf, 'a number >= 1'),
    ('train_len', train_len, train_len >= 2, 'a number of tokens >= 2'),
    ('parents', parents, parents >= 2, 'a number >= 2'),
    (
      'population',
      population,
      population > max(parents, len(SEEDS)),
      f'above parents={parents} and the {len(SEEDS)} seeds',
    ),
    ('generations', generations, generations >= 0, 'a number >= 0'),
    ('mutation', mutation, 0 < mutation <= 1, 'a chance in (0, 1]'),
  ):
    if not holds:
      raise ValueError(f'search: {name}={value!r} must be {allowed}.')
