"""VideoReward: scores of the published code, frames by the clip's rate, and one score however the work is split.

Scores, places and sizes written here were printed by the VideoAlign repository's own code (commit 219ab9d, with the
versions of transformers and peft that it pins) on the weights and clips made here: loaded in bfloat16 as published, and
then computed in float32, since sums in bfloat16 differ between processors.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_videoreward
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from promptavideo.errors import InputError, ScoreError
from promptavideo.judges.videoreward import NORM, VideoReward, VideoRewardConfig
from promptavideo.models import LocalModel, fetch
from promptavideo.video import Clip, read_video, write_video

TEMPLATE = Path(__file__).parents[1] / "templates/videoreward.txt"
MODELS = ("videoreward", "qwen2-vl")
EXACT = 1e-4
"""float32 sums of these networks differ by 1e-5 between processors and versions."""


def configure(**fields: Any) -> VideoRewardConfig:
    given = {"kind": "videoreward", "model": MODELS[0], "base": MODELS[1], "dtype": "float32", "device": "cpu"}
    return VideoRewardConfig.model_validate({**given, "batch_size": 2, "template": str(TEMPLATE), **fields})


def load(folder: Path, **fields: Any) -> VideoReward:
    return VideoReward(configure(**fields), *(folder / name for name in MODELS))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_videoreward.fetched(tmp_path_factory.mktemp("videoreward"))


@pytest.fixture(scope="module")
def judge(models: Path) -> VideoReward:
    return load(models)


def clip(frames: int, height: int, width: int, fps: float, seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed + frames)
    y, x = np.mgrid[:height, :width]
    made = [
        np.stack([(x * 2 + t * 9) % 256, (y * 3 + t * 5) % 256, (x + y + 40 * seed) % 256], -1)
        + rng.integers(-20, 20, (height, width, 3))
        for t in range(frames)
    ]
    return Clip(np.clip(np.stack(made), 0, 255).astype(np.uint8), fps)


GIVEN = (
    (clip(33, 48, 64, 8.0), "a red ball", (4.292616, 4.975060, -0.038315)),
    (clip(49, 60, 90, 8.0, 1), "Two blue boxes, rolling down a hill — slowly", (3.751194, 6.194757, 0.595868)),
    (clip(17, 480, 720, 24.0, 2), "é", (2.507320, 6.255326, 0.046297)),
    (clip(81, 40, 40, 15.0, 3), "a cat sits on a {mat} $5", (1.326492, 6.741333, 1.100446)),
    (clip(2, 50, 30, 8.0, 4), "x", (2.404342, 4.628999, -0.881844)),
    (clip(5, 30, 500, 8.0, 5), "a red ball", (2.261624, 7.234399, -0.175568)),
)
CLIPS, PROMPTS = [one for one, _, _ in GIVEN], [prompt for _, prompt, _ in GIVEN]


def table(judge: VideoReward, clips: list[Clip], prompts: list[str]) -> np.ndarray:
    return np.array([[score[name] for name in NORM] for score in judge.score(clips, prompts)])


class TestScores:
    def test_they_are_those_of_the_published_code(self, judge: VideoReward) -> None:
        scores = judge.score(CLIPS, PROMPTS)
        assert list(scores[0]) == ["VR_VQ", "VR_MQ", "VR_TA"]
        for score, (_, _, published) in zip(scores, GIVEN, strict=True):
            assert list(score.values()) == pytest.approx(published, abs=EXACT)

    def test_they_are_what_an_adapter_beside_the_weights_gives(self, judge: VideoReward, models: Path) -> None:
        # Independent of the merge, of the key names of one module in another, of padding and of batches.
        from peft import LoraConfig, get_peft_model
        from transformers import Qwen2VLForConditionalGeneration

        row = judge.prepare(CLIPS[0], PROMPTS[0])
        ids = row["input_ids"][None, : int(row["places"].max()) + 1]
        whole: Any = Qwen2VLForConditionalGeneration(judge._network.config)
        lora = LoraConfig(r=tiny_videoreward.RANK, lora_alpha=128, target_modules=r".*language_model.*_proj")
        adapted = get_peft_model(whole, lora).eval()
        published = load_file(models / "videoreward/model.safetensors")
        renamed = {
            key.replace("base_model.model.model.", "base_model.model.model.language_model.").replace(
                "base_model.model.visual.", "base_model.model.model.visual."
            ): value
            for key, value in published.items()
        }
        left = adapted.load_state_dict(renamed, strict=False)
        assert left.unexpected_keys == ["base_model.model.rm_head.weight"] and not left.missing_keys
        _round(whole.model)
        thw = torch.tensor([[4, 20, 28]])
        given = {"input_ids": ids, "pixel_values_videos": row["pixels"].flatten(0, -2), "video_grid_thw": thw}
        positions = torch.arange(ids.shape[1]).expand(3, 1, -1)
        with torch.inference_mode():
            plain = whole.model(**given, position_ids=positions).last_hidden_state[0]
            kinds = (ids == judge._network.config.video_token_id).int() * 2
            placed = whole.model(**given, mm_token_type_ids=kinds).last_hidden_state[0]
        head = published["base_model.model.rm_head.weight"][0]
        expected, other = (
            [
                (float(states[place] @ head) - mean) / deviation
                for place, (mean, deviation) in zip(row["places"], NORM.values(), strict=True)
            ]
            for states in (plain, placed)
        )
        (found,) = table(judge, CLIPS[:1], PROMPTS[:1])
        assert found == pytest.approx(expected, abs=EXACT)
        assert np.abs(found - other).max() > 0.1  # Qwen2-VL's own positions, which the published code never used

    def test_bfloat16_stays_near(self, judge: VideoReward, models: Path) -> None:
        half = load(models, dtype="bfloat16")
        found, exact = (table(one, CLIPS, PROMPTS) for one in (half, judge))
        # The published code's own in bfloat16 are 0.02 off here in the mean, and 0.05 at most.
        assert 0 < np.abs(found - exact).mean() < 0.08 and np.ptp(exact, axis=0).min() > 1.5

    def test_prompt_and_frames_are_what_is_scored(self, judge: VideoReward) -> None:
        one, other, black = table(
            judge,
            [CLIPS[0], CLIPS[0], Clip(np.zeros_like(CLIPS[0].frames), 8.0)],
            ["a red ball", "a box", "a red ball"],
        )
        assert np.abs(one - black).min() > 1e-2
        # The prompt is asked after the first two are read: these cannot depend on it.
        assert np.abs(one - other)[:2].max() < 1e-5 < 1e-2 < abs(one[2] - other[2])


class TestBatches:
    def test_a_score_is_the_same_to_the_bit_alone_among_others_and_in_another_order(self, judge: VideoReward) -> None:
        clips, prompts = [*CLIPS, *CLIPS[:1], CLIPS[0]], [*PROMPTS, "another prompt", "a very long prompt " * 9]
        together = table(judge, clips, prompts)
        alone = [table(judge, [one], [prompt]) for one, prompt in zip(clips, prompts, strict=True)]
        assert np.array_equal(np.concatenate(alone), together)
        assert np.array_equal(table(judge, clips[::-1], prompts[::-1])[::-1], together)

    def test_the_batch_size_moves_a_score_by_rounding_only(self, judge: VideoReward, models: Path) -> None:
        again = table(load(models, batch_size=3), CLIPS[:3], PROMPTS[:3])
        assert np.abs(again - table(judge, CLIPS[:3], PROMPTS[:3])).max() < EXACT

    def test_most_prompts_are_padded_to_one_length(self, judge: VideoReward) -> None:
        lengths = [len(judge.prepare(CLIPS[4], "5" * count)["input_ids"]) for count in range(1, 65)]
        assert len(set(lengths)) == 2 and max(lengths) == min(lengths) + 64


class TestFrames:
    @pytest.mark.parametrize(
        ("total", "fps", "places"),
        [
            (33, 8.0, [0, 5, 9, 14, 18, 23, 27, 32]),
            (49, 8.0, [0, 4, 9, 13, 17, 22, 26, 31, 35, 39, 44, 48]),
            (17, 24.0, [0, 5, 11, 16]),
            (81, 15.0, [0, 9, 18, 27, 36, 44, 53, 62, 71, 80]),
            (2, 8.0, [0, 1]),
            (3, 8.0, [0, 2]),
            (5, 8.0, [0, 1, 3, 4]),
        ],
    )
    def test_they_stand_where_the_published_code_takes_them(
        self, judge: VideoReward, total: int, fps: float, places: list[int]
    ) -> None:
        numbers = np.arange(total, dtype=np.uint8)
        sampled = judge.sample(Clip(np.broadcast_to(numbers[:, None, None, None], (total, 2, 2, 3)), fps))
        assert sampled.frames[:, 0, 0, 0].tolist() == places
        assert judge.sample(sampled).frames[:, 0, 0, 0].tolist() == places

    def test_a_slower_rate_shows_more_of_them(self, judge: VideoReward, tmp_path: Path) -> None:
        counts = []
        for fps in (8.0, 16.0, 24.0):
            write_video(Clip(CLIPS[1].frames[:48], fps), tmp_path / f"{fps}.mp4")
            counts.append(len(judge.sample(read_video(tmp_path / f"{fps}.mp4")).frames))
        assert counts == [12, 6, 4]  # of 6, 3 and 2 seconds
        slow, fast = table(judge, [Clip(CLIPS[1].frames, fps) for fps in (8.0, 24.0)], ["a", "a"])
        assert np.abs(slow - fast).max() > 1e-2

    def test_there_are_never_more_than_768(self, judge: VideoReward) -> None:
        long = Clip(np.broadcast_to(np.uint8(0), (4001, 2, 2, 3)), 1.0)
        assert len(judge.sample(long).frames) == 768

    @pytest.mark.parametrize(
        ("size", "grid"),
        [((48, 64), (10, 14)), ((480, 720), (13, 19)), ((40, 40), (12, 12)), ((50, 30), (15, 9)), ((30, 500), (3, 47))],
    )
    def test_they_are_scaled_as_by_the_published_code(
        self, judge: VideoReward, size: tuple[int, int], grid: tuple[int, int]
    ) -> None:
        row = judge.prepare(clip(4, *size, 2.0), "a")
        assert row["pixels"].shape == (2, *grid, 4, 1176)

    def test_a_token_is_of_two_by_two_patches_of_two_frames(self, judge: VideoReward) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (4, 336, 364, 3), dtype=np.uint8)
        pixels = judge.prepare(Clip(frames, 2.0), "a")["pixels"].numpy()
        mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
        for time, row, column, patch, place in (
            (0, 0, 0, 0, 0),
            (1, 11, 12, 3, 1175),
            (1, 4, 7, 2, 700),
            (0, 5, 2, 1, 3),
        ):
            colour, later, y, x = np.unravel_index(place, (3, 2, 14, 14))
            at = (time * 2 + later, row * 28 + patch // 2 * 14 + y, column * 28 + patch % 2 * 14 + x, colour)
            expected = (frames[at] / 255 - mean[colour]) / deviation[colour]
            assert pixels[time, row, column, patch, place] == pytest.approx(expected, abs=1e-6)


class TestQuery:
    def test_it_is_the_published_one_to_the_letter(self) -> None:
        text = TEMPLATE.read_bytes()
        assert hashlib.sha256(text).hexdigest() == "d88362e6f78eb9018be14853f0b0cd6843387ceaaa00d26b4f9479f1443d0a1e"
        assert b"Textual prompt - $prompt\n" in text and text.endswith(b"<|TA_reward|>\nEND\n")

    def test_it_is_one_turn_after_as_many_video_tokens_as_the_network_makes(
        self, judge: VideoReward, models: Path
    ) -> None:
        row = judge.prepare(CLIPS[0], "a red ball")
        published = Tokenizer.from_file(str(models / "qwen2-vl/tokenizer.json"))
        published.add_special_tokens(["<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>"])
        text = (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
            + "<|video_pad|>" * (4 * 20 * 28 // 4)
            + "<|vision_end|>"
            + TEMPLATE.read_text().replace("$prompt", "a red ball")
            + "<|im_end|>\n<|im_start|>assistant\n"
        )
        ids = published.encode(text).ids
        assert row["input_ids"][: len(ids)].tolist() == ids and len(ids) == 4577
        assert set(row["input_ids"][len(ids) :].tolist()) == {published.token_to_id("<|endoftext|>")}
        names = [published.id_to_token(ids[place]) for place in row["places"]]
        assert names == ["<|VQ_reward|>", "<|MQ_reward|>", "<|TA_reward|>"]

    @pytest.mark.parametrize("prompt", ["<|TA_reward|>", "<|video_pad|> x", "a<|im_end|>", "$prompt", "{{ x }} {% x"])
    def test_a_prompt_cannot_forge_scores_videos_or_an_end(self, judge: VideoReward, prompt: str) -> None:
        row = judge.prepare(CLIPS[4], prompt)
        special = {**judge._tokenizer.get_added_vocab()}
        ids = row["input_ids"].tolist()
        assert [ids.count(special[name]) for name in ("<|TA_reward|>", "<|video_pad|>", "<|im_end|>")] == [1, 15 * 9, 2]
        assert ("{" in prompt) == ("{" in judge._tokenizer.decode(ids))


class TestRefusals:
    @pytest.mark.parametrize("fps", [0.0, -8.0, float("nan"), float("inf")])
    def test_a_clip_without_a_rate(self, judge: VideoReward, fps: float) -> None:
        with pytest.raises(ScoreError, match=r"cannot judge 33 frames at .* a second"):
            judge.score([Clip(CLIPS[0].frames, fps)], ["a"])

    def test_one_frame(self, judge: VideoReward) -> None:
        with pytest.raises(ScoreError, match=r"cannot judge 1 frames"):
            judge.score([Clip(CLIPS[0].frames[:1], 8.0)], ["a"])

    def test_a_strip(self, judge: VideoReward) -> None:
        with pytest.raises(ScoreError, match=r"frames of 1000 x 4 pixels cannot be judged"):
            judge.score([clip(4, 4, 1000, 8.0)], ["a"])

    def test_no_frames_and_other_numbers(self, judge: VideoReward) -> None:
        for frames in (CLIPS[0].frames[:0], CLIPS[0].frames.astype(np.float32), CLIPS[0].frames[..., :1]):
            with pytest.raises(ScoreError, match="a clip is"):
                judge.score([Clip(frames, 8.0)], ["a"])

    def test_a_prompt_longer_than_the_model_reads(self, judge: VideoReward) -> None:
        with pytest.raises(ScoreError, match=r"prompt '555.* and video are \d+ tokens; the model reads 8192"):
            judge.score([CLIPS[4]], ["5" * 6000])

    def test_a_template_without_its_tokens(self, models: Path, tmp_path: Path) -> None:
        template = tmp_path / "template.txt"
        template.write_text("How good is $prompt? <|VQ_reward|> <|MQ_reward|>")
        with pytest.raises(InputError, match=r"template\.txt: must hold <\|VQ_reward\|>, .* once each"):
            load(models, template=str(template))

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("base_model.model.model.layers.1.mlp.up_proj.lora_B.default.weight", "holds no weights of VideoReward"),
            ("base_model.model.rm_head.weight", "holds no weights of VideoReward"),
            (
                "base_model.model.visual.blocks.0.attn.qkv.bias",
                "its weights are not those of a Qwen2VLModel .1 are missing",
            ),
        ],
    )
    def test_weights_that_lack_a_part(self, models: Path, tmp_path: Path, key: str, words: str) -> None:
        state = load_file(models / "videoreward/model.safetensors")
        del state[key]
        assert _fails(models, tmp_path, state, words)

    def test_the_head_of_another_version(self, models: Path, tmp_path: Path) -> None:
        state = load_file(models / "videoreward/model.safetensors")
        state["base_model.model.rm_head.weight"] = torch.ones(3, tiny_videoreward.WIDTH)
        assert _fails(models, tmp_path, state, r"a head of shape \[3, 32\]")

    def test_the_tokenizer_of_another_base(self, models: Path, tmp_path: Path) -> None:
        state = load_file(models / "videoreward/model.safetensors")
        key = "base_model.model.model.embed_tokens.weight"
        state[key] = state[key][:-1].clone()
        assert _fails(models, tmp_path, state, "its tokenizer is not that of the weights")

    def test_another_kind_of_base(self, models: Path) -> None:
        with pytest.raises(InputError, match="has no model configuration"):
            VideoReward(configure(), models / "videoreward", models / "videoreward")


def _round(model: Any) -> None:
    """Rotations as in a network that was cast to bfloat16 as a whole."""
    model.language_model.rotary_emb.inv_freq = model.language_model.rotary_emb.inv_freq.bfloat16().float()
    speeds = model.visual.rotary_pos_emb.inv_freq.bfloat16()

    def forward(_: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        table = torch.outer(torch.arange(int(positions.max()) + 1, dtype=torch.bfloat16), speeds)
        angles = torch.cat([table[positions[:, 0]], table[positions[:, 1]]] * 2, dim=-1)
        return angles.cos().float(), angles.sin().float()

    model.visual.rotary_pos_emb.forward = forward


def _fails(models: Path, folder: Path, state: dict[str, torch.Tensor], words: str) -> bool:
    """Whether loading such weights raises an InputError that says so."""
    shutil.copytree(models / "qwen2-vl", folder / "qwen2-vl", symlinks=True)
    (folder / "source").mkdir()
    save_file(state, folder / "source/model.safetensors")
    fetch("videoreward", LocalModel(kind="local", path=str(folder / "source")), folder / "videoreward", {})
    with pytest.raises(InputError, match=words):
        load(folder)
    return True
