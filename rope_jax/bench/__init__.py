"""Speed, memory and error, measured: the suites of `experiments.bench`."""

from rope_jax.bench import attention, extend, phases, spectrum, train

SUITES = {
  'attention': attention,
  'extend': extend,
  'phases': phases,
  'spectrum': spectrum,
  'train': train,
}
