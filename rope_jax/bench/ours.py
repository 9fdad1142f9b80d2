"""Jobs of the bench by rope_jax; every core is a device.

Each gives (run, check): `run()` does the job once and waits for it, `check()`
says in a few numbers what it makes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from rope_jax import attend, evaluate, interop, positions, runtime
from rope_jax import config as config_lib
from rope_jax import mesh as meshes
from rope_jax import model as models
from rope_jax.bench import draws, memory, profile
from rope_jax.train import program

Job = tuple[Callable[[], Any], Callable[[], list[float]]]


def setup(frees: bool = False, shares: bool = False) -> None:
  """Called once, before the first job: what `runtime.setup` does to speed.

  Args:
    frees: whether memory goes back to the system when it is freed, so that what
      a job takes can be seen.
    shares: whether threads have it in common, as in a long evaluation; with
      neither, all that was freed is kept, as in a training.
  """
  runtime.use_cpu_alone()
  runtime.use_cpu_cores()
  if frees:
    # From malloc.h: arrays above 64 KB by mmap, whatever was freed before.
    ctypes.CDLL(None).mallopt(-3, 2**16)
  elif shares:
    runtime.one_arena()
  else:
    runtime.keep_memory()


def _job(run: Callable[..., Any], given: Any, check: Callable[..., Any]) -> Job:
  """A jitted function on arrays as a job."""
  return (
    lambda: jax.block_until_ready(run(*given)),
    lambda: [float(x) for x in check(run(*given))],
  )


def _attention(heads: int, tokens: int, bias: str, gradient: bool):
  """(function of the arrays, arrays): heads are split over the devices."""
  spec = {'name': 'nope' if bias == 'none' else bias}
  method = positions.build(spec)
  params = {'table': draws.table(heads)} if bias == 't5' else {}
  mesh = jax.make_mesh(
    (len(jax.devices()),), ('tensor',), axis_types=(AxisType.Auto,)
  )
  split = NamedSharding(mesh, P(None, None, 'tensor'))
  arrays = [jax.device_put(x, split) for x in draws.attention(heads, tokens)]
  pos = jnp.arange(tokens, dtype=jnp.int32)[None]

  def values(params, q, k, v):
    return attend(
      method, params, q, k, v, q_pos_bt=pos, k_pos_bs=pos, mesh=mesh,
      how='blockwise',
    )  # fmt: skip

  def go(params, q, k, v, d):
    if not gradient:
      return values(params, q, k, v), None
    out, pull = jax.vjp(values, params, q, k, v)
    return out, pull(d)

  return jax.jit(go), (params, *arrays)


def attention(heads: int, tokens: int, bias: str, gradient: bool) -> Job:
  """Causal attention; bias 'none', 'alibi' or 't5' with its gradient."""
  run, given = _attention(heads, tokens, bias, gradient)
  d = given[-1]

  def check(made):
    out, grads = made
    found = [(out * d).sum()]
    if grads is not None:
      found += [(g * d).sum() for g in grads[1:]]
      found += [jnp.abs(g).sum() for g in jax.tree.leaves(grads[0])]
    return found

  return _job(run, given, check)


def attention_memory(heads: int, tokens: int, bias: str) -> Job:
  """As `attention` with gradients; the run also says 'bytes', which it took
  beyond what was there, and 'planned', what the compiled program allocates."""
  run, given = _attention(heads, tokens, bias, True)
  run = run.lower(*given).compile()
  account: Any = run.memory_analysis()
  planned = account.temp_size_in_bytes + account.output_size_in_bytes

  def measured():
    took = memory.extra(lambda: jax.block_until_ready(run(*given)))
    return {'bytes': took, 'planned': planned}

  return measured, lambda: [0.0]


def rotation(rows: int, tokens: int, heads: int, copy: bool) -> Job:
  """RoPE on q and k, with its phases; or the same arrays, copied."""
  rope = positions.build({'name': 'rope', 'theta': 1e4})
  mesh = jax.make_mesh(
    (len(jax.devices()),), ('data',), axis_types=(AxisType.Auto,)
  )
  split = NamedSharding(mesh, P('data'))
  shape = (rows, tokens, heads, draws.WIDTH)
  rng = np.random.default_rng(0)
  q, k = (
    jax.device_put(rng.standard_normal(shape, np.float32), split)
    for _ in range(2)
  )
  pos = jnp.arange(tokens, dtype=jnp.int32)[None]
  places = positions.Places(
    q_pos_bt=pos,
    k_pos_bs=pos,
    q_length_bt=jnp.full((1, 1), tokens),
    k_length_bs=jnp.full((1, 1), tokens),
    heads=np.arange(heads, dtype=np.int32),
    total_heads=heads,
  )

  def go(q, k):
    return (-q, -k) if copy else rope.rotate({}, q, k, places)

  return _job(jax.jit(go), (q, k), lambda made: [(x**2).sum() for x in made])


def matmul(rows: int, inner: int, columns: int) -> Job:
  """A product [rows, inner] x [inner, columns], rows split over devices."""
  mesh = jax.make_mesh(
    (len(jax.devices()),), ('data',), axis_types=(AxisType.Auto,)
  )
  rng = np.random.default_rng(0)
  x = rng.standard_normal((rows, inner), np.float32)
  w = rng.standard_normal((inner, columns), np.float32)
  given = (
    jax.device_put(x, NamedSharding(mesh, P('data'))),
    jax.device_put(w, NamedSharding(mesh, P())),
  )
  return _job(jax.jit(jnp.matmul), given, lambda made: [made.sum()])


class Training:
  """A training step as `experiments.train` runs it, on tokens at hand."""

  def __init__(self, layers, width, heads, mlp_dim, vocab, rows, tokens):
    config = config_lib.default()
    config.model.update(
      layers=layers, width=width, heads=heads, mlp_dim=mlp_dim, scan=False
    )
    config.position = {'name': 'rope', 'theta': 1e4}
    config.train.update(train_len=tokens, batch=rows, steps=1000, warmup=10)
    shape = config_lib.model_config(config, vocab)
    layout = config_lib.layout(config)
    mesh = meshes.make_mesh(config.mesh, rows)
    made = program.make_program(config, shape, layout, mesh)
    self._ids, self._tokens = draws.batch(rows, tokens, vocab), tokens
    self.state = made.init()
    self.batch_of = made.place(self, 0)
    self.compiled = made.step.lower(self.state, self.batch_of).compile()

  def batch(self, step: int, process: int = 0, processes: int = 1):
    """The one batch that there is."""
    del step, process, processes
    inputs, targets = self._ids[:, :-1], self._ids[:, 1:]
    at = np.arange(self._tokens, dtype=np.int32)
    return {
      'tokens': inputs,
      'targets': targets,
      'position': np.broadcast_to(at, inputs.shape),
      'segment': np.ones(inputs.shape, np.int32),
      'weight': np.ones(inputs.shape, np.float32),
    }

  def step(self) -> None:
    """One step, waited for."""
    self.state, out = self.compiled(self.state, self.batch_of)
    jax.block_until_ready(out)


def training(**shape: int) -> Job:
  """A training step; its check is the number of weights."""
  made = Training(**shape)
  weights = sum(x.size for x in jax.tree.leaves(made.state.weights))
  return made.step, lambda: [float(weights)]


def kinds(**shape: int) -> Job:
  """A training step's time by kind of work; the run says 'kinds'."""
  made = Training(**shape)
  program_text = made.compiled.as_text()
  return (
    lambda: {'kinds': profile.kinds(made.step, program_text)},
    lambda: [0.0],
  )


