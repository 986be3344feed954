"""The synthetic world: what is rendered, and what captions say about it."""

import re
from collections import Counter
from itertools import combinations

import cv2
import numpy as np
import pytest

from promptavideo.miniature import world
from promptavideo.miniature.world import Scene, caption, random_scene, render


def _clip(scene: Scene, seed: int = 0) -> np.ndarray:
    return render(scene, np.random.default_rng(seed))


def _object_mask(clip: np.ndarray) -> np.ndarray:
    """[T, H, W]: pixels of clear colour; the backgrounds are gray."""
    return clip.max(-1).astype(int) - clip.min(-1) > 60


def test_a_clip_has_the_declared_size_and_depends_on_seed_and_scene_alone():
    scene = Scene("red", "ball", "left", "tiles").with_flaw("camera", 1.0)
    first = _clip(scene, 3)
    assert first.shape == (world.FRAMES, world.SIZE, world.SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, _clip(scene, 3))
    assert (first != _clip(scene, 4)).any()


@pytest.mark.parametrize(("motion", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("up", 0, -1), ("down", 0, 1)])
def test_the_object_moves_as_named_and_fast_means_faster(motion, axis, sign):
    travelled = {}
    for speed in (0.0, 1.0):
        mask = _object_mask(_clip(Scene("blue", "ball", motion, "horizon").with_flaw("speed", speed)))
        centres = np.array([np.argwhere(frame).mean(0) for frame in mask])
        steps = np.diff(centres, axis=0).mean(0)
        assert abs(steps[1 - axis]) < 0.1
        travelled[speed] = sign * steps[axis]
    assert travelled[0.0] == pytest.approx(2.3, abs=0.15)
    assert travelled[1.0] == pytest.approx(0.6, abs=0.15)


@pytest.mark.parametrize("colour", list(world.COLOURS))
def test_the_object_has_its_colour(colour):
    clip = _clip(Scene(colour, "box", "up", "wall"))
    median = np.median(clip[_object_mask(clip)], axis=0)
    np.testing.assert_allclose(median, 255 * np.array(world.COLOURS[colour]), atol=2)


def test_shapes_differ_in_outline():
    area, filled = {}, {}
    for shape in world.SHAPES:
        mask = _object_mask(_clip(Scene("red", shape, "right", "wall")))[4]
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        area[shape] = mask.sum()
        filled[shape] = mask.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1)
    assert filled["box"] > 0.95 > filled["ball"] > 0.7 > filled["triangle"]
    assert area["ball"] == pytest.approx(np.pi * world.RADIUS_PX**2, rel=0.12)


def test_a_triangle_points_up():
    mask = _object_mask(_clip(Scene("red", "triangle", "right", "wall")))[4]
    widths = mask.sum(1)[mask.any(1)]
    assert widths[0] < widths[-1]
    assert (np.diff(widths) >= 0).all()


def test_every_flaw_does_its_own_damage():
    def of(quality: str, strength: float) -> np.ndarray:
        return _clip(Scene("green", "box", "right", "stripes").with_flaw(quality, strength), 1).astype(float)

    def edge(clip: np.ndarray) -> float:
        return max(cv2.Laplacian(frame[..., 1], cv2.CV_64F).std() for frame in clip)

    def brightness(clip: np.ndarray) -> np.ndarray:
        return clip.mean((1, 2, 3))

    def colourfulness(clip: np.ndarray) -> float:
        return (clip.max(-1) - clip.min(-1)).max()

    good = of("focus", 0.0)
    assert edge(of("focus", 1.0)) < 0.5 * edge(good)
    assert np.ptp(brightness(of("light", 1.0))) > 0.3 * brightness(good).mean()
    assert np.ptp(brightness(good)) < 0.03 * brightness(good).mean()
    assert colourfulness(of("saturation", 1.0)) == pytest.approx(0.3 * colourfulness(good), abs=2)
    np.testing.assert_allclose(brightness(of("exposure", 1.0)), 0.45 * brightness(good), rtol=0.02)
    corner = of("camera", 1.0)[:, 0]  # the background's first row stands still unless the camera shakes
    assert np.abs(np.diff(corner, axis=0)).max() > 20 > np.abs(np.diff(good[:, 0], axis=0)).max()


def test_with_flaw_changes_one_flaw_of_a_copy():
    scene = random_scene(np.random.default_rng(0))
    changed = scene.with_flaw("light", 0.33)
    assert changed.flaws == {**scene.flaws, "light": 0.33}
    assert scene.flaws["light"] != 0.33
    assert (changed.colour, changed.motion) == (scene.colour, scene.motion)


def test_random_scenes_are_balanced_and_their_flaws_are_good_or_bad():
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(1200)]
    for factor, options in (
        ("colour", world.COLOURS),
        ("shape", world.SHAPES),
        ("motion", world.MOTIONS),
        ("background", world.BACKGROUNDS),
    ):
        counts = Counter(getattr(scene, factor) for scene in scenes)
        assert set(counts) == set(options)
        assert min(counts.values()) > 0.75 * len(scenes) / len(options)
    strengths = np.array([[scene.flaws[quality] for quality in world.QUALITIES] for scene in scenes])
    assert ((strengths <= 0.1) | (strengths >= 0.8)).all()
    assert np.abs((strengths > 0.5).mean(0) - 0.5).max() < 0.06


def _says(text: str, words: tuple[str, ...]) -> bool:
    return any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in words)


def test_captions_tell_the_truth_and_nothing_else():
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(300):
        scene = random_scene(rng)
        text = caption(scene, rng)
        named = [colour for colour in world.COLOURS if re.search(rf"\b{colour}\b", text, re.IGNORECASE)]
        assert named == [scene.colour], text
        assert [s for s in world.SHAPES if _says(text, world.SHAPE_WORDS[s])] == [scene.shape], text
        assert [m for m in world.MOTIONS if _says(text, world.MOTION_WORDS[m])] == [scene.motion], text
        assert [b for b in world.BACKGROUNDS if _says(text, world.BACKGROUND_WORDS[b])] in ([], [scene.background])
        for quality in world.QUALITIES:
            good, bad = (_says(text, words) for words in world.QUALITY_WORDS[quality])
            told += good + bad
            assert not (bad if scene.flaws[quality] < 0.5 else good), text
    assert 0.3 < told / (300 * len(world.QUALITIES)) < 0.7


def test_the_quality_rate_sets_how_much_is_told():
    rng = np.random.default_rng(0)
    every = [words for pair in world.QUALITY_WORDS.values() for words in pair]
    for rate, number in ((0.0, 0), (1.0, len(world.QUALITIES))):
        for _ in range(40):
            text = caption(random_scene(rng), rng, quality_rate=rate)
            assert sum(_says(text, words) for words in every) == number, text


def test_no_wording_stands_for_two_things():
    banks = [words for pair in world.QUALITY_WORDS.values() for words in pair]
    for content in (world.SHAPE_WORDS, world.MOTION_WORDS, world.BACKGROUND_WORDS):
        banks += content.values()
    for first, second in combinations(banks, 2):
        assert not {word.lower() for word in first} & {word.lower() for word in second}
