"""The miniature's distillation: targets, what is kept of the teacher, restarts, and what is shipped."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file

from promptavideo.miniature import distillation, fitting, training
from promptavideo.miniature.distillation import (
    Plan,
    Trajectories,
    distil,
    export,
    film_trajectories,
    step_velocity,
    student_levels,
    train_student,
)
from promptavideo.miniature.training import build_scheduler
from promptavideo.miniature.world import SHAPES, Scene, random_scene

PLAN = Plan(
    teacher_steps=4,
    student_steps=2,
    trajectories=6,
    part=4,
    film_batch=4,
    steps=3,
    batch=4,
    decay_steps=2,
    checkpoint_every=1,
    seed=1,
)


class StoppedError(Exception):
    """Stands in for the end of the process."""


@pytest.fixture(scope="module")
def teacher(miniature: Path) -> Path:
    """Random weights, as a repository ships them."""
    return miniature.parent / "weights"


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory, teacher: Path, encoder: Path) -> Path:
    """Trajectories of the random teacher, of which every second clip is said to show the right shape."""
    folder = tmp_path_factory.mktemp("filmed")
    with pytest.MonkeyPatch.context() as patch:
        keep_every_second(patch)
        film_trajectories(folder, teacher, encoder, PLAN)
    return folder


def keep_every_second(patch: pytest.MonkeyPatch) -> None:
    """Make the detector agree with what was asked on every second clip of a batch."""
    asked: list[Scene] = []

    def drawn(rng: np.random.Generator) -> Scene:
        asked.append(random_scene(rng))
        return asked[-1]

    def changed(scene: Scene, **fields: Any) -> Scene:
        asked[-1] = replace(scene, **fields)
        return asked[-1]

    seen = [0]

    def found(clip: np.ndarray) -> Scene:
        seen[0] += 1
        scene = asked[seen[0] - 1]
        other = SHAPES[(SHAPES.index(scene.shape) + 1) % 3]
        return scene if seen[0] % 2 else replace(scene, shape=other)

    patch.setattr(distillation, "random_scene", drawn)
    patch.setattr(distillation, "replace", changed)
    patch.setattr(distillation, "detect", found)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "transformer/diffusion_pytorch_model.safetensors")


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_target_velocity_leads_the_sampler_from_one_level_to_the_next() -> None:
    plan = Plan()
    times, levels = student_levels(plan)
    assert len(times) == plan.student_steps and levels.shape == (plan.student_steps + 1, 2)
    scheduler = build_scheduler()
    scheduler.set_timesteps(plan.student_steps)
    assert times == scheduler.timesteps.tolist()
    noise = torch.Generator().manual_seed(0)
    for step, moment in enumerate(scheduler.timesteps):
        here, there = (torch.randn(2, 8, 8, 8, 8, generator=noise) for _ in range(2))
        velocity = step_velocity(here, there, torch.cat([levels[step], levels[step + 1]]).expand(2, 4))
        torch.testing.assert_close(scheduler.step(velocity, moment, here).prev_sample, there, atol=1e-4, rtol=1e-4)


def test_the_students_levels_are_among_the_teachers() -> None:
    plan = Plan()
    scheduler = build_scheduler()
    scheduler.set_timesteps(plan.teacher_steps)
    assert scheduler.timesteps.tolist()[:: plan.teacher_steps // plan.student_steps] == student_levels(plan)[0]


def test_only_clips_that_show_the_shape_asked_for_are_kept(filmed: Path) -> None:
    found = Trajectories(filmed / "trajectories")
    assert found.points.shape == (4, 3, 8, 8, 8, 8) and len(found.texts) == 4  # of two parts of four clips
    assert not torch.equal(found.points[0, 0], found.points[1, 0])


def test_a_trajectory_ends_where_the_guided_sampler_does(filmed: Path, teacher: Path, encoder: Path) -> None:
    """Against the pipeline's own loop, on the noise that the trajectory began with; guidance counts."""
    from diffusers import AutoencoderKL, LattePipeline, LatteTransformer3DModel
    from transformers import AutoTokenizer

    from promptavideo.miniature.assembly import load_text_encoder
    from promptavideo.miniature.training import encode_texts

    tokenizer, text_encoder = AutoTokenizer.from_pretrained(encoder), load_text_encoder(encoder)
    model: Any = LatteTransformer3DModel.from_pretrained(teacher / "transformer", dtype=torch.float32).eval()
    pipeline: Any = LattePipeline(
        tokenizer, text_encoder, AutoencoderKL.from_pretrained(teacher / "vae", dtype=torch.float32), model,
        build_scheduler(),
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 8, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    texts = ["a red ball", "a blue"]  # of one text alone the pipeline pads nothing
    states, counts = encode_texts(texts, tokenizer, text_encoder)
    empty_tokens = tokenizer([""], padding="max_length", max_length=120, return_tensors="pt")
    empty = text_encoder(empty_tokens.input_ids, attention_mask=empty_tokens.attention_mask)[0]
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "autocast", lambda device: torch.autocast(device, enabled=False))
        ours = distillation._trajectory(model, noise, list(states.split(counts)), empty, PLAN)[:, -1]
    theirs = pipeline(
        prompt=texts, negative_prompt=["", ""], latents=noise, height=32, width=32, video_length=8,
        num_inference_steps=PLAN.teacher_steps, guidance_scale=PLAN.guidance, clean_caption=False, output_type="latent",
    ).frames  # fmt: skip
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=2e-3)


