"""The configuration's part of VBench."""

from pathlib import Path
from typing import Any

import pytest
from makers import ROOT, changed, message
from pydantic import ValidationError

from promptavideo.comparisons import comparisons, shown
from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.study import Study
from promptavideo.vbench.config import VBenchConfig, VBenchSet
from promptavideo.vbench.dimensions import DIMENSIONS
from promptavideo.vbench.plan import LEFT_OUT

DESCRIBED = [name for name, one in DIMENSIONS.items() if one.described]
FLICKERING = {"dimensions": ["temporal_flickering"]}
BOTH = {"dimensions": ["imaging_quality", "aesthetic_quality"]}


def second(settings: dict[str, Any], vbench: dict[str, Any]) -> dict[str, Any]:
    """The repository's configuration with another evaluation set `second`, and `vbench`."""
    return changed("evaluation/sets/second", {"prompts": "heldout", **settings}) | {"vbench": vbench}


def test_all_dimensions_are_those_that_the_mode_can_judge() -> None:
    assert VBenchSet(mode="standard").names == list(DIMENSIONS)
    assert VBenchSet().mode == "custom"
    assert VBenchSet().names == [name for name in DIMENSIONS if name not in DESCRIBED]


def test_names_stand_in_the_tables_order() -> None:
    given = ["overall_consistency", "color", "subject_consistency"]
    assert VBenchSet(mode="standard", dimensions=given).names == given[::-1]


@pytest.mark.parametrize(
    ("dimensions", "told"),
    [
        ([], "name one at least"),
        (["beauty", "color"], "there is no 'beauty'; known are subject_consistency, "),
        (["temporal_flickering"] * 2, "a name stands there twice"),
        ("some", "dimensions"),
        ("color", "dimensions"),
        ({"color": 1}, "dimensions"),
        ([3], "dimensions"),
    ],
)
def test_dimensions_that_cannot_be_meant_are_named(dimensions: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        VBenchSet(mode="standard", dimensions=dimensions)
    assert "evaluation.sets.heldout.vbench" in message(
        changed("evaluation/sets/heldout/vbench", {"dimensions": dimensions})
    )


@pytest.mark.parametrize("dimension", DESCRIBED)
def test_what_needs_vbenchs_own_list_wants_the_standard_mode(dimension: str) -> None:
    assert VBenchSet(mode="standard", dimensions=[dimension]).names == [dimension]
    with pytest.raises(
        ValidationError, match=f"{dimension} needs what VBench says of its own prompts.*`mode: standard`"
    ):
        VBenchSet(dimensions=[dimension])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("vbench/sha256", "abc"),
        ("vbench/device", "gpu"),
        ("vbench/shard_size", 0),
        ("vbench/versions", "0.1.5"),
        ("evaluation/sets/heldout/vbench/mode", "loud"),
        ("evaluation/sets/heldout/vbench/dimension", ["color"]),
    ],
)
def test_a_key_that_cannot_be_meant_is_named(path: str, value: object) -> None:
    first, *lines = message(changed(path, value)).splitlines()
    assert first == "the configuration cannot be used:"
    assert len(lines) == 1 and lines[0].startswith(f"  {path.replace('/', '.')}: ")


def test_the_repositorys_own_configuration_judges_what_needs_no_network() -> None:
    config = check(changed("seed", 1), ROOT)
    assert config.vbench.main is not None and config.vbench.ablation is None
    settings = config.evaluation.sets[config.vbench.main].vbench
    assert settings is not None and settings.names == ["temporal_flickering"] and settings.mode == "custom"


def test_nothing_is_judged_by_vbench_unless_a_set_says_so() -> None:
    raw = changed("evaluation/sets/heldout", {"prompts": "heldout"})
    assert check(raw | {"vbench": None}, ROOT).vbench == VBenchConfig()


def test_one_set_at_least_is_scored_by_the_rewards() -> None:
    text = message(changed("evaluation/sets/heldout/rewards", False))
    assert "evaluation.sets: one set of videos at least must be scored by the rewards (`rewards: true`)" in text
    assert check(second({"rewards": False, "vbench": FLICKERING}, {"main": "second"}), ROOT)


def test_every_set_is_judged_by_something() -> None:
    text = message(second({"rewards": False}, {}))
    assert "evaluation.sets.second: nothing judges it; set `rewards: true` or give `vbench`" in text


def test_a_prompt_of_vbenchs_list_has_no_more_videos_than_vbench_looks_at() -> None:
    standard = {"mode": "standard", "dimensions": ["color"]}
    text = message(second({"replicates": 6, "vbench": standard}, {}))
    assert "evaluation.sets.second.replicates: VBench looks at 5 videos of a prompt at most" in text
    assert check(second({"replicates": 5, "vbench": standard}, {}), ROOT)
    assert check(second({"replicates": 6, "vbench": FLICKERING}, {}), ROOT)


@pytest.mark.parametrize("key", ["main", "ablation"])
@pytest.mark.parametrize("name", ["second", "nothing"])
def test_a_table_is_made_of_a_set_that_vbench_judges(key: str, name: str) -> None:
    text = message(second({}, {key: name}))
    assert f"vbench.{key}: {name!r} is no evaluation set with `vbench`" in text


def test_ablations_need_the_rewards_and_both_dimensions() -> None:
    assert check(second({"vbench": BOTH}, {"ablation": "second"}), ROOT).vbench.ablation == "second"
    text = message(second({"vbench": BOTH, "rewards": False}, {"ablation": "second"}))
    assert "vbench.ablation: evaluation.sets.second needs `rewards: true`" in text and "lacks" not in text
    text = message(second({"vbench": {"dimensions": ["imaging_quality"]}}, {"ablation": "second"}))
    assert "vbench.ablation: evaluation.sets.second.vbench lacks aesthetic_quality" in text
    text = message(second({"vbench": FLICKERING, "rewards": False}, {"ablation": "second"}))
    assert "needs `rewards: true`" in text and "lacks aesthetic_quality, imaging_quality" in text


@pytest.mark.parametrize(
    ("python", "told"), [("nowhere/bin/python", r"nowhere/bin/python does not exist; make"), ("python", None)]
)
def test_a_missing_environment_is_named_before_the_run(python: str, told: str | None) -> None:
    plan = Study(check(changed("vbench/python", python), ROOT), ROOT).vbench
    if told is None:
        plan.check_python()
    else:
        with pytest.raises(InputError, match=told):
            plan.check_python()


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize(("files", "absent"), [([LEFT_OUT], True), ([], False), ([LEFT_OUT, "bin/python"], False)])
def test_vbench_is_left_out_at_laptop_scale_where_make_left_its_mark(
    tmp_path: Path, scale: str, files: list[str], absent: bool
) -> None:
    (tmp_path / "bin").mkdir()
    for file in files:
        (tmp_path / file).touch()
    raw = changed("vbench/python", str(tmp_path / "bin/python")) | {"scale": scale}
    study = Study(check(raw, ROOT), ROOT)
    plan, tables = study.vbench, comparisons(study)
    assert plan.left_out == (absent and scale == "laptop")
    assert bool(tables["vbench"].rows("mini-t2v/tables")) != plan.left_out
    assert list(shown(study)) == ["videoscore", "gains", "vbench"]
    if "bin/python" not in files:
        with pytest.raises(InputError, match="does not exist"):
            plan.check_python()
