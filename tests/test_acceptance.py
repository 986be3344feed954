"""The acceptance of a miniature: a true generator passes, one deaf to wording does not, and the card says so."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from makers import METRICS

from promptavideo.errors import InputError
from promptavideo.judges.pixels import PixelJudge, parse_content
from promptavideo.miniature.acceptance import Criterion, Report, draw_wordings, measure, write_card
from promptavideo.miniature.world import (
    BACKGROUNDS,
    COLOURS,
    MOTIONS,
    QUALITY_WORDS,
    SHAPES,
    Scene,
    random_scene,
    render,
)
from promptavideo.sheets import contact_sheet
from promptavideo.shots import Shot
from promptavideo.video import Clip


def _obey(shots: list[Shot]) -> list[Clip]:
    """Films exactly what a text says; what it leaves open is drawn from the seed."""
    clips = []
    for shot in shots:
        rng = np.random.default_rng(shot.seed)
        drawn, asked = random_scene(rng), parse_content(shot.text)
        flaws = dict(drawn.flaws)
        for quality, ends in QUALITY_WORDS.items():
            for strength, words in enumerate(ends):
                if any(word in shot.text.lower() for word in words):
                    flaws[quality] = 0.05 + 0.85 * strength
        scene = Scene(
            asked.colour or drawn.colour,
            asked.shape or drawn.shape,
            asked.motion or drawn.motion,
            asked.background or drawn.background,
            flaws,
        )
        clips.append(Clip(render(scene, rng), 8.0))
    return clips


def _ignore_quality(shots: list[Shot]) -> list[Clip]:
    return _obey([replace(shot, text=shot.text.split(".")[0]) for shot in shots])


def _ignore_everything(shots: list[Shot]) -> list[Clip]:
    return _obey([replace(shot, text="") for shot in shots])


def beats(report: Report) -> float:
    return next(criterion.value for criterion in report.criteria if criterion.name == "good beats short")


def test_wordings_share_their_content_and_name_every_quality():
    drawn = draw_wordings(3, 20)
    assert drawn == draw_wordings(3, 25)[:20]
    assert drawn != draw_wordings(4, 20)
    for asked in drawn:
        content = parse_content(asked.short)
        scene = asked.scene
        assert (content.colour, content.shape, content.motion) == (scene.colour, scene.shape, scene.motion)
        assert content.background == scene.background
        for end, text in enumerate((asked.good, asked.bad)):
            assert text.startswith(asked.short)
            assert all(any(word in text.lower() for word in ends[end]) for ends in QUALITY_WORDS.values()), text
            assert not any(word in text.lower() for ends in QUALITY_WORDS.values() for word in ends[1 - end]), text
        assert not any(w in asked.short.lower() for ends in QUALITY_WORDS.values() for words in ends for w in words)


def test_a_true_generator_is_accepted():
    report = measure(_obey, seed=0, prompts=20, seeds=2)
    assert report.accepted, report.criteria
    assert report.detected.loc["colour"].min() == 1
    assert beats(report) >= 0.95
    assert list(report.rewards.index) == list(METRICS)
    quality = report.rewards.drop(index="TVA")
    assert (quality["effect"] > 4).all()
    assert (quality["good"] > quality["short"]).all()
    assert (quality["short"] > quality["bad"]).all()


def test_a_generator_deaf_to_quality_words_is_refused():
    report = measure(_ignore_quality, seed=0, prompts=8, seeds=2)
    assert not report.accepted
    held = {criterion.name: criterion.holds for criterion in report.criteria}
    assert held["colour"]
    assert held["background"]
    assert not held["good beats short"]  # the same video never beats itself
    assert beats(report) == 0
    assert (report.rewards["effect"] == 0).all()


def test_a_generator_deaf_to_everything_fails_every_criterion():
    report = measure(_ignore_everything, seed=0, prompts=12, seeds=2)
    *asked, foreign = report.criteria
    assert not any(criterion.holds for criterion in asked)
    assert foreign.holds  # deaf to other dialects too


def test_a_generator_that_obeys_another_dialect_is_refused():
    held = {one.name: one.holds for one in measure(_obey, seed=0, prompts=8, seeds=2, dialect="crew").criteria}
    assert not held["good beats short"]  # in its supposed dialect
    assert not held["dimensions that plain words move by no more, or by a tenth of its own words at most"]


def test_numbers_are_those_of_the_definition():
    calls = []

    def film(shots: list[Shot]) -> list[Clip]:
        calls.append(shots)
        return _obey(shots)

    report = measure(film, seed=5, prompts=4, seeds=3)
    first, *others = ([shot.seed for shot in shots] for shots in calls)
    assert others == [first] * 4  # two more of the other dialect
    assert len(set(first)) == 12
    short = [shot.text for shot in calls[0]]
    assert short[::3] == [asked.short for asked in draw_wordings(5, 4)]
    scores = np.array([[s["FC"] for s in PixelJudge().score(_obey(shots), short)] for shots in calls[:3]])
    row = report.rewards.loc["FC"]
    assert row[["short", "good", "bad"]].tolist() == pytest.approx(scores.mean(1).tolist())
    noise = np.sqrt(np.mean([np.var(scores[1, i : i + 3], ddof=1) for i in range(0, 12, 3)]))
    assert row["noise"] == pytest.approx(noise)
    assert row["effect"] == pytest.approx((scores[1].mean() - scores[2].mean()) / noise)


def test_a_criterion_holds_from_its_least_value_on():
    assert Criterion("colour", 0.95, 0.95).holds
    assert not Criterion("colour", 0.9499, 0.95).holds


@pytest.mark.parametrize(("prompts", "seeds"), [(0, 3), (5, 1)])
def test_too_small_a_measurement_is_refused(prompts, seeds):
    with pytest.raises(InputError, match="prompts >= 1 and seeds >= 2"):
        measure(_obey, 0, prompts, seeds)


def test_a_generator_that_loses_clips_is_refused():
    with pytest.raises(InputError, match="3 clips for 4 texts"):
        measure(lambda shots: _obey(shots)[:-1], 0, 2, 2)


def test_the_card_tells_the_verdict_and_every_number(tmp_path):
    for film, verdict in ((_obey, "**accepted**"), (_ignore_quality, "**NOT accepted**")):
        report = measure(film, seed=1, prompts=10, seeds=2)
        write_card(report, tmp_path / "card.md")
        text = (tmp_path / "card.md").read_text()
        assert verdict in text
        for dimension, row in report.rewards.iterrows():
            assert f"| {dimension} | {row['short']:.2f} | {row['good']:.2f} | {row['bad']:.2f} |" in text
        for criterion in report.criteria:
            assert f"| {criterion.name} | {criterion.value:.3g} | {criterion.least:g} |" in text


def test_its_examples_make_a_contact_sheet(tmp_path):
    report = measure(_obey, seed=2, prompts=2, seeds=2)
    assert [[wording for wording, _, _ in row.videos] for row in report.examples] == [["short", "good", "bad"]] * 2
    assert all(row.videos[0][1] == row.prompt for row in report.examples)
    path = tmp_path / "sheet.png"
    contact_sheet(report.examples, path)
    assert _has_colour(path, report.examples[0].videos[0][2].frames[0])


def _has_colour(path, frame: np.ndarray) -> bool:
    sheet = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
    vivid = frame.reshape(-1, 3)[np.ptp(frame.reshape(-1, 3).astype(int), axis=1).argmax()].astype(int)
    return bool((np.abs(sheet - vivid).max(-1) <= 3).sum() > 20)


def test_the_fakes_cover_the_world():
    """Guards the tests above: the wordings they film reach every content."""
    drawn = draw_wordings(0, 60)
    assert {asked.scene.colour for asked in drawn} == set(COLOURS)
    assert {asked.scene.shape for asked in drawn} == set(SHAPES)
    assert {asked.scene.motion for asked in drawn} == set(MOTIONS)
    assert {asked.scene.background for asked in drawn} == set(BACKGROUNDS)
