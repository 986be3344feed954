"""The judges over CLIP: LAION's aesthetic predictor, MPS and HPS."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_judges
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPModel

from promptavideo.errors import InputError
from promptavideo.judges.aesthetic import Aesthetic, AestheticConfig
from promptavideo.judges.clip import MEAN, STD, clip_pixels, padded_pixels
from promptavideo.judges.hps import Hps, HpsConfig
from promptavideo.judges.mps import CONDITION, Mps, MpsConfig
from promptavideo.video import Clip

PROMPTS = ("a red ball rolls", "light, color and texture", "x")


def clip(frames: int = 9, seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed)
    return Clip(rng.integers(0, 256, (frames, 40, 60, 3), dtype=np.uint8), 8.0)


def aesthetic(models: Path, **fields: Any) -> Aesthetic:
    given = {"kind": "aesthetic", "model": "clip-l", "head": "head", "device": "cpu", "batch_size": 2}
    return Aesthetic(AestheticConfig.model_validate({**given, **fields}), models / "clip-l", models / "head")


def mps(models: Path, **fields: Any) -> Mps:
    given = {"kind": "mps", "model": "mps", "base": "clip-h", "device": "cpu", "batch_size": 2}
    return Mps(MpsConfig.model_validate({**given, **fields}), models / "mps", models / "clip-h")


class TestPixels:
    def test_the_middle_of_a_frame_is_kept_and_normalised(self) -> None:
        frame = np.zeros((20, 60, 3), np.uint8)
        frame[:, 20:40] = (255, 128, 0)
        pixels = clip_pixels(frame[None], 20)
        assert pixels.shape == (1, 3, 20, 20) and pixels.dtype == torch.float32
        colour = (torch.tensor([1.0, 128 / 255, 0.0]) - torch.tensor(MEAN)) / torch.tensor(STD)
        assert torch.allclose(pixels, colour[None, :, None, None].expand(1, 3, 20, 20), atol=1e-6)

    @pytest.mark.parametrize(("height", "width"), [(30, 90), (90, 30), (16, 16), (10, 12), (45, 31)])
    def test_the_shorter_side_is_scaled(self, height: int, width: int) -> None:
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        pixels = clip_pixels(frames, 16)
        assert pixels.shape == (2, 3, 16, 16)
        scale = 16 / min(height, width)
        size = (int(width * scale + 1e-9), int(height * scale + 1e-9))
        small = np.asarray(Image.fromarray(frames[1]).resize(size, Image.Resampling.BICUBIC))
        left, top = round((size[0] - 16) / 2), round((size[1] - 16) / 2)
        expected = (small[top : top + 16, left : left + 16] / 255 - MEAN) / STD
        assert np.abs(pixels[1].permute(1, 2, 0).numpy() - expected).max() < 1e-5


class TestAesthetic:
    def test_it_is_the_head_over_normalised_features_averaged_over_four_frames(self, reward_models: Path) -> None:
        given = clip(9)
        (score,) = aesthetic(reward_models).score([given], ["any prompt"])
        network = CLIPModel.from_pretrained(reward_models / "clip-l").eval()
        head = load_file(reward_models / "head" / "model.safetensors")
        pixels = clip_pixels(given.frames[[0, 2, 4, 6]], 32)
        with torch.inference_mode():
            features = network.visual_projection(network.vision_model(pixel_values=pixels).pooler_output)
            features = features / features.norm(dim=1, keepdim=True)
            expected = (features @ head["weight"][0] + head["bias"]).mean()
        assert score == {"AES": pytest.approx(expected.item(), abs=1e-6)}

    def test_the_scores_are_those_written_down(self, reward_models: Path) -> None:
        """By the authors' formula in float64 over the same weights."""
        scores = aesthetic(reward_models).score([clip(9, seed) for seed in range(3)], PROMPTS)
        assert [score["AES"] for score in scores] == pytest.approx([0.08783778, 0.08323446, 0.07582722], abs=1e-7)

    def test_the_prompt_plays_no_part(self, reward_models: Path) -> None:
        reward = aesthetic(reward_models)
        assert reward.score([clip()], ["a"]) == reward.score([clip()], ["b" * 500])


