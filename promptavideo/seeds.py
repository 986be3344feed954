"""Seeds derived from what a thing is, never from where it stands in a list or a shard."""

import hashlib


def derive(*parts: str | int) -> int:
    """A seed in 0..2**31-1 that depends on every part, in order, and on nothing else."""
    digest = hashlib.sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def video_seed(run_seed: int, prompt_id: str, replicate: int) -> int:
    """The seed of a video: the same for every candidate and refiner, so that comparisons are paired."""
    return derive(run_seed, "video", prompt_id, replicate)
