"""In what networks compute: one decision for generators, boosters and neural rewards."""

import logging
from functools import cache
from typing import TYPE_CHECKING, Literal

from promptavideo import runs

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto` is bfloat16 where the device has instructions for it, else float32."""

INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""Names by which `torch.cpu.get_capabilities` calls a processor's products in bfloat16: Intel's and AMD's, Arm's."""


@cache
def processor_has_bfloat16() -> bool:
    """Whether products of matrices run on the processor's own bfloat16 instructions.

    The processor must have them and oneDNN must use them: it alone does in torch, and the environment can hold it to
    older instructions (`ONEDNN_MAX_CPU_ISA=AVX2`).
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return False
    has = torch.cpu.get_capabilities()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and any(has.get(name) for name in INSTRUCTIONS)


def resolve(dtype: Dtype, device: str, entry: str) -> Literal["float32", "bfloat16", "float16"]:
    """The dtype that an entry computes in on a device of this machine.

    An explicit bfloat16 is obeyed; on a processor without the instructions after a warning, one a run.

    Args:
        dtype: As configured.
        device: `cpu` or `cuda`.
        entry: What the warning calls the entry.
    """
    if dtype == "auto":
        return "bfloat16" if _native(device) else "float32"
    if dtype == "bfloat16" and not _native(device):
        member = runs.current()
        log.log(
            logging.WARNING if member is None or member.is_first(f"bfloat16 of {entry}") else logging.INFO,
            "%s: dtype bfloat16 is obeyed, but this machine's %s has no instructions for it: where it is emulated, it "
            "takes some 40 times as long as float32. `dtype: auto` takes float32 here", entry,
            "processor" if device == "cpu" else "GPU",
        )  # fmt: skip
    return dtype


def autocast(device: str) -> "torch.autocast":
    """A context of mixed precision for training: bfloat16 where the device has instructions for it, else none."""
    import torch

    return torch.autocast(device, dtype=torch.bfloat16, enabled=_native(device))


def _native(device: str) -> bool:
    if device == "cpu":
        return processor_has_bfloat16()
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
