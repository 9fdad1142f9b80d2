"""Nothing is compiled twice: XLA's own compilations, counted."""

import contextlib

import jax
import numpy as np
import training_support as support

from rope_jax import config as config_lib
from rope_jax import evaluate, positions
from rope_jax import mesh as meshes
from rope_jax.model import ModelConfig, Transformer
from rope_jax.train import program, train


@contextlib.contextmanager
def compilations():
  """Yields a list that gains an entry with every program XLA compiles."""
  found = []

  def heard(event, seconds, **_):
    if event == '/jax/core/compile/backend_compile_duration':
      found.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(heard)
  try:
    yield found
  finally:
    jax.monitoring.unregister_event_duration_listener(heard)


def test_steps_after_the_first_compile_nothing():
  config = support.tiny(mesh__data=1)
  shape, layout = (
    config_lib.model_config(config, 259),
    config_lib.layout(config),
  )
  made = program.make_program(
    config, shape, layout, meshes.make_mesh(config.mesh, 8)
  )
  state, sampler, counts = made.init(), support.sampler(config), []
  for step in range(4):
    batch = made.place(sampler, step)
    with compilations() as found:
      state, _ = made.step(state, batch)
    counts.append(len(found))
  assert counts == [1, 0, 0, 0]


def test_a_longer_training_compiles_no_more_than_a_shorter_one(tmp_path):
  counts = []
  for steps in (4, 4, 8):  # The first also compiles what stays in the process.
    config = support.tiny(train__steps=steps, mesh__data=1)
    with compilations() as found:
      train(
        config, tmp_path / str(len(counts)), sampler=support.sampler(config)
      )
    counts.append(len(found))
  assert counts[0] >= counts[1] == counts[2] > 0


def test_evaluation_compiles_once_a_length_for_all_rotary_variants(rng):
  shape = ModelConfig(vocab=13, layers=1, width=16, heads=2, mlp_dim=16)
  rope = {'theta': 100.0}
  plain = positions.build({'name': 'rope', **rope})
  model = Transformer(shape, (plain,), key=jax.random.key(1))
  variants = [
    None,
    positions.build({'name': 'ntk', 'factor': 4.0, **rope}),
    positions.build({'name': 'linear', 'factor': 2.0, **rope}),
    positions.build({'name': 'yarn', 'factor': 4.0, 'train_len': 8, **rope}),
  ]

  def read(length):
    """Programs that two documents of a length need, by variant."""
    counts = []
    for variant in variants:
      with compilations() as found:
        for _ in range(2):
          tokens = rng.integers(0, 13, (1, length))
          nll = evaluate.token_nll(model, tokens, position=variant)
          assert np.isfinite(nll).all()
      counts.append(len(found))
    return counts

  first, *others = read(9)
  assert first > 0  # And what moves data about, once in a process.
  assert others == [0, 0, 0]
  for length in (17, 33):
    first, *others = read(length)
    assert 0 < first <= 2
    assert others == [0, 0, 0]
  assert read(9) == [0, 0, 0, 0]
