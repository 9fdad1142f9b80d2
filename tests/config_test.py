"""The configuration: its checks, its fingerprint, its layouts."""

import dataclasses
import subprocess
import sys

import pytest
from ml_collections import config_dict

from rope_jax import config, model, positions


def of(**changes):
  """The default configuration with dotted changes."""
  tree = config.default()
  with tree.unlocked():
    tree.update_from_flattened_dict(
      {k.replace('__', '.'): v for k, v in changes.items()}
    )
  return tree


def test_the_default_configuration_passes_its_own_checks():
  config.check(config.default())


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'train__train_len': 1}, r'config\.train\.train_len=1 must be >= 2'),
    ({'train__steps': 0}, r'config\.train\.steps=0 must be >= 1'),
    ({'train__batch': 0}, r'config\.train\.batch=0 must be >= 1'),
    ({'train__keep': 0}, r'config\.train\.keep=0 must be >= 1'),
    ({'train__warmup': 1000}, r'warmup=1000 must be in \[0, train\.steps=1000'),
    ({'train__learning_rate': 0.0}, r'learning_rate=0\.0 must be > 0'),
    ({'train__clip': -1.0}, r'clip=-1\.0 must be > 0'),
    ({'train__schedule': 'sine'}, r"schedule='sine' must be one of .*linear"),
    ({'train__final_share': 2.0}, r'final_share=2\.0 must be in \[0, 1\]'),
    ({'train__weights': 'some'}, r"weights='some' must be 'all' or 'lora:RANK"),
    ({'train__accumulate': 5}, 'accumulate=5 must be a divisor of train'),
    ({'train__step': 'xmap'}, r"step='xmap' must be 'jit' or 'pmap'"),
    ({'eval__lengths': (256, 128)}, r'lengths=\(256, 128\) must be rising'),
    ({'eval__lengths': (1, 128)}, 'must be rising numbers of tokens >= 2'),
    ({'eval__lengths': ()}, r'eval\.lengths=\(\) must be rising'),
    ({'eval__span': 3000}, 'span=3000 must be a multiple of every length'),
    ({'eval__documents': 0}, r'eval\.documents=0 must be >= 1'),
    ({'eval__tokens': 100}, r'eval\.tokens=100 must be at least .* 2048'),
    ({'model__width': 130}, r'model\.width=130 .*set model\.head_dim'),
    ({'model__kv_heads': 3}, r'model\.kv_heads=3 must divide'),
    ({'model__dtype': 'float16'}, r"model\.dtype='float16' is not one of"),
  ],
)  # fmt: skip
def test_a_value_out_of_range_is_named_with_what_is_allowed(change, message):
  with pytest.raises(ValueError, match=message):
    config.check(of(**change))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'train__lerning_rate': 1.0}, r'mean train\.learning_rate\?'),
    ({'model__heds': 2}, r'config\.model\.heds .*mean model\.heads\?'),
    ({'trian': {'steps': 2}}, r'config\.trian is not a field.*mean train\?'),
    ({'zebra': 2}, r'config\.zebra is not a field\. Known: .*eval,.* mesh'),
  ],
)
def test_a_wrong_key_is_answered_with_the_closest_right_one(change, message):
  with pytest.raises(ValueError, match=message):
    config.check(of(**change))


def test_methods_and_variants_may_have_any_keys():
  rope = {'name': 'rope', 'theta': 1e4}
  config.check(of(methods={'mine': rope}, variants={'other': rope}))
  config.check(of(position=rope))
  config.check(of(tune={'mine': {'position': rope, 'train': {'steps': 1}}}))


ROPE = {'name': 'rope', 'theta': 1e4}


def test_fingerprint_changes_with_any_value():
  base = of(position=ROPE)
  same = config.fingerprint(base)
  changes = (
    {'train__seed': 1},
    {'model__qk_norm': True},
    {'eval__lengths': (128,)},
    {'position': {**ROPE, 'theta': 10000.5}},
    {'position': (ROPE, ROPE)},
    {'name': 'other'},
  )
  found = {config.fingerprint(of(**{'position': ROPE, **c})) for c in changes}
  assert len(found | {same}) == len(changes) + 1


def test_fingerprint_is_by_value():
  """Not by key order, nor by how a number or a sequence is written."""
  a = {'x': 1e4, 'y': (1, 2), 'z': {'k': 0.5}}
  b = {'z': config_dict.ConfigDict({'k': 0.5}), 'y': [1, 2.0], 'x': 10000}
  assert config.fingerprint(a) == config.fingerprint(b)
  assert config.fingerprint({'x': True}) != config.fingerprint({'x': 1})


def test_fingerprint_leaves_out_what_it_is_told_to():
  a, b = of(train__log_every=1), of(train__log_every=2)
  out = ('train.log_every', 'no.such.key')
  assert config.fingerprint(a) != config.fingerprint(b)
  assert config.fingerprint(a, out) == config.fingerprint(b, out)
  assert a.train.log_every == 1  # The configuration itself is left alone.


def test_a_layout_comes_from_one_spec_or_from_a_tuple_of_them():
  rope, nope = (positions.build(s) for s in (ROPE, {'name': 'nope'}))
  assert config.layout(of(position=ROPE)) == (rope,)
  assert config.layout(of(position=(ROPE, {'name': 'nope'}))) == (rope, nope)
  inner = config_dict.ConfigDict(ROPE)
  assert config.layout(of(position=[inner, inner])) == (rope, rope)
  both = {'name': 'compose', 'parts': [ROPE, {'name': 'alibi'}]}
  (composed,) = config.layout(of(position=both))
  assert [type(p).__name__ for p in composed.parts] == ['Rope', 'Alibi']


def test_no_position_is_refused_with_the_methods_there_are():
  with pytest.raises(ValueError, match=r'config\.position is empty.*yarn'):
    config.layout(config.default())


def test_the_models_fields_are_those_of_its_config():
  fields = {f.name for f in dataclasses.fields(model.ModelConfig)}
  assert set(config.default().model) == fields - {'vocab'}


FLAGS = """
from absl import app
from ml_collections import config_flags
from rope_jax import config
flag = config_flags.DEFINE_config_file('config')
def main(_):
  try:
    print(config.layout(flag.value))
  except ValueError as error:
    print(error)
app.run(main)
"""


def test_a_name_changed_alone_on_the_command_line_is_refused_with_help(
  tmp_path,
):
  """config_flags leaves the old method's fields in place."""
  (tmp_path / 'main.py').write_text(FLAGS)
  (tmp_path / 'mine.py').write_text(
    'from rope_jax import config\n'
    'def get_config():\n'
    '  c = config.default()\n'
    "  c.position = {'name': 'rope', 'theta': 1e4, 'factor': None}\n"
    '  return c\n'
  )

  def run(*flags):
    command = [sys.executable, tmp_path / 'main.py']
    command += [f'--config={tmp_path}/mine.py', *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout

  alone = run('--config.position.name=alibi')
  assert "'alibi' has no theta" in alone
  assert 'set those to None' in alone
