"""Attention shared out over a mesh, against attention on one device."""

import functools

import contract_test as laws
import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rope_jax import attention, positions

AUTO = jax.sharding.AxisType.Auto
SEGMENTS = np.repeat(np.array([[1, 1, 1, 2, 2, 2]]), 4, axis=0)


def mesh_of(**sizes):
  return jax.make_mesh(
    tuple(sizes.values()), tuple(sizes), axis_types=(AUTO,) * len(sizes)
  )


@pytest.mark.parametrize('how', ['blockwise', 'fused', 'auto'])
@pytest.mark.parametrize('name', ['rope', 'shaw', 't5', 'self_extend'])
@pytest.mark.parametrize(
  'sizes',
  [{'data': 2, 'fsdp': 2}, {'data': 4, 'tensor': 2}, {'tensor': 2}],
  ids=str,
)
def test_shared_equals_one_device_in_gradients_too(name, how, sizes):
  method = laws.build(name)
  if how == 'fused' and name != 'rope':
    pytest.skip('no flash kernel')
  mesh, (x, pos) = mesh_of(**sizes), laws.tokens(t=6, b=4)
  params = laws.params_of(method)
  mask = attention.Mask(q_segment_bt=SEGMENTS, k_segment_bs=SEGMENTS)

  def total(params, x, how, mesh):
    out = laws.run(method, params, x, pos, how=how, mask=mask, mesh=mesh)
    return (out * jnp.sin(jnp.arange(out.size)).reshape(out.shape)).sum(), out

  made = []
  for way, on in (('naive', None), (how, mesh)):
    go = functools.partial(total, how=way, mesh=on)
    go = jax.value_and_grad(go, argnums=(0, 1), has_aux=True)
    made.append(hooks.jit(go)(params, x))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=3e-5, rtol=1e-5), *made
  )


def test_each_device_does_its_share_alone():
  """Nothing is gathered; without a mesh XLA gathers for loops over heads."""
  mesh = mesh_of(data=2, tensor=2)
  method = positions.build({'name': 'rope', 'theta': 100.0})
  split = NamedSharding(mesh, P('data', None, 'tensor'))
  x = jax.ShapeDtypeStruct((4, 32, 6, 8), jnp.float32, sharding=split)
  pos = np.tile(np.arange(32, dtype=np.int32), (4, 1))

  def gathers(mesh):
    def go(x):
      return attention.attend(
        method, {}, x, x, x, q_pos_bt=pos, k_pos_bs=pos, how='blockwise',
        mesh=mesh,
      )  # fmt: skip

    return 'all-gather' in jax.jit(go).lower(x).compile().as_text()

  assert gathers(None)
  assert not gathers(mesh)


def test_what_does_not_divide_is_done_whole():
  mesh = mesh_of(data=4, tensor=2)
  method = laws.build('rope')
  x, pos = laws.tokens(t=6, b=3)  # Three rows over four devices.
  got = hooks.jit(
    lambda x: laws.run(method, {}, x, pos, how='blockwise', mesh=mesh)
  )(x)
  np.testing.assert_allclose(got, laws.jitted(method, {}, x, pos), atol=1e-5)
