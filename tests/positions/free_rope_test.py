"""Free RoPE: any spectrum, exact phases for learned ones, their gradient."""

import dataclasses
import decimal

import hooks
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from rope_jax import attention, positions
from rope_jax.positions import rope

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'frequency': [1.0, 0.3, 0.07, 0.0], 'amplitude': 1.2},
  {'frequency': [1.0, 0.3, 0.07, 0.01], 'learned': True},
]

SPECTRUM = (1.0, 0.37, 0.0, 0.0021)


def build(**fields):
  return positions.build({'name': 'free_rope', 'frequency': SPECTRUM, **fields})


def params_of(method, head_dim=8):
  return method.init(None, heads=4, head_dim=head_dim, model_dim=32)


@pytest.mark.parametrize('learned', [False, True])
@pytest.mark.parametrize('pairing', ['half', 'interleaved'])
@pytest.mark.parametrize('start', [0, 100_000, 2**30])
def test_attention_under_a_free_spectrum_equals_the_loops(
  rng, learned, pairing, start
):
  c = hooks.case(rng)
  c.q_pos, c.k_pos = c.q_pos + start, c.k_pos + start
  f = np.float64(np.float32(SPECTRUM) if learned else SPECTRUM)
  method = build(learned=learned, pairing=pairing, amplitude=1.25)
  at = {'q': c.q_pos, 'k': c.k_pos}

  def rotate(x, which, row, index):
    """One turn of each pair by its exact phase."""
    p = int(at[which][row, index])
    phase = [oracles.exact_phase(p, float(g)) for g in f]
    return oracles.rope(x, 1, np.array(phase), 1.25, pairing)

  hooks.assert_attends(
    method, c, params=params_of(method), oracle={'rotate': rotate}
  )


def test_with_the_frequencies_of_rope_it_is_rope(rng):
  c = hooks.case(rng)
  plain = positions.build({'name': 'rope', 'theta': 1e4})
  method = build(frequency=rope.series(1e4, 8))
  got, want = (
    hooks.attend(m, {}, c.q, c.k, c.v, c.q_pos, c.k_pos)
    for m in (method, plain)
  )
  np.testing.assert_array_equal(got, want)
  for one, other in zip(
    method.frequencies(8), plain.frequencies(8), strict=True
  ):
    np.testing.assert_array_equal(one, other)


def test_rotation_reads_the_parameters_and_not_the_field(rng):
  c = hooks.case(rng)
  params = {'frequency': np.array([0.9, 0.2, 0.5, -0.1], np.float32)}
  oracle = hooks.turning(c, params['frequency'].astype(np.float64))
  hooks.assert_attends(build(learned=True), c, params=params, oracle=oracle)


def test_only_learned_frequencies_are_parameters():
  assert params_of(build()) == {}
  found = params_of(build(learned=True))['frequency']
  assert found.dtype == jnp.float32
  np.testing.assert_array_equal(found, np.float32(SPECTRUM))


def test_the_gradient_of_the_frequencies_is_that_of_the_loops(rng):
  """Central differences of the float64 loops, at a few hundred tokens."""
  c = hooks.case(rng, b=1, n=2, k=1, top=200)
  direction = rng.normal(size=c.q.shape)
  f = np.array([1.0, 0.37, 0.05, 0.0021])
  method = build(learned=True)

  @hooks.jit
  def gradient(frequency):
    def total(frequency):
      out = attention.attend(
        method,
        {'frequency': frequency},
        c.q,
        c.k,
        c.v,
        q_pos_bt=c.q_pos,
        k_pos_bs=c.k_pos,
      )
      return (out * direction).sum()

    return jax.grad(total)(frequency)

  def loss(frequency):
    out = oracles.attention(
      c.q, c.k, c.v, **hooks.turning(c, np.asarray(frequency))
    )
    return float((out * direction).sum())

  got = gradient(f.astype(np.float32))
  rounded = f.astype(np.float32).astype(np.float64)
  for pair, step in enumerate(1e-5 * np.eye(4)):
    want = (loss(rounded + step) - loss(rounded - step)) / 2e-5
    assert got[pair] == pytest.approx(want, rel=2e-4, abs=1e-3)


@pytest.mark.parametrize('learned', [False, True])
@pytest.mark.parametrize('divisor', [3.0, 1.7, 0.25])
def test_fractional_positions_of_a_view_are_exact_too(rng, learned, divisor):
  method = build(learned=learned)
  x = rng.normal(size=(1, 3, 1, 8)).astype(np.float32)
  pos = np.array([[7, 100_001, 2**24 + 1]], np.int32)
  at = hooks.places(pos, pos, heads=1)
  at = dataclasses.replace(at, divisor=divisor)
  got, _ = method.rotate(params_of(method), jnp.asarray(x), jnp.asarray(x), at)
  f = np.float64(np.float32(SPECTRUM) if learned else SPECTRUM)
  for i, p in enumerate(pos[0]):
    phase = [
      oracles.exact_phase(int(p), decimal.Decimal(g) / decimal.Decimal(divisor))
      for g in f.tolist()
    ]
    want = oracles.rope(x[0, i, 0], 1, np.array(phase))
    np.testing.assert_allclose(got[0, i, 0], want, atol=3e-6)


def test_any_sequence_of_numbers_is_a_spectrum():
  given = build(frequency=np.array(SPECTRUM))
  assert given == build(frequency=list(SPECTRUM)) == build()
  assert hash(given) == hash(build())
  assert positions.build(positions.spec(given)) == given


def test_it_rotates_and_so_does_not_compose_with_another_that_does():
  parts = [positions.spec(build()), {'name': 'rope', 'theta': 1e4}]
  with pytest.raises(ValueError, match='FreeRope and Rope would each rotate'):
    positions.build({'name': 'compose', 'parts': parts})


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'free_rope', 'frequency': SPECTRUM * 2},
    {'frequency': (0.5,) * 8},
    {'amplitude': 1.5},
    {'pairing': 'interleaved'},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'frequency': None}, 'needs frequency'),
    ({'frequency': []}, r'frequency=\[\].*a sequence of numbers'),
    ({'frequency': 1.0}, r'frequency=1\.0.*a sequence of numbers'),
    ({'frequency': [float('nan')]}, r'frequency=\(nan,\).*finite numbers'),
    ({'amplitude': 0.0}, r'amplitude=0\.0.*> 0'),
    ({'pairing': 'pairs'}, "pairing='pairs'"),
    ({'learned': 1}, 'learned=1 is int'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)


def test_a_spectrum_of_another_width_is_refused():
  with pytest.raises(
    ValueError, match=r'4 numbers for a head_dim of 6.*3 pairs'
  ):
    build().check(heads=4, head_dim=6, model_dim=24)
