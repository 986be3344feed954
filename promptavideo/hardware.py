"""What this machine computes on and with, for the record."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "diffusers", "transformers", "torchao", "vllm", "trl", "peft", "accelerate", "opencv-python-headless",
    "scikit-image", "av",
)  # fmt: skip
"""What films, scores, writes and trains in this project's environments."""


def environment(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Interpreter, libraries and processor that this process works with."""
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"python": platform.python_version(), "packages": versions, "processor": processor()}


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def accelerator() -> str:
    """The names of the NVIDIA GPUs of this machine, each once, or else its processor's; torch is not needed."""
    try:
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return processor()
    names = dict.fromkeys(line.strip() for line in answer.stdout.splitlines() if line.strip())
    return " + ".join(names) or processor()


def device_name(kind: str, count: int = 1) -> str:
    """The name of a torch device that this process computes on.

    Args:
        kind: `cpu` or `cuda`.
        count: How many GPUs, from the first.
    """
    if kind == "cpu":
        return processor()
    import torch

    return " + ".join(dict.fromkeys(torch.cuda.get_device_name(place) for place in range(count)))


def computed_on(device: str, circumstances: Mapping[str, Any]) -> str:
    """A device with dtypes and engine of a job, if it has any: `NVIDIA H100 in bfloat16 by vllm 0.11.0`."""
    rewards = circumstances.get("rewards", {}).values()
    dtypes = [found["dtype"] for found in (circumstances, *rewards) if "dtype" in found]
    told = " in ".join([device, *filter(None, [" and ".join(dict.fromkeys(dtypes))])])
    return f"{told} by {circumstances['engine']}" if "engine" in circumstances else told
