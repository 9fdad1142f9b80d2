"""NTK-by-parts: the paper's and the one first published."""

import hooks
import numpy as np
import oracles
import oracles_rotary
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'theta': 1e4, 'factor': 4.0, 'train_len': 64},
  {'theta': 1e4, 'factor': 4.0, 'train_len': 64, 'variant': 'original'},
]


def build(**fields):
  defaults = {'theta': 1e4, 'factor': 4.0, 'train_len': 2048}
  return positions.build({'name': 'ntk_by_parts', **defaults, **fields})


@pytest.mark.parametrize('variant', ['paper', 'original'])
def test_attention_under_ntk_by_parts_equals_the_loops(rng, variant):
  c = hooks.case(rng, h=16)
  f = oracles_rotary.ntk_by_parts_frequencies(16, 1e4, 4.0, 2048, variant)
  method = build(variant=variant)
  hooks.assert_attends(method, c, oracle=hooks.turning(c, f))


@pytest.mark.parametrize('variant', ['paper', 'original'])
@pytest.mark.parametrize('head_dim', [64, 128])
@pytest.mark.parametrize('train_len', [128, 2048, 4096])
def test_the_spectrum_is_that_of_the_source(variant, head_dim, train_len):
  got, amplitude = build(
    variant=variant, train_len=train_len, factor=16.0
  ).frequencies(head_dim)
  want = oracles_rotary.ntk_by_parts_frequencies(
    head_dim, 1e4, 16.0, train_len, variant
  )
  np.testing.assert_allclose(got, want, rtol=1e-12)
  assert amplitude == 1.0


@pytest.mark.parametrize(
  'name', ['llama2_7b_s16', 'llama2_7b_s32', 'qwen2.5_s4', 'dsv3_s40_rope64']
)
def test_the_papers_golden_spectrum_is_that_of_yarns_paper_ramp(golden, name):
  want = golden['yarn'][name]
  args = want['args']
  got, _ = build(
    theta=args['theta'], factor=float(args['s']), train_len=args['L']
  ).frequencies(args['d'])
  np.testing.assert_allclose(got, want['inv_freq_paper_ramp'], rtol=1e-12)


def test_they_are_two_methods_of_one_name():
  paper, original = (
    build(variant=v).frequencies(128)[0] for v in ('paper', 'original')
  )
  plain = oracles.rope_frequencies(128, 1e4)
  assert np.abs(np.log(paper / original)).max() > 0.3
  for f in (paper, original):
    assert f[0] == 1.0
    assert f[-1] == pytest.approx(plain[-1] / 4, rel=1e-12)


def test_constants_are_read():
  plain = build().frequencies(128)[0]
  original = build(variant='original').frequencies(128)[0]
  for field, value in (('beta_fast', 8.0), ('beta_slow', 4.0)):
    assert (build(**{field: value}).frequencies(128)[0] != plain).any()
  for fields in (
    {'betas': (3.0, 0.75)},
    {'betas': (1.25, 0.2)},
    {'gammas': (30.0, 2.0)},
    {'gammas': (16.0, 1.0)},
  ):
    ((name, (fast, slow)),) = fields.items()
    given = {f'{name[:-1]}_0': fast, f'{name[:-1]}_1': slow}
    got = build(variant='original', **given).frequencies(128)[0]
    want = oracles_rotary.ntk_by_parts_frequencies(
      128, 1e4, 4.0, 2048, 'original', **fields
    )
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert (got != original).any()


def test_a_ramp_that_ends_before_it_starts_does_not_invert():
  """Two tokens: no pair makes a rotation; all of them are interpolated."""
  got, _ = build(variant='original', train_len=2).frequencies(16)
  assert (np.diff(got) < 0).all()


def test_two_hyperparameters_in_one_process_do_not_mix():
  hooks.order_matters_not(
    {'name': 'ntk_by_parts', 'theta': 1e4, 'factor': 4.0, 'train_len': 512},
    {'variant': 'original'},
    {'factor': 2.0},
    {'train_len': 64},
  )


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'factor': 0.5}, r'factor=0\.5.*>= 1'),
    ({'factor': None}, 'needs factor'),
    ({'train_len': None}, 'needs train_len'),
    ({'train_len': 0}, 'train_len=0.*number of tokens'),
    ({'variant': 'code'}, "variant='code'.*'paper', 'original'"),
    ({'beta_slow': 0.0}, r'beta_slow=0\.0.*> 0'),
    ({'beta_fast': 1.0}, r'beta_fast=1\.0.*above beta_slow=1'),
    ({'beta_0': 0.5}, r'beta_0=0\.5.*above beta_1=0\.75'),
    ({'gamma_1': 20.0}, r'gamma_0=16\.0.*above gamma_1=20'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
