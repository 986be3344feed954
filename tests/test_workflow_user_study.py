"""The user study through the real workflow: its page, its votes, and what neither is made nor replaced by itself."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
import workspaces
import yaml
from workspaces import snakemake

from promptavideo.rating import plan as plans
from promptavideo.rating.ballots import Ballots, Vote
from promptavideo.rating.plan import Plan
from studies import choosing, hand_over, simulated_file, simulated_vote

pytestmark = pytest.mark.workflow

LAYERS = ("small.yaml",)
SMALL = {
    "user_study": {
        "pairs": [["llm", "original"]], "prompts": 2, "raters": 2, "spares": 1, "items": 2, "repeats": 1, "checks": 1,
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the study's page, and no vote."""
    made = workspaces.finished(tmp_path_factory, "study")
    (made / "small.yaml").write_text(yaml.safe_dump(SMALL))
    run(made, "study")
    return made


def run(folder: Path, *arguments: str, layers: tuple[str, ...] = LAYERS) -> str:
    done = snakemake(folder, "--quiet=rules", *arguments, layers=layers)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def jobs(folder: Path, *arguments: str, layers: tuple[str, ...] = LAYERS) -> dict[str, int]:
    said = run(folder, "-n", *arguments, layers=layers)
    found = re.findall(r"^(\w+)\s+(\d+)$", said, re.MULTILINE)
    return {rule: int(count) for rule, count in found if rule not in ("total", "user_study")}


def plan_of(folder: Path) -> Plan:
    return plans.read(folder / "results/study/plan.json")


def table_of(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "results/tables/user_study.csv")


def test_the_page_is_made_of_the_videos_and_made_once(folder: Path) -> None:
    plan = plan_of(folder)
    assert plan.pairs == [("llm", "original")] and len(plan.items) == 3 and len(plan.slots) == 3
    site = folder / "results/study/site"
    assert {path.name for path in (site / "videos").iterdir()} == set(plan.files)
    assert {path.name for path in site.iterdir()} == {"index.html", "study.js", "study.css", "videos"}
    prompts = pd.read_parquet(folder / "results/mini-t2v/evaluation/heldout/llm/prompts.parquet")
    texts = prompts.set_index("prompt_id")["prompt"]
    assert all(item.prompt == texts[item.prompt_id].iloc[0] for item in plan.items)
    assert not jobs(folder, "study")
    (site / "videos" / plan.files[0]).unlink()
    (site / "index.html").unlink()
    run(folder, "study")
    assert plan_of(folder) == plan and (site / "videos" / plan.files[0]).exists()


def test_without_votes_there_is_a_table_of_none_and_no_run_waits_for_it(folder: Path) -> None:
    assert not {"study", "user_study_votes"} & set(jobs(folder))
    run(folder, "--cores", "1", "user_study")
    table = table_of(folder)
    assert table["votes"].tolist()[0] == 0 and table["set"].tolist() == ["heldout", "paper", "paper", "paper"]
    assert "783, 194, 85" in (folder / "results/tables/user_study.md").read_text()
    rows = json.loads((folder / "results/tables/user_study.provenance.json").read_text())
    assert len(rows) == 4 and rows[0]["plan"]["id"] == plan_of(folder).id
    assert not jobs(folder, "user_study")


def test_votes_that_come_in_are_counted_by_the_next_run(folder: Path) -> None:
    plan, votes = plan_of(folder), folder / "study-votes"
    hand_over(votes, "votes-1", simulated_file(plan, 1, "rater-a"))
    assert jobs(folder, "user_study") == {"user_study_votes": 1, "table": 1}
    assert {"user_study_votes", "table"} <= set(jobs(folder)), "the report shows them now"
    run(folder, "user_study")
    assert table_of(folder)["votes"].tolist()[0] == 2 and table_of(folder)["wins"].tolist()[0] == 2
    assert not jobs(folder, "user_study")

    # A server at work has votes in its log that its database does not hold yet.
    ballots = Ballots(votes, plan)
    slot = ballots.join("rater-b") and 2
    assert jobs(folder, "user_study") == {"user_study_votes": 1, "table": 1}
    run(folder, "user_study")
    ballots.join("rater-c")
    for place in range(1, len(plan.slots[slot - 1]) + 1):
        said = simulated_vote(plan, slot, place, choosing(plan, slot, place, first=False))
        ballots.vote(slot, Vote(rater="rater-c", **said))
    assert jobs(folder, "user_study") == {"user_study_votes": 1, "table": 1}
    run(folder, "user_study")
    record = json.loads((folder / "results/study/votes.json").read_text())
    assert record["counted"] == 2 * len(plan.slots[0])
    ballots.close()
    run(folder, "user_study")
    assert json.loads((folder / "results/study/votes.json").read_text())["counted"] == record["counted"]
    assert not jobs(folder, "user_study")


def test_who_counts_makes_the_table_anew_alone(folder: Path) -> None:
    (folder / "strict.yaml").write_text(yaml.safe_dump({"user_study": {"least_checks": 1.0, "least_agreement": 1.0}}))
    assert jobs(folder, "user_study", layers=(*LAYERS, "strict.yaml")) == {"table": 1}


def test_a_study_that_has_begun_keeps_its_plan(folder: Path) -> None:
    before = (folder / "results/study/plan.json").read_bytes()
    page = (folder / "results/study/site/index.html").read_bytes()
    (folder / "other.yaml").write_text(yaml.safe_dump({"user_study": {"raters": 5}}))
    layers = (*LAYERS, "other.yaml")
    done = snakemake(folder, "--quiet=rules", "study", layers=layers)
    said = done.stdout + done.stderr
    assert done.returncode and f"hold votes on the plan {plan_of(folder).id}" in said and "user_study.votes" in said
    assert (folder / "results/study/plan.json").read_bytes() == before
    assert (folder / "results/study/site/index.html").read_bytes() == page
    (folder / "elsewhere.yaml").write_text(yaml.safe_dump({"user_study": {"votes": "other-votes"}}))
    run(folder, "study", layers=(*layers, "elsewhere.yaml"))
    assert len(plan_of(folder).slots) == 6


def test_without_the_section_the_targets_say_so(folder: Path) -> None:
    (folder / "none.yaml").write_text(yaml.safe_dump({"user_study": None}))
    done = snakemake(folder, "--quiet=rules", "study", layers=("none.yaml",))
    assert done.returncode and "user_study: the configuration has no such section" in done.stdout + done.stderr
    assert os.listdir(folder / "study-votes"), "votes are never removed"  # noqa: PTH208
