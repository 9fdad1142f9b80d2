"""What every positional method must keep, whichever it is.

A new file in rope_jax/positions is picked up by name, with the specs that its
own test file, tests/positions/NAME_test.py, lists as EXAMPLES. A method from
anywhere else is held to the same laws by

  python -m pytest tests/contract_test.py --spec='{"name": "pkg.module:Class"}'
"""

import ast
import functools
import json
import pathlib
import pickle

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from rope_jax import attention, model, positions
from rope_jax.attention import blocks

HERE = pathlib.Path(__file__).parent


def examples(name):
  """The specs that a method's own test file gives to this one."""
  path = HERE / 'positions' / f'{name}_test.py'
  if not path.exists():
    return [{}]
  for node in ast.parse(path.read_text(encoding='utf-8')).body:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == (
      'EXAMPLES'
    ):
      return ast.literal_eval(node.value)
  return [{}]


SPECS = {
  f'{name}{"" if at == 0 else f"-{at}"}': {'name': name, **fields}
  for name in positions.names()
  for at, fields in enumerate(examples(name))
}
ROPE = {'name': 'rope', 'theta': 1e4}
COMPOSED = {
  'half_rope+alibi': [{**ROPE, 'fraction': 0.5}, {'name': 'alibi'}],
  'sinusoidal+t5': [{'name': 'sinusoidal'}, {'name': 't5'}],
  'learned+t5': [{'name': 'learned', 'train_len': 128}, {'name': 't5'}],
}
N, H, D = 4, 8, 32


def build(name):
  if name in COMPOSED:
    return positions.build({'name': 'compose', 'parts': COMPOSED[name]})
  return positions.build(SPECS[name])


def pytest_generate_tests(metafunc):
  if 'method' not in metafunc.fixturenames:
    return
  given = metafunc.config.getoption('--spec')
  if given:
    built = [positions.build(json.loads(given))]
    metafunc.parametrize('method', built, ids=['given'])
  else:
    names = [*SPECS, *COMPOSED]
    metafunc.parametrize('method', [build(n) for n in names], ids=names)


@functools.cache
def params_of(method):
  drawn = method.init(jax.random.key(1), heads=N, head_dim=H, model_dim=D)
  return jax.tree.map(lambda x: 3 * x, drawn)  # Large enough to be seen.


