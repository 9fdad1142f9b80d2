"""Writes golden.json: reference values in float64, from the formulas alone.

python tests/golden/make_golden.py [PATH]
"""

import json
import math
import pathlib
import sys
from fractions import Fraction

import numpy as np

TAU = 2 * math.pi


def freqs(d, b):
  return b ** (-2.0 * np.arange(d // 2) / d)


def corr(rot, d, b, L):
  return d * math.log(L / (rot * TAU)) / (2 * math.log(b))


def yarn(d, b, L, s, bf=32, bs=1, trunc=True, ramp='dim'):
  f = freqs(d, b)
  if ramp == 'dim':
    lo, hi = corr(bf, d, b, L), corr(bs, d, b, L)
    if trunc:
      lo, hi = math.floor(lo), math.ceil(hi)
    lo, hi = max(lo, 0), min(hi, d - 1)
    if lo == hi:
      hi += 1e-3
    g = 1 - np.clip((np.arange(d // 2) - lo) / (hi - lo), 0, 1)
    ends = [lo, hi]
  else:
    g = np.clip((L * f / TAU - bs) / (bf - bs), 0, 1)
    ends = None
  return f / s * (1 - g) + f * g, ends


def llama3(d, b, s, lo=1, hi=4, L=8192):
  f = freqs(d, b)
  wl = TAU / f
  out = np.where(wl > L / lo, f / s, f)
  sm = (L / wl - lo) / (hi - lo)
  mid = (wl >= L / hi) & (wl <= L / lo)
  return np.where(mid, (1 - sm) * f / s + sm * f, out)


def slopes(n):
  def power_of_two(n):
    r = 2.0 ** (-8.0 / n)
    return [r ** (i + 1) for i in range(n)]

  if n & (n - 1) == 0:
    return power_of_two(n)
  c = 1 << (n.bit_length() - 1)
  return power_of_two(c) + power_of_two(2 * c)[0::2][: n - c]


def t5(dist, nb, md):
  me = nb // 2
  if dist < me:
    return dist
  k = nb - me
  r = Fraction(md, me)
  a = Fraction(dist, me) ** k
  j = 0
  while j < k and a >= r ** (j + 1):
    j += 1
  return min(me + j, nb - 1)


def t5_starts(nb, md):
  starts = {}
  for d in range(130):
    starts.setdefault(t5(d, nb, md), d)
  return starts


def deberta(rel, bs, mp):
  mid = bs // 2
  a = mid - 1 if -mid < rel < mid else abs(rel)
  if a <= mid:
    return rel
  ratio = math.log(a / mid) / math.log((mp - 1) / mid)
  lp = math.ceil(ratio * (mid - 1)) + mid
  return int(lp * (1 if rel > 0 else -1))


def critical(d, b, T):
  return 2 * math.ceil(d / 2 * math.log(T / TAU) / math.log(b))


YARNS = {
  'llama2_7b_s16': (128, 1e4, 4096, 16),
  'llama2_7b_s32': (128, 1e4, 4096, 32),
  'llama1_7b_s4': (128, 1e4, 2048, 4),
  'qwen2.5_s4': (128, 1e6, 32768, 4),
  'dsv3_s40_rope64': (64, 1e4, 4096, 40),
}
DEBERTA = (0, 1, 127, 128, 129, 130, 140, 160, 200, 256, 300, 400, 500, 510)


def yarns():
  found = {}
  for name, (d, b, L, s) in YARNS.items():
    code, ends = yarn(d, b, L, s)
    paper, _ = yarn(d, b, L, s, ramp='rot')
    raw, raw_ends = yarn(d, b, L, s, trunc=False)
    found[name] = {
      'args': {'d': d, 'theta': b, 'L': L, 's': s},
      'low_high_trunc': ends,
      'low_high_raw': raw_ends,
      'attention_factor': 0.1 * math.log(s) + 1,
      'inv_freq_code': code.tolist(),
      'inv_freq_paper_ramp': paper.tolist(),
      'inv_freq_notrunc_sum': float(raw.sum()),
      'max_ratio_code_over_paper': float((code / paper).max()),
      'argmax': int((code / paper).argmax()),
    }
  frequency, ends = yarn(64, 150000.0, 4096, 32, trunc=False)
  found['gpt_oss_truncate_false'] = {
    'low_high': ends,
    'inv_freq': frequency.tolist(),
    'attention_factor': 0.1 * math.log(32) + 1,
  }
  return found


def make():
  """All reference values, as golden.json holds them."""
  f = freqs(128, 1e4)
  zeta = (np.arange(0, 128, 2) + 0.4 * 128) / (1.4 * 128)
  models = ((128, 1e4), (64, 1e4), (128, 5e5), (64, 5e5), (128, 1e6))
  return {
    'rope_inv_freq': {
      f'd{d}_b{b:g}': freqs(d, b)[[0, 1, d // 4, d // 2 - 1]].tolist()
      for d, b in models
    },
    'rope_idx_note': 'indices 0,1,d/4,d/2-1',
    'pi_llama_2048_to_8192': (f / 4)[[0, 32, 63]].tolist(),
    'ntk_base': {s: 1e4 * s ** (128 / 126) for s in (2, 4, 8, 16, 32)},
    'dynamic_ntk_hf_base': {
      f'factor{s}_L{L}': 1e4 * ((s * L / 2048) - (s - 1)) ** (128 / 126)
      for s in (1, 2, 4)
      for L in (2048, 2049, 4096, 8192)
    },
    'yarn': yarns(),
    'llama3.1_8b_factor8_d128': llama3(128, 5e5, 8).tolist(),
    'llama3.2_1b_factor32_d64': llama3(64, 5e5, 32).tolist(),
    'longrope_attention_factor': {
      '4096->131072': math.sqrt(1 + math.log(32) / math.log(4096)),
      '4096->262144': math.sqrt(1 + math.log(64) / math.log(4096)),
    },
    'alibi_slopes': {n: slopes(n) for n in (4, 6, 8, 12, 16, 20, 24, 32)},
    't5_causal_32_128_starts': t5_starts(32, 128),
    't5_bidir_32_128_starts_per_side16': t5_starts(16, 128),
    'deberta_v3_bucket256_max512': {
      r: deberta(r, 256, 512) for r in (*DEBERTA, 511, -129, -511)
    },
    'critical_dimension': {
      'llama2(128,1e4,4096)': critical(128, 1e4, 4096),
      'llama1(128,1e4,2048)': critical(128, 1e4, 2048),
      'llama3(128,5e5,8192)': critical(128, 5e5, 8192),
    },
    'scaling_law_T_extra_llama2': {
      f'{b:g}': TAU * b ** (92 / 128)
      for b in (1e4, 2e4, 4e4, 8e4, 1.2e5, 6e5, 1e6, 2e6)
    },
    'scaling_law_critical_base': {
      'pre4096_tune16384': 1e4
      ** (math.log(16384 / TAU) / math.log(4096 / TAU)),
      'beta123_tune4096': [2 * 4096 / math.pi, 4096 / math.pi, 4096 / TAU],
      'beta123_tune16384': [2 * 16384 / math.pi, 16384 / math.pi, 16384 / TAU],
    },
    'B_m_sumcos_d128_b1e4': {
      m: float(np.cos(m * f).sum())
      for m in (0, 1, 2, 10, 100, 1000, 1706, 1707, 4096)
    },
    'roformer_relative_upper_bound_d128_b1e4': {
      m: float(np.abs(np.cumsum(np.exp(1j * m * f))).mean())
      for m in (0, 1, 10, 50, 100, 250, 1000)
    },
    'xpos_zeta_d128': {i: float(zeta[i]) for i in (0, 1, 32, 63)},
    'xpos_net_decay_lag512': {i: float(zeta[i]) for i in (0, 32, 63)},
    'log_n_scale_train4096': {
      p: max(1, math.log(p) / math.log(4096)) for p in (1, 4096, 8192, 65536)
    },
    'llama4_temp': {
      p: math.log(math.floor((p + 1) / 8192) + 1) * 0.1 + 1
      for p in (0, 8190, 8191, 16383, 131071, 1000000)
    },
  }


if __name__ == '__main__':
  beside = pathlib.Path(__file__).with_name('golden.json')
  target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else beside
  target.write_text(json.dumps(make(), indent=1), encoding='utf-8')
