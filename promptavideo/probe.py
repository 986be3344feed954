"""How fast this machine films and trains: a second of fixed work, against what a reference machine takes for it.

The work has the widths of the miniature's denoiser and decoder, and of SmolLM2-135M, with random weights. It needs
torch alone, which loads in a second or two, and every piece is small enough to end soon where bfloat16 is emulated,
which takes forty times as long.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter

from promptavideo.devices import choose_device
from promptavideo.dtypes import Dtype, resolve
from promptavideo.errors import InputError
from promptavideo.settings import Section

PATIENCE = 120
"""Seconds until a probe is given up; reading torch from a cold disk takes most of them."""

BUDGET = 0.8
"""Seconds that each kind of work is repeated for; its fastest repetition counts, since other programs only slow it."""


class Reference(Section):
    """Seconds that the probe's work takes on the machine whose planning numbers the configuration gives."""

    filming: float = Field(gt=0)
    """A step like the miniature's."""
    training: float = Field(gt=0)
    """A step like the booster's."""
    plain: float = Field(gt=0)
    """Python and numpy, in one thread."""


@dataclass(frozen=True)
class Work:
    """In what to film or train."""

    dtype: Dtype
    threads: int
    device: str = "auto"


@dataclass(frozen=True)
class Asked:
    """What a probe is to measure."""

    filming: dict[str, Work]
    """By generator."""
    training: Work


@dataclass(frozen=True)
class Probe:
    """Seconds that fixed pieces of work take here."""

    filming: dict[str, float]
    """By generator."""
    training: float
    plain: float
    """Of Python and numpy, in one thread: what starts jobs, measures pixels and reads tables."""
    dtypes: dict[str, str] = field(default_factory=dict)
    """What was filmed in, by generator, and `training`; `auto` resolved."""


@dataclass(frozen=True)
class Speed:
    """How many times as long work takes here as on the reference machine; 1 where that is not known."""

    filming: Mapping[str, float] = field(default_factory=dict)
    training: float = 1.0
    plain: float = 1.0

    @classmethod
    def of(cls, probe: Probe | None, reference: Reference | None) -> "Speed":
        """Compare a probe with the reference machine's; without either, this is the reference machine."""
        if probe is None or reference is None:
            return cls()
        return cls(
            {name: seconds / reference.filming for name, seconds in probe.filming.items()},
            probe.training / reference.training,
            probe.plain / reference.plain,
        )


def measure(asked: Asked) -> Probe:
    """Measure this machine, in this process: it imports torch and sets its threads."""
    filmed: dict[Work, tuple[float, str]] = {}
    for work in asked.filming.values():
        if work not in filmed:
            filmed[work] = _film(work)
    training, dtype = _train(asked.training)
    return Probe(
        {name: filmed[work][0] for name, work in asked.filming.items()},
        training,
        _fastest(_plain),
        {name: filmed[work][1] for name, work in asked.filming.items()} | {"training": dtype},
    )


def run(asked: Asked, root: Path) -> Probe:
    """Measure this machine in a process of its own, with the interpreter of this one.

    Args:
        asked: What to measure.
        root: The repository, which holds `scripts/probe.py`.

    Raises:
        InputError: The probe failed; the message has its last words.
    """
    command = [sys.executable, str(root / "scripts" / "probe.py"), "--asked", json.dumps(asdict(asked))]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | {"PYTHONPATH": str(root)}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"the probe of this machine failed: {error}") from error
    if answer.returncode:
        last = next(iter(reversed(answer.stderr.strip().splitlines())), f"status {answer.returncode}")
        raise InputError(f"the probe of this machine failed: {last}")
    try:
        return TypeAdapter(Probe).validate_json(answer.stdout)
    except ValueError as error:
        raise InputError(f"the probe of this machine printed something else: {answer.stdout[:200]!r}") from error


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest of the repetitions that fit into the budget, after one that warms caches up."""
    began = time.perf_counter()
    work()
    fastest = last = time.perf_counter() - began
    while last < began + BUDGET - time.perf_counter():
        again = time.perf_counter()
        work()
        last = time.perf_counter() - again
        fastest = min(fastest, last)
    return fastest


def _film(work: Work) -> tuple[float, str]:
    """A step of denoising two clips and a part of their decoding, in what it was computed.

    Matrices, attention and convolutions are in the proportion in which the miniature films.
    """
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    device, dtype = _place(work)
    options: dict[str, Any] = {"device": device, "dtype": getattr(torch, dtype)}
    width, heads = 192, 3
    own, up, down = (nn.Linear(*sizes, **options) for sizes in ((width, width), (width, 768), (768, width)))
    convolution = nn.Conv2d(64, 64, 3, padding=1, **options)

    def split(rows: Tensor) -> Tensor:
        return own(rows).unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()

    def attend(rows: Tensor, to: Tensor) -> Tensor:
        mixed = functional.scaled_dot_product_attention(split(normal(rows)), split(to), split(to))
        return rows + own(mixed.transpose(1, 2).flatten(-2))

    def normal(rows: Tensor) -> Tensor:
        return functional.layer_norm(rows, (width,)) * 1.1 + 0.1

    torch.manual_seed(0)
    patches, text = torch.randn(16, 16, width, **options), torch.randn(2, 120, width, **options)
    frame = torch.randn(2, 64, 32, 32, **options)

    def step() -> None:
        rows = patches
        for _ in range(4):
            rows = attend(attend(rows, rows), text.repeat_interleave(8, dim=0))
            rows = rows + down(functional.gelu(up(normal(rows)), approximate="tanh"))
            rows = attend(rows.transpose(0, 1).contiguous(), rows.transpose(0, 1)).transpose(0, 1).contiguous()
            rows = rows + down(functional.gelu(up(normal(rows)), approximate="tanh"))
        convolution(frame)
        functional.silu(functional.group_norm(frame, 8))
        _wait(device)

    with torch.inference_mode():
        return _fastest(step), dtype


def _train(work: Work) -> tuple[float, str]:
    """A forward and a backward pass of one of SmolLM2's layers and a slice of its vocabulary over 256 tokens."""
    import torch
    from torch import nn

    device, dtype = _place(work)
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(576, 9, 1536, dropout=0.0, batch_first=True, norm_first=True).to(device)
    vocabulary = nn.Linear(576, 4096, bias=False, device=device)
    tokens = torch.randn(1, 256, 576, device=device, requires_grad=True)

    def step() -> None:
        with torch.autocast(device, getattr(torch, dtype), enabled=dtype != "float32"):
            loss = vocabulary(layer(tokens)).float().logsumexp(-1).sum()
        loss.backward()
        _wait(device)

    return _fastest(step), dtype


def _plain() -> None:
    """Python and numpy as in measuring pixels."""
    import numpy as np

    frames = np.arange(8 * 64 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(8, 64, 64, 3)
    for _ in range(10):
        grey = frames.astype(np.float32).mean(axis=-1)
        np.abs(np.diff(grey, axis=0)).mean()
        sorted({str(number): number for number in range(10_000)}.items())


def _place(work: Work) -> tuple[str, str]:
    """The device and the dtype that work would take here."""
    import torch

    device = choose_device("cpu" if work.device == "cpu" else "auto", "probe")
    torch.set_num_threads(work.threads)
    return device, resolve(work.dtype, device, "probe")


def _wait(device: str) -> None:
    """Until a GPU has done what it was given."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
