"""Speed, memory and error, measured: the suites of `experiments.bench`."""

from rope_jax.bench import attention, phases, train

SUITES = {'attention': attention, 'phases': phases, 'train': train}
