"""How long a job took and on what: measured values for `snakemake plan`, beside what the job made."""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptavideo import BEGAN
from promptavideo.files import write_text
from promptavideo.hardware import accelerator
from promptavideo.records import read_record


@dataclass
class Timing:
    """What one job did. What was found done already does not count."""

    items: int = 0
    """Videos filmed or scored, or texts written."""
    seconds: float = 0.0
    """Time spent on them, without loading models."""
    job_seconds: float = 0.0
    """Time of the whole job, with imports and loading; 0 in records of earlier versions."""
    device: str = "unknown"
    """What `circumstances` name, else what this machine has."""
    peak_memory_mb: float = 0.0
    """Of the GPU if the job used one, else of the process."""
    circumstances: dict[str, Any] = field(default_factory=dict)
    """What else to record: interpreter and libraries, and what memory forced the job to do otherwise."""

    @contextmanager
    def measure(self, items: int) -> Iterator[None]:
        """Add `items` and the time that the block takes."""
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began
        self.items += items

    def write(self, path: Path) -> None:
        """Write the record, with the time and the memory that were used until now."""
        self.job_seconds = time.perf_counter() - BEGAN
        self.device = str(self.circumstances.get("device") or accelerator())
        self.peak_memory_mb = _peak_memory_mb()
        write_text(path, json.dumps(asdict(self)) + "\n")


def read(path: Path) -> Timing:
    """Read a record.

    Raises:
        InputError: The file is missing or no such record.
    """
    return read_record(path, Timing, "record of a job's time")


def _peak_memory_mb() -> float:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
