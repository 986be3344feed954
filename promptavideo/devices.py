"""Where a network runs, and what to say when its device is missing or too small."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from promptavideo.errors import InputError, first_line

Device = Literal["auto", "cpu", "cuda"]
"""`auto` takes a GPU when there is one; `cuda` insists on it."""

NO_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What errors of torch say of memory that are no `OutOfMemoryError`: main memory (Linux, Windows), cuBLAS, cuDNN."""


def choose_device(device: Device, key: str, count: int = 1) -> str:
    """The torch device to use, `cpu` or `cuda`.

    Args:
        device: As configured.
        key: Where it is configured, such as `booster.device`, for messages.
        count: GPUs that one job needs.

    Raises:
        InputError: A GPU is required and there is none, or there are fewer than needed.
    """
    import torch

    found = torch.cuda.device_count() if device != "cpu" and torch.cuda.is_available() else 0
    if device == "cuda" and not found:
        raise InputError(
            f"{key}: cuda needs a GPU, but this machine shows none; run on one (on a cluster: ask for a GPU for "
            "this job), check that torch is a CUDA build, or set it to auto"
        )
    if 0 < found < count:
        raise InputError(
            f"{key}s: {count} GPUs are needed, but this machine shows {found}; lower it, or ask for more GPUs"
        )
    return "cuda" if found else "cpu"


def ran_out(error: BaseException) -> bool:
    """Whether an error means that the memory of a GPU, or main memory, did not suffice."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in NO_MEMORY)


@contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Say what to lower when memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise InputError(f"memory does not suffice ({first_line(error)}); {advice}") from error
