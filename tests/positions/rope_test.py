"""RoPE: its four forms, its golden spectrum, partial rotation, its errors."""

import hooks
import numpy as np
import oracles
import pytest

from rope_jax import positions
from rope_jax.positions import rope

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'pairing': 'interleaved'},
  {'theta': 1e4, 'fraction': 0.5, 'partial': 'proportional'},
]

F8 = oracles.rope_frequencies(8, 1e4)


def build(**fields):
  return positions.build({'name': 'rope', 'theta': 1e4, **fields})


def turned(position, x, pos):
  """What `rotate` makes of queries: x [b, t, n, h]."""
  return np.asarray(hooks.rotate(position, x, pos, np.zeros_like(pos)))


def to_half(x):
  """Interleaved coordinates in half-split order: even ones, then odd ones."""
  return np.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1)


@pytest.mark.parametrize('pairing', ['half', 'interleaved'])
@pytest.mark.parametrize('fraction', [1.0, 0.5, 0.25])
def test_attention_under_rope_equals_the_loops(rng, pairing, fraction):
  c = hooks.case(rng)
  f = oracles.rope_frequencies(int(8 * fraction), 1e4)
  oracle = hooks.turning(c, f, pairing=pairing)
  hooks.assert_attends(
    build(pairing=pairing, fraction=fraction), c, oracle=oracle
  )


def test_the_four_forms_are_one_rotation_up_to_layout(rng):
  x = rng.normal(size=(1, 5, 2, 8)).astype(np.float32)
  pos = rng.integers(0, 3000, (1, 5)).astype(np.int32)
  interleaved = turned(build(pairing='interleaved'), x, pos)
  half = turned(build(pairing='half'), to_half(x), pos)
  np.testing.assert_allclose(half, to_half(interleaved), atol=1e-6)
  for i, p in enumerate(pos[0]):
    for head in range(2):
      v = x[0, i, head].astype(np.float64)
      matrix = oracles.rope_matrix(v, p, F8)
      for other in (
        oracles.rope_complex(v, p, F8),
        oracles.rope_interleaved(v, p, F8),
      ):
        np.testing.assert_allclose(other, matrix, atol=1e-12)
      np.testing.assert_allclose(
        oracles.rope_half(to_half(v), p, F8), to_half(matrix), atol=1e-12
      )
      np.testing.assert_allclose(interleaved[0, i, head], matrix, atol=2e-6)


def test_converted_weights_give_half_split_heads_the_same_scores(rng):
  """Interleaved projections with their columns moved, a head at a time: what
  converts a checkpoint; q and k need it, biases too, values must not."""
  heads, width = 2, 12
  x = rng.normal(size=(1, 5, width)).astype(np.float32)
  w_q, w_k = rng.normal(size=(2, width, heads, 8)).astype(np.float32)
  b_q, b_k = rng.normal(size=(2, heads, 8)).astype(np.float32)
  v = rng.normal(size=(1, 5, heads, 8)).astype(np.float32)
  pos = np.sort(rng.integers(0, 3000, (1, 5))).astype(np.int32)

  def run(pairing, w_q, b_q, w_k, b_k):
    q, k = (
      np.einsum('btd,dnh->btnh', x, w) + b for w, b in ((w_q, b_q), (w_k, b_k))
    )
    return np.asarray(
      hooks.attend(build(pairing=pairing), {}, q, k, v, pos, pos)
    )

  want = run('interleaved', w_q, b_q, w_k, b_k)
  got = run('half', *map(to_half, (w_q, b_q, w_k, b_k)))
  np.testing.assert_allclose(got, want, atol=2e-5)
  for wrong in ((w_q, b_q, w_k, b_k), (to_half(w_q), b_q, to_half(w_k), b_k)):
    assert np.abs(run('half', *wrong) - want).max() > 1e-2


