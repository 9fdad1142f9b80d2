"""The spectrum lab: what RoPE can and cannot reach, before training."""
