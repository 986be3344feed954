"""VideoScore: the published layout, the query to the letter, the frames, the pooled token, and the anchor scores."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_judges
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from promptavideo.errors import InputError, ScoreError
from promptavideo.judges.videoscore import VideoScore, VideoScoreConfig
from promptavideo.models import LocalModel, fetch
from promptavideo.video import Clip, read_video

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "templates/videoscore.txt"
LATENTS = 4
"""Tokens an image in the tiny model."""


def configure(**fields: Any) -> VideoScoreConfig:
    given = {"kind": "videoscore", "model": "videoscore", "dtype": "float32", "device": "cpu", "batch_size": 2}
    return VideoScoreConfig.model_validate({**given, "template": str(TEMPLATE), **fields})


@pytest.fixture(scope="module")
def reward(reward_models: Path) -> VideoScore:
    return VideoScore(configure(), reward_models / "videoscore")


def clip(frames: int, height: int = 40, width: int = 60) -> Clip:
    rng = np.random.default_rng(frames)
    return Clip(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), 8.0)


def test_the_weights_have_the_published_names_and_are_sharded(reward_models: Path) -> None:
    folder = reward_models / "videoscore"
    assert (folder / "model.safetensors.index.json").is_file() and len(list(folder.glob("*.safetensors"))) > 1
    names = tiny_judges.keys(folder)
    parts = {name.rpartition(".layers.")[0] or name.rpartition(".")[0] for name in names}
    assert {
        "score.weight",
        "score.bias",
        "model.text_model.embed_tokens.weight",
        "model.text_model.norm.weight",
    } <= names
    assert {"model.text_model", "model.vision_model.encoder", "model.connector.perceiver_resampler"} <= parts
    assert "model.connector.modality_projection.gate_proj.weight" in names
    assert "model.vision_model.embeddings.patch_embedding.weight" in names


def test_the_query_is_the_published_one_to_the_letter() -> None:
    # Another wording is another metric. One line ends in a space: editors like to take it away.
    text = TEMPLATE.read_bytes()
    assert hashlib.sha256(text).hexdigest() == "85a8df4eb48326be2db81ec30e5fe9c9820568b6bee2dd62358fb147e8117a7f"
    assert text.startswith(b"\nSuppose") and text.endswith(b'"$prompt",\nall the frames of video are as follows:\n')
    assert b"in that sub-score, \n" in text


@pytest.mark.parametrize(
    ("most", "given", "seen"), [(16, 9, 9), (16, 16, 16), (16, 33, 16), (48, 49, 48), (48, 33, 33)]
)
def test_the_query_ends_with_an_image_a_frame(reward_models: Path, most: int, given: int, seen: int) -> None:
    reward = VideoScore(configure(max_frames=most), reward_models / "videoscore")
    row = reward.prepare(clip(given), "a red ball")
    published = Tokenizer.from_file(str(reward_models / "videoscore/tokenizer.json"))
    ids = row["input_ids"][: row["attention_mask"].sum()].tolist()
    image = "<fake_token_around_image>" + "<image>" * LATENTS + "<fake_token_around_image>"
    query = TEMPLATE.read_text().replace("$prompt", "a red ball")
    assert ids == published.encode(query + f"{image} " * seen).ids
    # As Mistral's own file has it: the token after an image begins a text, and is no bare space.
    assert published.id_to_token(ids[-1]) == "▁▁"
    assert row["pixel_values"].shape[0] == seen


def test_images_are_scaled_normalised_and_never_split(reward: VideoScore) -> None:
    white = Clip(np.full((2, 100, 200, 3), 255, np.uint8), 8.0)
    row = reward.prepare(white, "a")
    assert row["pixel_values"].shape == (2, 3, 28, 56)  # the longest edge at most 56; the file says to split
    assert torch.equal(row["pixel_values"], torch.ones(2, 3, 28, 56))
    assert row["pixel_attention_mask"].all()
    assert reward.prepare(clip(2, 10, 30), "a")["pixel_values"].shape == (2, 3, 28, 30)  # the shortest at least 28


def test_the_last_token_before_the_padding_is_pooled(reward: VideoScore) -> None:
    row = reward.prepare(clip(3), "a red ball")
    count = int(row["attention_mask"].sum())
    assert count < len(row["input_ids"]) and not row["attention_mask"][count:].any()
    with torch.inference_mode():
        states = reward._network.model(
            input_ids=row["input_ids"][None, :count],
            pixel_values=row["pixel_values"][None],
            pixel_attention_mask=row["pixel_attention_mask"][None],
        ).last_hidden_state
        expected = reward._network.score(states[0, -1])
    (score,) = reward.score([clip(3)], ["a red ball"])
    assert list(score) == ["VQ", "TC", "DD", "TVA", "FC"]
    assert list(score.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_most_prompts_are_padded_to_one_length(reward: VideoScore) -> None:
    lengths = [len(reward.prepare(clip(2), "5" * count)["input_ids"]) for count in range(1, 65)]
    assert len(set(lengths)) == 2 and max(lengths) == min(lengths) + 64


def test_the_prompt_and_the_frames_are_what_is_scored(reward: VideoScore) -> None:
    (one,) = reward.score([clip(3)], ["a red ball"])
    (other,) = reward.score([clip(3)], ["a blue box"])
    (black,) = reward.score([Clip(np.zeros((3, 40, 60, 3), np.uint8), 8.0)], ["a red ball"])
    for changed in (other, black):
        assert max(abs(one[name] - changed[name]) for name in one) > 1e-3


@pytest.mark.parametrize(
    "prompt", ["<image>", "a <image> <image>", "<fake_token_around_image>", "</s><s>", "$prompt", "{x}"]
)
def test_a_prompt_cannot_forge_frames_or_an_end(reward: VideoScore, prompt: str) -> None:
    row = reward.prepare(clip(2), prompt)
    ids = row["input_ids"][: row["attention_mask"].sum()].tolist()
    tokenizer = reward._processor.tokenizer
    assert ids.count(tokenizer.convert_tokens_to_ids("<image>")) == 2 * LATENTS
    assert ids.count(tokenizer.bos_token_id) == 1 and tokenizer.eos_token_id not in ids
    reward.score([clip(2)], [prompt])


def test_a_prompt_longer_than_the_model_reads_is_named(reward: VideoScore) -> None:
    with pytest.raises(ScoreError, match=r"prompt '555.* and 2 frames are \d+ tokens; the model reads 4096"):
        reward.score([clip(2)], ["5" * 4000])


def test_bfloat16_gives_its_own_steps(reward_models: Path, reward: VideoScore) -> None:
    half = VideoScore(configure(dtype="bfloat16"), reward_models / "videoscore")
    given, prompts = [clip(3), clip(5), clip(7)], ["a", "b", "b"]
    found, exact = (np.array([list(row.values()) for row in one.score(given, prompts)]) for one in (half, reward))
    assert (torch.tensor(found).bfloat16().double().numpy() == found).all()
    # Native and emulated products round differently: by some 0.02, and 0.07 at most, in either. Clips differ by more.
    assert 0 < np.abs(found - exact).mean() < 0.04 and np.abs(found - exact).max() < 0.15
    assert min(np.abs(exact[one] - exact[other]).max() for one, other in ((0, 1), (0, 2), (1, 2))) > 0.45
    assert [list(row.values()) for row in half.score(given[:1], prompts[:1])] == found[:1].tolist()


def test_a_tokenizer_of_another_model_is_refused(reward_models: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in (reward_models / "videoscore").iterdir():
        if file.name != "manifest.json" and "tokenizer" not in file.name:
            (source / file.name).symlink_to(file.resolve())
    AutoTokenizer.from_pretrained(reward_models / "clip-l").save_pretrained(source)
    fetch("mixed", LocalModel(kind="local", path=str(source)), tmp_path / "mixed", {})
    with pytest.raises(InputError, match="tokenizer and network do not belong together"):
        VideoScore(configure(), tmp_path / "mixed")


@pytest.mark.parametrize(
    ("lost", "words"),
    [("preprocessor", "its image processor cannot be loaded"), ("tokenizer", "its tokenizer cannot read plain text")],
)
def test_a_folder_without_its_processor_is_named(reward_models: Path, tmp_path: Path, lost: str, words: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for file in (reward_models / "videoscore").iterdir():
        if file.name != "manifest.json" and lost not in file.name:
            (source / file.name).symlink_to(file.resolve())
    fetch("partial", LocalModel(kind="local", path=str(source)), tmp_path / "partial", {})
    with pytest.raises(InputError, match=words):
        VideoScore(configure(), tmp_path / "partial")


ANCHOR_PROMPT = (
    "Near the Elephant Gate village, they approach the haunted house at night. Rajiv feels anxious, but Bhavesh "
    "encourages him. As they reach the house, a mysterious sound in the air adds to the suspense."
)
"""Of examples/video1.mp4 of the TIGER-AI-Lab/VideoScore repository, which also gives the scores below."""


@pytest.mark.parametrize(
    ("variable", "model", "frames", "expected"),
    [
        ("VIDEOSCORE_MODEL", "videoscore", 16, [2.297, 2.469, 2.906, 2.766, 2.516]),
        ("VIDEOSCORE_V11_MODEL", "videoscore-v1.1", 48, [2.328, 2.484, 2.562, 1.969, 2.594]),
    ],
    ids=["v1", "v1.1"],
)
def test_the_real_weights_give_the_published_scores(
    variable: str, model: str, frames: int, expected: list[float]
) -> None:
    folder = Path(os.environ.get(variable, ROOT / "resources/models" / model))
    video = Path(os.environ.get("VIDEOSCORE_VIDEO", ROOT / "resources/anchors/video1.mp4"))
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"no weights of {model}: neither {folder} nor ${variable} is a fetched model")
    if not video.is_file():
        pytest.skip(f"no anchor video: neither {video} nor $VIDEOSCORE_VIDEO is a file")
    reward = VideoScore(
        configure(model=model, dtype="bfloat16", device="auto", batch_size=1, max_frames=frames), folder
    )
    (score,) = reward.score([read_video(video)], [ANCHOR_PROMPT])
    assert list(score.values()) == pytest.approx(expected, abs=0.05)  # three steps of bfloat16: kernels differ
