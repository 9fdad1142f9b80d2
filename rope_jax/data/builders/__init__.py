"""TFDS builders of the corpora; TFDS finds a builder only in a package."""
