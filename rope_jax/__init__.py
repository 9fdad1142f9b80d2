"""rope_jax: every positional method under one training loop, proved."""
