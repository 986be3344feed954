"""Telling errors that mean too little memory from others."""

NO_MEMORY = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""What errors of torch say of memory that are no `OutOfMemoryError`: main memory (Linux, Windows), cuBLAS, cuDNN."""


def ran_out(error: BaseException) -> bool:
    """Whether an error means that the memory of a GPU, or main memory, did not suffice."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in NO_MEMORY)
