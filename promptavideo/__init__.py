"""Prompt-A-Video: evolution, boosters and their evaluation, for any text-to-video generator."""

import time

__version__ = "0.2.0"

BEGAN = time.perf_counter()
"""When this process began: scripts import this package before anything that takes long."""
