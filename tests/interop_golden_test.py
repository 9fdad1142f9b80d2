"""Configs of real models, computed by transformers' own code in float64."""

import copy
import inspect
import math
import pathlib
import re
import types

import hypothesis
import numpy as np
import pytest
import torch_shim
import transformers
from hypothesis import strategies as st
from interop_configs import CONFIGS, LONG, SHORT
from transformers import modeling_rope_utils

from rope_jax import interop, positions
from rope_jax.interop import hf_heads, hf_models

# Model types that transformers ships.
SHIPPED = sorted(set(hf_models.MODELS) & set(transformers.CONFIG_MAPPING))
NATIVE = [name for name, c in CONFIGS.items() if c['model_type'] in SHIPPED]
NATIVE.remove('gptj_6b')  # It has no rope section.
# Where some layers do not turn, one type that does.
TURNING = {'smollm3_3b': 'full_attention', 'command_r7b': 'sliding_attention'}
LENGTHS = (None, 4096, 4097, 131072)


@pytest.fixture(autouse=True)
def _float64(monkeypatch):
  monkeypatch.setattr(modeling_rope_utils, 'torch', torch_shim, raising=False)


def in_their_class(config):
  """Their config object; they write into the dictionaries they are given."""
  return transformers.AutoConfig.for_model(**copy.deepcopy(config))


def theirs(config, section, length=None):
  """(frequencies, amplitude) of a flat rope section, by their code."""
  section, config = (
    dict(section),
    types.SimpleNamespace(
      hidden_size=1,
      num_attention_heads=1,
      **config,  # Unused beside head_dim.
    ),
  )
  if section['rope_type'] == 'default':  # Written out in each model.
    section |= {'rope_type': 'linear', 'factor': 1.0}
  config.rope_parameters = section
  config.standardize_rope_params = lambda: None
  compute = modeling_rope_utils.ROPE_INIT_FUNCTIONS[section['rope_type']]
  return compute(config, None, length)


def parsed(config):
  """Their config class's reading: (attributes, {layer type: section})."""
  read = in_their_class(config)
  sections = read.rope_parameters
  nested = any(isinstance(part, dict) for part in sections.values())
  head_dim = hf_heads.head_dim_of(config) or read.head_dim
  return (
    {
      'head_dim': head_dim,
      'max_position_embeddings': read.max_position_embeddings,
    },
    sections if nested else {None: sections},
  )


@pytest.mark.parametrize('name', NATIVE)
def test_spectrum_of_a_real_config(name):
  attributes, sections = parsed(CONFIGS[name])
  assert sections
  for layer_type, section in sections.items():
    layer_type = layer_type or TURNING.get(name)
    ours = interop.position_from_hf(CONFIGS[name], layer_type=layer_type)
    for length in LENGTHS:
      want, grown = theirs(attributes, section, length)
      got, amplitude = ours.frequencies(attributes['head_dim'], length)
      np.testing.assert_allclose(got[: len(want)], want, rtol=1e-12)
      assert not got[len(want) :].any()
      assert amplitude == pytest.approx(grown, rel=1e-12)


@pytest.mark.parametrize(
  'name',
  [
    n
    for n, c in CONFIGS.items()
    if c['model_type'] in transformers.CONFIG_MAPPING
  ],
)
def test_a_config_as_they_would_write_it_says_the_same(name):
  written = in_their_class(CONFIGS[name]).to_dict()
  assert 'rope_scaling' not in written
  got = interop.layout_from_hf(written)
  assert got == interop.layout_from_hf(CONFIGS[name])


def test_gemma_3_and_llama_4_as_their_text_configs():
  gemma = CONFIGS['gemma3_4b']['text_config']
  attributes, sections = parsed(gemma)
  for layer_type, section in sections.items():
    ours = interop.position_from_hf(CONFIGS['gemma3_4b'], layer_type=layer_type)
    want, _ = theirs(attributes, section)
    np.testing.assert_allclose(ours.frequencies(256)[0], want, rtol=1e-12)
  llama = CONFIGS['llama4_scout']['text_config']
  read = in_their_class(llama)
  layers = interop.layout_from_hf(CONFIGS['llama4_scout'])
  assert len(layers) == 4
  assert (
    read.layer_types == (['chunked_attention'] * 3 + ['full_attention']) * 12
  )
  assert read.no_rope_layers == [1, 1, 1, 0] * 12


