import copy
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from promptavideo.config import check
from promptavideo.plan import Plan

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The repository's configuration with shards of 25 prompts and a second generator whose name holds dots."""
    raw = copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))
    raw["shard_size"] = 25
    raw["generators"]["mini-t2v-1.5"] = raw["generators"]["mini-t2v"] | {"seconds_per_video": 7.0}
    raw["evaluation"]["sets"]["held.out"] = {"prompts": "heldout"}
    return Plan(check(raw, ROOT), ROOT)


def test_a_section_is_json_of_one_part(plan: Plan) -> None:
    assert json.loads(plan.section("generators.mini-t2v-1.5"))["seconds_per_video"] == 7.0
    assert json.loads(plan.section("evolution"))["rounds"] == 4
    assert json.loads(plan.section("evaluation.sets"))["held.out"]["replicates"] == 1


def test_options_survive_the_shell(plan: Plan) -> None:
    hostile = 'it\'s $(rm) "x" {y}'
    assert shlex.split(plan.options(entry=hostile, seed="1")) == ["--entry", hostile, "--seed", "1"]


def test_patterns_take_declared_names_only(plan: Plan) -> None:
    pattern = plan.pattern("generators")
    assert re.fullmatch(pattern, "mini-t2v") and re.fullmatch(pattern, "mini-t2v-1.5")
    assert not re.fullmatch(pattern, "mini-t2v-1x5")


@pytest.mark.parametrize(
    ("batch", "known"),
    [
        ("evolution/round-0", True),
        ("evolution/round-4", True),
        ("evolution/round-5", False),
        ("evolution/round-04", False),
        ("dpo-1", True),
        ("sft", False),
        ("evaluation/heldout/original", True),
        ("evaluation/held.out/dpo-2", True),
        ("evaluation/heldxout/dpo-2", False),
        ("evaluation/heldout/vpo", False),
        ("evaluation/heldout", False),
    ],
)
def test_batches_are_those_of_the_method(plan: Plan, batch: str, known: bool) -> None:
    assert bool(re.fullmatch(plan.batch_pattern, batch)) == known


def test_batches_film_their_own_prompt_set_in_enough_shards(plan: Plan) -> None:
    assert plan.prompt_set("evolution/round-3") == "evolution"
    assert plan.prompt_set("dpo-2") == "preference"
    assert plan.prompt_set("evaluation/held.out/llm") == "heldout"
    assert plan.shards("mini-t2v", "dpo-1") == ["0000", "0001", "0002"]  # 60 prompts
    assert plan.shards("mini-t2v", "evaluation/heldout/llm") == ["0000", "0001", "0002", "0003"]  # 100 prompts


def test_every_booster_starts_from_the_one_before(plan: Plan) -> None:
    assert [plan.previous(stage) for stage in ("sft", "dpo-1", "dpo-2")] == [None, "sft", "dpo-1"]


def test_arms_are_every_set_and_refiner_with_their_files(plan: Plan) -> None:
    arms = plan.arms(["mini-t2v-1.5"])
    assert len(arms) == 2 * 5
    arm = next(arm for arm in arms if (arm["set"], arm["refiner"]) == ("held.out", "dpo-1"))
    assert arm == {
        "generator": "mini-t2v-1.5",
        "set": "held.out",
        "refiner": "dpo-1",
        "scores": "results/mini-t2v-1.5/evaluation/held.out/dpo-1/scores.parquet",
        "booster": "results/mini-t2v-1.5/boosters/dpo-1",
    }
    assert {arm["refiner"]: arm["booster"] for arm in arms}["llm"] is None
    assert json.loads(plan.as_json(arms)) == arms


def test_the_sheet_shows_the_original_the_first_booster_and_the_last(plan: Plan) -> None:
    assert list(plan.sheet("mini-t2v")) == ["original", "sft", "dpo-2"]
    assert plan.sheet("mini-t2v")["sft"] == "results/mini-t2v/evaluation/heldout/sft/scores.parquet"


def test_shards_by_minutes_follow_the_generator_and_the_videos_of_a_prompt() -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw |= {"shard_size": None, "shard_minutes": 5.0}
    raw["generators"]["slow"] = raw["generators"]["mini-t2v"] | {"seconds_per_video": 20.0}
    plan = Plan(check(raw, ROOT), ROOT)
    assert plan.shard_size("slow", "evolution/round-0") == 15
    assert plan.shard_size("slow", "evolution/round-1") == 5  # 3 variants
    assert plan.shard_size("slow", "dpo-1") == 3  # 5 candidates
    assert len(plan.shards("slow", "dpo-1")) == 20
    assert len(plan.shards("mini-t2v", "dpo-1")) == 1
    assert list(plan.scored_together("slow", "dpo-1").values()) == [[shard] for shard in plan.shards("slow", "dpo-1")]
    raw |= {"score_minutes": 2.0}
    raw["planning"] = {"seconds_per_score": 1.0}  # of a job: 120 videos, which are 8 shards of 3 prompts
    together = Plan(check(raw, ROOT), ROOT).scored_together("slow", "dpo-1")
    assert list(together) == ["0000", "0001", "0002"]
    assert [len(shards) for shards in together.values()] == [7, 7, 6]
    assert [shard for shards in together.values() for shard in shards] == plan.shards("slow", "dpo-1")


def test_a_generator_is_compared_with_its_own_refiners(plan: Plan) -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["evaluation"]["refiners_of"] = {"mini-t2v": ["original", "dpo-1"]}
    arms = Plan(check(raw, ROOT), ROOT).arms(["mini-t2v"])
    assert [arm["refiner"] for arm in arms] == ["original", "dpo-1"]
    assert plan.batches("mini-t2v")[:6] == [f"evolution/round-{number}" for number in range(5)] + ["dpo-1"]
    assert plan.batches("mini-t2v")[-1] == "evaluation/held.out/dpo-2"