def test_the_student_starts_as_its_teacher_and_learns(filmed: Path, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "trajectories").symlink_to(filmed / "trajectories")
    losses: list[float] = []
    plan = replace(PLAN, steps=8, decay_steps=1, lr=1e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EMAModel, "step", lambda *arguments: None)
        original = torch.Tensor.backward
        patch.setattr(torch.Tensor, "backward", lambda self: (losses.append(float(self)), original(self))[1])
        train_student(tmp_path, teacher, plan)
    assert np.mean(losses[-2:]) < 0.95 * np.mean(losses[:2])
    before = load_file(teacher / "transformer/diffusion_pytorch_model.safetensors")
    assert before.keys() == tensors(tmp_path).keys()


@pytest.mark.parametrize("saves", [1, 3])
def test_a_stopped_distillation_goes_on_to_the_same_student(
    filmed: Path, teacher: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trajectories").symlink_to(filmed / "trajectories")
    distil(tmp_path / "whole", teacher, encoder, PLAN)
    save, done = fitting.save_state, [0]

    def stopping(*state: Any) -> None:
        save(*state)
        done[0] += 1
        if done[0] == saves:
            raise StoppedError

    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(fitting, "save_state", stopping)
        distil(tmp_path / "stopped", teacher, encoder, PLAN)
    torch.manual_seed(99)
    distil(tmp_path / "stopped", teacher, tmp_path / "no encoder is needed", PLAN)
    assert same(tensors(tmp_path / "whole"), tensors(tmp_path / "stopped"))


def test_a_lost_part_comes_back_the_same(filmed: Path, teacher: Path, encoder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        keep_every_second(patch)
        film_trajectories(tmp_path, teacher, encoder, replace(PLAN, trajectories=4))
    first = load_file(filmed / "trajectories/0.safetensors")
    assert same(first, load_file(tmp_path / "trajectories/0.safetensors"))


def test_the_export_has_all_parts_of_a_miniature(filmed: Path, teacher: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work/trajectories").symlink_to(filmed / "trajectories")
    train_student(tmp_path / "work", teacher, PLAN)
    export(tmp_path / "work", teacher, tmp_path / "shipped")
    student = tensors(tmp_path / "shipped")
    assert {value.dtype for value in student.values()} == {torch.float16}
    assert not same(student, load_file(teacher / "transformer/diffusion_pytorch_model.safetensors"))
    for path in ("vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json", "vae/config.json"):
        assert (tmp_path / "shipped" / path).read_bytes() == (teacher / path).read_bytes() or path.endswith("json")
