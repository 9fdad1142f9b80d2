"""Texts read in chunks, on one device or several, against one whole pass."""

import dataclasses
import functools

import contract_test as laws
import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import model, positions
from rope_jax.attention import Mask, attend, blocks
from rope_jax.model import stream

AUTO = jax.sharding.AxisType.Auto
T, CHUNK = 44, 8
ROPE = {'name': 'rope', 'theta': 50.0}
LAYOUTS = {
  'rope': ROPE,
  'dynamic_ntk': {'name': 'dynamic_ntk', 'theta': 50.0, 'train_len': 8},
  'rerope, streaming': [
    {'name': 'rerope', 'theta': 50.0, 'window': 6},
    {'name': 'streaming', 'theta': 50.0, 'sinks': 2, 'window': 9},
  ],
  'learned to the last token': {'name': 'learned', 'train_len': T},
  'window + log_n, alibi': [
    {
      'name': 'compose',
      'parts': [
        ROPE,
        {'name': 'local', 'window': 7},
        {'name': 'log_n', 'train_len': 8},
      ],
    },
    {'name': 'alibi'},
  ],
}


def mesh_of(data, seq):
  return jax.make_mesh(
    (data, seq),
    ('data', 'seq'),
    axis_types=(AUTO, AUTO),
    devices=jax.devices()[: data * seq],
  )


def build(layout, **fields):
  config = model.ModelConfig(
    vocab=40, layers=4, width=32, heads=4, kv_heads=2, mlp_dim=16, **fields
  )
  layout = positions.layout(LAYOUTS[layout])
  weights = model.init_weights(jax.random.key(0), config, layout)
  return config, layout, weights


def read(config, layout, weights, ids, mesh, dtype='', chunk=CHUNK):
  """The losses, chunk by chunk; and how often a chunk was compiled."""
  step = hooks.jit(
    functools.partial(model.stream_losses, config, layout, mesh=mesh)
  )
  count = ids.shape[1] - 1
  at = stream.empty_stream(
    config, len(ids), count, chunk=chunk, mesh=mesh, dtype=dtype
  )
  padded = np.pad(ids, [(0, 0), (0, at.size - count)])
  found = []
  for first in range(0, count, chunk):
    now = padded[:, first : first + chunk + 1]
    nll, at = step(weights, at, now[:, :-1], now[:, 1:], length=count)
    found.append(np.asarray(nll))
  assert step._cache_size() <= 2  # The first stream may lie otherwise.
  return np.concatenate(found, axis=1)[:, :count]


def whole(config, layout, weights, ids):
  run = hooks.jit(functools.partial(model.losses, config, layout))
  return run(weights, ids[:, :-1], ids[:, 1:])


IDS = np.random.default_rng(0).integers(0, 40, (2, T + 1)).astype(np.int32)


@functools.cache
def built(name):
  """A model, and what one whole pass of it gives."""
  made = build(name, attention='blockwise')
  return made, whole(*made, IDS)


@pytest.mark.parametrize('name', LAYOUTS)
@pytest.mark.parametrize('sizes', [(1, 1), (2, 4)])
def test_chunks_equal_one_whole_pass(name, sizes):
  made, want = built(name)
  got = read(*made, IDS, mesh_of(*sizes))
  np.testing.assert_allclose(got, want, atol=3e-5)


def test_layers_written_out_and_every_part_of_a_block():
  config, layout, weights = build(
    'rope', scan=False, norm='layer', parallel=True, qkv_bias=True,
    score_cap=3.0, logit_cap=2.0, mlp='gelu', mlp_bias=True, qk_norm=True,
  )  # fmt: skip
  want = whole(config, layout, weights, IDS)
  got = read(config, layout, weights, IDS, mesh_of(1, 2), chunk=6)
  np.testing.assert_allclose(got, want, atol=3e-5)


def test_a_cache_in_bfloat16_is_near_and_half_as_large():
  config, layout, weights = build('rope')
  want = whole(config, layout, weights, IDS)
  got = read(config, layout, weights, IDS, mesh_of(1, 1), dtype='bfloat16')
  assert 0 < np.abs(got - want).max() < 0.05
  sizes = [
    stream.empty_stream(
      config, 1, 16, chunk=8, mesh=mesh_of(1, 1), dtype=dtype
    ).k_lbskh.nbytes
    for dtype in ('', 'bfloat16')
  ]
  assert sizes[0] == 2 * sizes[1]


