"""Every golden vector is checked somewhere, and those of spectra alone here."""

import math
import pathlib

import numpy as np
import pytest

from rope_jax.positions import rope, yarn

HERE = pathlib.Path(__file__).parent

# Each key of golden.json: the test files that read it. Those of scaling laws,
# which are no property of a method, belong to the studies of spectra.
COVERED = {
  'rope_inv_freq': ['positions/rope_test.py'],
  'rope_idx_note': [],  # Says which pairs rope_inv_freq lists.
  'pi_llama_2048_to_8192': ['positions/linear_test.py'],
  'ntk_base': ['positions/ntk_test.py'],
  'dynamic_ntk_hf_base': ['positions/dynamic_ntk_test.py'],
  'yarn': [
    'positions/yarn_test.py',
    'positions/dynamic_yarn_test.py',
    'positions/ntk_by_parts_test.py',
  ],
  'llama3.1_8b_factor8_d128': ['positions/llama3_test.py'],
  'llama3.2_1b_factor32_d64': ['positions/llama3_test.py'],
  'longrope_attention_factor': ['positions/longrope_test.py'],
  'alibi_slopes': ['positions/alibi_test.py'],
  't5_causal_32_128_starts': ['positions/t5_test.py'],
  't5_bidir_32_128_starts_per_side16': ['positions/t5_test.py'],
  'deberta_v3_bucket256_max512': ['positions/deberta_test.py'],
  'critical_dimension': ['golden_test.py'],
  'scaling_law_T_extra_llama2': ['golden_test.py'],
  'scaling_law_critical_base': ['golden_test.py'],
  'B_m_sumcos_d128_b1e4': ['positions/rope_test.py'],
  'roformer_relative_upper_bound_d128_b1e4': ['golden_test.py'],
  'xpos_zeta_d128': ['positions/xpos_test.py'],
  'xpos_net_decay_lag512': ['positions/xpos_test.py'],
  'log_n_scale_train4096': ['positions/log_n_test.py'],
  'llama4_temp': ['positions/llama4_temperature_test.py'],
}


def test_every_golden_vector_is_in_the_table(golden):
  assert set(golden) == set(COVERED), (
    'golden.json and COVERED differ: say which test checks a new vector.'
  )


@pytest.mark.parametrize('key', COVERED)
def test_the_test_that_covers_a_vector_reads_it(key):
  for name in COVERED[key]:
    path = HERE / name
    assert path.exists(), f'{path} is to check the golden vector {key!r}.'
    text = path.read_text(encoding='utf-8')
    read = f"golden['{key}']"
    # The two of Llama 3 are parameters of one test.
    assert read in text or ('golden[name]' in text and f"'{key}'" in text), (
      f'{path} does not read {read}.'
    )


def test_the_vectors_are_those_that_their_script_makes(golden):
  """golden.json was not edited by hand, nor its script without it."""
  namespace: dict = {'__name__': 'make_golden'}
  script = HERE / 'golden' / 'make_golden.py'
  exec(
    compile(script.read_text(encoding='utf-8'), str(script), 'exec'), namespace
  )

  def same(made, kept, where):
    if isinstance(kept, dict):
      assert {str(k) for k in made} == set(kept), where
      for key, value in made.items():
        same(value, kept[str(key)], f'{where}/{key}')
    elif isinstance(kept, list):
      assert len(made) == len(kept), where
      for at, pair in enumerate(zip(made, kept, strict=True)):
        same(*pair, f'{where}/{at}')
    elif isinstance(kept, float):
      assert made == pytest.approx(kept, rel=1e-12, abs=1e-12), where
    else:
      assert made == kept, where

  same(namespace['make'](), golden, 'golden')


@pytest.mark.parametrize('truncate', [True, False])
def test_yarns_ramp_has_its_golden_ends(golden, truncate):
  """Read off the frequencies: the share that a pair keeps is a line in its
  index between the ends, from 1 to 0."""
  for name, want in golden['yarn'].items():
    args = want.get('args', {'d': 64, 'theta': 150000.0, 's': 32, 'L': 4096})
    ends = want.get('low_high_trunc' if truncate else 'low_high_raw')
    if 'low_high' in want:
      ends = None if truncate else want['low_high']
    if ends is None:
      continue
    method = yarn.Yarn(
      theta=args['theta'],
      factor=float(args['s']),
      train_len=args['L'],
      truncate=truncate,
    )
    plain = rope.series(args['theta'], args['d'])
    slowed = method.frequencies(args['d'])[0] / plain
    kept = (slowed - 1 / args['s']) / (1 - 1 / args['s'])
    (inside,) = np.nonzero((kept > 1e-9) & (kept < 1 - 1e-9))
    slope, height = np.polyfit(inside, kept[inside], 1)
    got = [(1 - height) / slope, -height / slope]
    np.testing.assert_allclose(got, ends, rtol=1e-9, err_msg=name)


# Vectors that need nothing but the frequencies of a head.


@pytest.mark.parametrize(
  ('name', 'width', 'theta', 'train_len'),
  [
    ('llama2(128,1e4,4096)', 128, 1e4, 4096),
    ('llama1(128,1e4,2048)', 128, 1e4, 2048),
    ('llama3(128,5e5,8192)', 128, 5e5, 8192),
  ],
)
def test_critical_dimension(golden, name, width, theta, train_len):
  """Coordinates whose pairs make a whole turn within the trained length."""
  turns = rope.series(theta, width) * train_len / (2 * math.pi)
  assert 2 * np.count_nonzero(turns > 1) == golden['critical_dimension'][name]


def test_where_the_critical_dimension_ends_under_another_base(golden):
  """The wavelength of the pair after Llama 2's 92 critical dimensions."""
  for theta, want in golden['scaling_law_T_extra_llama2'].items():
    frequency = rope.series(float(theta), 128)[92 // 2]
    assert 2 * math.pi / frequency == pytest.approx(want, rel=1e-12)


def test_critical_bases(golden):
  """From 4k to 16k: the base under which the pair that turned once in 4096
  tokens turns once in 16384. Then the bases under which the slowest pair, of
  frequency 1 / base, makes a quarter, a half and a whole turn."""
  want = golden['scaling_law_critical_base']
  share = math.log(4096 / (2 * math.pi)) / math.log(1e4)  # 2k / d of that pair.
  base = want['pre4096_tune16384']
  assert 2 * math.pi * base**share == pytest.approx(16384, rel=1e-12)
  for length in (4096, 16384):
    angles = [length / base for base in want[f'beta123_tune{length}']]
    np.testing.assert_allclose(
      angles, [math.pi / 2, math.pi, 2 * math.pi], rtol=1e-12
    )


def test_roformers_upper_bound_of_the_score(golden):
  """Section 3.4.3: the mean size of partial sums of e^(i m f_k)."""
  frequency = rope.series(1e4, 128)
  for m, want in golden['roformer_relative_upper_bound_d128_b1e4'].items():
    sums = np.cumsum(np.exp(1j * int(m) * frequency))
    assert np.abs(sums).mean() == pytest.approx(want, rel=1e-10)
