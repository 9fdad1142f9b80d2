"""Many spectra of one model, measured by one compiled function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from rope_jax import model as model_lib
from rope_jax import positions
from rope_jax.evaluate import nll, variants
from rope_jax.positions import Layout
from rope_jax.positions.rope import Rope


@functools.partial(jax.jit, static_argnums=(0, 1))
def compiled(config, layout, weights, spectra, inputs_bt, targets_bt):
  """Nats [p, b, t] of targets under each of p spectra."""

  def one(own):
    tree = {**weights, 'position': {**weights.get('position', {}), **own}}
    return model_lib.losses(config, layout, tree, inputs_bt, targets_bt)

  return jax.vmap(one)(spectra)


class Spectra:
  """Windows of one length, read by a model under many spectra.

  Args:
    config: the model's shape.
    layout: its methods; plain RoPE among them is what spectra replace.
    weights: its weights, shared by all spectra.
    windows_bt: int32 [b, t + 1] token ids.
    train_len: tokens the model was trained at.
    at_once: spectra in one call; memory grows with it.

  Raises:
    ValueError: no windows; ids outside of the vocabulary; no layer with plain
      RoPE.
  """

  def __init__(
    self,
    config: model_lib.ModelConfig,
    layout: Layout,
    weights: Any,
    windows_bt: np.ndarray,
    *,
    train_len: int,
    at_once: int = 4,
  ):
    windows_bt = np.asarray(windows_bt)
    if windows_bt.ndim != 2 or not windows_bt.size or windows_bt.shape[1] < 2:
      raise ValueError(
        f'windows of shape {windows_bt.shape} must be [b, t + 1] token ids, '
        'with at least one row and two tokens a row.'
      )
    whole = np.issubdtype(windows_bt.dtype, np.integer)
    if (
      not whole or not 0 <= windows_bt.min() <= windows_bt.max() < config.vocab
    ):
      raise ValueError(
        f'windows: ids must be integers in [0, {config.vocab}); got '
        f'{windows_bt.dtype} in [{windows_bt.min()}, {windows_bt.max()}].'
      )
    if at_once < 1:
      raise ValueError(f'at_once={at_once} must be >= 1 spectra in a call.')
    plain = [p for p in layout if type(p) is Rope]
    if not plain:
      names = ', '.join(type(p).__name__ for p in layout)
      raise ValueError(
        f'no layer of {names} has plain RoPE alone, whose spectrum could be '
        'replaced; give a model with rope layers.'
      )
    pairs = {p.pairs(config.head_dim) for p in plain}
    if len(pairs) > 1:
      raise ValueError(
        f'the rope layers turn {sorted(pairs)} pairs; one spectrum for all '
        'needs as many in each.'
      )
    self.config, self.layout, self.weights = config, layout, weights
    self.plain, self.pairs, self.at_once = plain[0], pairs.pop(), at_once
    self.length = windows_bt.shape[1] - 1
    self.train_len = train_len
    self._inputs = windows_bt[:, :-1].astype(np.int32)
    self._targets = windows_bt[:, 1:].astype(np.int32)

  def under(self, spec: dict[str, Any]) -> Layout:
    """The layout with a spec in place of plain RoPE, at this length."""
    lengths = {'train_len': self.train_len, 'eval_len': self.length}
    return tuple(
      variants.resolve(spec, p, **lengths) if type(p) is Rope else p
      for p in self.layout
    )

  def measure(
    self,
    layouts: Sequence[Layout],
    amplitudes: Sequence[float] | None = None,
    progress: Callable[[int], None] | None = None,
  ) -> np.ndarray:
    """Mean nats per token of each layout: float64 [p].

    Args:
      layouts: as `under` makes them.
      amplitudes: replace those of the layouts, one for each.
      progress: called with the number of spectra of each call that has ended.

    Raises:
      ValueError: a spec that turns by more than its spectrum.
    """
    own, traced = [], None
    for index, layout in enumerate(layouts):
      nll.check_reach(layout, self.length)
      given = {'position': self.weights.get('position', {})}
      traced, tree = nll.traced_layout(self.config, layout, given, self.length)
      spectra = {}
      for slot, position in enumerate(self.layout):
        if type(position) is not Rope:
          continue
        spectra[f'{slot}.0'] = tree.get('position', {}).get(f'{slot}.0')
        if spectra[f'{slot}.0'] is None:
          raise ValueError(
            f'{positions.spec(layout[slot])["name"]} does more than turn by a '
            'spectrum, so that it cannot be measured with others; give one '
            'such as linear, ntk, yarn or longrope.'
          )
        if amplitudes is not None:
          spectra[f'{slot}.0'] |= {'amplitude': np.float32(amplitudes[index])}
      own.append(spectra)
    found = []
    for first in range(0, len(own), self.at_once):
      part = own[first : first + self.at_once]
      filled = part + part[:1] * (self.at_once - len(part))
      stacked = jax.tree.map(lambda *x: np.stack(x), *filled)
      nats_pbt = compiled(
        self.config, traced, self.weights, stacked, self._inputs, self._targets
      )
      means = np.asarray(nats_pbt, np.float64).mean(axis=(1, 2))
      found.append(means[: len(part)])
      if progress:
        progress(len(part))
    return np.concatenate(found) if found else np.zeros(0)
