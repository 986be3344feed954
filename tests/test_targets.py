"""What a run is asked for and nothing makes."""

import re
from pathlib import Path

import pytest
from makers import RAW, ROOT, changed

from promptavideo.config import check
from promptavideo.errors import InputError
from promptavideo.study import Study
from promptavideo.targets import explain, unknown_target

RULES = ["all", "plan", "pilot"]


@pytest.fixture(scope="module")
def study() -> Study:
    """A run with a generator whose name holds a dot, and a booster that tracks share."""
    raw = changed("generators/wan-2.1", RAW["generators"]["mini-t2v"])
    raw["boosters"] = {"all": {"trainer": "sft", "tracks": ["mini-t2v", "wan-2.1"]}}
    return Study(check(raw, ROOT), ROOT)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("report", "there is no target 'report'; known are mini-t2v, wan-2.1, all, plan, pilot, and any file below"),
        ("minit2v", "there is no target 'minit2v'; known are mini-t2v, "),
        ("results/sora/tables/videoscore.csv", "there is no track 'sora'; known are mini-t2v, wan-2.1"),
        ("results/shared/pilot/rewards/scores.parquet", "there is no track 'shared'; known are mini-t2v, wan-2.1"),
        ("results/shared/pairs.parquet", "there is no track 'shared'; known are mini-t2v, wan-2.1"),
        ("results/sora/pairs.parquet", "there is no track 'sora'; known are"),
        (
            "results/wan-2.1/evolution/round-9/rewards/scores.parquet",
            "wan-2.1 has no such batch; known are evolution/round-0, ",
        ),
        ("results/wan-2.1/evaluation/heldout/vpo/prompts.parquet", "wan-2.1 has no such batch; known are "),
        ("results/mini-t2v/dpo-9/triples.parquet", "mini-t2v has no such batch; known are "),
        (
            "results/mini-t2v/boosters/dpo-9/booster.json",
            "there is no booster 'dpo-9'; known are sft, dpo-1, dpo-2, all",
        ),
        ("results/shared/boosters/dpo-9/booster.json", "there is no booster 'dpo-9'; known are sft, dpo-1, dpo-2, all"),
    ],
)
def test_is_answered_with_what_there_is(study: Study, target: str, told: str) -> None:
    assert re.fullmatch(unknown_target(study), target)
    with pytest.raises(InputError) as caught:
        explain(target, RULES, study)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "results/report.html",
        "results/tables/videoscore.csv",
        "results/figures/stages.png",
        "results/prompt_sets/heldout.parquet",
        "results/boosters/base.json",
        "results/shared/boosters/all/booster.json",
        "results/wan-2.1/boosters/dpo-2/adapter",
        "results/wan-2.1/boosters/dpo-2/log.csv",
        "results/wan-2.1/pairs.parquet",
        "results/wan-2.1/tables/videoscore.csv",
        "results/wan-2.1/figures/training.png",
        "results/wan-2.1/dpo-2/triples.parquet",
        "results/wan-2.1/evolution/round-4/videos/0001-of-0002.jsonl",
        "results/wan-2.1/evaluation/heldout/dpo-2/rewards/scores.parquet",
        "results/mini-t2v/pilot/rewards/scores.parquet",
        "resources/models/minilm-l6/manifest.json",
        "logs/film/x.log",
    ],
)
def test_what_there_is_is_not_taken_for_unknown(study: Study, target: str) -> None:
    assert not re.fullmatch(unknown_target(study), target)


@pytest.mark.parametrize(
    "target", ["results/wan-2x1/pairs.parquet", "results/mini-t2v/evaluation/heldoutx/sft/a.parquet"]
)
def test_names_are_taken_as_they_are(study: Study, target: str) -> None:
    assert re.fullmatch(unknown_target(study), target)


def test_what_a_user_has_there_is_an_input(study: Study, tmp_path: Path) -> None:
    for name in ("clips", "results/mine"):
        (tmp_path / name).mkdir(parents=True)
    unknown = unknown_target(study, tmp_path)
    assert not re.fullmatch(unknown, "clips") and not re.fullmatch(unknown, "results/mine/texts/refined.csv")
    assert re.fullmatch(unknown, "clip") and re.fullmatch(unknown, "results/their/texts/refined.csv")
