"""Generation against full forward passes, one for each new token."""

import importlib

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rope_jax import generate, model, positions

module = importlib.import_module('rope_jax.model.generate')

ROPE = {'name': 'rope', 'theta': 1e4}
METHODS = {
  'rope': ROPE,
  'alibi': {'name': 'alibi'},
  't5': {'name': 't5'},
  'self_extend': {'name': 'self_extend', 'theta': 1e4, 'group': 2, 'window': 4},
  'streaming': {'name': 'streaming', 'theta': 1e4, 'window': 5, 'sinks': 2},
  'rope, window': {
    'name': 'compose', 'parts': [ROPE, {'name': 'local', 'window': 6}]
  },
}  # fmt: skip
PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], [8], [9, 7, 9, 3]]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
  """Chunks of four, so that prompts take three; caches of 16 at a time."""
  monkeypatch.setattr(module, 'CHUNK', 4)
  monkeypatch.setattr(module, '_ROOM', 16)


def build(*specs):
  config = model.ModelConfig(
    vocab=20, layers=2, width=32, heads=4, kv_heads=2, mlp_dim=16
  )
  layout = positions.layout(specs)
  weights = model.init_weights(jax.random.key(0), config, layout)
  weights = jax.tree.map(lambda x: 3 * x, weights)
  shell = model.Transformer(config, layout, key=jax.random.key(0))
  return model.merge(model.split(shell)[0], weights)


def by_full_passes(made, prompt, steps):
  """The most likely token after all so far, again and again."""
  _, weights = model.split(made)
  full = hooks.jit(model.forward, static_argnums=(0, 1))
  tokens = list(prompt)
  for _ in range(steps):
    row = np.array([tokens + [0] * (24 - len(tokens))], np.int32)
    logits = full(made.config, made.layout, weights, row)[0, len(tokens) - 1]
    top = np.sort(logits)
    assert top[-1] - top[-2] > 1e-4  # No tie that rounding could break.
    tokens.append(int(np.argmax(logits)))
  return tokens[len(prompt) :]


@pytest.mark.parametrize('name', METHODS)
def test_greedy_is_the_argmax_of_full_passes_for_each_row(name):
  made = build(METHODS[name])
  got = generate(made, PROMPTS, steps=7)
  for prompt, row in zip(PROMPTS, got, strict=True):
    assert row.tolist() == by_full_passes(made, prompt, 7)


def test_a_method_of_the_length_is_told_one_or_what_there_is():
  """Told a length, it is that of a full pass over as many tokens."""
  made = build({'name': 'dynamic_ntk', 'theta': 1e4, 'train_len': 8})
  got = generate(made, PROMPTS, steps=7, length=24)
  for prompt, row in zip(PROMPTS, got, strict=True):
    assert row.tolist() == by_full_passes(made, prompt, 7)
  short = generate(made, PROMPTS, steps=7, length=8)
  plain = generate(build(ROPE), PROMPTS, steps=7)
  for a, b in zip(short, plain, strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_sequence_ends_with_its_stop_and_the_others_go_on():
  made = build(ROPE)
  free = generate(made, PROMPTS, steps=7)
  stop = int(free[0][2])
  for row, whole in zip(
    generate(made, PROMPTS, steps=7, stop=stop), free, strict=True
  ):
    at = np.flatnonzero(whole == stop)
    end = at[0] + 1 if at.size else 7
    np.testing.assert_array_equal(row, whole[:end])


def test_draws_have_the_frequencies_of_the_softmax():
  made = build(ROPE)
  prompt = [[3, 1, 4]] * 512
  _, weights = model.split(made)
  logits = model.forward(
    made.config, made.layout, weights, np.array([[3, 1, 4]])
  )[0, -1]
  want = jax.nn.softmax(logits / 2.5)
  rows = [
    generate(made, prompt, steps=1, temperature=2.5, key=jax.random.key(seed))
    for seed in range(4)
  ]
  drawn = np.concatenate([np.concatenate(r) for r in rows])
  got = np.bincount(drawn, minlength=20) / len(drawn)
  assert np.abs(got - want).max() < 5 * np.sqrt(0.25 / len(drawn))
  assert (got > 0).sum() > 3
  again = generate(
    made, prompt, steps=1, temperature=2.5, key=jax.random.key(3)
  )
  np.testing.assert_array_equal(np.concatenate(again), np.concatenate(rows[3]))


def test_prompts_and_steps_of_other_lengths_use_the_same_programs():
  made = build(ROPE)
  generate(made, PROMPTS, steps=5)
  sizes = module._read_chunk._cache_size(), module._continue._cache_size()
  for prompts, steps in (([[1, 2], [3], [4]], 5), (PROMPTS, 3)):
    generate(made, prompts, steps=steps, temperature=0.5, stop=3,
             key=jax.random.key(1))  # fmt: skip
  assert sizes == (
    module._read_chunk._cache_size(),
    module._continue._cache_size(),
  )


@pytest.mark.parametrize(
  ('prompt', 'fields', 'message'),
  [
    ([], {}, 'no sequences'),
    ([[1], []], {}, 'prompt 1 has shape'),
    ([[1, 20]], {}, r'prompt 0 has int64 ids in \[1, 20\].*\[0, 20\)'),
    ([[0.5]], {}, 'integers'),
    ([[1]], {'steps': 0}, 'steps=0 must be an integer >= 1'),
    ([[1]], {'temperature': -1.0}, 'temperature=-1.0'),
    ([[1]], {'temperature': 1.0}, 'give a key'),
    ([[1] * 9], {'cache_size': 12}, 'cache_size=12.*at least 13'),
    ([[1]], {'length': 0}, 'length=0'),
  ],
)
def test_what_cannot_be_generated_is_refused(prompt, fields, message):
  with pytest.raises(ValueError, match=message):
    generate(build(ROPE), prompt, **{'steps': 4, **fields})


def test_a_method_that_ends_is_named():
  made = build({'name': 'learned', 'train_len': 8})
  with pytest.raises(ValueError, match=r'Learned is defined for 8 positions'):
    generate(made, [[1, 2, 3]], steps=6)
  assert len(generate(made, jnp.array([[1, 2, 3]]), steps=5)[0]) == 5
