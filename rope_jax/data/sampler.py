"""Training batches as a pure function of seed, step and process."""

import collections
import dataclasses
import threading

import numpy as np

from rope_jax.data import packing

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Epoch:
  """Where an epoch's rows begin; the rows themselves are made on demand."""

  order: np.ndarray  # Rank in this epoch's stream -> document.
  ends: np.ndarray  # Rank -> where that document ends in the stream.
  phase: int  # Where row 0 begins in the stream, which is a ring.
  rows: np.ndarray  # Place in the epoch -> row.


class Sampler:
  """Packs documents into rows of train_len tokens, epoch after epoch.

  In each epoch the documents are permuted and joined into a ring, which is cut
  from a random point on into rows of train_len tokens, and the rows are
  shuffled. Each token is an input at most once an epoch, and all but fewer
  than train_len of them are; each token but the first of a document is a
  target as often. Steps run on across epochs, so that every batch is full.

  A batch depends on (corpus, train_len, batch, seed, step) and on nothing
  else; process p of n gets rows p * batch / n onwards of it. To resume is to
  ask for the next step.

  Args:
    corpus: the tokenised documents.
    train_len: tokens a row, at least 1 and at most the longest document.
    batch: rows of all processes together, at least 1.
    seed: any integer from 0 on.

  Raises:
    ValueError: train_len or batch out of range, or no document that long.

  Example:
    >>> corpus = packing.Corpus(np.arange(10, dtype=np.uint16),
    ...                         np.array([0, 10]))
    >>> sampler = Sampler(corpus, train_len=4, batch=2, seed=0)
    >>> batch = sampler.batch(0)
    >>> sorted(batch), batch['tokens'].shape
    (['position', 'segment', 'targets', 'tokens', 'weight'], (2, 4))
  """

  def __init__(
    self, corpus: packing.Corpus, *, train_len: int, batch: int, seed: int
  ):
    self.corpus = corpus
    self.train_len = int(train_len)
    self.batch_size = int(batch)
    self.seed = int(seed)
    lengths = np.diff(corpus.offsets)
    longest = int(lengths.max(initial=0))
    if self.batch_size < 1:
      raise ValueError(f'batch={batch}: give at least 1 row.')
    if self.seed < 0:
      raise ValueError(f'seed={seed}: give an integer from 0 on.')
    if self.train_len < 1:
      raise ValueError(f'train_len={train_len}: give at least 1 token.')
    if self.train_len > longest:
      raise ValueError(
        f'train_len={train_len}: no document of {corpus.name} is that long. '
        f'Its longest has {longest} tokens, its {len(corpus)} documents '
        f'{int(corpus.offsets[-1])} together; positions restart at each '
        'document, so the model would never see train_len tokens of context. '
        f'Give train_len <= {longest}, or a data set of longer documents.'
      )
    self._epochs: collections.OrderedDict[int, _Epoch] = (
      collections.OrderedDict()
    )
    self._lock = threading.Lock()

  @property
  def rows_per_epoch(self) -> int:
    """Rows in an epoch, of which every step takes `batch`."""
    return int(self.corpus.offsets[-1]) // self.train_len

  def batch(self, step: int, process: int = 0, processes: int = 1) -> Batch:
    """Returns one process's rows of one step's batch.

    Args:
      step: from 0 on.
      process: which process this is, 0 to processes - 1.
      processes: how many share the batch; divides it.

    Returns:
      Arrays [b, t] with b = batch / processes and t = train_len:
      tokens int32; targets int32, the next token of the same document and 0
      where there is none; position int32, from 0 at the row's start and at
      each document's start within it; segment int32, 1, 2, ... for the row's
      documents (0 would be padding, which this sampler never makes); weight
      float32, 1, and 0 where there is no target.

    Raises:
      ValueError: the batch does not divide, or step or process is out of
        range.
    """
    if processes < 1 or self.batch_size % processes:
      raise ValueError(
        f'batch={self.batch_size} does not divide among {processes} '
        'processes; give a batch that is a multiple of their number.'
      )
    if not 0 <= process < processes or step < 0:
      raise ValueError(
        f'step={step}, process={process}: give a step from 0 on and a process '
        f'from 0 to {processes - 1}.'
      )
    size = self.batch_size // processes
    first = step * self.batch_size + process * size
    # Python integers: a long run at a big batch outgrows 32 bits.
    places = [divmod(first + i, self.rows_per_epoch) for i in range(size)]
    pieces = []
    for epoch in sorted({epoch for epoch, _ in places}):
      pieces.append(self._rows(epoch, [row for e, row in places if e == epoch]))
    if len(pieces) == 1:
      return pieces[0]
    return {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}

  def _rows(self, epoch: int, places: list[int]) -> Batch:
    plan = self._plan(epoch)
    offsets, tokens = self.corpus.offsets, self.corpus.tokens
    starts = plan.phase + plan.rows[places].astype(np.int64) * self.train_len
    steps = np.arange(self.train_len)
    # Stream place -> document -> place in the corpus.
    stream_bt = (starts[:, None] + steps[None, :]) % offsets[-1]
    rank_bt = np.searchsorted(plan.ends, stream_bt, side='right')
    document_bt = plan.order[rank_bt]
    end_bt = offsets[document_bt + 1]
    source_bt = end_bt - (plan.ends[rank_bt] - stream_bt)
    has_target_bt = source_bt + 1 < end_bt
    # Without a target any index will do; its token is blanked below.
    target_bt = np.where(has_target_bt, source_bt + 1, source_bt)
    begins_bt = source_bt == offsets[document_bt]
    begins_bt[:, 0] = True
    begin_bt = np.where(begins_bt, steps[None, :], 0)
    begin_bt = np.maximum.accumulate(begin_bt, axis=1)
    return {
      'tokens': tokens[source_bt].astype(np.int32),
      'targets': np.where(has_target_bt, tokens[target_bt], 0).astype(np.int32),
      'position': (steps[None, :] - begin_bt).astype(np.int32),
      'segment': np.cumsum(begins_bt, axis=1, dtype=np.int32),
      'weight': has_target_bt.astype(np.float32),
    }

  def _plan(self, epoch: int) -> _Epoch:
    with self._lock:
      if epoch in self._epochs:
        self._epochs.move_to_end(epoch)
        return self._epochs[epoch]
      # NumPy promises to keep a bit generator's raw stream as it is, not the
      # shuffles of Generator: a resumed run outlives an upgrade.
      raw = np.random.PCG64(np.random.SeedSequence((self.seed, epoch)))
      order = _permutation(raw, len(self.corpus))
      ends = np.cumsum(np.diff(self.corpus.offsets)[order])
      phase = int(raw.random_raw()) % int(self.corpus.offsets[-1])
      rows = _permutation(raw, self.rows_per_epoch)
      plan = _Epoch(order, ends, phase, rows)
      self._epochs[epoch] = plan
      while len(self._epochs) > 2:
        self._epochs.popitem(last=False)
      return plan


def _permutation(raw: np.random.PCG64, size: int) -> np.ndarray:
  order = np.argsort(raw.random_raw(size), kind='stable')
  return order.astype(np.int32 if size < 2**31 else np.int64)
