"""Llama 4's temperature: golden factors at the edges of its steps."""

import hooks_scale
import numpy as np
import oracles_remap
import pytest

from rope_jax import positions

# What the contract test builds: small enough for rows of 75 tokens.
EXAMPLES = [
  {'floor_scale': 8, 'attn_scale': 0.5},
]


def build(**fields):
  return positions.build({'name': 'llama4_temperature', **fields})


def test_attention_equals_the_loops(rng):
  hooks_scale.assert_attends(
    build(floor_scale=7, attn_scale=0.6),
    hooks_scale.case(rng),
    lambda head, i: oracles_remap.llama4(i, floor_scale=7, attn_scale=0.6),
  )


def test_golden_factors(golden):
  for at, want in golden['llama4_temp'].items():
    got = hooks_scale.one(build(), int(at))
    assert got == pytest.approx(want, rel=2e-7)


def test_printed_values_of_the_reference():
  printed = {8190: 1, 8191: 1.0693147, 16383: 1.1098612, 10**6: 1.4812184}
  for at, want in printed.items():
    assert hooks_scale.one(build(), at) == pytest.approx(want, abs=2e-7)


def test_steps_begin_one_token_early_at_any_position():
  """At position k floor_scale - 1, also where float32 has no odd numbers."""
  for k in (1, 2, 5, 2**12 + 1):
    edge = [[k * 8192 - 2, k * 8192 - 1, k * 8192]]
    got = hooks_scale.scales(build(), edge)[0, 0]
    assert got[0] < got[1] == got[2]


def test_a_query_before_the_first_position_gets_no_nan():
  got = hooks_scale.scales(build(floor_scale=1), [[-9, -1, 0]])
  assert got[0, 0].tolist() == [1.0, 1.0, pytest.approx(1.0693147)]


def test_two_steps_in_one_process_do_not_mix():
  pos = np.arange(60)[None]
  for floor_scale in (8, 20, 8):
    got = hooks_scale.scales(build(floor_scale=floor_scale), pos)[0, 1]
    want = [
      oracles_remap.llama4(i, floor_scale=floor_scale, attn_scale=0.1)
      for i in range(60)
    ]
    np.testing.assert_allclose(got, want, rtol=2e-7)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'floor_scale': 0}, 'floor_scale=0.*>= 1'),
    ({'attn_scale': -0.1}, r'attn_scale=-0\.1.*>= 0'),
    ({'floor_scale': 8192.0}, r'floor_scale=8192\.0 is float.*must be int'),
  ],
)
def test_a_field_out_of_range_is_named_with_its_value(fields, message):
  with pytest.raises(ValueError, match=message):
    build(**fields)
