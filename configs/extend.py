"""How far does a model of mine read beyond its length, and what takes it on?

For any model: the workdir of a training, a Hugging Face folder, a .gguf file or
a package, read as it was trained and under schemes that need no training, at 1,
2 and 4 times the length that it was trained at. Windows of the schemes are
shares of that length, so nothing has to be fitted to the model but, for texts
of your own, `data`.

Command: python -m experiments.extend --config=configs/extend.py
  --config.start=MODEL --workdir=runs/mine
  Texts of your own, *.txt in a folder: --config.data.name=folder
  --config.data.path=FOLDER. Other lengths: --config.eval.lengths='(512,2048)'.
  Fewer documents: --config.eval.documents=1. One scheme alone:
  --config.full=False --config.quick.variants="('yarn',)".
Result: that of the model it is run on.
Time: one pass over documents x longest length for the model as trained and for
  each of the ten schemes; SmolLM2 takes 2.5 minutes for 16,384 tokens on 2 CPU
  cores.
"""

from typing import Any

from rope_jax import config as config_lib


def get_config() -> Any:
  """The extension of config.start."""
  config = config_lib.default()
  config.name = 'extend'
  config.data.update(name='sotu', eval_split='test')
  config.mesh.update(data=1, seq=-1)
  config.eval.update(
    lengths=(),  # 1, 2 and 4 times the trained one.
    documents=4,
    protocols=('last(64)', 'prefix'),
  )
  yarn = {'name': 'yarn', 'factor': 'auto'}
  rerope = {'name': 'rerope', 'window': '0.5x'}
  log_n = {'name': 'log_n'}
  config.variants = {
    'linear': {'name': 'linear', 'factor': 'auto'},
    'ntk': {'name': 'ntk', 'factor': 'auto'},
    'dynamic_ntk': {'name': 'dynamic_ntk'},
    'yarn': yarn,
    'llama3': {
      'name': 'llama3',
      'factor': 'auto',
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
    },
    'rerope': rerope,
    # (4 - 0.5) / 8 of the length beyond the window, and 0.5 within it.
    'self_extend': {'name': 'self_extend', 'group': 8, 'window': '0.5x'},
    'dual_chunk': {'name': 'dual_chunk', 'chunk': '0.75x', 'local': '0.125x'},
    'streaming': {'name': 'streaming', 'sinks': 4, 'window': '0.75x'},
    'yarn+log_n': {'name': 'compose', 'parts': [yarn, log_n]},
  }
  return config
