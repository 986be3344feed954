"""What all neural rewards have in common: one score a clip however the work is split, and errors with a way out."""

import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import JUDGE, JUDGES, clips
from makers import judge_config as configure
from makers import load_judge as load
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from promptavideo import registry
from promptavideo.errors import InputError, ScoreError
from promptavideo.judges import Judge, JudgeEntry, load_judges
from promptavideo.judges.loading import plain
from promptavideo.judges.neural import NeuralJudge, sample_frames
from promptavideo.models import LocalModel, fetch
from promptavideo.settings import Ref
from promptavideo.video import Clip

PROMPTS = ("a red ball", "a", "two very large boxes " * 9, "a blue box rolls down a hill", "é", "a cat", "a red ball")


def table(reward: Judge, given: Sequence[Clip], prompts: Sequence[str]) -> np.ndarray:
    return np.array([[score[name] for name in reward.metrics] for score in reward.score(given, prompts)])


@pytest.fixture(scope="module", params=JUDGES)
def reward(request: pytest.FixtureRequest, reward_models: Path) -> NeuralJudge:
    return load(request.param, reward_models)


class TestBatches:
    def test_a_score_is_the_same_to_the_bit_alone_among_others_and_in_another_order(self, reward: NeuralJudge) -> None:
        given = clips(len(PROMPTS))
        together = table(reward, given, PROMPTS)
        assert len(np.unique(together.round(6), axis=0)) == len(PROMPTS)
        alone = [table(reward, [clip], [prompt]) for clip, prompt in zip(given, PROMPTS, strict=True)]
        assert np.array_equal(np.concatenate(alone), together)
        assert np.array_equal(table(reward, given[::-1], PROMPTS[::-1])[::-1], together)

    @pytest.mark.parametrize("kind", JUDGES)
    def test_the_batch_size_moves_a_score_by_rounding_only(self, reward_models: Path, kind: str) -> None:
        given = clips(len(PROMPTS))
        scores = [table(load(kind, reward_models, batch_size=size), given, PROMPTS) for size in (1, 2, 7)]
        spread = np.ptp(scores[0], axis=0).min()
        for other in scores[1:]:
            assert np.abs(other - scores[0]).max() < 2e-5  # float32 sums of networks of this size
        assert spread > 1e-3

    def test_clips_of_other_sizes_and_lengths_share_a_call(self, reward: NeuralJudge) -> None:
        given = [clips(1, frames=5)[0], Clip(clips(1)[0].frames[:, :30, :30], 8.0), *clips(1, frames=40)]
        together = table(reward, given, PROMPTS[:3])
        alone = [table(reward, [clip], [prompt]) for clip, prompt in zip(given, PROMPTS[:3], strict=True)]
        assert np.array_equal(np.concatenate(alone), together)

    def test_nothing_to_score_is_no_scores(self, reward: NeuralJudge) -> None:
        assert reward.score([], []) == []

    def test_sampled_clips_score_as_whole_ones(self, reward: NeuralJudge) -> None:
        for frames in (1, 2, 3, 4, 7, 16, 17, 49):
            (clip,) = clips(1, frames=frames)
            once = reward.sample(clip)
            assert np.array_equal(reward.sample(once).frames, once.frames)
            if frames in (3, 49):
                assert reward.score([once], ["a"]) == reward.score([clip], ["a"])

    def test_it_fills_its_metrics(self, reward: NeuralJudge) -> None:
        entry = registry.kinds("judges")[type(reward).__name__.lower()]
        assert issubclass(entry, JudgeEntry) and tuple(one.name for one in entry.METRICS) == reward.metrics
        (score,) = reward.score(clips(1), ["a"])
        assert tuple(score) == reward.metrics and all(type(value) is float for value in score.values())


class TestFrames:
    @pytest.mark.parametrize(
        ("total", "count", "places"),
        [
            (33, 4, [0, 8, 16, 24]),
            (49, 4, [0, 12, 24, 36]),
            (51, 4, [0, 12, 25, 38]),
            (4, 4, [0, 1, 2, 3]),
            (3, 4, [0, 0, 1, 2]),
            (1, 4, [0, 0, 0, 0]),
            (33, 16, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]),
        ],
    )
    def test_they_stand_at_the_places_of_the_authors_scripts(self, total: int, count: int, places: list[int]) -> None:
        numbers = np.arange(total, dtype=np.uint8)
        clip = Clip(np.broadcast_to(numbers[:, None, None, None], (total, 2, 2, 3)), 8.0)
        assert sample_frames(clip, count).frames[:, 0, 0, 0].tolist() == places

    @pytest.mark.parametrize("count", [4, 16, 48])
    def test_there_are_always_as_many_as_asked_for(self, count: int) -> None:
        for total in range(1, 500):
            assert len(sample_frames(Clip(np.zeros((total, 1, 1, 3), np.uint8), 8.0), count).frames) == count