def test_the_matrix_of_roformer_gives_the_librarys_scores(rng):
  """Eq. 16: q' R(j - i) k, one matrix for both positions."""
  c = hooks.case(rng, b=1, t=3, s=4, n=2, k=1)

  def score(row, head, i, j):
    distance = int(c.k_pos[row, j]) - int(c.q_pos[row, i])
    turned = oracles.rope_matrix(c.k[row, j, 0], distance, F8)
    return float(c.q[row, i, head] @ turned) / 8**0.5

  method = build(pairing='interleaved')
  hooks.assert_attends(method, c, oracle={'score': score})


def test_coordinates_beyond_the_fraction_pass_through_untouched(rng):
  x = rng.normal(size=(1, 5, 2, 8)).astype(np.float32)
  pos = np.arange(1, 6, dtype=np.int32)[None]
  got = turned(build(fraction=0.5), x, pos)
  np.testing.assert_array_equal(got[..., 4:], x[..., 4:])
  assert np.abs(got[..., :4] - x[..., :4]).min() > 0


def test_a_rotation_keeps_each_pairs_length(rng):
  x = rng.normal(size=(1, 5, 2, 8)).astype(np.float32)
  pos = rng.integers(0, 2**31 - 1, (1, 5)).astype(np.int32)
  got = turned(build(), x, pos)
  np.testing.assert_allclose(
    got[..., :4] ** 2 + got[..., 4:] ** 2,
    x[..., :4] ** 2 + x[..., 4:] ** 2,
    rtol=1e-5,
  )


@pytest.mark.parametrize(
  ('name', 'head_dim', 'theta'),
  [
    ('d128_b10000', 128, 1e4),
    ('d64_b10000', 64, 1e4),
    ('d128_b500000', 128, 5e5),
    ('d64_b500000', 64, 5e5),
    ('d128_b1e+06', 128, 1e6),
  ],
)
def test_golden_frequencies(golden, name, head_dim, theta):
  got, amplitude = build(theta=theta).frequencies(head_dim)
  at = [0, 1, head_dim // 4, head_dim // 2 - 1]
  np.testing.assert_allclose(got[at], golden['rope_inv_freq'][name], rtol=1e-12)
  assert (got.dtype, got.shape) == (np.float64, (head_dim // 2,))
  assert amplitude == 1.0


def test_golden_sums_of_cosines(golden):
  """RoFormer's decay: the inner product of equal q and k at a distance."""
  f, _ = build().frequencies(128)
  for distance, want in golden['B_m_sumcos_d128_b1e4'].items():
    assert np.cos(int(distance) * f).sum() == pytest.approx(want, abs=1e-9)


def test_a_partial_spectrum_runs_over_the_rotated_width_then_stands_still():
  got, _ = build(fraction=0.5).frequencies(16)
  np.testing.assert_allclose(got[:4], F8, rtol=1e-15)
  np.testing.assert_array_equal(got[4:], 0)


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'rope', 'theta': 1e4},
    {'theta': 500.0},
    {'pairing': 'interleaved'},
    {'fraction': 0.5},
  )


@pytest.mark.parametrize(
  ('field', 'value', 'remedy'),
  [
    ('theta', 1.0, 'above 1'),
    ('theta', float('nan'), 'above 1'),
    ('theta', float('inf'), 'above 1'),
    ('fraction', 0.0, r'in \(0, 1\]'),
    ('fraction', 1.5, r'in \(0, 1\]'),
    ('pairing', 'pairs', "one of .*'half'"),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(field, value, remedy):
  with pytest.raises(ValueError, match=rf'{field}={value!r}.*{remedy}'):
    build(**{field: value})


@pytest.mark.parametrize(
  ('head_dim', 'fraction'), [(7, 1.0), (6, 0.5), (8, 0.1)]
)
def test_an_odd_rotary_width_is_refused_with_a_remedy(head_dim, fraction):
  position = build(fraction=fraction)
  with pytest.raises(ValueError, match=f'head_dim={head_dim}.*even number'):
    position.check(heads=2, head_dim=head_dim, model_dim=32)


def test_series_is_that_of_the_paper():
  np.testing.assert_allclose(
    rope.series(500.0, 10), oracles.rope_frequencies(10, 500.0), rtol=1e-14
  )
