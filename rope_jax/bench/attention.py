"""The suite `attention`: against PyTorch, by memory, and compiled for a TPU."""

from __future__ import annotations

from rope_jax import compile_for
from rope_jax.attention import engine
from rope_jax.bench import draws, scratch
from rope_jax.bench.duel import Worker, check_peers, duel, peak
from rope_jax.bench.figures import Figure, from_pair
from rope_jax.bench.timing import Say

SHAPES = ((32, 512, 21), (4, 4096, 11))  # Heads, tokens, rounds.
BARS = {'none': 1.0, 'alibi': 0.7, 't5': 0.7}
NAMES = {'none': 'causal', 'alibi': 'ALiBi', 't5': 'learned T5 bias'}
TARGET = 'tpu-v5e-4'


def run(say: Say) -> list[Figure]:
  """Measures everything; about 7 minutes on two cores."""
  check_peers()
  figures: list[Figure] = []
  taken: dict[str, tuple[float, float]] = {}
  with Worker('ours') as ours, Worker('peers') as peers:
    for bias, bar in BARS.items():
      for heads, tokens, rounds in SHAPES:
        what = f'{NAMES[bias]}, forward + backward, {heads} x {tokens:,} x 64'
        say(f'{what} ...')
        job = {
          'job': 'attention',
          'heads': heads,
          'tokens': tokens,
          'bias': bias,
          'gradient': True,
        }
        ways = {'PyTorch sdpa': (peers, job), 'rope_jax': (ours, job)}
        timings = duel(what, ways, rounds)
        figures.append(from_pair(timings, what, bar))
        taken[what] = timings[1].seconds, products(heads, tokens)
    say('the fastest matrix product ...')
    fastest = peak(ours, 11)
    figures += [
      Figure(
        f'products of {what} at peak, of its time', flops / fastest / seconds,
        note=f'{flops / 1e9:.1f} GFLOP at {fastest / 1e9:.0f} GFLOP/s',
      )
      for what, (seconds, flops) in taken.items()
    ]  # fmt: skip
  figures.append(_flex(say))
  figures += _rotation(say)
  figures += _memory(say)
  figures += _compiled(say)
  return figures


def products(heads: int, tokens: int) -> float:
  """FLOPs of the products of all tiles on and below the diagonal: two forward,
  and five backward, one of which makes the scores again."""
  schedule = engine.on_cpu(tokens, tokens)
  blocks = -(-tokens // schedule.q_block)
  tiles = heads * blocks * (blocks + 1) / 2
  return 7 * 2 * tiles * schedule.q_block * schedule.k_block * draws.WIDTH


def _flex(say: Say, tokens: int = 16_384) -> Figure:
  what = f'ALiBi, forward, 4 x {tokens:,} x 64'
  say(f'{what}, FlexAttention ...')
  shape = {'heads': 4, 'tokens': tokens}
  job = {'job': 'attention', 'bias': 'alibi', 'gradient': False, **shape}
  with Worker('ours') as ours, Worker('peers') as peers:
    ways = {
      'FlexAttention': (peers, {'job': 'flex', **shape}),
      'rope_jax': (ours, job),
    }
    return from_pair(duel(what, ways, rounds=5), what, 0.4)


def _rotation(say: Say, rows: int = 8, tokens: int = 4096) -> list[Figure]:
  what = f'RoPE on q and k, {rows} x {tokens:,} x 4 x 64: bytes/s over a copy'
  say(f'{what} ...')
  shape = {'job': 'rotation', 'rows': rows, 'tokens': tokens, 'heads': 4}
  with Worker('ours') as ours:
    ways = {
      'RoPE': (ours, {**shape, 'copy': False}),
      'copy': (ours, {**shape, 'copy': True}),
    }
    turned, copied = duel(what, ways, rounds=21)
  moved = 4 * rows * tokens * 4 * 64 * 4  # q and k, read and written.
  note = (
    f'{moved / turned.seconds / 1e9:.1f} GB/s against '
    f'{moved / copied.seconds / 1e9:.1f}'
  )
  return [
    Figure(
      what, copied.ratio, bar=0.8, most=False, low=copied.low,
      high=copied.high, note=note,
    )
  ]  # fmt: skip


def _memory(say: Say, lengths: tuple[int, int] = (16_384, 32_768)):
  """What a run adds to the process's memory, each length in its own; how it
  grows is read from what the program plans, which nothing else blurs."""
  taken, planned = [], []
  for tokens in lengths:
    say(f'memory with a T5 bias at {tokens:,} tokens ...')
    job = {'job': 'attention_memory', 'heads': 4, 'tokens': tokens}
    with Worker('ours', 'frees') as ours:
      found = ours.run({**job, 'bias': 't5'})
    taken.append(found['bytes'])
    planned.append(found['planned'])
  short, long = lengths
  return [
    Figure(
      f'T5 bias, forward + backward, 4 x {long:,} x 64: extra memory',
      taken[1] / 1e9, unit='GB', bar=1.0,
      note=f'resident; the program plans {planned[1] / 1e6:.0f} MB a device',
    ),
    Figure(
      f'the same over that at {short:,} tokens, as planned',
      planned[1] / planned[0], bar=2.2,
      note=f'{planned[1] / 1e6:.0f} MB against {planned[0] / 1e6:.0f} MB',
    ),
  ]  # fmt: skip


def _compiled(say: Say, lengths: tuple[int, ...] = (32_768, 65_536, 131_072)):
  """Scratch memory on one chip, by the real compiler, beside the kernel that
  comes with JAX and knows no bias."""
  absent = compile_for.missing(TARGET)
  if absent:
    say(f'left out, compiled for {TARGET}: needs {absent}')
    return []
  figures = []
  wanted = [f'{w}:{n}' for w in ('t5', 'library') for n in lengths]
  say(f'compiling for {TARGET} ...')
  found = scratch.measured(TARGET, 'bfloat16', *wanted)
  for tokens in lengths:
    ours, library = (found[f'{w}:{tokens}']['bytes'] for w in ('t5', 'library'))
    what = f'v5e scratch, T5 bias, 4 x {tokens:,} x 64, over library flash'
    note = f'{ours / 1e6:.0f} MB against {library / 1e6:.0f} MB without a bias'
    figures.append(Figure(what, ours / library, bar=1.1, note=note))
  return figures
