"""Data: documents -> tokens -> packed batches, and evaluation documents."""

from rope_jax.data.documents import (
  Document,
  Documents,
  documents_from_texts,
)
from rope_jax.data.packing import Corpus, tokenize
from rope_jax.data.prefetch import Prefetch
from rope_jax.data.sampler import Sampler
from rope_jax.data.sources import (
  default_data_dir,
  load_documents,
  load_split,
  names,
)
from rope_jax.data.tokenizers import (
  BPETokenizer,
  ByteTokenizer,
  Tokenizer,
  make_tokenizer,
)
from rope_jax.data.windows import EvalDocument, evaluation_documents

__all__ = [
  'BPETokenizer',
  'ByteTokenizer',
  'Corpus',
  'Document',
  'Documents',
  'EvalDocument',
  'Prefetch',
  'Sampler',
  'Tokenizer',
  'default_data_dir',
  'documents_from_texts',
  'evaluation_documents',
  'load_documents',
  'load_split',
  'make_tokenizer',
  'names',
  'tokenize',
]
