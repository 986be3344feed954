"""Train the witness: a small network that names what a clip of the synthetic world shows, from true renders alone.

It is a measure that no reward shares: the pixel rewards compute by hand-made rules, the witness has learned. It never
sees a generator's video. What such videos show beside the world is imitated, so that its probabilities stay fair on
them: objects between two shapes, or that change or vanish (`blended`), bent outlines, echoes of other frames, blotches
and noise (`spoiled`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from promptavideo.miniature.fitting import Schedule, fit, seeded
from promptavideo.miniature.world import (
    BACKGROUNDS,
    COLOURS,
    FRAMES,
    MOTIONS,
    QUALITIES,
    SHAPES,
    SIZE,
    Placement,
    Scene,
    render,
)

log = logging.getLogger(__name__)

LABELS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "motion": tuple(MOTIONS),
    "background": BACKGROUNDS,
}
"""What the witness tells apart, in the order of its outputs; one more output is how true a render the clip is."""

AWAY = Placement(across_px=0.0, lead_px=3.0 * SIZE)
"""Paths outside the frame: a background alone."""

BLANK, STILL = 0.04, 0.05
"""Shares of clips of one colour or of noise alone, in which nothing can be told, and of one frame, without motion."""

Size = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Plan(Schedule):
    """Sizes of a training."""

    scenes: int = 3072  # each rendered with every shape and with none
    steps: int = 3000
    lr: float = 3e-3
    decay_steps: int = 1200
    checkpoint_every: int = 200


class WitnessNetworkConfig(PretrainedConfig):
    """Widths of the network's layers."""

    model_type = "witness"

    def __init__(self, widths: Sequence[int] = (24, 48, 96), **kwargs: Any) -> None:
        self.widths = list(widths)
        super().__init__(**kwargs)


