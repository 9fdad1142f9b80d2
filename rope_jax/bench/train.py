"""The suite `train`: a training step against transformers' Llama."""

from __future__ import annotations

from rope_jax.bench.duel import Worker, check_peers, duel, peak
from rope_jax.bench.figures import Figure
from rope_jax.bench.timing import Say

SHAPE = {
  'layers': 6,
  'width': 256,
  'heads': 4,
  'mlp_dim': 683,
  'vocab': 256,
  'rows': 8,
  'tokens': 512,
}


def work(shape: dict[str, int]) -> tuple[float, float]:
  """FLOPs of a step in (products with weights, attention), without what is
  computed again: 2 a multiplication and addition, backward twice forward."""
  width, mlp, tokens = shape['width'], shape['mlp_dim'], shape['tokens']
  count = shape['rows'] * tokens
  weights = shape['layers'] * (4 * width**2 + 3 * width * mlp)
  weights += width * shape['vocab']
  causal = 2 * tokens * width * shape['layers']  # Two products, half of T^2.
  return 6.0 * weights * count, 3.0 * causal * count


def run(
  say: Say, shape: dict[str, int] | None = None, rounds: int = 11
) -> list[Figure]:
  """Measures everything; about 4 minutes on two cores."""
  check_peers()
  shape = shape or SHAPE
  what = (
    f'train step, {shape["layers"]} layers of width {shape["width"]}, '
    f'{shape["rows"]} x {shape["tokens"]}: tokens/s over Llama'
  )
  say(f'{what} ...')
  job = {'job': 'training', **shape}
  count = shape['rows'] * shape['tokens']
  with Worker('ours') as ours, Worker('peers') as peers:
    ways = {'rope_jax': (ours, job), 'transformers': (peers, job)}
    our, peer = duel(what, ways, rounds)
    say('the fastest matrix product, and where a step spends its time ...')
    fastest = peak(ours, rounds)
    kinds = ours.run({'job': 'kinds', **shape})['kinds']
  figures = [
    Figure(
      what, peer.ratio, bar=1.2, most=False, low=peer.low, high=peer.high,
      note=f'{count / our.seconds:,.0f} against {count / peer.seconds:,.0f}',
    ),
    Figure(
      'share of the fastest matrix product in that step',
      sum(work(shape)) / fastest / our.seconds,
      note=f'{sum(work(shape)) / 1e9:.0f} GFLOP at {fastest / 1e9:.0f} GFLOP/s '
      f'are {sum(work(shape)) / fastest:.2f} s of {our.seconds:.2f} s',
    ),
  ]  # fmt: skip
  return figures + losses(kinds, shape, fastest)


def losses(
  kinds: dict[str, float], shape: dict[str, int], fastest: float
) -> list[Figure]:
  """The three kinds of work that take the most beyond their products at peak,
  as shares of the step."""
  products, attention = work(shape)
  ideal = {'matrix products': products, 'attention tiles': attention}
  beyond = {
    name: seconds - ideal.get(name, 0.0) / fastest
    for name, seconds in kinds.items()
  }
  total = sum(kinds.values())
  largest = sorted(beyond, key=lambda name: -beyond[name])[:3]
  return [
    Figure(
      f'loss {at}: {name}', beyond[name] / total,
      note=f'{kinds[name]:.2f} s of {total:.2f} s profiled, '
      f'{kinds[name] - beyond[name]:.2f} s at peak',
    )
    for at, name in enumerate(largest, 1)
  ]  # fmt: skip
