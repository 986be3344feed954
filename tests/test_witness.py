"""The witness: what it sees in true renders, its scores, and its training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from promptavideo.errors import InputError, ScoreError
from promptavideo.judges.pixels import NEUTRAL_AGREEMENT
from promptavideo.judges.witness import Witness, WitnessConfig
from promptavideo.miniature import fitting, witness
from promptavideo.miniature.prompts import short_prompt
from promptavideo.miniature.witness import LABELS, Plan, WitnessNetwork, blended, export, losses, render_all, train
from promptavideo.miniature.world import QUALITIES, Scene, random_scene, render
from promptavideo.models import LocalModel, fetch
from promptavideo.video import Clip

SHIPPED = Path(__file__).parents[1] / "resources/witness"
TINY = Plan(scenes=8, steps=4, batch=4, decay_steps=2, checkpoint_every=2, seed=1)
CONFIG = WitnessConfig(kind="witness", model="witness", device="cpu")


class StoppedError(Exception):
    """Stands in for the end of the process."""


def load(folder: Path, target: Path, config: WitnessConfig = CONFIG) -> Witness:
    """A witness of a folder's weights, fetched as the workflow does."""
    entry = LocalModel(kind="local", path=str(folder), allow_patterns=["*.json", "*.safetensors"])
    fetch("witness", entry, target, {})
    return Witness(config, target)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Witness:
    return load(SHIPPED, tmp_path_factory.mktemp("models") / "witness")


def prompt_of(scene: Scene) -> str:
    return short_prompt((scene.colour, scene.shape, scene.motion, scene.background))


def filmed(scene: Scene, seed: int) -> Clip:
    return Clip(render(scene, np.random.default_rng(seed)), 8.0)


def drawn(count: int, good: bool, seed: int = 5) -> list[Scene]:
    scenes = [random_scene(np.random.default_rng((seed, index))) for index in range(count)]
    return [replace(scene, flaws=dict.fromkeys(QUALITIES, 0.0)) for scene in scenes] if good else scenes


def score(judge: Witness, clips: list[Clip], prompts: list[str], metric: str) -> np.ndarray:
    return np.array([found[metric] for found in judge.score(clips, prompts)])


class TestScores:
    def test_true_renders_agree_with_their_prompts_and_not_with_others(self, judge: Witness) -> None:
        scenes = drawn(48, good=True)
        clips = [filmed(scene, seed) for seed, scene in enumerate(scenes)]
        right = score(judge, clips, [prompt_of(scene) for scene in scenes], "AGREE")
        assert right.mean() > 0.95
        for name, labels in LABELS.items():
            other = [labels[(labels.index(getattr(scene, name)) + 1) % len(labels)] for scene in scenes]
            swapped = [replace(scene, **{name: label}) for scene, label in zip(scenes, other, strict=True)]
            wrong = score(judge, clips, [prompt_of(scene) for scene in swapped], "AGREE")
            assert (right - wrong).mean() > 0.2, name  # of 0.25 that one of four factors is worth

    def test_only_what_the_prompt_names_counts(self, judge: Witness) -> None:
        clip = filmed(Scene("red", "box", "left", "tiles"), 0)
        named, wrong, nothing = score(judge, [clip] * 3, ["something red", "something blue", "a dog"], "AGREE")
        assert named > 0.95
        assert wrong < 0.05
        assert nothing == NEUTRAL_AGREEMENT

    def test_clips_that_show_nothing_agree_with_nothing(self, judge: Witness) -> None:
        rng = np.random.default_rng(0)
        black = np.zeros((8, 32, 32, 3), np.uint8)
        noise = rng.integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
        prompts = [prompt_of(scene) for scene in drawn(40, good=True)]
        for frames in (black, noise):
            clips = [Clip(frames, 8.0)] * len(prompts)
            assert score(judge, clips, prompts, "AGREE").mean() < 0.45
            assert score(judge, clips, prompts, "REAL").max() < 0.2

    def test_damaged_renders_are_less_real_whatever_their_quality(self, judge: Witness) -> None:
        true, doubled = [], []
        for seed, scene in enumerate(drawn(40, good=False)):
            clip = filmed(scene, seed)
            other = filmed(replace(scene, shape="box" if scene.shape != "box" else "triangle"), seed)
            between = (clip.frames.astype(float) + other.frames) / 2
            true.append(clip)
            doubled.append(Clip(np.round(between).astype(np.uint8), 8.0))
        prompts = [""] * len(true)
        assert score(judge, true, prompts, "REAL").mean() > score(judge, doubled, prompts, "REAL").mean() + 0.2

    def test_a_score_depends_on_no_neighbour(self, judge: Witness) -> None:
        scenes = drawn(7, good=False)
        clips = [filmed(scene, seed) for seed, scene in enumerate(scenes)]
        prompts = [prompt_of(scene) for scene in scenes]
        together = judge.score(clips, prompts)
        assert judge.score(clips[::-1], prompts[::-1])[::-1] == together
        assert [judge.score([clip], [prompt])[0] for clip, prompt in zip(clips, prompts, strict=True)] == together

    def test_clips_of_other_sizes_and_lengths_are_scored(self, judge: Witness) -> None:
        scene = Scene("green", "triangle", "up", "stripes")
        frames = filmed(scene, 0).frames
        larger = Clip(frames.repeat(2, axis=0).repeat(3, axis=1).repeat(3, axis=2), 16.0)
        assert judge.score([larger], [prompt_of(scene)]) == judge.score([filmed(scene, 0)], [prompt_of(scene)])
        with pytest.raises(ScoreError, match="not uint8"):
            judge.score([Clip(frames[..., 0], 8.0)], [""])

    def test_the_shipped_weights_see_what_their_card_says(self, judge: Witness) -> None:
        card = (SHIPPED / "README.md").read_text(encoding="utf-8")
        rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("|")]
        said = {row[0]: float(row[1].removesuffix(" %")) / 100 for row in rows if row[0] in LABELS}
        assert set(said) == set(LABELS)
        scenes = drawn(200, good=False, seed=6)
        clips = [filmed(scene, seed) for seed, scene in enumerate(scenes)]
        for name, labels in LABELS.items():
            chances = np.stack([score(judge, clips, [label] * len(clips), "AGREE") for label in labels], axis=1)
            found = [labels[place] for place in chances.argmax(axis=1)]
            right = np.mean([label == getattr(scene, name) for label, scene in zip(found, scenes, strict=True)])
            assert right == pytest.approx(said[name], abs=0.05), name

    def test_another_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other/config.json").write_text('{"model_type": "clip"}')
        (tmp_path / "other/model.safetensors").write_bytes((SHIPPED / "model.safetensors").read_bytes())
        with pytest.raises(InputError, match="of type clip, not witness"):
            load(tmp_path / "other", tmp_path / "witness")


