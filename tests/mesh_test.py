"""The mesh: sizes that fit, sizes that do not, and where weights live."""

import jax
import pytest
from jax.sharding import PartitionSpec as P

from rope_jax import mesh as meshes
from rope_jax import model, positions


def sizes(data=-1, fsdp=1, tensor=1):
  return {'data': data, 'fsdp': fsdp, 'tensor': tensor}


@pytest.mark.parametrize(
  ('wanted', 'rows', 'shape'),
  [
    (sizes(), 32, (8, 1, 1, 1)),
    (sizes(), 12, (6, 1, 1, 1)),  # CPU: as many devices as divide the rows.
    (sizes(), 7, (7, 1, 1, 1)),
    (sizes(fsdp=2, tensor=2), 8, (2, 2, 2, 1)),
    (sizes(fsdp=2), 6, (3, 2, 1, 1)),
    (sizes(data=1, fsdp=-1), 8, (1, 8, 1, 1)),
    (sizes(data=2), 8, (2, 1, 1, 1)),
    ({**sizes(), 'seq': 4}, 8, (2, 1, 1, 4)),
  ],
)
def test_sizes_that_fit(wanted, rows, shape):
  mesh = meshes.make_mesh(wanted, rows)
  assert tuple(mesh.shape[a] for a in meshes.AXES) == shape


@pytest.mark.parametrize(
  ('wanted', 'rows', 'says'),
  [
    (sizes(data=3), 8, '8 rows do not divide over .* = 3'),
    (sizes(data=16), 16, 'there are 8 devices'),
    (sizes(fsdp=-1), 8, 'at most one is -1'),
    (sizes(data=0), 8, 'sizes are >= 1'),
    (sizes(fsdp=3), 8, 'do not divide'),
    (sizes(tensor=9), 8, 'there are 8 devices'),
  ],
)
def test_sizes_that_do_not(wanted, rows, says):
  with pytest.raises(ValueError, match=says):
    meshes.make_mesh(wanted, rows)


def test_where_weights_live():
  config = model.ModelConfig(
    vocab=33,
    layers=2,
    width=16,
    heads=4,
    kv_heads=1,
    qk_norm=True,
    tie_embeddings=False,
  )
  layout = (positions.build({'name': 'learned', 'train_len': 8}),)
  weights = jax.eval_shape(
    lambda: model.init_weights(jax.random.key(0), config, layout)
  )
  mesh = meshes.make_mesh(sizes(2, 2, 2), 8)
  specs = jax.tree.map(lambda s: s.spec, meshes.weight_shardings(mesh, weights))
  blocks = specs['blocks']
  # One key head: its queries are not split.
  assert blocks['wqkv'] == P(None, 'fsdp', None, None, None)
  assert blocks['wo'] == P(None, 'tensor', None, 'fsdp')
  assert blocks['w_gate_up'] == P(None, 'fsdp', None, 'tensor')
  assert blocks['w_down'] == P(None, 'tensor', 'fsdp')
  assert specs['embed'] == P(None, 'fsdp')  # 33 ids do not divide by 2.
  assert specs['unembed'] == P('fsdp', None)
  everywhere = [blocks['q_norm'], blocks['mlp_norm'], specs['final_norm']]
  assert everywhere == [P()] * 3
  assert set(
    jax.tree.leaves(specs['position'], is_leaf=lambda x: isinstance(x, P))
  ) == {P()}
