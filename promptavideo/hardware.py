"""What this machine computes on, for the record."""

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


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


def computed_on(device: str, circumstances: Mapping[str, Any]) -> str:
    """A device with the dtypes that a job computed in on it, if it used any: `NVIDIA H100 in bfloat16`."""
    rewards = circumstances.get("rewards", {}).values()
    dtypes = [found["dtype"] for found in (circumstances, *rewards) if "dtype" in found]
    return " in ".join([device, *filter(None, [" and ".join(dict.fromkeys(dtypes))])])
