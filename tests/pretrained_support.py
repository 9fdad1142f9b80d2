"""Folders of tiny random models: of the `transformers` package, or by hand."""

import functools
import json
import pathlib
import struct

import hooks
import ml_dtypes
import numpy as np

from rope_jax import model as model_lib

TOKENS = np.random.default_rng(0).integers(0, 50, (2, 33)).astype(np.int32)
SIZES = {
  'hidden_size': 32,
  'num_hidden_layers': 2,
  'num_attention_heads': 4,
  'num_key_value_heads': 2,
  'intermediate_size': 48,
  'vocab_size': 50,
  'max_position_embeddings': 64,
}
_NO_TOKENS = dict.fromkeys(('pad_token_id', 'bos_token_id', 'eos_token_id'))


def torch_model(model_type, seed=0, **fields):
  """A model of that type, no weight of it at its default.

  Norms and biases are random too, so that none can be left out unseen.
  """
  import torch
  import transformers

  transformers.utils.logging.set_verbosity_error()
  transformers.utils.logging.disable_progress_bar()
  fields = {**SIZES, **_NO_TOKENS, **fields}
  if model_type == 'gpt_neox':
    del fields['num_key_value_heads']
  config = transformers.AutoConfig.for_model(model_type, **fields)
  model = transformers.AutoModelForCausalLM.from_config(
    config, attn_implementation='eager'
  ).eval()
  random = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, weight in model.named_parameters():
      drawn = torch.randn(weight.shape, generator=random)
      norm = 'norm' in name and name.endswith('weight')
      weight.copy_(0.2 * drawn + (1.0 if norm else 0.0))
  return model


def torch_logits(model, tokens=TOKENS):
  import torch

  with torch.no_grad():
    return model(torch.tensor(tokens, dtype=torch.long)).logits.numpy()


@functools.partial(hooks.jit, static_argnums=(0, 1))
def _forward(config, layout, weights, tokens):
  return model_lib.forward(config, layout, weights, tokens)


def our_logits(model, tokens=TOKENS):
  weights = model_lib.split(model)[1]
  return np.asarray(_forward(model.config, model.layout, weights, tokens))


def torch_loaded(folder):
  """What transformers makes of a folder."""
  import transformers

  return transformers.AutoModelForCausalLM.from_pretrained(
    folder, attn_implementation='eager'
  ).eval()


def saved(folder, model_type, **fields):
  """The folder of such a model, and its logits."""
  model = torch_model(model_type, **fields)
  model.save_pretrained(folder)
  return pathlib.Path(folder), torch_logits(model)


def contents(folder):
  """Every file of a folder, as bytes."""
  return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


# What follows needs no torch: files written by hand.
KINDS = {'F32': np.float32, 'F16': np.float16, 'BF16': ml_dtypes.bfloat16}
CONFIG = {
  'model_type': 'llama',
  'hidden_act': 'silu',
  'rms_norm_eps': 1e-5,
  'rope_theta': 10_000.0,
  'tie_word_embeddings': False,
  'torch_dtype': 'float32',
  **SIZES,
  'vocab_size': 256,
}


def drawn(config, kind='F32'):
  """The tensors of a Llama, by name."""
  rng = np.random.default_rng(0)
  d, m, v = (
    config[k] for k in ('hidden_size', 'intermediate_size', 'vocab_size')
  )
  n, k = config['num_attention_heads'], config['num_key_value_heads']
  h = config['head_dim'] if 'head_dim' in config else d // n
  shapes = {'model.embed_tokens.weight': (v, d), 'model.norm.weight': (d,)}
  for layer in range(config['num_hidden_layers']):
    for name, shape in {
      'input_layernorm': (d,),
      'post_attention_layernorm': (d,),
      'self_attn.q_proj': (n * h, d),
      'self_attn.k_proj': (k * h, d),
      'self_attn.v_proj': (k * h, d),
      'self_attn.o_proj': (d, n * h),
      'mlp.gate_proj': (m, d),
      'mlp.up_proj': (m, d),
      'mlp.down_proj': (d, m),
    }.items():
      shapes[f'model.layers.{layer}.{name}.weight'] = shape
  shapes['lm_head.weight'] = (v, d)
  return {
    name: (0.2 * rng.standard_normal(shape, np.float32)).astype(KINDS[kind])
    for name, shape in shapes.items()
  }


def file_of(tensors):
  """A safetensors file of these, as bytes."""
  names = {np.dtype(dtype): name for name, dtype in KINDS.items()}
  header, at = {}, 0
  for name, tensor in tensors.items():
    kind = names.get(tensor.dtype, str(tensor.dtype).upper())
    span = [at, at + tensor.nbytes]
    at = span[1]
    header[name] = {'dtype': kind, 'shape': tensor.shape, 'data_offsets': span}
  text = json.dumps(header).encode()
  data = b''.join(tensor.tobytes() for tensor in tensors.values())
  return struct.pack('<Q', len(text)) + text + data


def tensors(folder):
  """The tensors of a folder's one file, read without the code under test."""
  data = (folder / 'model.safetensors').read_bytes()
  (length,) = struct.unpack('<Q', data[:8])
  header = json.loads(data[8 : 8 + length])
  header.pop('__metadata__', None)
  found = {}
  for name, entry in header.items():
    a, b = (8 + length + x for x in entry['data_offsets'])
    flat = np.frombuffer(data[a:b], KINDS[entry['dtype']])
    found[name] = flat.reshape(entry['shape'])
  return found


def tokenizer(size=50):
  """A byte-level tokenizer of 256 ids at least, the rest made up."""
  from tokenizers import Tokenizer, decoders, models, pre_tokenizers

  letters = sorted(pre_tokenizers.ByteLevel.alphabet())
  names = letters + [f'<made up {i}>' for i in range(size - len(letters))]
  vocab = {letter: i for i, letter in enumerate(names)}
  made = Tokenizer(models.BPE(vocab=vocab, merges=[]))
  made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  made.decoder = decoders.ByteLevel()
  return made


def written(folder, *, config=None, tensors=None, kind='F32', ids=256):
  """The folder of a Llama, without the code under test."""
  folder.mkdir()
  config = CONFIG if config is None else config
  tensors = drawn(config, kind) if tensors is None else tensors
  text = json.dumps(config)
  (folder / 'config.json').write_text(text, encoding='utf-8')
  (folder / 'model.safetensors').write_bytes(file_of(tensors))
  tokenizer(ids).save(str(folder / 'tokenizer.json'))
  return folder
