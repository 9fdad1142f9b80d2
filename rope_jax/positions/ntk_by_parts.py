"""NTK-by-parts: slows slow pairs and keeps fast ones; YaRN's frequencies."""

import dataclasses
import math

import numpy as np

from rope_jax.positions import base, rope, yarn

VARIANTS = ('paper', 'original')


@dataclasses.dataclass(frozen=True, kw_only=True)
class NtkByParts(rope.Rope):
  """NTK-by-parts interpolation, the paper's or the one first published.

  'paper':    f'_k = (1 - g_k) f_k / factor + g_k f_k
  'original': f'_k = (1 - g_k) ((1 - h_k) f_k / factor + h_k n_k) + g_k f_k

  'paper' is YaRN with the paper's ramp and no temperature: g_k is linear in
  the pair's rotations in train_len, from 0 at beta_slow to 1 at beta_fast.

  'original' blends three methods: h_k leads from linear interpolation to
  NTK-aware scaling (n_k, of the base theta factor^(r / (r - 2))), and g_k on
  to the unscaled pairs. Both are linear in the pair's index between the pairs
  that make beta_1 and beta_0, gamma_1 and gamma_0 rotations in train_len,
  rounded outwards. It is another method of the same name.

  Args:
    factor: requested length / train_len, >= 1.
    train_len: tokens the model was trained at, > 0.
    variant: 'paper' or 'original'.
    beta_fast: 'paper': rotations from which a pair is kept.
    beta_slow: 'paper': rotations up to which a pair is fully interpolated.
    beta_0: 'original': rotations from which NTK-aware scaling is reached.
    beta_1: 'original': rotations up to which a pair is fully interpolated.
    gamma_0: 'original': rotations from which a pair is kept.
    gamma_1: 'original': rotations up to which nothing unscaled is mixed in.

  Example:
    >>> method = NtkByParts(theta=1e4, factor=4.0, train_len=2048)
    >>> ratio = rope.series(1e4, 128) / method.frequencies(128)[0]
    >>> ratio[[0, 30, 63]].round(3).tolist()
    [1.0, 3.021, 4.0]

  Source: Peng et al. 2023, arXiv:2309.00071, definition 2;
    'original': jquesnelle/yarn, `LlamaPartNTKScaledRotaryEmbedding`.

  Differs: where the lower end of a ramp of 'original' lies above its upper one
    (train_len of few tokens), the original inverts the ramp; here it is a step.
  """

  factor: float
  train_len: int
  variant: str = 'paper'
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  beta_0: float = 1.25
  beta_1: float = 0.75
  gamma_0: float = 16.0
  gamma_1: float = 2.0

  def __post_init__(self):
    super().__post_init__()
    base.require(self, 'factor', 1 <= self.factor < math.inf, 'a number >= 1')
    base.require(self, 'train_len', self.train_len > 0, 'a number of tokens')
    base.require(
      self, 'variant', self.variant in VARIANTS, f'one of {VARIANTS}'
    )
    for fast, slow in (
      ('beta_fast', 'beta_slow'),
      ('beta_0', 'beta_1'),
      ('gamma_0', 'gamma_1'),
    ):
      least = getattr(self, slow)
      base.require(self, slow, least > 0, 'a number of rotations > 0')
      base.require(
        self, fast, getattr(self, fast) > least, f'above {slow}={least:g}'
      )

  def _ramp(self, rotary_dim: int, fast: float, slow: float) -> np.ndarray:
    """1 from `fast` rotations on, 0 up to `slow`, as the variant has it."""
    ramp = 'paper' if self.variant == 'paper' else 'code'
    return yarn.Yarn(
      theta=self.theta,
      factor=self.factor,
      train_len=self.train_len,
      ramp=ramp,
      beta_fast=fast,
      beta_slow=slow,
    )._kept(rotary_dim)

  def _scaled(self, rotary_dim, context_len):
    frequency = self._series(rotary_dim)
    slowed = frequency / self.factor
    if self.variant == 'paper':
      kept = self._ramp(rotary_dim, self.beta_fast, self.beta_slow)
    else:
      theta = rope.ntk_theta(self.theta, self.factor, rotary_dim)
      mixed = self._ramp(rotary_dim, self.beta_0, self.beta_1)
      slowed = slowed * (1 - mixed) + rope.series(theta, rotary_dim) * mixed
      kept = self._ramp(rotary_dim, self.gamma_0, self.gamma_1)
    return slowed * (1 - kept) + frequency * kept, 1.0
