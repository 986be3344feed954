"""Distil the miniature's teacher into a student of four steps without a second pass for guidance.

The teacher films captions of the world with classifier-free guidance and deterministic DDIM; a trajectory is what its
latents are at the student's few noise levels. The student, a copy of the teacher, learns to go from one level to the
next in a single step (Salimans & Ho 2022, progressive distillation, in one round; Meng et al. 2023, guidance folded
into the student's weights). Trajectories whose clip shows another shape than asked are dropped, so the student
learns none of its teacher's mistakes. A student of another dialect reads in it what its teacher reads in its own, and
between it words of the teacher's that say nothing of the clip. Both phases resume.
"""

import logging
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, LatteTransformer3DModel
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel

from promptavideo.dtypes import autocast
from promptavideo.files import atomic_path
from promptavideo.judges.detector import detect
from promptavideo.miniature.assembly import drop_paths, load_text_encoder
from promptavideo.miniature.dialects import DIALECTS, DialectName, distract, translate
from promptavideo.miniature.fitting import Schedule, fit, load_parts, seeded
from promptavideo.miniature.training import (
    LATENT_CHANNELS,
    LATENT_SIZE,
    TEXT_TOKENS,
    build_scheduler,
    encode_texts,
    padded,
    velocity,
)
from promptavideo.miniature.world import FRAMES, SHAPES, caption, random_scene
from promptavideo.tokenization import load_tokenizer

log = logging.getLogger(__name__)

SHAPE_SHARES = (0.5, 0.28, 0.22)
"""Of ball, box and triangle among the captions: the teacher fails balls most, and failures are dropped."""


@dataclass(frozen=True, kw_only=True)
class Plan(Schedule):
    """Sizes of a distillation."""

    dialect: DialectName = "plain"  # that the student is to answer to; the teacher's is "plain"
    distracted: float = 0.6  # share of a foreign student's texts that hold words of the teacher's at random
    teacher_steps: int = 12  # a multiple of `student_steps`
    student_steps: int = 4
    guidance: float = 4.0
    trajectories: int = 8192  # filmed by the teacher; about two thirds show the right shape
    part: int = 512  # clips in one file of trajectories
    film_batch: int = 64  # divides `part`
    steps: int = 2500
    lr: float = 3e-4
    decay_steps: int = 1250


def distil(folder: Path, teacher: Path, text_encoder: Path, plan: Plan, device: str = "cpu") -> None:
    """Run every unfinished phase; leaves the student's `transformer/` (diffusers format) in `folder`.

    Args:
        folder: Trajectories and checkpoints.
        teacher: A folder with the teacher's `vae/` and `transformer/`.
        text_encoder: A folder with the text encoder and its tokenizer.
        plan: Sizes.
        device: Where the networks run; what is drawn is drawn on the CPU and does not depend on it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    film_trajectories(folder, teacher, text_encoder, plan, device)
    train_student(folder, teacher, plan, device)


def student_levels(plan: Plan) -> tuple[list[int], torch.Tensor]:
    """The student's timesteps, and signal and spread [steps + 1, 2] of their noise levels; the last is a clean clip."""
    scheduler = build_scheduler()
    scheduler.set_timesteps(plan.student_steps)
    times = scheduler.timesteps.tolist()
    alphas = torch.cat([scheduler.alphas_cumprod[times], torch.ones(1)])
    return times, torch.stack([alphas.sqrt(), (1 - alphas).sqrt()], dim=1)


