"""Keeps TFDS from writing to the terminal."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Silences TFDS's progress bars and notices for a while."""
  from absl import logging
  from tensorflow_datasets.core.utils import tqdm_utils

  verbosity, active = logging.get_verbosity(), tqdm_utils._active
  logging.set_verbosity(logging.ERROR)
  tqdm_utils.display_progress_bar(False)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
    tqdm_utils.display_progress_bar(active)
