"""Settings of every test: eight fake CPU devices, strict shapes, no cache."""

import json
import os
import pathlib

# Before jax starts. pytest also reads this file for the doctests of rope_jax,
# since `tests` is among the testpaths.
_FLAGS = (
  '--xla_force_host_platform_device_count=8',
  # Tiny programs: compiling them is most of the time.
  '--xla_backend_optimization_level=0',
)
for _flag in _FLAGS:
  if _flag not in os.environ.get('XLA_FLAGS', ''):
    os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {_flag}'
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.pop('JAX_COMPILATION_CACHE_DIR', None)  # A test never trusts one.

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')

# The same examples in every run, and none kept on disk.
hypothesis.settings.register_profile(
  'repository', deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile('repository')


def pytest_addoption(parser: pytest.Parser) -> None:
  parser.addoption(
    '--spec', help='contract_test.py: the method to test, as JSON'
  )


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
  """Random numbers that depend on the test's name alone."""
  return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture(scope='session')
def golden() -> dict:
  """Reference vectors; `tests/golden/make_golden.py` writes them."""
  path = pathlib.Path(__file__).parent / 'golden' / 'golden.json'
  return json.loads(path.read_text(encoding='utf-8'))
