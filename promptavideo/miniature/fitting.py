"""What the trainings of the miniature and of the witness share: draws, steps and checkpoints that survive a kill."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from promptavideo.files import atomic_path

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The course of a training; steps are optimizer steps, batches count clips."""

    steps: int
    batch: int = 32
    lr: float
    decay_steps: int  # the learning rate falls to zero over the last ones
    checkpoint_every: int = 250
    seed: int = 0


def seeded(*key: int) -> tuple[np.random.Generator, torch.Generator]:
    """Generators that depend on the key alone, so a resumed run draws what an unbroken one would."""
    rng = np.random.default_rng(key)
    return rng, torch.Generator().manual_seed(int(rng.integers(2**62)))


def load_parts(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder's numbered files, joined in the files' order."""
    parts = [load_file(path) for path in sorted(folder.glob("[0-9]*.safetensors"), key=lambda path: int(path.stem))]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def optimizer_of(model: Any, weight_decay: float) -> torch.optim.Optimizer:
    """The optimizer of every training here; `descend` sets its learning rate."""
    return torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=weight_decay)


def descend(model: Any, optimizer: torch.optim.Optimizer, loss: torch.Tensor, step: int, schedule: Schedule) -> None:
    """One step; the learning rate warms up, stays, and falls to zero over the last `decay_steps`."""
    factor = min((step + 1) / 200, 1.0, max(schedule.steps - step, 0) / schedule.decay_steps)
    for group in optimizer.param_groups:
        group["lr"] = schedule.lr * factor
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def save_state(path: Path, step: int, parts: dict[str, Any]) -> None:
    """Keep the states of what is trained, by name, and the number of steps done."""
    with atomic_path(path) as partial:
        torch.save({**{name: part.state_dict() for name, part in parts.items()}, "step": step}, partial)


def load_state(path: Path, parts: dict[str, Any]) -> int:
    """Go on from what `save_state` kept.

    Returns:
        The number of steps done; 0 if nothing was kept.
    """
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def save_model(model: Any, folder: Path) -> None:
    """Save a model so that `folder` holds all of it or does not exist."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def fit(
    name: str,
    model: Any,
    folder: Path,
    plan: Schedule,
    decay: float,
    loss_of: Callable[[int], torch.Tensor],
    part: str = "transformer",
) -> None:
    """Train (or resume) a model; saves its moving average to `folder/part`.

    Args:
        name: What log lines call it.
        model: On its device.
        folder: Gets the checkpoint `{part}.state.pt` too.
        plan: Steps, learning rate and checkpoints.
        decay: Of the moving average.
        loss_of: The loss of a step, which depends on the step's number and the model alone.
        part: What the folder calls the model.
    """
    from diffusers.training_utils import EMAModel  # a judge of the witness imports this module, and no diffusers

    optimizer = optimizer_of(model, weight_decay=0.01)
    average = EMAModel(model.parameters(), decay=decay, use_ema_warmup=True, power=0.75)
    path, trained = folder / f"{part}.state.pt", {"model": model, "optimizer": optimizer, "average": average}
    start = load_state(path, trained)
    average.to(model.device)
    began, losses = time.monotonic(), []
    for step in range(start, plan.steps):
        loss = loss_of(step)
        descend(model, optimizer, loss, step, plan)
        average.step(model.parameters())
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            speed = (step + 1 - start) / (time.monotonic() - began)
            log.info("%s %d/%d loss %.4f, %.2f steps/s, %.0f min left", name, step + 1, plan.steps,
                     np.mean(losses[-50:]), speed, (plan.steps - step - 1) / speed / 60)  # fmt: skip
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps:
            save_state(path, step + 1, trained)
            _save_average(model, average, folder / part)
    _save_average(model, average, folder / part)  # what a run killed after its last state had not saved


def _save_average(model: Any, average: Any, folder: Path) -> None:
    average.store(model.parameters())
    average.copy_to(model.parameters())
    save_model(model, folder)
    average.restore(model.parameters())
