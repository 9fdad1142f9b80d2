"""Closed forms for what a base can reach."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from rope_jax.spectrum import spectra
from rope_jax.spectrum.violation import PAPER_BASES as PAPER_BASES
from rope_jax.spectrum.violation import SU_BASES as SU_BASES
from rope_jax.spectrum.violation import first_violation as first_violation
from rope_jax.spectrum.violation import published as published

# The first zero of the cosine integral Ci.
CI_ZERO = 0.6165054856207162


def critical_dimension(theta: float, head_dim: int, train_len: int) -> int:
  """How many coordinates of a head make a whole turn in training.

  d_extra = 2 ceil(d / 2 log_theta(train_len / 2 pi)), within [0, d]

  Args:
    theta: base, > 1.
    head_dim: d, even, >= 2.
    train_len: tokens, >= 1.

  Raises:
    ValueError: an argument out of range.

  Example:
    >>> critical_dimension(1e4, 128, 4096)  # LLaMA-2: 36 see part of a turn.
    92

  Source: Liu et al. 2023, arXiv:2310.05209; OpenLMLab/scaling-rope,
    README, eq. 13.
  Differs: the paper has no bounds; short windows would give less than 0 and
    small bases more than d.
  """
  _base('theta', theta)
  spectra.check_head_dim(head_dim)
  _tokens('train_len', train_len)
  share = math.log(train_len / math.tau) / math.log(theta)
  return 2 * min(max(math.ceil(head_dim / 2 * share), 0), head_dim // 2)


def extrapolation_limit(
  theta: float, head_dim: int, critical_dim: int
) -> float:
  """The length up to which a model tuned with a larger base extrapolates.

  T_extra = 2 pi theta^(d_extra / d): the wavelength, under the new base, of the
  first pair that made no whole turn in pre-training

  Args:
    theta: base it is tuned with, > 1.
    head_dim: d, even, >= 2.
    critical_dim: d_extra of its pre-training, with the base of that; even.

  Returns:
    Tokens.

  Raises:
    ValueError: an argument out of range.

  Example:
    >>> round(extrapolation_limit(1e6, 128, 92))  # LLaMA-2 tuned with 1e6.
    129027

  Source: Liu et al. 2023, arXiv:2310.05209; OpenLMLab/scaling-rope,
    README, eq. 16b.
  """
  _base('theta', theta)
  _critical(critical_dim, head_dim)
  return math.tau * theta ** (critical_dim / head_dim)


def extrapolation_base(
  target_len: int, head_dim: int, critical_dim: int
) -> float:
  """The base whose extrapolation limit is a length.

  theta = (target_len / 2 pi)^(d / d_extra)

  Args:
    target_len: tokens, >= 7.
    head_dim: d, even, >= 2.
    critical_dim: d_extra of the pre-training, even, >= 2.

  Raises:
    ValueError: an argument out of range.

  Example:
    >>> f'{extrapolation_base(131072, 128, 92):.4g}'
    '1.022e+06'

  Source: Liu et al. 2023, arXiv:2310.05209; OpenLMLab/scaling-rope,
    README, eq. 16b, solved for the base.
  """
  _tokens('target_len', target_len, least=7)
  _critical(critical_dim, head_dim)
  return (target_len / math.tau) ** (head_dim / critical_dim)


def critical_base(theta: float, train_len: int, tune_len: int) -> float:
  """The base above which tuning on longer texts trains no further pair.

  theta_0 = theta^(log(tune_len / 2 pi) / log(train_len / 2 pi))

  Args:
    theta: base of the pre-training, > 1.
    train_len: tokens of it, >= 7.
    tune_len: tokens of the texts it is tuned on, >= train_len.

  Raises:
    ValueError: an argument out of range.

  Example:
    >>> round(critical_base(1e4, 4096, 16384))
    71738

  Source: Liu et al. 2023, arXiv:2310.05209; OpenLMLab/scaling-rope,
    README, eq. 16a.
  """
  _base('theta', theta)
  _tokens('train_len', train_len, least=7)
  _tokens('tune_len', tune_len)
  if tune_len < train_len:
    raise ValueError(
      f'tune_len={tune_len} is below train_len={train_len}; the law is for '
      'texts at least as long as in pre-training.'
    )
  power = math.log(tune_len / math.tau) / math.log(train_len / math.tau)
  return theta**power


@dataclasses.dataclass(frozen=True)
class Tuned:
  """What tuning does to a model's reach.

  Attributes:
    limit: the length it extrapolates to, tokens.
    critical_dim: coordinates that have made a whole turn afterwards.
    critical_base: the base that parts the two cases.
  """

  limit: float
  critical_dim: int
  critical_base: float


def tuned(
  theta: float,
  head_dim: int,
  train_len: int,
  tune_theta: float,
  tune_len: int | None = None,
) -> Tuned:
  """The scaling law for a model tuned with another base, on longer texts.

  Above the critical base: 2 pi tune_theta^(d_extra / d), d_extra as before. At
  or below it: tune_len, and d_extra grows to that of tune_theta and tune_len.

  Args:
    theta: base of the pre-training, > 1.
    head_dim: even, >= 2.
    train_len: tokens of the pre-training, >= 7.
    tune_theta: base of the tuning, > 1.
    tune_len: tokens of the tuning, >= train_len; None is train_len.

  Raises:
    ValueError: an argument out of range.

  Example:
    >>> tuned(1e4, 128, 4096, 1e6, 16384).limit  # Above 71738.
    129026.78...
    >>> tuned(1e4, 128, 4096, 500, 16384)  # Below: every pair turns.
    Tuned(limit=16384.0, critical_dim=128, critical_base=71738.43...)

  Source: Liu et al. 2023, arXiv:2310.05209; OpenLMLab/scaling-rope,
    README, eq. 16. Bases far below the critical one, those of `small_bases`,
    reach beyond tune_len too, with a loss that rises slowly.
  """
  tune_len = train_len if tune_len is None else tune_len
  _base('tune_theta', tune_theta)
  before = critical_dimension(theta, head_dim, train_len)
  edge = critical_base(theta, train_len, tune_len)
  if tune_theta > edge:
    limit = extrapolation_limit(tune_theta, head_dim, before)
    return Tuned(limit, before, edge)
  after = critical_dimension(tune_theta, head_dim, tune_len)
  return Tuned(float(tune_len), after, edge)


def small_bases(train_len: int) -> tuple[float, float, float]:
  """Bases below which every pair has made 1/4, 1/2 and a whole turn.

  2 T / pi, T / pi, T / 2 pi

  Args:
    train_len: T, tokens of the training or tuning, >= 1.

  Raises:
    ValueError: train_len out of range.

  Example:
    >>> [round(base) for base in small_bases(4096)]
    [2608, 1304, 652]

  Source: Liu et al. 2023, arXiv:2310.05209; OpenLMLab/scaling-rope,
    README, eq. 16d.
  """
  _tokens('train_len', train_len)
  return 2 * train_len / math.pi, train_len / math.pi, train_len / math.tau


def fitted_base(length: int) -> float:
  """The curve that Men et al. drew through their smallest bases.

  0.0424 length^1.628

  Args:
    length: tokens, >= 1.

  Raises:
    ValueError: length out of range.

  Example:
    >>> f'{fitted_base(131072):.3g}'
    '9.09e+06'

  Source: Men et al. 2024, arXiv:2405.14591, figure 1. No bound on anything: it
    lies below some of the bases it fits.
  """
  _tokens('length', length)
  return 0.0424 * length**1.628


def asymptotic_base(length: int) -> float:
  """The smallest base for endlessly many pairs.

  length / 0.6165...: the mean of the cosines tends to (Ci(m) - Ci(m / theta)) /
  log theta, for far m positive until m / theta is the first zero of Ci

  Args:
    length: tokens, >= 1.

  Raises:
    ValueError: length out of range.

  Example:
    >>> round(asymptotic_base(4096))
    6644

  Source: Su 2024, kexue.fm/archives/10122.
  """
  _tokens('length', length)
  return length / CI_ZERO


def _base(field: str, theta: float) -> None:
  if not 1 < theta < math.inf:  # NaN is neither.
    raise ValueError(
      f'{field}={theta!r} must be a finite base above 1, such as 1e4.'
    )


def _tokens(field: str, count: int, least: int = 1) -> None:
  whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
  if not whole or count < least:
    raise ValueError(
      f'{field}={count!r} must be a whole number of tokens >= {least}.'
    )


def _critical(critical_dim: int, head_dim: int) -> None:
  spectra.check_head_dim(head_dim)
  whole = isinstance(critical_dim, int | np.integer)
  if not whole or critical_dim % 2 or not 2 <= critical_dim <= head_dim:
    raise ValueError(
      f'critical_dim={critical_dim!r} must be an even number in [2, head_dim='
      f'{head_dim}], as critical_dimension gives it.'
    )
