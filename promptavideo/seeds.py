"""Seeds derived from what a thing is, never from where it stands in a list or a shard."""

import hashlib


def derive(*parts: str | int) -> int:
    """A seed in 0..2**31-1 that depends on every part, in order, and on nothing else."""
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
