"""Entry points: python -m experiments.NAME --config=configs/FILE.py."""

import os

# Before any of them imports JAX, whose plug-ins speak up when they load.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