def test_layer_types_are_those_of_their_classes():
  for name in ('gemma2_9b', 'gpt_oss_20b', 'smollm3_3b', 'modernbert'):
    config = {k: v for k, v in CONFIGS[name].items() if k != 'layer_types'}
    read = in_their_class(config)
    layout = interop.layout_from_hf(config)
    local = [
      any(type(p).__name__ == 'Local' for p in getattr(one, 'parts', (one,)))
      for one in layout
    ]
    want = [t == 'sliding_attention' for t in read.layer_types]
    count = len(want)
    assert [local[i % len(local)] for i in range(count)] == want, name


@pytest.mark.parametrize('name', SHIPPED)
def test_what_a_model_type_leaves_out_is_what_its_class_fills_in(name):
  read = transformers.AutoConfig.for_model(name)
  model = hf_models.MODELS[name]
  section = getattr(read, 'rope_parameters', None)
  if section is None or name == 'gemma4_text':
    assert name in ('codegen', 'gptj', 'gemma4_text')
  elif model.local is None:
    assert section['rope_theta'] == model.theta
    fraction = section.get('partial_rotary_factor', 1.0)
    assert fraction == model.fraction or name.startswith('deepseek')
  else:
    assert section['full_attention']['rope_theta'] == model.theta
    assert section['sliding_attention']['rope_theta'] == model.local[1]


@pytest.mark.parametrize('name', SHIPPED)
def test_pairing_is_that_of_their_code(name):
  """Read, not run: the models' files need torch."""
  folder = pathlib.Path(inspect.getfile(transformers)).parent / 'models'
  stem = name.removesuffix('_text')
  file = folder / stem / f'modeling_{stem}.py'
  interleaved = re.search(
    r'view_as_complex|pos_emb_interleave\(|'
    r'= x\[\.\.\., 0?::2\]|x\[:, :, :, ::2\]',
    file.read_text(encoding='utf-8'),
  )
  want = 'interleaved' if interleaved else 'half'
  assert hf_models.MODELS[name].pairing == want


thetas = st.floats(1e3, 1e7)
factors = st.floats(1.0, 64.0)
lengths = st.integers(64, 32768)
shares = st.sampled_from([0.25, 0.5, 1.0])
SECTIONS = {
  'default': {},
  'linear': {'factor': factors},
  'dynamic': {'factor': factors},
  'yarn': {
    'factor': factors,
    'original_max_position_embeddings': lengths,
    'beta_fast': st.floats(8.0, 64.0),
    'beta_slow': st.floats(0.5, 4.0),
  },
  'longrope': {
    'factor': factors,
    'original_max_position_embeddings': lengths,
    'short_factor': st.just([*SHORT, *SHORT]),
    'long_factor': st.just([*LONG, *LONG]),
    'partial_rotary_factor': st.just(0.5),
  },
  'llama3': {
    'factor': factors,
    'original_max_position_embeddings': lengths,
    'low_freq_factor': st.floats(0.5, 2.0),
    'high_freq_factor': st.floats(2.5, 8.0),
  },
  'proportional': {'partial_rotary_factor': shares, 'factor': factors},
}
YARN = [
  {},
  {'attention_factor': 1.5},
  {'mscale': 0.707, 'mscale_all_dim': 1.0},
  {'truncate': False},
]


@pytest.mark.parametrize(
  ('kind', 'more'),
  [(kind, {}) for kind in SECTIONS] + [('yarn', more) for more in YARN[1:]],
)
@hypothesis.settings(max_examples=40)
@hypothesis.given(st.data())
def test_any_section_gives_their_spectrum(kind, more, data):
  strategy = {
    'rope_theta': thetas,
    'partial_rotary_factor': shares,
    **SECTIONS[kind],
  }
  section = {
    'rope_type': kind,
    **data.draw(st.fixed_dictionaries(strategy)),
    **more,
  }
  config = {'head_dim': 64}
  if kind == 'dynamic':
    config['max_position_embeddings'] = data.draw(lengths)
  ours = interop.position_from_hf({'rope_parameters': section, **config})
  config.setdefault('max_position_embeddings', 131072)
  for length in (None, 64, 5000, 200_000):
    want, grown = theirs(config, section, length)
    got, amplitude = ours.frequencies(64, length)
    np.testing.assert_allclose(got[: len(want)], want, rtol=1e-12)
    assert not got[len(want) :].any()
    assert amplitude == pytest.approx(grown, rel=1e-12)


