"""Which positional method is best at the trained length, and which beyond it?

Trains every method that ships under one loop, reads plain RoPE's weights again
under every scaling (by the factor of the longest length) and re-mapping, and
ranks them all at every length. With a method's name after the colon, that
method alone.

Command: python -m experiments.study --config=configs/zoo.py:tiny \
  --workdir=runs/zoo-tiny
  python -m experiments.study --config=configs/zoo.py:fire,tiny \
  --workdir=runs/fire-tiny
  python -m experiments.train --config=configs/zoo.py:fire --workdir=runs/fire
  Without tiny the model of configs/base.py (12 layers, 512 tokens, PG-19), on
  accelerators. More seeds: --config.seeds='(0,1,2)'.
Time: tiny, 48 minutes on 2 CPU cores that other work shared.
Result (tiny: 200 steps, seed 0, bits per byte by last(64), errors about 0.055
  at a length and 0.02 to 0.06 between methods): at the trained length sandwich
  2.38 and Transformer-XL 2.41 lead, RoPE has 2.46, ALiBi 2.82, T5 2.76,
  sinusoidal 3.19, NoPE 3.37. At 8x sandwich (2.40), Transformer-XL (2.41) and
  kerple-power (2.43) hold and cannot be told apart. RoPE rises to 4.04; what
  re-maps its positions or hides the far keys mends 97 to 100 % of that
  (lm_infinite 2.465, streaming 2.466, ReRoPE with log-n 2.471, dual-chunk 2.50,
  Self-Extend 2.51), scaling its frequencies without fine-tuning at most 70 %
  (YaRN 2.94, NTK 3.85). PoSE trains rows of 128 to read 1024 at 2.54. A larger
  theta (4.48), learned frequencies (4.21) and SSMax (4.18) are worse than plain
  RoPE, random offsets change nothing. So short a training favours methods that
  need not learn where things are: T5's table has 2.11 after twice the steps
  (configs/quickstart.py).
"""

from typing import Any

from configs import base, quickstart
from rope_jax import positions

THETA = 1e4
# Trained positions, temperatures and windows encode no position by themselves.
ON_ROPE = (
  'local',
  'log_n',
  'log_temperature',
  'pose',
  'random_offset',
  'randomized',
  'ssmax',
)
# Read under the trained RoPE's weights in the sweep, rather than trained.
READ = (
  'dual_chunk',
  'dynamic_ntk',
  'dynamic_yarn',
  'leaky_rerope',
  'linear',
  'llama3',
  'lm_infinite',
  'log_n',
  'ntk',
  'ntk_by_parts',
  'rerope',
  'self_extend',
  'streaming',
  'yarn',
)
# In the sweep under another name or not at all: windows and Llama 4's
# temperature are what the two layouts are made of; LongRoPE's factors come from
# a search; log_temperature is a law to be fitted.
APART = ('llama4_temperature', 'local', 'log_temperature', 'longrope')