@pytest.mark.parametrize(
  'name', ['rope', 'half_rope+alibi', 'self_extend', 'ssmax', 't5', 'shaw']
)
def test_queries_over_keys_on_several_devices(name):
  """Fewer queries than keys, some of which are not there, in any order."""
  method = laws.build(name)
  params = laws.params_of(method)
  rng = np.random.default_rng(1)
  q, k, v = (
    rng.normal(size=(2, t, n, laws.H)).astype(np.float32)
    for t, n in ((8, 4), (16, 2), (16, 2))
  )
  order = rng.permutation(16).astype(np.int32)[None]
  k_pos = np.repeat(order, 2, axis=0)
  q_pos = np.arange(5, 13, dtype=np.int32)[None].repeat(2, 0)
  mask = Mask(
    q_order_bt=q_pos,
    k_order_bs=np.where(order < 13, order, np.iinfo(np.int32).max),
  )
  length = np.full((2, 1), 40, np.int32)

  @functools.partial(hooks.jit, static_argnums=0)
  def go(how):
    return attend(
      method, params, q, k, v, q_pos_bt=q_pos, k_pos_bs=k_pos, mask=mask,
      q_length_bt=length, k_length_bs=length, how=how, mesh=mesh_of(2, 4),
      schedule=blocks.Schedule(q_block=4, k_block=4),
    )  # fmt: skip

  np.testing.assert_allclose(go('spread'), go('naive'), atol=3e-6)


def test_what_cannot_be_shared_says_so():
  config, layout, weights = build('rope')
  with pytest.raises(ValueError, match=r'chunk=7 .*multiple of the 4 devices'):
    stream.empty_stream(config, 1, 16, chunk=7, mesh=mesh_of(1, 4))
  at = stream.empty_stream(config, 1, 16, chunk=8, mesh=mesh_of(1, 1))
  with pytest.raises(ValueError, match='reads 8 tokens at a time; pad'):
    model.stream_losses(
      config, layout, weights, at, IDS[:1, :4], IDS[:1, 1:5], length=16
    )
  x, pos = jnp.ones((1, 6, 2, 4)), np.arange(6)[None]
  rope = positions.build(ROPE)
  for mesh, told in ((None, 'needs a mesh'), (mesh_of(1, 4), 'multiples')):
    with pytest.raises(ValueError, match=told):
      attend(
        rope, {}, x, x, x, q_pos_bt=pos, k_pos_bs=pos, how='spread', mesh=mesh
      )


@pytest.mark.parametrize('axes', [('data', 'seq'), ('data', 'fsdp')])
def test_rows_that_the_mesh_does_not_divide(axes):
  config = model.ModelConfig(vocab=40, layers=1, width=8, heads=1)
  mesh = jax.make_mesh(
    (2, 2), axes, axis_types=(AUTO, AUTO), devices=jax.devices()[:4]
  )
  ways = 4 if 'fsdp' in axes else 2
  told = rf"batch={ways + 1} must be a multiple of the {ways} devices of .*'fs"
  with pytest.raises(ValueError, match=told):
    stream.empty_stream(config, ways + 1, 16, chunk=8, mesh=mesh)
  at = stream.empty_stream(config, ways, 16, chunk=8, mesh=mesh)
  rows = {shard.data.shape[1] for shard in at.k_lbskh.addressable_shards}
  assert rows == {1}


def test_a_chunk_for_which_there_is_no_room(monkeypatch):
  config, layout, weights = build('rope')
  at = stream.empty_stream(config, 1, 9, chunk=8, mesh=mesh_of(1, 1))
  go = functools.partial(model.stream_losses, config, layout, length=24)
  step, ids = hooks.jit(go), (IDS[:1, :8], IDS[:1, 1:9])
  found = []
  for _ in range(3):  # Room for 9 is room for two chunks.
    nll, at = step(weights, at, *ids)
    found.append(np.asarray(nll))
  assert np.isfinite(found[:2]).all()
  assert np.isnan(found[2]).all()
  told = '24 tokens have been read of a stream with room for 16, and 8 more do'
  with pytest.raises(ValueError, match=told):
    go(weights, at, *ids)
  full = dataclasses.replace(at, count=jnp.int32(9))
  with pytest.raises(ValueError, match='9 tokens have been read'):
    go(weights, full, *ids)
  again, at = step(weights, at.rewound(), *ids)
  np.testing.assert_array_equal(again, found[0])
  # The last that fits is computed, out of jit too.
  monkeypatch.setattr(stream, 'run_layers', lambda *_: pytest.fail('computed'))
  with pytest.raises(pytest.fail.Exception, match='computed'):
    go(weights, at, *ids)


def test_places_give_each_device_as_much_to_see():
  config, _, _ = build('rope')
  at = stream.empty_stream(config, 1, 16, chunk=8, mesh=mesh_of(1, 2))
  want = [0, 1, 6, 7, 8, 9, 14, 15, 2, 3, 4, 5, 10, 11, 12, 13]
  assert np.asarray(at.positions())[0].tolist() == want
  odd = dataclasses.replace(at, chunk=2)  # No two pieces for each device.
  want = [0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15]
  assert np.asarray(odd.positions())[0].tolist() == want
  one = dataclasses.replace(at, ways=1)
  assert np.asarray(one.positions())[0].tolist() == list(range(16))
