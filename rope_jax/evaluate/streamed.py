"""Losses of long windows, read in chunks of constant memory."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from rope_jax import mesh as meshes
from rope_jax import model as model_lib
from rope_jax.evaluate import nll as nll_lib
from rope_jax.positions import Layout

CHUNK = 2048  # Tokens that are read at a time.


# On CPU XLA hands sums and maxima to a library that leaves something behind for
# the other threads at every turn of a loop. Where each core is a device they
# are busy until the program ends: gigabytes, for readers of so many tokens.
# Products do it too, at a third of the memory, but are slower by other ways.
LEAN_FROM = 32768
_LEAN = {
  'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT'
}


@functools.cache
def _step(lean: bool) -> Any:
  """The program of a chunk."""

  def step(config, layout, weights, stream, tokens, targets, *, length, mesh):
    return model_lib.stream_losses(
      config, layout, weights, stream, tokens, targets, length=length, mesh=mesh
    )

  return jax.jit(
    step,
    static_argnames=('config', 'layout', 'mesh'),
    donate_argnums=3,
    compiler_options=_LEAN if lean else None,
  )


class Reader:
  """Reads windows of up to `size` tokens through one cache, chunk by chunk.

  Equal to `windows_nll`, for windows whose keys and values fit where their
  activations would not. One program serves every length and, for methods that
  turn by their frequencies alone, every spectrum. On a mesh the tokens of the
  cache lie over the axis 'seq', and its rows over 'data' and 'fsdp'.

  Args:
    config: the model's shape.
    weights: its weights, on their mesh.
    size: tokens of the longest window.
    rows: windows that are read at a time.
    chunk: tokens that are read at a time; 0 is `CHUNK`, or `size` if less.
    cache_dtype: of keys and values that are kept: 'float32', 'bfloat16', or ''
      for that of the model.

  Raises:
    ValueError: rows or a chunk that the mesh does not divide, or another dtype.
  """

  def __init__(
    self,
    config: model_lib.ModelConfig,
    weights: Any,
    size: int,
    *,
    rows: int = 1,
    chunk: int = 0,
    cache_dtype: str = '',
  ):
    if cache_dtype not in ('', 'float32', 'bfloat16'):
      raise ValueError(
        f'cache_dtype={cache_dtype!r} must be float32, bfloat16, or empty for '
        'that of the model.'
      )
    self._config, self._weights = config, weights
    self._mesh: Mesh = nll_lib.mesh_of(weights['embed'])
    on_cpu = self._mesh.devices.flat[0].platform == 'cpu'
    self._step = _step(on_cpu and size >= LEAN_FROM)
    ways = dict(self._mesh.shape).get('seq', 1)
    self.chunk = chunk or min(CHUNK, -(-size // ways) * ways)
    self._size, self._rows = size, rows
    self._empty = functools.partial(
      model_lib.empty_stream,
      config,
      rows,
      size,
      chunk=self.chunk,
      mesh=self._mesh,
      dtype=cache_dtype,
    )
    self._stream: model_lib.Stream | None = None
    self._place = meshes.batch_sharding(self._mesh)

  def read(
    self,
    layout: Layout,
    windows_bt: np.ndarray,
    *,
    tell: Callable[[int], None] | None = None,
  ) -> np.ndarray:
    """Nats of each token of each window given those before it in the window.

    Args:
      layout: the methods to read it under.
      windows_bt: int32 [rows, t + 1] token ids, t <= size.
      tell: called with the tokens read of each window, after every chunk.

    Returns:
      float32 [rows, t], as `windows_nll`.

    Raises:
      ValueError: windows of another shape, longer than `size`, or with ids that
        the model does not have; a method that ends before it.
    """
    windows_bt = np.asarray(windows_bt)
    self._check_ids(windows_bt)
    length = windows_bt.shape[1] - 1
    if not 1 <= length <= self._size:
      raise ValueError(
        f'a window of {length} tokens for a reader of up to {self._size}; make '
        'the reader larger or the window shorter.'
      )
    nll_lib.check_reach(layout, length)
    layout, weights = nll_lib.traced_layout(
      self._config, layout, self._weights, length
    )
    stream = self._rewound()
    pad = -length % self.chunk
    padded = np.pad(windows_bt, [(0, 0), (0, pad)])
    found = []
    for first in range(0, length, self.chunk):
      self._stream = None  # Its memory is given away.
      now = padded[:, first : first + self.chunk + 1]
      nll, stream = self._chunk(layout, weights, stream, now, length)
      found.append(np.asarray(nll))
      if tell:
        tell(min(first + self.chunk, length))
    losses = np.concatenate(found, axis=1)
    # A key or value that is no number would spoil what is read after it, even
    # where it is masked: 0 times NaN is NaN.
    self._stream = stream if np.isfinite(losses).all() else None
    return losses[:, :length]

  def _chunk(self, layout, weights, stream, windows_bt, length):
    """The losses of the next chunk, and the stream after it."""
    windows_bt = windows_bt.astype(np.int32)
    tokens, targets = (
      jax.device_put(part, self._place)
      for part in (windows_bt[:, :-1], windows_bt[:, 1:])
    )
    return self._step(
      self._config,
      layout,
      weights,
      stream,
      tokens,
      targets,
      length=np.int32(length),
      mesh=self._mesh,
    )

  def _check_ids(self, windows_bt: np.ndarray) -> None:
    vocab = self._config.vocab
    whole = np.issubdtype(windows_bt.dtype, np.integer)
    if windows_bt.ndim != 2 or len(windows_bt) != self._rows or not whole:
      raise ValueError(
        f'windows are {windows_bt.dtype} {windows_bt.shape}; give integers '
        f'[{self._rows}, tokens + 1], as many rows as the reader was made for.'
      )
    if (
      windows_bt.size and not 0 <= windows_bt.min() <= windows_bt.max() < vocab
    ):
      raise ValueError(
        f'windows have ids from {windows_bt.min()} to {windows_bt.max()}, and '
        f'the model those from 0 to {vocab - 1}: take its own tokenizer.'
      )

  def _rewound(self) -> model_lib.Stream:
    """An empty stream, in the memory of the last one."""
    if self._stream is None:
      return self._empty()
    return self._stream.rewound()

  def rehearse(self, layout: Layout) -> None:
    """Works off the last chunk of a text of `size` tokens, as if all before it
    had been read.

    The process's memory then is what the whole text will take, and the time
    that of its slowest chunk.
    """
    layout, weights = nll_lib.traced_layout(
      self._config, layout, self._weights, self._size
    )
    stream = self._rewound()
    self._stream = None
    read = stream.size - self.chunk
    count = jax.device_put(np.int32(read), stream.count.sharding)
    stream = dataclasses.replace(stream, count=count)
    nothing = np.zeros((self._rows, self.chunk + 1))
    _, stream = self._chunk(layout, weights, stream, nothing, self._size)
    self._stream = jax.block_until_ready(stream)

  def lowered(self, layout: Layout) -> Any:
    """The program of a chunk, lowered: `.compile().memory_analysis()` says what
    it takes, without a token read."""
    layout, weights = nll_lib.traced_layout(
      self._config, layout, self._weights, self._size
    )
    stream = jax.eval_shape(self._empty)
    tokens = jax.ShapeDtypeStruct(
      (stream.k_lbskh.shape[1], self.chunk), np.int32, sharding=self._place
    )
    return self._step.lower(
      self._config,
      layout,
      weights,
      stream,
      tokens,
      tokens,
      length=np.int32(self._size),
      mesh=self._mesh,
    )
