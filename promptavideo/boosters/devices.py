"""Where a language model runs, and what to say when its device is missing or too small."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from promptavideo.errors import InputError
from promptavideo.memory import ran_out

Device = Literal["auto", "cpu", "cuda"]
"""`auto` takes a GPU when there is one; `cuda` insists on it."""


def choose_device(device: Device, key: str, count: int = 1) -> str:
    """The torch device to use, `cpu` or `cuda`.

    Args:
        device: As configured.
        key: The entry of the configuration that says so, such as `booster`.
        count: GPUs that one job needs.

    Raises:
        InputError: A GPU is required and there is none, or there are fewer than needed.
    """
    import torch

    found = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if device == "cuda" and not found:
        raise InputError(
            f"{key}.device: cuda needs a GPU, but this machine shows none; run on one (on a cluster: ask for a GPU for "
            "this job), check that torch is a CUDA build, or set it to auto"
        )
    if 0 < found < count:
        raise InputError(
            f"{key}.devices: {count} GPUs are needed, but this machine shows {found}; lower it, or ask for more GPUs"
        )
    return "cuda" if found else "cpu"


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Say what to lower when memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise InputError(f"memory does not suffice ({_first_line(error)}); {advice}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
