"""A Reader's chunks against whole passes; what it refuses; what it forgets."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from rope_jax import evaluate, model, positions
from rope_jax import mesh as meshes
from rope_jax.evaluate import streamed

ROPE = {'name': 'rope', 'theta': 50.0}
DYNAMIC = {'name': 'dynamic_ntk', 'theta': 50.0, 'train_len': 8}
RE = {'name': 'rerope', 'theta': 50.0, 'window': 4}
SLOW = {
  'name': 'log_temperature', 'slope': 0.9, 'train_len': 8, 'by': 'length',
}  # fmt: skip
SHAPE = model.ModelConfig(
  vocab=13, layers=1, width=16, heads=2, mlp_dim=16, scan=False,
  tie_embeddings=False,
)  # fmt: skip
SIZE = 40  # Of nearly all readers: methods that are alike share a program.


def layout_of(*parts):
  return (positions.build({'name': 'compose', 'parts': parts}),)


def drawn(layout, **sizes):
  """Weights that make much of every position, on a mesh of these sizes."""
  mesh = meshes.make_mesh(
    sizes, rows=8, devices=jax.devices()[: np.prod(list(sizes.values()))]
  )
  made = model.init_weights(jax.random.key(0), SHAPE, layout)
  made = jax.tree.map(lambda x: x if x.ndim == 1 else 3 * x, made)
  return jax.device_put(made, meshes.weight_shardings(mesh, made))


@pytest.fixture(scope='module')
def weights():
  return drawn(layout_of(ROPE), seq=2)


def windows(count, rows=1, seed=5):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 12, (rows, count + 1)).astype(np.int32)


@pytest.mark.parametrize(
  ('parts', 'lengths'),
  [
    ([DYNAMIC], (5, 13, 24, 40)),
    ([RE, DYNAMIC], (5, 13, 24, 40)),
    ([RE, SLOW], (13, 25)),
  ],
)
def test_methods_go_by_the_length_of_each_window(weights, parts, lengths):
  layout = layout_of(*parts)
  reader = evaluate.Reader(SHAPE, weights, SIZE, chunk=8)
  one = jax.device_get(weights)  # Of one device, without chunks.
  for length in lengths:
    told = []
    got = reader.read(layout, windows(length), tell=told.append)
    want = evaluate.windows_nll(SHAPE, layout, one, windows(length))
    np.testing.assert_allclose(got, want, atol=3e-5)
    assert told == [*range(8, length, 8), length]


def test_a_cache_of_another_dtype(weights):
  layout, seen = layout_of(ROPE), {}
  for dtype in ('', 'float32', 'bfloat16'):
    reader = evaluate.Reader(SHAPE, weights, SIZE, chunk=8, cache_dtype=dtype)
    seen[dtype] = reader.read(layout, windows(24))
    kept = 'uint16' if dtype == 'bfloat16' else 'float32'  # Its bits.
    assert reader._stream.k_lbskh.dtype == reader._stream.v_lbskh.dtype == kept
  np.testing.assert_array_equal(seen[''], seen['float32'])
  assert 1e-5 < np.abs(seen['bfloat16'] - seen['float32']).max() < 0.1
  # The dtype of the cache, not of the model, if one is given.
  half = dataclasses.replace(SHAPE, dtype='bfloat16')
  for dtype, kept in (('', 'uint16'), ('float32', 'float32')):
    reader = evaluate.Reader(half, weights, 24, chunk=8, cache_dtype=dtype)
    assert reader._empty().k_lbskh.dtype == kept


def test_rows_are_read_as_if_alone(weights):
  layout, ids = layout_of(ROPE), windows(13, rows=2)
  single = evaluate.Reader(SHAPE, weights, SIZE, chunk=8)
  want = np.concatenate([single.read(layout, row[None]) for row in ids])
  for found in (weights, drawn(layout, data=2, seq=2)):
    pair = evaluate.Reader(SHAPE, found, SIZE, rows=2, chunk=8)
    np.testing.assert_allclose(pair.read(layout, ids), want, atol=1e-5)
  odd = evaluate.Reader(SHAPE, found, SIZE, rows=3, chunk=8)
  with pytest.raises(ValueError, match='batch=3 must be a multiple of the 2'):
    odd.read(layout, windows(13, rows=3))


def test_chunks_are_as_large_as_the_window_unless_it_is_long(weights):
  sizes = {5: 6, 16: 16, 5000: 2048}  # A multiple of the 2 devices.
  for size, chunk in sizes.items():
    assert evaluate.Reader(SHAPE, weights, size).chunk == chunk
  assert evaluate.Reader(SHAPE, weights, 16, chunk=4).chunk == 4


def test_a_method_that_ends_before_the_window():
  layout = layout_of(ROPE, {'name': 'learned', 'train_len': 12})
  reader = evaluate.Reader(SHAPE, drawn(layout, seq=2), 16, chunk=8)
  assert np.isfinite(reader.read(layout, windows(12))).all()
  with pytest.raises(ValueError, match=r'defined for 12 positions, but .* 13'):
    reader.read(layout, windows(13))


@pytest.mark.parametrize(
  ('ids', 'told'),
  [
    (windows(8).astype(np.float32), r'windows are float32 \(1, 9\); give int'),
    (windows(8)[0], r'windows are int32 \(9,\); give integers \[1, tokens'),
    (windows(8)[..., None], r'windows are int32 \(1, 9, 1\); give integers'),
    (windows(8, rows=2), r'\(2, 9\); give integers \[1, .* rows as the reader'),
    (np.full((1, 9), 13), 'ids from 13 to 13, and the model .* 0 to 12: take'),
    (np.full((1, 9), -1), 'ids from -1 to -1, and the model .* 0 to 12: take'),
    (windows(17), 'a window of 17 tokens for a reader of up to 16'),
    (windows(0), 'a window of 0 tokens for a reader of up to 16'),
  ],
)  # fmt: skip
def test_windows_that_are_refused(weights, ids, told):
  reader = evaluate.Reader(SHAPE, weights, 16, chunk=8)
  with pytest.raises(ValueError, match=told):
    reader.read(layout_of(ROPE), ids)


@pytest.mark.parametrize(
  'parts', [[RE], [ROPE, {'name': 'local', 'window': 4}]]
)
def test_nothing_is_left_of_a_text_with_no_finite_losses(parts):
  layout = layout_of(*parts)
  sound = drawn(layout, seq=2)
  broken = {**sound, 'embed': sound['embed'].at[12].set(np.nan)}
  reader = evaluate.Reader(SHAPE, broken, SIZE, chunk=8)
  bad = windows(32, seed=6)
  bad[0, 20] = 12  # In the third chunk.
  found = np.isfinite(reader.read(layout, bad)[0])
  assert found[:16].all()
  assert not found[20]
  clean = windows(32)
  want = evaluate.Reader(SHAPE, sound, SIZE, chunk=8).read(layout, clean)
  np.testing.assert_array_equal(reader.read(layout, clean), want)


def test_a_rehearsal_works_off_the_last_chunk_and_leaves_nothing(weights):
  layout = layout_of(ROPE)
  want = evaluate.Reader(SHAPE, weights, SIZE, chunk=8).read(
    layout, windows(SIZE)
  )
  reader = evaluate.Reader(SHAPE, weights, SIZE, chunk=8)
  reader.rehearse(layout)
  stream = reader._stream
  assert stream is not None
  assert int(stream.count) == SIZE
  written = np.asarray(stream.k_lbskh).any(axis=(0, 1, 3, 4))
  places = np.asarray(stream.positions())[0]
  assert sorted(places[written]) == list(range(SIZE - 8, SIZE))
  np.testing.assert_array_equal(reader.read(layout, windows(SIZE)), want)


@pytest.mark.parametrize('lean', [False, True])
def test_long_readers_do_not_leave_sums_to_the_library(weights, lean):
  # What it leaves behind at every turn of a loop is freed at the end alone.
  size = streamed.LEAN_FROM if lean else 128
  layout = layout_of(ROPE)
  reader = evaluate.Reader(SHAPE, weights, size, chunk=64)
  text = reader.lowered(layout).compile().as_text()
  handed = re.findall(r'calls=(%\S+),.*__ynn_fusion', text)
  bodies = [text.split(f'\n{name} ')[1].split('\n}')[0] for name in handed]
  assert any(' dot(' in body for body in bodies)
  assert all(' dot(' in body for body in bodies) == lean