class WitnessNetwork(PreTrainedModel):
    """Convolutions over space, then over space and time; logits of all `LABELS`, and one of being a true render."""

    config_class = WitnessNetworkConfig

    def __init__(self, config: WitnessNetworkConfig) -> None:
        super().__init__(config)
        first, second, third = config.widths

        def layer(before: int, after: int, kernel: Size, stride: Size) -> nn.Sequential:
            padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
            return nn.Sequential(
                nn.Conv3d(before, after, kernel, stride, padding, bias=False), nn.GroupNorm(8, after), nn.SiLU()
            )  # groups, not batches: a clip's outputs depend on it alone

        self.body = nn.Sequential(
            layer(3, first, (1, 5, 5), (1, 2, 2)),
            layer(first, second, (3, 3, 3), (1, 2, 2)),
            layer(second, third, (3, 3, 3), (2, 2, 2)),
        )
        places = (FRAMES // 2) * (SIZE // 8) * 2
        self.head = nn.Linear(third * places, sum(map(len, LABELS.values())) + 1)
        self.post_init()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Logits [B, labels + 1] of clips [B, 3, 8, 32, 32] in 0..1."""
        seen = self.body(clips * 4 - 2)  # [B, C, T, H, W]
        where = torch.cat([seen.mean(dim=3), seen.mean(dim=4)], dim=-1)  # columns and rows at each time: motion
        return self.head(where.flatten(1))


def parts(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Logits [B, labels + 1] by what they are about; `real` is [B]."""
    sizes = [len(labels) for labels in LABELS.values()]
    *found, real = logits.split([*sizes, 1], dim=1)
    return {**dict(zip(LABELS, found, strict=True)), "real": real[:, 0]}


@dataclass(frozen=True)
class Renders:
    """Scenes in uint8 [N, 4, 8, 32, 32, 3], with each shape and with none, and their other labels [N]."""

    clips: torch.Tensor
    labels: Mapping[str, torch.Tensor]

    def batch(self, rng: np.random.Generator, noise: torch.Generator, size: int) -> "Batch":
        """Some of the scenes, most of them spoiled; see `Batch`."""
        rows = rng.integers(0, len(self.clips), size)
        blend = blended(rng, size)
        share = torch.from_numpy(blend.share).float()[:, :, None, None, None]
        clips = torch.lerp(self.clips[rows, blend.first].float(), self.clips[rows, blend.second].float(), share) / 255
        clips = clips.permute(0, 4, 1, 2, 3)
        still = torch.from_numpy(rng.random(size) < STILL)
        clips[still] = clips[still][:, :, :1]
        clips, damage = spoiled(clips, rng, noise)
        weight = torch.from_numpy(blend.share.mean(axis=1)).float()[:, None]
        kinds = len(SHAPES) + 1
        seen = (1 - weight) * functional.one_hot(torch.from_numpy(blend.first), kinds)
        seen = seen + weight * functional.one_hot(torch.from_numpy(blend.second), kinds)
        gone = seen[:, -1:]  # the share of an empty background, which shows no colour, shape or motion
        targets = {"shape": seen[:, :-1] + gone / len(SHAPES)}
        for name, labels in self.labels.items():
            exact = functional.one_hot(labels[rows], len(LABELS[name])).float()
            targets[name] = exact if name == "background" else (1 - gone) * exact + gone / exact.shape[1]
        targets["motion"][still] = 1 / len(MOTIONS)
        blank = torch.from_numpy(rng.random(size) < BLANK)
        clips[blank] = blanks(rng, noise, int(blank.sum()))
        for target in targets.values():
            target[blank] = 1 / target.shape[1]
        real = torch.from_numpy((1 - blend.damage) * (1 - damage)).float()
        real[still | blank] = 0
        return Batch(clips, targets, real)


@dataclass(frozen=True)
class Batch:
    """Clips [B, 3, 8, 32, 32] in 0..1, the probabilities [B, labels] to find, and how true [B] they are, in 0..1."""

    clips: torch.Tensor
    targets: Mapping[str, torch.Tensor]
    real: torch.Tensor

    def to(self, device: str) -> "Batch":
        """The same on another device."""
        targets = {name: target.to(device) for name, target in self.targets.items()}
        return Batch(self.clips.to(device), targets, self.real.to(device))


def render_all(plan: Plan) -> Renders:
    """Render the scenes of a training: any content, any strength of each flaw, paths all over the frame."""
    clips = np.empty((plan.scenes, len(SHAPES) + 1, FRAMES, SIZE, SIZE, 3), np.uint8)
    labels: dict[str, list[int]] = {name: [] for name in LABELS if name != "shape"}
    for index in range(plan.scenes):
        rng, _ = seeded(plan.seed, 7, index)
        content = {name: str(rng.choice(options)) for name, options in LABELS.items()}
        flaws = dict(zip(QUALITIES, rng.random(len(QUALITIES)).tolist(), strict=True))
        place = Placement(across_px=rng.uniform(0, 4), lead_px=rng.uniform(-3, 4))
        path = int(rng.integers(2**62))  # so that the shapes take the same one
        for position, shape in enumerate([*SHAPES, None]):
            scene = Scene(**{**content, "shape": shape or SHAPES[0]}, flaws=flaws)
            clips[index, position] = render(scene, np.random.default_rng(path), place if shape else AWAY)
        for name, found in labels.items():
            found.append(LABELS[name].index(content[name]))
    return Renders(torch.from_numpy(clips), {name: torch.tensor(found) for name, found in labels.items()})


@dataclass(frozen=True)
class Blend:
    """What clips show: places [B] of two of a scene's renders, the second's share [B, T], and how wrong [B] that is."""

    first: np.ndarray
    second: np.ndarray
    share: np.ndarray
    damage: np.ndarray


def blended(rng: np.random.Generator, size: int) -> Blend:
    """Half of the clips show one shape; others one between two, one that changes or vanishes, or a background alone."""
    kind = rng.choice(["one", "between", "changes", "vanishes", "nothing"], size, p=(0.5, 0.2, 0.15, 0.1, 0.05))
    first = rng.integers(0, len(SHAPES), size)
    second = (first + rng.integers(1, len(SHAPES), size)) % len(SHAPES)
    second[(kind == "vanishes") | (kind == "nothing")] = len(SHAPES)
    start, end = rng.random((2, size))
    start[kind == "one"], start[kind == "nothing"] = 0, 1
    end = np.where(np.isin(kind, ("changes", "vanishes")), end, start)
    share = np.linspace(start, end, FRAMES, axis=1)
    unlike = np.where(second[:, None] == len(SHAPES), share, 2 * np.minimum(share, 1 - share)).max(axis=1)
    return Blend(first, second, share, np.minimum(unlike, 1))


def spoiled(clips: torch.Tensor, rng: np.random.Generator, noise: torch.Generator) -> tuple[torch.Tensor, np.ndarray]:
    """Clips with the damage of generated videos, and its strength [B] in 0..1."""
    size = len(clips)

    def strengths(share: float) -> np.ndarray:
        return np.where(rng.random(size) < share, rng.random(size), 0.0)

    def spread(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).float().view(-1, 1, 1, 1, 1)

    bent, echo, blotch, grain = strengths(0.15), strengths(0.08), strengths(0.1), strengths(0.1)
    shift = (
        functional.interpolate(
            torch.randn((size, 2, FRAMES // 2, 5, 5), generator=noise), (FRAMES, SIZE, SIZE), mode="trilinear"
        )
        * spread(bent)
        * (3.0 / SIZE)
    )
    axis = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1) + shift.permute(0, 2, 3, 4, 1)
    frames = clips.transpose(1, 2).flatten(0, 1)
    frames = functional.grid_sample(frames, grid.flatten(0, 1), padding_mode="border", align_corners=False)
    clips = frames.unflatten(0, (size, FRAMES)).transpose(1, 2)
    clips = clips + spread(0.5 * echo) * (clips.roll(int(rng.integers(1, FRAMES)), dims=2) - clips)
    coarse = functional.interpolate(torch.randn((size, 3, 4, 8, 8), generator=noise), (FRAMES, SIZE, SIZE))
    clips = clips + spread(0.12 * blotch) * coarse
    fine = torch.randn(clips.shape, generator=noise)
    clips = clips + spread(0.004 + 0.12 * grain) * fine
    kept = (1 - bent) * (1 - echo) * (1 - blotch) * (1 - grain)
    return clips.clamp(0, 1), 1 - kept


def blanks(rng: np.random.Generator, noise: torch.Generator, size: int) -> torch.Tensor:
    """Clips [B, 3, 8, 32, 32] of one colour, half of them with noise."""
    colour = torch.from_numpy(rng.random((size, 3)) * rng.integers(0, 2, (size, 1))).float()
    strength = torch.from_numpy(0.5 * rng.random(size) * rng.integers(0, 2, size)).float().view(-1, 1, 1, 1, 1)
    grain = torch.randn((size, 3, FRAMES, SIZE, SIZE), generator=noise)
    return (colour[:, :, None, None, None] + strength * grain).clamp(0, 1)


def losses(network: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Cross entropies by what they are about."""
    found = parts(network(batch.clips))
    real = functional.binary_cross_entropy_with_logits(found.pop("real"), batch.real)
    return {**{name: functional.cross_entropy(found[name], batch.targets[name]) for name in found}, "real": real}


def train(folder: Path, plan: Plan, device: str = "cpu") -> None:
    """Train (or resume) the witness; leaves it in `folder/witness`.

    Args:
        folder: Checkpoints.
        plan: Sizes.
        device: Where the network runs; what is drawn is drawn on the CPU and does not depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log.info("rendering %d scenes", plan.scenes)
    renders = render_all(plan)
    torch.manual_seed(plan.seed)
    network: Any = WitnessNetwork(WitnessNetworkConfig())
    network.to(device)

    def loss_of(step: int) -> torch.Tensor:
        rng, noise = seeded(plan.seed, 8, step)
        return torch.stack(list(losses(network, renders.batch(rng, noise, plan.batch).to(device)).values())).sum()

    fit("witness", network, folder, plan, 0.995, loss_of, part="witness")


def export(folder: Path, target: Path) -> None:
    """Write what a repository ships: the trained witness in half precision.

    Args:
        folder: A training's folder with `witness/`.
        target: Gets `config.json` and `model.safetensors`.
    """
    from promptavideo.miniature.assembly import drop_paths

    network: Any = WitnessNetwork.from_pretrained(folder / "witness")
    network.half().save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)  # saved for its owner alone
    drop_paths(target)