class TestMps:
    def test_the_weights_have_the_published_names(self, reward_models: Path) -> None:
        names = tiny_judges.keys(reward_models / "mps")
        assert all(name.startswith(("mps.model.", "mps.cross_model.layers.")) for name in names)
        layer = {name.removeprefix("mps.cross_model.layers.1.") for name in names if ".layers.1." in name}
        assert {name for name in layer if name.startswith("0.")} == {
            *(f"0.fn.{part}.weight" for part in ("norm", "to_q", "to_kv", "to_out", "ff.0", "ff.2")), "0.fn.norm.bias",
        }  # fmt: skip
        assert {name for name in layer if name.startswith("1.")} == {
            *(f"1.fn.{part}.weight" for part in ("norm", "fused_attn_ff_proj", "attn_out", "ff_out.1")),
            "1.fn.norm.bias",
        }
        assert {
            "mps.model.logit_scale",
            "mps.model.text_projection.weight",
            "mps.model.visual_projection.weight",
        } <= names

    @pytest.mark.parametrize("threshold", [0.01, 0.3, 0.9])
    def test_one_clips_frames_are_scored_as_one_batch(self, reward_models: Path, threshold: float) -> None:
        """The formula as published, over a batch of one clip's frames, whose largest similarity divides the mask."""
        reward = mps(reward_models, threshold=threshold)
        given = [clip(9, seed) for seed in range(3)]
        scores = [score["MPS"] for score in reward.score(given, PROMPTS)]
        network, tokenizer = reward._network, AutoTokenizer.from_pretrained(reward_models / "clip-h")
        clip_ = network.model

        def read(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
            ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
            out = clip_.text_model(input_ids=ids)
            return clip_.text_projection(out.last_hidden_state), clip_.text_projection(out.pooler_output)

        for one, prompt, score in zip(given, PROMPTS, scores, strict=True):
            with torch.inference_mode():
                words, ends = read([prompt] * 4)
                condition, _ = read([CONDITION] * 4)
                pixels = clip_pixels(one.frames[[0, 2, 4, 6]], 32)
                images = clip_.visual_projection(clip_.vision_model(pixel_values=pixels).last_hidden_state)
                near = torch.einsum("bid,bjd->bji", words, condition).max(dim=1, keepdim=True)[0]
                mask = (near / near.max() > threshold)[:, None]
                seen = network.cross_model(images, words, mask)[:, 0]
                cosine = torch.nn.functional.cosine_similarity(seen, ends)
                expected = (network.model.logit_scale.exp() * cosine).mean()
            assert score == pytest.approx(expected.item(), abs=1e-4)

    def test_the_scores_are_those_of_the_authors_code(self, reward_models: Path) -> None:
        """Written by the authors' own network (rewards/MPS) in float32, loaded with the same weights."""
        given = [clip(9, seed) for seed in range(3)]
        scores = [score["MPS"] for score in mps(reward_models).score(given, PROMPTS)]
        # Six steps of float32 at 9: processors differ by four.
        assert scores == pytest.approx([-2.0594832, -8.9190824, 3.1213531], abs=6e-6)
        # In bfloat16 theirs also rounds the score: -2.16, -8.92, 3.04.
        half = [score["MPS"] for score in mps(reward_models, dtype="bfloat16").score(given, PROMPTS)]
        assert half == pytest.approx([-2.1636, -8.9219, 3.0391], abs=0.06)

    def test_prompt_frames_and_threshold_all_count(self, reward_models: Path) -> None:
        reward = mps(reward_models)
        (base,), (words,), (frames,), (mask,) = (
            reward.score([clip()], ["a red ball"]),
            reward.score([clip()], ["a blue box"]),
            reward.score([clip(9, 1)], ["a red ball"]),
            mps(reward_models, threshold=0.95).score([clip()], ["a red ball"]),
        )
        assert len({round(score["MPS"], 4) for score in (base, words, frames, mask)}) == 4

    def test_a_long_prompt_is_cut_as_published(self, reward_models: Path) -> None:
        reward = mps(reward_models)
        (long,) = reward.score([clip()], ["a red ball " * 100])
        (longer,) = reward.score([clip()], ["a red ball " * 101])
        assert long == longer

    def test_a_bfloat16_network_scores_finer_than_bfloat16(self, reward_models: Path) -> None:
        (exact,), (half,) = (
            mps(reward_models, dtype=dtype).score([clip()], ["x"]) for dtype in ("float32", "bfloat16")
        )
        assert half["MPS"] == pytest.approx(exact["MPS"], abs=0.5)
        assert torch.tensor(half["MPS"]).bfloat16().item() != half["MPS"]


def hps(models: Path, **fields: Any) -> Hps:
    given = {"kind": "hps", "model": "hps", "base": "clip-h", "device": "cpu", "batch_size": 2}
    return Hps(HpsConfig.model_validate({**given, **fields}), models / "hps", models / "clip-h")


class TestHps:
    @pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (32, 32), (64, 64), (300, 1)])
    def test_the_longer_side_is_scaled_and_black_fills_the_rest(self, height: int, width: int) -> None:
        white = np.full((2, height, width, 3), 255, np.uint8)
        pixels = padded_pixels(white, 32) * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        assert pixels.shape == (2, 3, 32, 32)
        lit = (pixels > 0.5).all(dim=1)[0]
        rows, columns = (max(1, round(side * 32 / max(height, width))) for side in (height, width))
        top, left = (32 - rows) // 2, (32 - columns) // 2
        assert lit[top : top + rows, left : left + columns].all() and lit.sum() == rows * columns
        assert pixels[~(pixels > 0.5)].abs().max() < 1e-6 if rows * columns < 1024 else True

    def test_the_scores_are_those_of_the_published_code(self, reward_models: Path) -> None:
        """Written by the network and transform of the package hpsv2 1.2.0 in float32, loaded with the same weights."""
        given = [clip(9, seed) for seed in range(3)]
        scores = [score["HPS"] for score in hps(reward_models).score(given, PROMPTS)]
        assert scores == pytest.approx([32.374236, 50.444911, 36.688015], abs=2e-5)

    def test_it_is_the_cosine_of_image_and_prompt_averaged_over_four_frames(self, reward_models: Path) -> None:
        (score,) = hps(reward_models).score([clip()], ["a red ball"])
        single = [
            hps(reward_models).score([Clip(clip().frames[place : place + 1], 8.0)], ["a red ball"])[0]["HPS"]
            for place in (0, 2, 4, 6)
        ]
        assert score["HPS"] == pytest.approx(sum(single) / 4, abs=1e-4)
        whole = reward_models.parent / "sources/clip-h"
        network, tokenizer = CLIPModel.from_pretrained(whole), AutoTokenizer.from_pretrained(whole)
        read = tokenizer(["a red ball"], return_tensors="pt")
        with torch.inference_mode():
            found = network(pixel_values=padded_pixels(clip().frames[:1], 32), input_ids=read["input_ids"])
        assert single[0] == pytest.approx(100 * (found.image_embeds @ found.text_embeds.T).item(), abs=1e-4)

    def test_an_image_is_one_frame_and_batches_change_no_score(self, reward_models: Path) -> None:
        images = [Clip(clip(1, seed).frames, 1.0) for seed in range(5)]
        words = [f"a {colour} ball" for colour in ("red", "blue", "green", "gray", "white")]
        together = hps(reward_models).score(images, words)
        assert together == [
            hps(reward_models).score([image], [word])[0] for image, word in zip(images, words, strict=True)
        ]
        other = hps(reward_models, batch_size=5).score(images, words)
        assert [one["HPS"] for one in other] == pytest.approx([one["HPS"] for one in together], abs=1e-4)

    def test_other_weights_are_refused(self, reward_models: Path, tmp_path: Path) -> None:
        weights = load_file(reward_models / "hps/model.safetensors")
        fewer = {name: value for name, value in weights.items() if "resblocks.1" not in name}
        save_file(fewer, tmp_path / "model.safetensors")
        config = HpsConfig(kind="hps", model="hps", base="clip-h", device="cpu")
        for folder in (tmp_path, reward_models / "mps"):
            with pytest.raises(InputError, match=f"{folder}: its weights are not those of a CLIPModel"):
                Hps(config, folder, reward_models / "clip-h")