class TestMemory:
    def starve(self, reward: NeuralJudge, monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
        """Let every call with more than `most` rows run out of memory; return the sizes of all calls."""
        sizes: list[int] = []
        forward = reward._forward

        def limited(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            sizes.append(len(batch["pixel_values"]))
            if sizes[-1] > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(batch)

        monkeypatch.setattr(reward, "_forward", limited)
        return sizes

    @pytest.mark.parametrize("kind", JUDGES)
    def test_half_the_batch_is_tried_and_kept(
        self, reward_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        reward = load(kind, reward_models, batch_size=8)
        given = clips(5)
        before = table(reward, given, PROMPTS[3:4] * 5)
        sizes = self.starve(reward, monkeypatch, most=2)
        with caplog.at_level(logging.WARNING):
            caplog.clear()  # of what transformers says while it loads
            after = table(reward, given, PROMPTS[3:4] * 5)
        assert sizes == [8, 4, 2, 2, 2] and reward.batch_size == 2
        assert reward.circumstances() == {"dtype": "float32", "batch_size": 2}
        assert [record.message for record in caplog.records] == [
            f"{name}: out of main memory; going on with batches of {size}"
            for name, size in ((reward._name, 4), (reward._name, 2))
        ]
        assert np.abs(after - before).max() < 2e-5
        table(reward, given[:1], PROMPTS[:1])
        assert sizes[5:] == [2]

    def test_memory_for_less_than_a_video_is_named(self, reward_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reward = load("mps", reward_models)
        self.starve(reward, monkeypatch, most=0)
        with pytest.raises(InputError, match=r"MPS: main memory does not hold even one video.*dtype: bfloat16"):
            reward.score(clips(1), ["a"])

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
    @pytest.mark.parametrize("kind", JUDGES)
    def test_a_required_gpu_that_is_missing_is_named(self, reward_models: Path, kind: str) -> None:
        with pytest.raises(InputError, match=r"judges\.\w+\.device: cuda needs a GPU"):
            load(kind, reward_models, device="cuda")


class TestIdentity:
    def identity(self, models: Path, kind: str, **fields: Any) -> str:
        (identity,) = load_judges({kind: configure(kind, **fields)}, models)
        return identity

    @pytest.mark.parametrize("kind", JUDGES)
    def test_it_holds_models_and_settings_but_not_how_the_work_is_done(self, reward_models: Path, kind: str) -> None:
        identity = self.identity(reward_models, kind)
        assert self.identity(reward_models, kind, batch_size=9, device="auto", threads=2) == identity
        assert self.identity(reward_models, kind, dtype="float16") != identity
        name, version, settings = identity.split(" ", 2)
        assert (name, version) == (kind, "2" if kind == "videoscore" else "1")
        models = [one.key for one in configure(kind).marked() if one.marker == Ref("models")]
        digests = [json.loads(settings)[key] for key in models]
        assert models and set(models) <= {"model", "head", "base"}
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)

    def test_every_setting_of_a_reward_is_part_of_it(self, reward_models: Path, tmp_path: Path) -> None:
        other = tmp_path / "query.txt"
        other.write_text("Rate $prompt:\n")
        for kind, fields in (
            ("videoscore", {"max_frames": 48}),
            ("videoscore", {"template": str(other)}),
            ("videoscore", {"model": "clip-l"}),
            ("aesthetic", {"frames": 8}),
            ("aesthetic", {"head": "mps"}),
            ("mps", {"threshold": 0.01}),
            ("mps", {"frames": 8}),
            ("mps", {"base": "clip-l"}),
        ):
            assert self.identity(reward_models, kind, **fields) != self.identity(reward_models, kind), fields

    def test_other_weights_are_another_reward(self, reward_models: Path, tmp_path: Path) -> None:
        before = self.identity(reward_models, "mps")
        models = tmp_path / "models"
        shutil.copytree(reward_models, models, symlinks=True)
        weights = load_file(models / "mps" / "model.safetensors")
        (tmp_path / "source").mkdir()
        save_file({key: value * 2 for key, value in weights.items()}, tmp_path / "source" / "model.safetensors")
        fetch("mps", LocalModel(kind="local", path=str(tmp_path / "source")), models / "mps", {})
        assert self.identity(models, "mps") != before

    def test_the_laptops_reward_keeps_its_cached_scores(self) -> None:
        assert list(load_judges({"pixels": JUDGE.validate_python({"kind": "pixels"})})) == [
            'pixels 1 {"kind":"pixels"}'
        ]

    def test_a_reward_is_loaded_when_it_is_asked_for_and_once(self, reward_models: Path) -> None:
        rewards = load_judges({"mps": configure("mps", device="cuda"), "aes": configure("aesthetic")}, reward_models)
        assert len(rewards) == 2
        aes = next(identity for identity in rewards if identity.startswith("aes"))
        assert rewards[aes] is rewards[aes]


class TestErrors:
    @pytest.mark.parametrize(
        "frames",
        [
            np.zeros((2, 8, 8, 3), np.float32),
            np.zeros((8, 8, 3), np.uint8),
            np.zeros((0, 8, 8, 3), np.uint8),
            np.zeros((2, 8, 8, 4), np.uint8),
        ],
    )
    def test_what_is_no_clip_is_refused(self, reward: NeuralJudge, frames: np.ndarray) -> None:
        with pytest.raises(ScoreError, match=r"not uint8 \[frames, height, width, 3\]"):
            reward.score([Clip(frames, 8.0)], ["a"])

    @pytest.mark.parametrize("kind", JUDGES)
    def test_a_model_that_was_not_fetched_is_named(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(InputError, match=r"no manifest\.json, so the model was never fetched"):
            load_judges({kind: configure(kind)}, tmp_path)

    @pytest.mark.parametrize(
        ("kind", "fields", "words"),
        [
            ("videoscore", {"model": "clip-l"}, r"clip-l: holds a model of type clip, not idefics2; check which model"),
            ("videoscore", {"model": "head"}, "head: has no model configuration"),
            ("aesthetic", {"model": "videoscore"}, "holds a model of type idefics2, not clip"),
            ("aesthetic", {"model": "clip-h"}, "cannot be loaded as CLIPVisionModelWithProjection"),
            ("aesthetic", {"head": "mps"}, "is no linear head for the 8 features"),
            ("mps", {"model": "clip-h"}, "holds no weights of MPS"),
            ("mps", {"model": "clip-l"}, "holds no weights of MPS"),
            ("mps", {"base": "head"}, "head: has no model configuration"),
        ],
    )
    def test_another_model_is_refused(self, reward_models: Path, kind: str, fields: dict[str, str], words: str) -> None:
        with pytest.raises(InputError, match=words):
            load(kind, reward_models, **fields)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda weights: weights.pop("score.bias"), r"1 are missing: score\.bias; 0 are not known"),
            (lambda weights: weights.update(extra=torch.ones(1)), r"0 are missing: none; 1 are not known: extra"),
            (lambda weights: weights.update({"score.weight": torch.ones(3, 32)}), r"cannot be loaded as"),
        ],
        ids=["missing", "unknown", "another shape"],
    )
    def test_weights_that_do_not_fit_are_never_made_up(
        self, reward_models: Path, tmp_path: Path, change: Any, words: str
    ) -> None:
        source, weights = tmp_path / "source", {}
        source.mkdir()
        for file in (reward_models / "videoscore").iterdir():
            if file.suffix == ".safetensors":
                weights |= load_file(file)
            elif file.name not in ("manifest.json", "model.safetensors.index.json"):
                shutil.copyfile(file, source / file.name)
        change(weights)
        save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
        fetch("videoscore", LocalModel(kind="local", path=str(source)), tmp_path / "videoscore", {})
        with pytest.raises(InputError, match=words):
            load("videoscore", tmp_path)

    @pytest.mark.parametrize(
        ("kind", "fields"),
        [
            ("videoscore", {"max_frames": 0}),
            ("aesthetic", {"frames": 0}),
            ("mps", {"threshold": 1.0}),
            ("mps", {"threshold": -0.1}),
            ("mps", {"batch_size": 0}),
            ("mps", {"threads": 0}),
            ("aesthetic", {"dtype": "int8"}),
            ("aesthetic", {"device": "tpu"}),
        ],
    )
    def test_unusable_settings_are_refused(self, kind: str, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(fields))):
            configure(kind, **fields)


def test_a_prompt_is_text_and_nothing_else(reward_models: Path) -> None:
    from transformers import AutoTokenizer

    for model, hostile in (("videoscore", "<image>"), ("videoscore", "</s>"), ("clip-h", "<|endoftext|>")):
        tokenizer = AutoTokenizer.from_pretrained(reward_models / model)
        assert plain(f"a {hostile} cat", tokenizer).split() == ["a", "cat"]
        nested = plain(f"a {hostile[:3]}{hostile}{hostile[3:]}", tokenizer)
        special = set(tokenizer.all_special_ids)
        assert not special & set(tokenizer(nested, add_special_tokens=False)["input_ids"])
        assert plain("a $prompt {cat} <b>", tokenizer) == "a $prompt {cat} <b>"