class TestTraining:
    def test_a_tiny_training_lowers_its_loss(self, tmp_path: Path) -> None:
        plan = replace(TINY, scenes=32, steps=60, batch=16, decay_steps=1, lr=1e-2)
        renders = render_all(plan)
        held = renders.batch(*fitting.seeded(9, 9), 64)
        torch.manual_seed(plan.seed)
        fresh = WitnessNetwork(witness.WitnessNetworkConfig())
        train(tmp_path, plan)
        trained = WitnessNetwork.from_pretrained(tmp_path / "witness")
        with torch.inference_mode():
            before, after = losses(fresh, held), losses(trained, held)
        assert sum(after.values()) < 0.9 * sum(before.values())

    def test_a_training_is_the_same_again_and_after_a_kill(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop_after(count: int) -> None:
            def counted(*arguments: object) -> dict[str, torch.Tensor]:
                calls.append(1)
                if len(calls) > count:
                    raise StoppedError
                return losses(*arguments)  # type: ignore[arg-type]

            calls: list[int] = []
            monkeypatch.setattr(witness, "losses", counted)

        train(tmp_path / "whole", TINY)
        stop_after(3)
        with pytest.raises(StoppedError):
            train(tmp_path / "killed", TINY)
        stop_after(2)  # what the checkpoint of the second step leaves to do
        train(tmp_path / "killed", TINY)
        for name in ("whole", "killed"):
            export(tmp_path / name, tmp_path / f"{name}.out")
        whole, killed = (tmp_path / f"{name}.out/model.safetensors" for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes()
        assert whole.stat().st_size < 1_000_000
        load(tmp_path / "whole.out", tmp_path / "model").score([Clip(np.zeros((8, 32, 32, 3), np.uint8), 8.0)], ["a"])

    def test_what_a_clip_should_show_is_what_was_blended(self) -> None:
        batch = render_all(TINY).batch(*fitting.seeded(3), 256)
        for name, target in batch.targets.items():
            assert target.shape == (256, len(LABELS[name]))
            assert torch.allclose(target.sum(dim=1), torch.ones(256))
        assert 0 <= batch.real.min() < 0.05
        assert batch.real.max() == 1
        sure = batch.targets["shape"].max(dim=1).values
        assert (sure[batch.real > 0.9] > 0.9).all()  # nothing between two shapes counts as true

    def test_a_blend_of_equal_parts_is_as_wrong_as_can_be(self) -> None:
        blend = blended(np.random.default_rng(0), 500)
        constant = np.ptp(blend.share, axis=1) == 0
        halves = np.abs(blend.share[:, 0] - 0.5) < 0.02
        assert (blend.damage[constant & halves & (blend.second < 3)] > 0.95).all()
        assert (blend.damage[blend.share.max(axis=1) == 0] == 0).all()
        assert (blend.damage[blend.share.min(axis=1) == 1] == 1).all()
