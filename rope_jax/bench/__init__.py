"""Speed, memory and error, measured: the suites of `experiments.bench`."""

from rope_jax.bench import attention, phases, spectrum, train

SUITES = {
  'attention': attention,
  'phases': phases,
  'spectrum': spectrum,
  'train': train,
}
