"""The pixel reward: right labels on true renders, each dimension led by its own flaw, and odd clips."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from makers import METRICS
from scipy.stats import spearmanr

from promptavideo.errors import ScoreError
from promptavideo.judges import pixels
from promptavideo.judges.detector import detect
from promptavideo.judges.pixels import RANGES, Content, PixelJudge, agreement, parse_content
from promptavideo.miniature.world import (
    BACKGROUND_WORDS,
    COLOURS,
    MOTION_WORDS,
    MOTIONS,
    QUALITIES,
    SHAPE_WORDS,
    SHAPES,
    Scene,
    caption,
    random_scene,
    render,
)
from promptavideo.video import Clip, read_video, write_video

REWARD = PixelJudge()
OWN = {"focus": "VQ", "light": "TC", "speed": "DD", "camera": "FC", "saturation": "AES", "exposure": "MPS"}
FACTORS = ("colour", "shape", "motion", "background")


def _scenes(count: int, seed: int) -> list[tuple[Scene, Clip]]:
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng) for _ in range(count)]
    return [(scene, Clip(render(scene, rng), 8.0)) for scene in scenes]


def _good(scene: Scene) -> Scene:
    return Scene(scene.colour, scene.shape, scene.motion, scene.background)


def _accuracy(pairs: list[tuple[Scene, np.ndarray]]) -> dict[str, float]:
    seen = [(scene, detect(frames)) for scene, frames in pairs]
    return {name: float(np.mean([getattr(s, name) == getattr(d, name) for s, d in seen])) for name in FACTORS}


def test_labels_are_right_on_true_renders_with_any_flaws():
    accuracy = _accuracy([(scene, clip.frames) for scene, clip in _scenes(250, 0)])
    assert min(accuracy.values()) >= 0.95, accuracy


def test_labels_survive_a_lossy_file(tmp_path):
    pairs = []
    for scene, clip in _scenes(40, 1):
        write_video(clip, tmp_path / "a.mp4", pixel_format="yuv444p")
        pairs.append((scene, read_video(tmp_path / "a.mp4").frames))
    accuracy = _accuracy(pairs)
    assert min(accuracy.values()) >= 0.95, accuracy


def test_labels_survive_noise_softness_and_a_tint():
    rng = np.random.default_rng(2)
    pairs = []
    for scene, clip in _scenes(80, 2):
        soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 0.5) for frame in clip.frames])
        noisy = soft + rng.normal(0, 2.0, soft.shape) + np.array([3.0, 0.0, -4.0])
        pairs.append((scene, np.clip(noisy, 0, 255).astype(np.uint8)))
    accuracy = _accuracy(pairs)
    assert min(accuracy.values()) >= 0.95, accuracy


def test_labels_survive_another_size():
    large = [
        (scene, np.stack([cv2.resize(frame, (96, 96), interpolation=cv2.INTER_LINEAR) for frame in clip.frames]))
        for scene, clip in _scenes(40, 3)
    ]
    accuracy = _accuracy(large)
    assert min(accuracy.values()) >= 0.95, accuracy


def test_measures_have_their_units():
    scene = Scene("red", "ball", "right", "tiles")
    seen = detect(render(scene, np.random.default_rng(0)))
    assert seen.speed == pytest.approx(2.3, abs=0.1)
    assert seen.jitter < 0.1
    assert seen.exposure == pytest.approx(0.55, abs=0.02)
    assert seen.saturation == pytest.approx(1 - 0.08 / 0.82, abs=0.02)
    assert seen.vividness == pytest.approx(1, abs=0.02)
    assert seen.flicker < 0.01
    pale_dim = scene.with_flaw("saturation", 1.0).with_flaw("exposure", 1.0).with_flaw("light", 1.0)
    faded = detect(render(pale_dim, np.random.default_rng(0)))
    assert faded.vividness == pytest.approx(0.3, abs=0.03)
    assert faded.exposure == pytest.approx(0.45 * 0.55, abs=0.02)
    assert 0.2 < faded.flicker < 0.29  # +-22.5 %, less the trend's degrees of freedom


@pytest.mark.parametrize("flaw", QUALITIES)
def test_each_dimension_falls_with_its_own_flaw_and_hardly_with_another(flaw):
    strengths = (0.0, 0.25, 0.5, 0.75, 1.0)
    scenes = [scene for scene, _ in _scenes(10, 4)]
    means = {}
    for strength in strengths:
        clips = [
            Clip(render(_good(scene).with_flaw(flaw, strength), np.random.default_rng(i)), 8.0)
            for i, scene in enumerate(scenes)
        ]
        texts = [caption(scene, np.random.default_rng(i), 0.0) for i, scene in enumerate(scenes)]
        scores = REWARD.score(clips, texts)
        means[strength] = {name: float(np.mean([score[name] for score in scores])) for name in METRICS}
    own = OWN[flaw]
    assert spearmanr(strengths, [means[strength][own] for strength in strengths]).statistic <= -0.9
    for name in METRICS:
        low, high = RANGES[name]
        change = (means[1.0][name] - means[0.0][name]) / (high - low)
        if name == own:
            assert change < -0.5
        else:
            assert abs(change) < 0.15, name


def test_good_ends_score_near_the_top_and_bad_ends_near_the_bottom():
    scene = Scene("yellow", "box", "up", "stripes")
    worst = replace(scene, flaws=dict.fromkeys(QUALITIES, 1.0))
    prompt = "a yellow box rising against vertical stripes"
    clips = [Clip(render(s, np.random.default_rng(0)), 8.0) for s in (scene, worst)]
    good, bad = REWARD.score(clips, [prompt] * 2)
    for name in OWN.values():
        low, high = RANGES[name]
        assert (good[name] - low) / (high - low) > 0.85, name
        assert (bad[name] - low) / (high - low) < 0.2, name
    assert all(low <= score[name] <= high for score in (good, bad) for name, (low, high) in RANGES.items())


@pytest.mark.parametrize(
    "other",
    [
        "a blue ball moving left in front of a striped curtain",
        "a red triangle moving left in front of a striped curtain",
        "a red box moving left in front of a striped curtain",
        "a red ball moving right in front of a striped curtain",
        "a red ball rising in front of a striped curtain",
        "a red ball moving left on a tiled floor",
        "a red ball moving left against a plain wall",
    ],
)
def test_alignment_drops_when_the_prompt_names_something_else(other):
    flawed = replace(Scene("red", "ball", "left", "stripes"), flaws=dict.fromkeys(QUALITIES, 0.6))
    for scene in (_good(flawed), flawed):
        clip = Clip(render(scene, np.random.default_rng(0)), 8.0)
        right, wrong = REWARD.score([clip] * 2, ["a red ball moving left in front of a striped curtain", other])
        assert right["TVA"] > 3.6
        assert wrong["TVA"] < right["TVA"] - 0.5
        assert wrong["MPS"] < right["MPS"]
        assert {k: v for k, v in wrong.items() if k not in ("TVA", "MPS")} == {
            k: v for k, v in right.items() if k not in ("TVA", "MPS")
        }


def test_alignment_reads_only_what_the_prompt_names():
    clip = Clip(render(Scene("green", "box", "down", "horizon"), np.random.default_rng(0)), 8.0)
    for prompt in ("a green thing", "something falls", "a cube", "GREEN"):
        assert REWARD.score([clip], [prompt])[0]["TVA"] > 3.8, prompt


def test_a_prompt_that_names_nothing_known_is_neutral():
    for _, clip in _scenes(3, 5):
        for prompt in ("a dog in bright light", ""):
            assert REWARD.score([clip], [prompt])[0]["TVA"] == 2.5


@pytest.mark.parametrize(
    ("prompt", "content"),
    [
        ("a red ball moving left", ("red", "ball", "left", None)),
        ("Blue BOX falling in front of a striped curtain", ("blue", "box", "down", "stripes")),
        ("before a striped wall, a purple cone floating upward", ("purple", "triangle", "up", "stripes")),
        ("under a blue sky a yellow sphere rolls rightward", ("yellow", "ball", "right", "horizon")),
        ("two green cubes rising over a chessboard", ("green", "box", "up", "tiles")),
        ("a pyramid sinks  \n against a PLAIN gray backdrop.", (None, "triangle", "down", "wall")),
        ("close-up of a well lit bright square", (None, "box", None, None)),
        ("an upright, downtown, boxed and reddish balloon", (None, None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_prompts_are_read_by_whole_words(prompt, content):
    assert parse_content(prompt) == Content(*content)


def test_every_wording_of_the_world_is_understood():
    for shape, nouns in SHAPE_WORDS.items():
        for noun in nouns:
            assert parse_content(f"a {noun}") == Content(None, shape, None, None)
    for motion, phrases in MOTION_WORDS.items():
        for phrase in phrases:
            assert parse_content(phrase) == Content(None, None, motion, None)
    for background, phrases in BACKGROUND_WORDS.items():
        for phrase in phrases:
            assert parse_content(phrase) == Content(None, None, None, background)


def test_captions_with_every_quality_word_are_read_as_their_content():
    rng = np.random.default_rng(6)
    for _ in range(150):
        scene = random_scene(rng)
        asked = parse_content(text := caption(scene, rng, 1.0))
        assert (asked.colour, asked.shape, asked.motion) == (scene.colour, scene.shape, scene.motion), text
        assert asked.background in (None, scene.background), text


def test_the_batch_does_not_change_a_score():
    clips = [clip for _, clip in _scenes(6, 7)]
    prompts = [f"a {colour} ball moving up" for colour in (*COLOURS, "red")]
    together = REWARD.score(clips, prompts)
    assert together == [REWARD.score([clip], [prompt])[0] for clip, prompt in zip(clips, prompts, strict=True)]
    assert together[::-1] == REWARD.score(clips[::-1], prompts[::-1])
    assert REWARD.score([], []) == []


def test_scoring_leaves_the_clip_as_it_is():
    clip = _scenes(1, 8)[0][1]
    before = clip.frames.copy()
    clip.frames.setflags(write=False)
    REWARD.score([clip], ["a red ball"])
    np.testing.assert_array_equal(clip.frames, before)


@pytest.mark.parametrize("shape", [(8, 32, 32), (1, 32, 32), (2, 32, 32), (3, 64, 48), (1, 1, 1), (5, 7, 90)])
@pytest.mark.parametrize("fill", ["black", "white", "gray", "noise", "red"])
def test_odd_clips_get_finite_scores_in_range(shape, fill):
    frames = np.full((*shape, 3), {"black": 0, "white": 255}.get(fill, 128), np.uint8)
    if fill == "noise":
        frames = np.random.default_rng(0).integers(0, 256, frames.shape, dtype=np.uint8)
    elif fill == "red":
        frames[...] = (200, 10, 10)
    score = REWARD.score([Clip(frames, 8.0)], ["a red ball moving left on a tiled floor"])[0]
    assert tuple(score) == METRICS
    for name, (low, high) in RANGES.items():
        assert low <= score[name] <= high
    if fill in ("black", "gray"):  # nothing to see cannot pay
        assert (score["VQ"], score["DD"], score["FC"], score["AES"]) == (1, 1, 1, 1)
        assert score["TVA"] < 1.5


def test_a_gray_clip_shows_no_object_and_one_frame_no_motion():
    gray = detect(render(Scene("red", "ball", "left", "tiles"), np.random.default_rng(0)).mean(-1, keepdims=True)
                  .astype(np.uint8).repeat(3, -1))  # fmt: skip
    assert not gray.found
    assert (gray.colour, gray.shape, gray.motion, gray.background) == (None, None, None, "tiles")
    still = detect(render(Scene("red", "ball", "left", "tiles"), np.random.default_rng(0))[:1])
    assert (still.colour, still.shape, still.motion) == ("red", "ball", None)


def test_objects_may_lose_frames_or_leave_the_picture():
    frames = render(Scene("green", "triangle", "right", "wall"), np.random.default_rng(0))
    lost = frames.copy()
    lost[[0, 5]] = frames[0, 0, 0]
    seen = detect(lost)
    assert (seen.colour, seen.shape, seen.motion) == ("green", "triangle", "right")
    assert seen.jitter < 0.2
    leaving = np.roll(frames, 9, axis=2)
    leaving[:, :, :9] = frames[0, 0, 0]
    seen = detect(leaving)
    assert (seen.colour, seen.shape, seen.motion) == ("green", "triangle", "right")


def test_evidence_is_graded():
    mixed = detect(render(Scene("red", "ball", "left", "tiles"), np.random.default_rng(0)))
    assert set(mixed.colour_evidence) == set(COLOURS)
    assert set(mixed.shape_evidence) == set(SHAPES)
    assert set(mixed.motion_evidence) == set(MOTIONS)
    frames = render(Scene("red", "ball", "left", "tiles"), np.random.default_rng(0)).astype(float)
    orange = frames.copy()
    orange[..., 1] += 0.45 * np.clip(frames[..., 0] - frames[..., 1] - 40, 0, None)
    hint = agreement(detect(orange.astype(np.uint8)), Content("red", None, None, None))
    assert 0.1 < hint < 0.95


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((8, 32, 32), np.uint8),
        np.zeros((8, 32, 32, 4), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
        np.zeros((8, 32, 32, 3), np.float32),
    ],
)
def test_what_is_no_clip_is_an_error(frames):
    with pytest.raises(ScoreError, match="uint8"):
        REWARD.score([Clip(frames, 8.0)], ["a red ball"])


def test_a_score_that_is_not_finite_is_an_error(monkeypatch):
    scene, clip = _scenes(1, 9)[0]
    broken = replace(detect(clip.frames), flicker=math.nan)
    monkeypatch.setattr(pixels, "detect", lambda frames: broken)
    with pytest.raises(ScoreError, match="TC not finite"):
        REWARD.score([clip], [f"a {scene.colour} ball"])