def _pretrained(path: str) -> tuple[Any, Any, Any]:
  """(shape, layout, weights) of a model, the tokens of whose texts will lie
  over all devices."""
  mesh = meshes.make_mesh({'data': 1, 'seq': -1}, rows=1)
  found = interop.load_pretrained(path, mesh=mesh)
  _, weights = models.split(found.model)
  return found.model.config, found.model.layout, weights


def reading_plan(path: str, tokens: int, cache_dtype: str) -> Job:
  """What reading a text will take: the run says 'planned', bytes over all
  devices, by the compiled program of a chunk, of which nothing is run."""
  shape, layout, weights = _pretrained(path)
  reader = evaluate.Reader(shape, weights, tokens, cache_dtype=cache_dtype)
  account: Any = reader.lowered(layout).compile().memory_analysis()
  planned = account.argument_size_in_bytes + account.output_size_in_bytes
  planned += account.temp_size_in_bytes - account.alias_size_in_bytes
  planned *= len(jax.devices())
  return lambda: {'planned': planned}, lambda: [0.0]


def reading_end(path: str, tokens: int, cache_dtype: str) -> Job:
  """The last chunk of a text, as if all before it had been read: the run says
  'peak', the most memory that the process has had."""
  shape, layout, weights = _pretrained(path)
  reader = evaluate.Reader(shape, weights, tokens, cache_dtype=cache_dtype)
  reader.rehearse(layout)
  peak = memory.peak()
  return lambda: {'peak': peak}, lambda: [0.0]


def reading(path: str, tokens: int, warm: int) -> Job:
  """The losses of a text under a pretrained model, read by chunks.

  The first run reads `warm` tokens alone, and its mean loss is the check; the
  run says 'peak', the most memory that the process has had.
  """
  shape, layout, weights = _pretrained(path)
  reader = evaluate.Reader(shape, weights, tokens)
  ids = draws.batch(1, tokens, shape.vocab)
  losses: list[np.ndarray] = []

  def run():
    count = tokens if losses else warm
    losses.append(reader.read(layout, ids[:, : count + 1]))
    return {'peak': memory.peak()}

  return run, lambda: [float(losses[0].mean())]