def run(method, params, x, pos, length=None, how='naive', **others):
  """Every hook once: the input, then attention with grouped heads."""
  x = method.embed(params, x, pos)
  b, t, _ = x.shape
  return attention.attend(
    method,
    params,
    x.reshape(b, t, N, H),
    x[..., : D // 2].reshape(b, t, N // 2, H),
    x[..., D // 2 :].reshape(b, t, N // 2, H),
    q_pos_bt=pos,
    k_pos_bs=pos,
    q_length_bt=length,
    k_length_bs=length,
    how=how,
    **others,
  )


jitted = hooks.jit(run, static_argnums=(0,), static_argnames=('how',))


def tokens(t=6, b=8):
  """Inputs [b, t, d] at rising, gappy positions that differ by row."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(b, t, D)).astype(np.float32)
  gaps = rng.integers(1, 8 if t < 10 else 2, (b, t))
  return x, (np.cumsum(gaps, axis=1) - gaps[:, :1]).astype(np.int32)


@pytest.mark.parametrize('name', positions.names())
def test_every_method_has_a_test_file_with_examples(name):
  path = HERE / 'positions' / f'{name}_test.py'
  assert path.exists(), f'write {path}: the method against its oracle.'
  assert 'EXAMPLES = [' in path.read_text(encoding='utf-8'), (
    f'{path}: give EXAMPLES, a list of the fields of specs small enough for '
    'rows of 75 tokens, as a literal.'
  )


def test_a_spec_builds_the_same_method_again(method):
  assert positions.build(positions.spec(method)) == method
  assert positions.build(dict(positions.spec(method))) == method


def test_equal_by_value_hashable_readable_frozen_and_pickled(method):
  again = positions.build(positions.spec(method))
  assert again is not method
  assert (again == method, hash(again)) == (True, hash(method))
  assert repr(again) == repr(method)
  assert pickle.loads(pickle.dumps(method)) == method
  field = next(iter(method.__dataclass_fields__), 'anything')
  with pytest.raises(AttributeError):
    setattr(method, field, 1)


def test_the_length_counts_for_those_alone_that_say_so(method):
  x, _ = tokens()
  short, long = (np.full((8, 1), n, np.int32) for n in (8, 10**6))
  at = (np.arange(6, dtype=np.int32) * 7)[None].repeat(8, 0)
  params = params_of(method)
  got, other = (jitted(method, params, x, at, n) for n in (short, long))
  assert np.array_equal(got, other) != method.by_length


def test_an_equal_instance_does_not_trace_again(method):
  traces = []

  @functools.partial(jax.jit, static_argnums=0)
  def program(method, x):
    traces.append(method)
    return x

  for _ in range(2):
    program(positions.build(positions.spec(method)), 0)
  assert len(traces) == 1


def test_shapes_and_dtypes(method):
  x, pos = tokens()
  params = params_of(method)
  for leaf in jax.tree.leaves(params):
    assert leaf.dtype == jnp.float32
  for dtype in (jnp.float32, jnp.bfloat16):
    out = jax.eval_shape(
      functools.partial(run, method, params), x.astype(dtype), pos
    )
    assert (out.shape, out.dtype) == ((8, 6, N, H), dtype)
  half = jnp.zeros((8, 6, N, H), jnp.bfloat16)
  places = positions.Places(pos, pos, pos, pos, np.arange(N), N)
  bias = jax.eval_shape(method.bias, params, half, half, places)
  assert bias is None or bias.dtype == jnp.float32


def test_jit_eager_vmap_shard_map_and_pmap_agree(method):
  x, pos = tokens()
  params = params_of(method)
  want = jitted(method, params, x, pos)
  assert np.isfinite(want).all()
  go = functools.partial(run, method, params)
  np.testing.assert_allclose(go(x, pos), want, atol=2e-6)
  mapped = hooks.jit(jax.vmap(lambda x, p: go(x[None], p[None])[0]))
  np.testing.assert_allclose(mapped(x, pos), want, atol=2e-6)
  mesh = jax.make_mesh(
    (8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,)
  )
  data, whole = PartitionSpec('data'), PartitionSpec()
  sharded = hooks.jit(
    jax.shard_map(
      functools.partial(run, method),
      mesh=mesh,
      in_specs=(whole, data, data),
      out_specs=data,
    )
  )
  np.testing.assert_allclose(sharded(params, x, pos), want, atol=2e-6)
  by_device = jax.pmap(functools.partial(run, method), in_axes=(None, 0, 0))
  got = by_device(params, x[:, None], pos[:, None])[:, 0]
  np.testing.assert_allclose(got, want, atol=2e-6)


def check_blockwise(method, x, pos, schedule, **others):
  """Values and gradients by blocks are those of everything at once."""
  params = params_of(method)
  b, t = pos.shape
  direction = np.random.default_rng(1).normal(size=(b, t, N, H))

  @functools.partial(hooks.jit, static_argnums=2)
  def both(params, x, how):
    def loss(params, x):
      out = run(method, params, x, pos, how=how, schedule=schedule, **others)
      return (out * direction).sum(), out

    return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, x)

  (_, want), want_grads = both(params, x, 'naive')
  (_, got), got_grads = both(params, x, 'blockwise')
  np.testing.assert_allclose(got, want, atol=3e-6)
  for a, b in zip(
    jax.tree.leaves(got_grads), jax.tree.leaves(want_grads), strict=True
  ):
    assert np.isfinite(b).all()
    np.testing.assert_allclose(a, b, atol=2e-5 * max(1, np.abs(b).max()))
  for leaf in jax.tree.leaves(want_grads[0]):
    assert np.abs(leaf).max() > 1e-5  # The method's own parameters do learn.


def test_blockwise_equals_naive_in_values_and_gradients(method):
  """Three blocks a side, the last one part-filled; positions count up."""
  x, pos = tokens(t=21, b=1)
  check_blockwise(method, x, pos, blocks.Schedule(q_block=8, k_block=8))


@pytest.mark.parametrize(
  'name',
  ['deberta', 'fire', 'half_rope+alibi', 'self_extend', 'shaw', 'ssmax', 't5'],
)
@pytest.mark.parametrize('heads', [1, None])
def test_blockwise_equals_naive_in_packed_rows_with_gaps(name, heads):
  """Two documents a row, positions with gaps, a window, blocks that differ."""
  x, _ = tokens(t=30, b=2)
  rng = np.random.default_rng(5)
  gaps = np.concatenate([np.zeros((2, 1), int), rng.integers(1, 4, (2, 29))], 1)
  segment = (np.arange(30)[None] >= np.array([[11], [19]])).astype(np.int32)
  pos = np.cumsum(gaps, axis=1).astype(np.int32)
  pos = pos - np.where(segment, pos[[0, 1], [11, 19]][:, None], 0)
  mask = attention.Mask(q_segment_bt=segment, k_segment_bs=segment, window=13)
  schedule = blocks.Schedule(q_block=8, k_block=12, heads=heads, multiple=4)
  check_blockwise(build(name), x, pos.astype(np.int32), schedule, mask=mask)


def test_blockwise_equals_naive_without_causality():
  """Gradients too; keys that are not there, blocks that differ."""
  x, pos = tokens(t=30, b=2)
  mask = attention.Mask(causal=False, k_count_b=np.array([30, 11]))
  schedule = blocks.Schedule(q_block=8, k_block=12)
  check_blockwise(build('t5'), x, pos, schedule, mask=mask)


def test_scores_ignore_a_shift_exactly_if_the_method_says_so(method):
  x, pos = tokens()
  params = params_of(method)
  here = jitted(method, params, x, pos)
  there = jitted(method, params, x, pos + 53)
  moved = np.abs(here - there).max()
  assert moved < 5e-5 if method.relative else moved > 1e-2


def test_any_tile_of_rows_and_heads_is_that_part_of_the_whole(method):
  """Rows 2 and 5 of heads 2 and 3, placed by their order among the keys."""
  x, pos = tokens()
  params, rows, heads = params_of(method), np.array([2, 5]), np.array([2, 3])
  want = jitted(method, params, x, pos)[:, rows][:, :, heads]

  @hooks.jit
  def tile(params, x):
    y = method.embed(params, x, pos)
    length = pos.max(axis=1, keepdims=True) + 1
    return attention.attend(
      method,
      params,
      y.reshape(8, 6, N, H)[:, rows][:, :, heads],
      y[..., H : 2 * H].reshape(8, 6, 1, H),
      y[..., -H:].reshape(8, 6, 1, H),
      q_pos_bt=pos[:, rows],
      k_pos_bs=pos,
      q_length_bt=length,
      k_length_bs=length,
      mask=attention.Mask(q_order_bt=rows[None].astype(np.int32)),
      heads=heads,
      total_heads=N,
    )

  np.testing.assert_allclose(tile(params, x), want, atol=2e-6)


def test_bfloat16_far_away_is_near_float32(method):
  """At position 100,000, where a phase in bfloat16 would be hundreds of
  radians off; a relative method must give what it gives near zero."""
  if method.reach is not None:
    pytest.skip(f'defined below position {method.reach} alone')
  x, pos = tokens()
  x = np.asarray(x.astype(jnp.bfloat16), np.float32)
  params = params_of(method)
  length = pos.max(axis=1, keepdims=True) + 1
  far = pos + 100_000
  want = jitted(method, params, x, pos if method.relative else far, length)
  got = jitted(method, params, x.astype(jnp.bfloat16), far, length)
  assert got.dtype == jnp.bfloat16
  got = np.asarray(got, np.float32)
  error = np.sqrt(np.mean((got - want) ** 2) / np.mean(np.square(want)))
  assert error < 0.02


def test_another_hyperparameter_is_another_method_in_either_order(method):
  """A cache keyed on too little would give the first one's numbers twice."""
  fields = {
    k: v
    for k, v in positions.spec(method).items()
    if isinstance(v, (int, float)) and not isinstance(v, bool)
  }
  x, pos = tokens(t=20, b=1)

  def seen(method):
    key = jax.random.key(3)
    drawn = np.asarray(method.train_positions(key, pos))
    params = method.init(key, heads=N, head_dim=H, model_dim=D)
    reach = np.asarray(method.reach or 0)
    return drawn, reach, np.asarray(run(method, params, x, pos))

  here = seen(method)
  found = not fields
  for name, value in fields.items():
    for factor in (2, 0.5):
      try:
        other = positions.build(
          {**positions.spec(method), name: type(value)(value * factor)}
        )
        there = seen(other)
      except ValueError:
        continue
      again = seen(method)
      assert other != method
      for a, b in zip(here, again, strict=True):
        np.testing.assert_array_equal(a, b)
      found = any(
        not np.array_equal(a, b) for a, b in zip(here, there, strict=True)
      )
      if found:
        return
  assert found, f'no field of {method} changes anything'


def test_training_positions_are_integers_that_rise(method):
  pos = np.concatenate([np.arange(9), np.arange(7)])[None].astype(np.int32)
  pos = np.repeat(pos, 4, axis=0)
  draw = jax.jit(method.train_positions)
  got = np.asarray(draw(jax.random.key(5), pos))
  assert (got.dtype, got.shape) == (np.int32, pos.shape)
  np.testing.assert_array_equal(got, draw(jax.random.key(5), pos))
  for document in (got[:, :9], got[:, 9:]):
    assert (np.diff(document, axis=1) > 0).all()
    assert (document >= 0).all()
  if positions.overrides(method, 'train_positions'):
    assert (got != draw(jax.random.key(6), pos)).any()
  else:
    np.testing.assert_array_equal(got, pos)


# Through a whole decoder.

CONFIG = model.ModelConfig(
  vocab=40,
  layers=1,
  width=D,
  heads=N,
  kv_heads=2,
  mlp_dim=16,
  tie_embeddings=False,
)


def forward(method, weights, ids, pos, segment=None):
  return model.forward(CONFIG, (method,), weights, ids, pos, segment)


logits = hooks.jit(forward, static_argnums=0)


@functools.cache
def weights_of(method):
  rng = np.random.default_rng(2)
  shapes = jax.eval_shape(
    lambda: model.init_weights(jax.random.key(2), CONFIG, (method,))
  )
  return jax.tree.map(
    lambda x: (rng.normal(size=x.shape) * 0.2).astype(np.float32), shapes
  )


def test_no_output_sees_a_later_input_by_gradients(method):
  """Every id occurs once, so the rows of the embedding are the inputs."""
  ids = np.random.default_rng(3).permutation(40)[None, :20]
  pos = np.arange(20, dtype=np.int32)[None]

  @hooks.jit
  def gradients(weights, i):
    def output(embed):
      out = forward(method, {**weights, 'embed': embed}, ids, pos)
      return (out[0, i] * np.arange(40)).sum()

    return jax.grad(output)(weights['embed'])

  seen = np.zeros((1, 20, 20), bool)
  for view in method.views(hooks.places(pos, pos, heads=N, length=20)):
    everywhere = np.ones((1, 20, 20), bool)
    seen |= everywhere if view.region is None else view.region(pos, pos)
  for i in (0, 7, 19):
    got = np.abs(gradients(weights_of(method), i)[ids[0]]).max(axis=-1)
    np.testing.assert_array_equal(got[i + 1 :], 0)
    np.testing.assert_array_equal(got[: i + 1] > 0, seen[0, i, : i + 1])


LENGTHS = (3, 21, 12)  # dynamic NTK's train_len of 16 lies between them.


def ragged():
  """Three documents, each in a padded row: ids and positions [3, 21]."""
  rng = np.random.default_rng(4)
  ids, pos = np.zeros((3, 21), np.int32), np.zeros((3, 21), np.int32)
  for row, n in enumerate(LENGTHS):
    ids[row, :n], pos[row, :n] = rng.integers(0, 40, n), np.arange(n)
  return ids, pos


def test_documents_packed_in_a_row_equal_documents_alone(method):
  ids, pos = ragged()
  want = logits(method, weights_of(method), ids, pos)
  packed = logits(
    method,
    weights_of(method),
    np.concatenate([ids[row, :n] for row, n in enumerate(LENGTHS)])[None],
    np.concatenate([pos[row, :n] for row, n in enumerate(LENGTHS)])[None],
    np.repeat([5, 1, 9], LENGTHS)[None].astype(np.int32),
  )
  start = 0
  for row, n in enumerate(LENGTHS):
    got = packed[0, start : start + n]
    np.testing.assert_allclose(got, want[row, :n], atol=2e-5)
    start += n


def decode(method, weights, cache, ids, new, length=None):
  return model.extend(
    CONFIG, (method,), weights, cache, ids, new_b=new, length_b=length
  )


decoded = hooks.jit(decode, static_argnums=0)


def test_decoding_a_ragged_batch_equals_the_full_forward_pass(method):
  """A prefill, a chunk, then one token at a time, with un-rotated keys, each
  sequence at its own count and context length."""
  ids, pos = ragged()
  weights = weights_of(method)
  want = logits(method, weights, ids, pos)
  lengths, done = np.array(LENGTHS), np.zeros(3, int)
  cache = model.empty_cache(CONFIG, 3, 24)
  while (done < lengths).any():
    size = 5 if done.max() < 10 else 1
    new = np.minimum(size, lengths - done)
    chunk = np.zeros((3, size), np.int32)
    for row, n in enumerate(new):
      chunk[row, :n] = ids[row, done[row] : done[row] + n]
    got, cache = decoded(method, weights, cache, chunk, new, lengths)
    for row, n in enumerate(new):
      np.testing.assert_allclose(
        got[row, :n], want[row, done[row] : done[row] + n], atol=2e-5
      )
    done = done + new
    np.testing.assert_array_equal(cache.count_b, done)


def test_a_step_at_length_l_is_the_last_row_of_a_pass_over_l_tokens(method):
  """What decoding means for a method that depends on the length: all that the
  cache holds is read as at the length of now, whatever lies beyond it."""
  x, pos = tokens(t=21)
  params = params_of(method)
  counts = np.array([1, 3, 10, 16, 17, 18, 20, 21])
  length = pos[np.arange(8), counts - 1][:, None] + 1
  whole = jitted(method, params, x, pos, length)

  @hooks.jit
  def step(params, x):
    y = method.embed(params, x, pos)
    y = jnp.where(np.arange(21)[None, :, None] < counts[:, None, None], y, 99)
    last = (counts - 1)[:, None].astype(np.int32)
    return attention.attend(
      method,
      params,
      jnp.take_along_axis(y, last[:, :, None], 1).reshape(8, 1, N, H),
      y[..., : D // 2].reshape(8, 21, N // 2, H),
      y[..., D // 2 :].reshape(8, 21, N // 2, H),
      q_pos_bt=np.take_along_axis(pos, last, 1),
      k_pos_bs=pos,
      mask=attention.Mask(q_order_bt=last, k_count_b=counts),
    )

  got = step(params, x)[:, 0]
  np.testing.assert_allclose(got, whole[np.arange(8), counts - 1], atol=3e-6)