def get_config(which: str = '') -> Any:
  """The sweep, or one method of it.

  Args:
    which: '' or 'all' for the sweep, a method's name for that alone; ',tiny'
      after it, or 'tiny' alone, for the size that a laptop trains.
  """
  name, _, size = which.partition(',')
  if name == 'tiny':
    name, size = '', 'tiny'
  config = quickstart.sized(size, base.get_config)
  if size:
    config.train.update(steps=200, warmup=20, checkpoint_every=200)
    config.eval.update(lengths=(128, 256, 512, 1024), span=1024)
  train_len, longest = config.train.train_len, max(config.eval.lengths)
  every = specs(train_len, longest, config.model.width // config.model.heads)
  config.name = f'zoo {which}'.strip()
  if name in ('', 'all'):
    config.methods = {
      m: s for m, s in every.items() if m not in (*READ, *APART)
    }
    config.variants = {m: every[m] for m in READ} | {
      'yarn-paper': every['yarn'] | {'ramp': 'paper'},
      'dynamic_ntk-qwen': every['dynamic_ntk'] | {'variant': 'qwen'},
      'yarn_log_n': _and(every['yarn'], {'name': 'log_n'}),
      'rerope_log_n': _and(every['rerope'], {'name': 'log_n'}),
    }
    config.variants_of = ('rope',)
    config.position = None
  elif name in every:
    config.methods = {name: every[name]}
    del config.position
    config.position = every[name]
  else:
    raise ValueError(
      f'zoo:{which}: {name!r} is no method; known: {", ".join(every)}.'
    )
  return config


def _and(*parts: Any) -> dict[str, Any]:
  return {'name': 'compose', 'parts': parts}


def specs(train_len: int, longest: int, head_dim: int) -> dict[str, Any]:
  """A spec, or a layout of them, for every method, by the lengths of a study.

  Re-mappings keep distances below train_len up to the longest length.
  """
  factor, half = longest / train_len, train_len // 2
  rope = {'name': 'rope', 'theta': THETA}
  scaled = {'theta': THETA, 'factor': factor}
  window = {'theta': THETA, 'window': half}
  pairs = head_dim // 2
  slower = [factor ** (k / (pairs - 1)) for k in range(pairs)]
  fields: dict[str, dict[str, Any]] = {
    'alibi': {},
    'deberta': {'span': train_len},
    'dual_chunk': {
      'theta': THETA,
      'chunk': 3 * train_len // 4,
      'local': train_len // 8,
    },
    'dynamic_ntk': {'theta': THETA, 'train_len': train_len},
    'dynamic_yarn': {'theta': THETA, 'train_len': train_len},
    'fire': {'threshold': float(train_len)},
    'free_rope': {
      'frequency': [THETA ** (-k / pairs) for k in range(pairs)],
      'learned': True,
    },
    'kerple': {},
    'learned': {'train_len': train_len},
    'leaky_rerope': {**window, 'factor': 2 * factor},
    'linear': scaled,
    'llama3': {
      **scaled,
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      'train_len': train_len,
    },
    'llama4_temperature': {'floor_scale': train_len},
    'lm_infinite': {'theta': THETA, 'window': train_len},
    'local': {'window': half},
    'log_n': {'train_len': train_len},
    'log_temperature': {'slope': 0.1, 'train_len': train_len},
    'longrope': {
      'theta': THETA,
      'short_factor': [1.0] * pairs,
      'long_factor': slower,
      'train_len': train_len,
      'factor': factor,
    },
    'nope': {},
    'ntk': scaled,
    'ntk_by_parts': {**scaled, 'train_len': train_len},
    'p_rope': {'theta': THETA, 'fraction': 0.75},
    'pose': {'train_len': train_len, 'target_len': longest},
    'random_offset': {'max_offset': longest - train_len},
    'randomized': {'max_len': longest},
    'rerope': window,
    'rope': {'theta': THETA},
    'sandwich': {},
    'self_extend': {**window, 'group': 2 * round(factor)},
    'shaw': {'max_distance': half},
    'sinusoidal': {},
    'ssmax': {},
    'streaming': {'theta': THETA, 'window': train_len - 4},
    't5': {'max_distance': train_len},
    'transformer_xl': {},
    'xpos': {'theta': THETA},
    'yarn': {**scaled, 'train_len': train_len},
  }
  found: dict[str, Any] = {}
  for name in positions.names():
    one = {'name': name, **fields.get(name, {})}
    found[name] = _and(rope, one) if name in ON_ROPE else one
  found['kerple-power'] = {'name': 'kerple', 'variant': 'power'}
  found['rope-5e5'] = {'name': 'rope', 'theta': 5e5}
  found['irope'] = positions.irope(
    rotary=rope, chunk=half, floor_scale=train_len, period=2
  )
  found['local_global'] = positions.local_global(
    near=rope, far={'name': 'rope', 'theta': 5e5}, window=half, period=2
  )
  return found
