"""The plan of a user study: balanced, fixed by the seed, and blind; and its page."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from makers import RAW, ROOT, changed, message

from promptavideo.config import check
from promptavideo.errors import InputError, ScoreError
from promptavideo.rating import plan as plans
from promptavideo.rating import site
from promptavideo.rating.config import compared
from promptavideo.rating.folder import check_replaced
from promptavideo.rating.power import votes_needed
from promptavideo.rating.slots import slots
from promptavideo.store import Store, read_manifest
from promptavideo.study import Study
from promptavideo.video import Clip
from studies import hand_over, make_plan, make_study, simulated_file

ITEMS = [f"item-{number}" for number in range(30)]


@pytest.mark.parametrize(("each", "count"), [(7, 13), (30, 4), (1, 50), (29, 9), (40, 3)])
def test_each_item_is_judged_equally_often_and_as_often_with_either_side_on_the_left(each: int, count: int) -> None:
    places = slots(ITEMS, ["check"], each, 0, count, 1)
    judged = Counter(at.item for place in places for at in place if at.item != "check")
    lefts = Counter(at.item for place in places for at in place if at.left == "first")
    times = [judged[item] for item in ITEMS]
    assert max(times) - min(times) <= 1 and sum(times) == min(each, 30) * count
    assert all(abs(2 * lefts[item] - judged[item]) <= 1 for item in ITEMS)
    assert all(len({at.item for at in place}) == len(place) for place in places)
    assert all(sum(at.item == "check" for at in place) == 1 for place in places)


def test_a_place_is_the_same_however_many_there_are_and_another_seed_gives_others() -> None:
    many = slots(ITEMS, ["check"], 7, 2, 20, 1)
    assert slots(ITEMS, ["check"], 7, 2, 5, 1) == many[:5]
    assert slots(ITEMS, ["check"], 7, 2, 5, 2) != many[:5]
    assert len({tuple(place) for place in many}) == len(many)


def test_repeats_come_later_with_the_sides_swapped() -> None:
    for place in slots(ITEMS, ["check"], 12, 4, 20, 3):
        again = [(number, at) for number, at in enumerate(place, 1) if at.repeats is not None]
        assert len(place) == 12 + 1 + 4 and len(again) == 4
        for number, at in again:
            before = place[at.repeats - 1]
            assert before.item == at.item and before.left != at.left and before.repeats is None and at.repeats < number
            assert at.item != "check"


def test_the_votes_that_show_a_rate_are_those_of_the_formula() -> None:
    assert [votes_needed(rate) for rate in (0.55, 0.60, 0.65)] == [783, 194, 85]


def test_a_plan_is_known_by_its_digest_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    plan = make_plan()
    plans.write(plan, tmp_path / "plan.json")
    assert plans.read(tmp_path / "plan.json") == plan
    assert make_plan(raters=4).id != plan.id != make_plan(questions={"other": "Why?"}).id
    said = json.loads((tmp_path / "plan.json").read_text())
    said["raters"] += 1
    (tmp_path / "plan.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="was changed since it was made"):
        plans.read(tmp_path / "plan.json")


def test_the_folder_tells_nothing_of_refiners_checks_and_repeats(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    html = (study.site / "index.html").read_text()
    names = {path.name for path in (study.site / "videos").iterdir()}
    assert names == set(study.plan.files) and len(names) == 2 * len(study.plan.items), "a name in each pair"
    for word in ("dpo", "original", "llm", "intact", "broken", "check", "repeat", "sha-", *(
        shown.key for item in study.plan.items for shown in (item.first, item.second)
    )):  # fmt: skip
        assert word not in html and not any(word in name for name in names)
    data = json.loads(re.search(r'id="study-data">(.*?)</script>', html)[1])
    assert set(data) == {"plan", "medium", "consent", "questions", "prompts", "slots"}
    assert all(len(shown) == 3 for slot in data["slots"] for shown in slot)


def test_hostile_prompts_end_no_data_block(tmp_path: Path) -> None:
    hostile = ["</script><script>alert(1)</script>", '"quoted" & <b>', "\u202eright to left\u2028", "x" * 5000]
    study = make_study(tmp_path, prompts=hostile)
    html = (study.site / "index.html").read_text()
    assert html.count("<script") == 2 and html.count("</script>") == 2 and html.isascii()
    data = json.loads(re.search(r'id="study-data">(.*?)</script>', html)[1])
    assert sorted(data["prompts"]) == sorted(hostile)


def test_the_page_runs_no_script_but_its_own(tmp_path: Path) -> None:
    html = (make_study(tmp_path).site / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert (
        policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy and "http" not in policy
    )
    assert not re.search(r"\son\w+=|style=|https?://", html)


def test_copies_that_are_there_stay_and_what_another_plan_showed_goes(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    videos = study.site / "videos"
    before = {path.name: path.stat().st_mtime_ns for path in videos.iterdir()}
    lost = sorted(before)[0]
    whole = (videos / lost).read_bytes()
    (videos / lost).unlink()
    (videos / "old.mp4").write_bytes(b"")
    again = make_study(tmp_path)
    assert again.plan == study.plan and (videos / lost).read_bytes() == whole
    after = {path.name: path.stat().st_mtime_ns for path in videos.iterdir()}
    assert {name: time for name, time in after.items() if name != lost} == {
        name: time for name, time in before.items() if name != lost
    }


def test_images_are_shown_too(tmp_path: Path) -> None:
    study = make_study(tmp_path, medium="image")
    copies = [study.site / "videos" / name for name in study.plan.files]
    assert all(path.suffix == ".jpg" and path.read_bytes()[:2] == b"\xff\xd8" for path in copies)
    assert '"medium":"image"' in (study.site / "index.html").read_text()


def test_a_missing_copy_is_named_before_anybody_comes(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    site.check(study.plan, study.site)
    lost = study.site / "videos" / study.plan.files[2]
    lost.unlink()
    with pytest.raises(InputError, match=f"{lost.name}: is missing"):
        site.check(study.plan, study.site)
    make_study(tmp_path)
    with pytest.raises(InputError, match="is of another plan"):
        site.check(replace(study.plan, id="0" * 16), study.site)


def test_a_damaged_video_is_named_with_its_manifest(tmp_path: Path) -> None:
    study = make_study(tmp_path / "one")
    shown = study.plan.items[0].first
    video = Store(tmp_path / "one/store", "mini-t2v").video(shown.key)
    video.write_bytes(b"damaged")
    for path in (study.site / "videos").iterdir():
        path.unlink()
    manifest = tmp_path / "one/manifest.jsonl"
    entries = {entry.key: (entry, manifest) for entry in read_manifest(manifest)}
    with pytest.raises(ScoreError, match=shown.key):
        site.write(study.plan, Store(tmp_path / "one/store", "mini-t2v"), entries, study.site)
    assert not manifest.exists(), "so that the next run films it again"


def test_a_check_is_broken_alike_and_beyond_doubt() -> None:
    clip = Clip(np.full((4, 33, 47, 3), 128, np.uint8), 8.0)
    one, same, other = (site.broken(clip, name) for name in ("a", "a", "b"))
    assert one.frames.shape == clip.frames.shape and one.fps == clip.fps
    assert np.array_equal(one.frames, same.frames) and not np.array_equal(one.frames, other.frames)
    assert 0.6 < (one.frames != clip.frames).any(axis=-1).mean() < 0.85


def test_votes_keep_their_plan(tmp_path: Path) -> None:
    plan, other = make_plan(), make_plan(raters=2)
    check_replaced(tmp_path, other.id)
    hand_over(tmp_path, "one", simulated_file(plan, 1, "rater-one"))
    hand_over(tmp_path, "empty", simulated_file(other, 1, "rater-two", {}))
    check_replaced(tmp_path, plan.id)
    with pytest.raises(InputError, match=f"one.json hold votes on the plan {plan.id}, .* the plan\\s+{other.id}"):
        check_replaced(tmp_path, other.id)


# The section


def test_what_is_compared_where_the_section_leaves_it_open() -> None:
    found = compared(Study(check(RAW, ROOT), ROOT))
    assert found and (found.track, found.set) == ("mini-t2v", "heldout")
    assert found.pairs == (("dpo-2", "original"), ("dpo-2", "llm")) and found.refiners == ["dpo-2", "original", "llm"]
    assert compared(Study(check(changed("user_study", None), ROOT), ROOT)) is None
    alone = changed("evaluation/refiners", ["original"])
    assert compared(Study(check(alone, ROOT), ROOT)) is None


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("track", "sora", "user_study.track: there is no 'sora'"),
        ("set", "other", "user_study.set: mini-t2v films no set 'other'; known are heldout"),
        ("pairs", [["dpo-9", "original"]], "user_study.pairs: there is no 'dpo-9'"),
        ("pairs", [["sft", "sft"]], "user_study.pairs: sft and sft are one refiner, or stand there twice"),
        ("pairs", [["sft", "llm"], ["llm", "sft"]], "user_study.pairs: llm and sft are one refiner, or stand"),
        ("pairs", [["sft"]], "user_study.pairs"),
        ("repeats", 41, "repeats: of 40 items no 41 can be shown again"),
        ("votes", "results/votes", "user_study.votes: votes cannot be made again"),
        ("votes", "./store/../results", "user_study.votes: votes cannot be made again"),
        ("votes", ".", "user_study.votes: votes cannot be made again"),
        ("questions", {"Over all": "?"}, "questions.Over all: a name holds"),
        ("least_pixels", 4096, "least_pixels: must not be above most_pixels"),
    ],
)
def test_a_section_that_cannot_be_is_refused(key: str, value: object, told: str) -> None:
    assert told in message(changed(f"user_study/{key}", value))


def test_only_refiners_that_the_track_compares_are_shown() -> None:
    raw = changed("evaluation/refiners", ["original", "sft"])
    raw["user_study"]["pairs"] = [["llm", "original"]]
    assert "user_study.pairs: mini-t2v is not compared by 'llm'; known are original, sft" in message(raw)