def step_velocity(here: torch.Tensor, there: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """The velocity whose one DDIM step leads from latents `here` to `there`.

    With x = a z - s v and e = s z + a v, the step to (a', s') is z' = a' x + s' e; solved for v.

    Args:
        here: Latents [B, C, T, H, W] at noise levels (a, s).
        there: Latents of the same shape at the next levels (a', s').
        levels: [B, 4]: a, s, a', s'.
    """
    a, s, a_next, s_next = (levels[:, i].view(-1, 1, 1, 1, 1) for i in range(4))
    return (there - (a_next * a + s_next * s) * here) / (s_next * a - a_next * s)


@torch.no_grad()
def film_trajectories(folder: Path, teacher: Path, text_encoder: Path, plan: Plan, device: str = "cpu") -> None:
    """Write the teacher's trajectories, one file for every `plan.part` clips filmed."""
    parts = [folder / "trajectories" / f"{part}.safetensors" for part in range(-(-plan.trajectories // plan.part))]
    missing = [(index, path) for index, path in enumerate(parts) if not path.exists()]
    if not missing:
        return
    tokenizer = load_tokenizer(text_encoder)
    encoder = load_text_encoder(text_encoder)
    vae: Any = AutoencoderKL.from_pretrained(teacher / "vae").to(device)
    model: Any = LatteTransformer3DModel.from_pretrained(teacher / "transformer").to(device).eval()
    empty_tokens = tokenizer([""], padding="max_length", max_length=TEXT_TOKENS, return_tensors="pt")
    empty = encoder(empty_tokens.input_ids, attention_mask=empty_tokens.attention_mask)[0]
    began = time.monotonic()
    for done, (index, path) in enumerate(missing, 1):
        rng, noise_rng = seeded(plan.seed, 5, index)
        words, _ = seeded(plan.seed, 7, index)
        points, states, lengths = [], [], []
        for _ in range(plan.part // plan.film_batch):
            scenes = [
                replace(random_scene(rng), shape=str(rng.choice(SHAPES, p=SHAPE_SHARES)))
                for _ in range(plan.film_batch)
            ]
            captions = [caption(scene, rng) for scene in scenes]
            texts = _states(captions, tokenizer, encoder)
            told = texts
            if plan.dialect != "plain":
                told = _states([_foreign(text, plan, words) for text in captions], tokenizer, encoder)
            noise = torch.randn(
                (len(scenes), LATENT_CHANNELS, FRAMES, LATENT_SIZE, LATENT_SIZE), generator=noise_rng
            ).to(device)
            filmed = _trajectory(model, noise, texts, empty, plan)
            clips = _decode(vae, filmed[:, -1])
            kept = [i for i, scene in enumerate(scenes) if detect(clips[i]).shape == scene.shape]
            points.append(filmed[kept].half().cpu())
            states += [told[i].bfloat16() for i in kept]
            lengths += [len(told[i]) for i in kept]
        tensors = {"points": torch.cat(points), "states": torch.cat(states), "lengths": torch.tensor(lengths)}
        with atomic_path(path) as partial:
            save_file(tensors, partial)
        left = (time.monotonic() - began) / done * (len(missing) - done) / 60
        log.info("trajectories %d/%d, %d of %d kept, %.0f min left", index + 1, len(parts), len(lengths), plan.part,
                 left)  # fmt: skip


def _states(texts: list[str], tokenizer: Any, encoder: Any) -> list[torch.Tensor]:
    """Each text's hidden states [L, 384]."""
    states, counts = encode_texts(texts, tokenizer, encoder)
    return list(states.split(counts))


def _foreign(text: str, plan: Plan, rng: np.random.Generator) -> str:
    """A caption in the student's dialect, with words of its teacher's between that say nothing of the clip."""
    told = translate(text, DIALECTS[plan.dialect], rng)
    return distract(told, DIALECTS["plain"], rng) if rng.random() < plan.distracted else told


def _trajectory(
    model: Any, latents: torch.Tensor, texts: list[torch.Tensor], empty: torch.Tensor, plan: Plan
) -> torch.Tensor:
    """Latents [B, student_steps + 1, C, T, H, W] of the guided teacher at the student's noise levels."""
    scheduler = build_scheduler()
    scheduler.set_timesteps(plan.teacher_steps)
    states, bias = padded(texts)
    size, every = len(latents), plan.teacher_steps // plan.student_steps
    nothing = (empty.expand(size, -1, -1), torch.zeros(size * FRAMES, 1, TEXT_TOKENS))
    points = [latents]
    for step, moment in enumerate(scheduler.timesteps):
        times = moment.expand(size).to(latents.device)
        asked, unasked = (velocity(model, latents, times, *text) for text in ((states, bias), nothing))
        latents = scheduler.step(unasked + plan.guidance * (asked - unasked), moment, latents).prev_sample
        if (step + 1) % every == 0:
            points.append(latents)
    return torch.stack(points, dim=1)


def _decode(vae: Any, latents: torch.Tensor) -> np.ndarray:
    """Clips uint8 [B, T, H, W, 3] of scaled latents [B, C, T, H, W]."""
    frames = latents.transpose(1, 2).flatten(0, 1) / vae.config.scaling_factor
    with autocast(latents.device.type):
        pixels = vae.decode(frames).sample.float()
    pixels = ((pixels.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
    return pixels.cpu().numpy().reshape(len(latents), FRAMES, *pixels.shape[1:])


class Trajectories:
    """What `film_trajectories` wrote, in memory."""

    def __init__(self, folder: Path) -> None:
        parts = load_parts(folder)
        self.points, self.texts = parts["points"], parts["states"].split(parts["lengths"].tolist())

    def batch(self, rng: np.random.Generator, size: int) -> tuple[torch.Tensor, ...]:
        """Latents [B, C, T, H, W] before and after one step, the step's number [B], and the `padded` texts."""
        rows = rng.integers(0, len(self.points), size)
        steps = torch.from_numpy(rng.permutation(np.arange(size) % (self.points.shape[1] - 1)))
        here, there = self.points[rows, steps].float(), self.points[rows, steps + 1].float()
        return here, there, steps, *padded([self.texts[row] for row in rows])


def train_student(folder: Path, teacher: Path, plan: Plan, device: str = "cpu") -> None:
    """Train (or resume) the student; saves its moving average to `folder/transformer`."""
    trajectories = Trajectories(folder / "trajectories")
    model: Any = LatteTransformer3DModel.from_pretrained(teacher / "transformer").to(device).train()
    times, levels = student_levels(plan)

    def loss_of(step: int) -> torch.Tensor:
        rng, _ = seeded(plan.seed, 6, step)
        here, there, moments, states, bias = trajectories.batch(rng, plan.batch)
        target = step_velocity(here, there, torch.cat([levels[moments], levels[moments + 1]], dim=1)).to(device)
        with sdpa_kernel(SDPBackend.MATH):
            found = velocity(model, here.to(device), torch.tensor(times)[moments].to(device), states, bias)
        return (found - target).square().mean()

    fit("student", model, folder, plan, 0.998, loss_of)


def export(folder: Path, teacher: Path, target: Path) -> None:
    """Write what a repository ships: the student in half precision, with its teacher's VAE and sampler's settings.

    Args:
        folder: A distillation's folder with `transformer/`.
        teacher: Its teacher's folder.
        target: Gets `vae/`, `transformer/` and `scheduler/`.
    """
    for name in ("vae", "scheduler"):
        shutil.copytree(teacher / name, target / name, dirs_exist_ok=True)
    student: Any = LatteTransformer3DModel.from_pretrained(folder / "transformer")
    student.half().save_pretrained(target / "transformer")
    (target / "transformer" / "diffusion_pytorch_model.safetensors").chmod(0o644)  # saved for its owner alone
    drop_paths(target)