class TestWhereTheyDiffer:
  """Faults of their code that ours does not share."""

  def test_a_ramp_that_ends_before_it_starts_inverts(self):
    """train_len below 2 pi: high < 0 = low, and their ramp runs backwards."""
    section = {
      'rope_type': 'yarn',
      'rope_theta': 1e4,
      'factor': 2.0,
      'original_max_position_embeddings': 3,
    }
    config = {'head_dim': 128, 'max_position_embeddings': 6}
    ours = interop.position_from_hf({'rope_parameters': section, **config})
    plain, got = 1e4 ** -(np.arange(64) / 64), ours.frequencies(128)[0]
    want, _ = theirs(config, section)
    np.testing.assert_allclose(want, plain, rtol=1e-12)  # Nothing scaled.
    np.testing.assert_allclose(got[1:], plain[1:] / 2, rtol=1e-12)

  def test_llama_4_scout_divides_nothing_by_nothing(self):
    """low = high and a wavelength of exactly train_len: 0 / 0."""
    section = {
      'rope_type': 'llama3',
      'rope_theta': 1e4,
      'factor': 16.0,
      'low_freq_factor': 1.0,
      'high_freq_factor': 1.0,
      'original_max_position_embeddings': 2 * math.pi,
    }
    config = {'head_dim': 8, 'max_position_embeddings': 131072}
    with np.errstate(divide='ignore', invalid='ignore'):
      want, _ = theirs(config, section)
    assert np.isnan(want[0])
    scout = interop.position_from_hf(
      CONFIGS['llama4_scout'], layer_type='chunked_attention'
    )
    assert np.isfinite(scout.frequencies(128)[0]).all()

  def test_their_truncate_is_read_outside_of_the_layer_types(self):
    section = {
      'rope_type': 'yarn',
      'rope_theta': 1.5e5,
      'factor': 32.0,
      'original_max_position_embeddings': 4096,
      'truncate': False,
    }
    nested = {'rope_parameters': {'full_attention': section}, 'head_dim': 64}
    config = types.SimpleNamespace(
      **nested,
      per_layer_config={'full_attention': None},
      standardize_rope_params=lambda: None,
    )
    config.per_layer_config['full_attention'] = config
    compute = modeling_rope_utils.ROPE_INIT_FUNCTIONS['yarn']
    config.max_position_embeddings, config.hidden_size = 131072, 64
    config.num_attention_heads = 1
    want, _ = compute(config, None, layer_type='full_attention')
    ours = interop.position_from_hf(nested)
    assert not ours.truncate
    truncated = positions.build({**positions.spec(ours), 'truncate': True})
    np.testing.assert_allclose(truncated.frequencies(64)[0], want, rtol=1e-12)

  def test_dynamic_scaling_has_one_length_for_a_batch(self):
    """Theirs takes the longest position of all rows; ours each row's own."""
    method = interop.position_from_hf(
      {
        'max_position_embeddings': 2048,
        'rope_parameters': {
          'rope_type': 'dynamic',
          'rope_theta': 1e4,
          'factor': 2.0,
        },
      }
    )
    drift = method.drift(64, np.array([[1000], [8192]], np.int32))
    assert not np.asarray(drift[0]).any()
    assert np.asarray(drift[1]).any()


def test_with_torch_itself(monkeypatch):
  torch = pytest.importorskip('torch')
  monkeypatch.setattr(modeling_rope_utils, 'torch', torch)
  for name in NATIVE:
    attributes, sections = parsed(CONFIGS[name])
    for layer_type, section in sections.items():
      layer_type = layer_type or TURNING.get(name)
      ours = interop.position_from_hf(CONFIGS[name], layer_type=layer_type)
      want, grown = theirs(attributes, section, 131072)
      got, amplitude = ours.frequencies(attributes['head_dim'], 131072)
      np.testing.assert_allclose(got[: len(want)], want.numpy(), rtol=2e-6)
      assert amplitude == pytest.approx(grown, rel=1e-12)
