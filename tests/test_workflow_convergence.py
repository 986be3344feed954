"""The studies of convergence and of the evolution's story, by their targets at smoke scale: three rounds of DPO."""

import json
import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import workspaces
import yaml
from makers import ROOT

from promptavideo.comparisons.convergence import ConvergenceTable
from promptavideo.store import read_manifest

pytestmark = pytest.mark.workflow

MORE = {
    "preference": {"rounds": 3},
    "refiners": {"dpo-4": None},
    "evaluation": {"also": ["dpo-3"]},
    "judges": {"fidelity": {"kind": "fidelity", "model": "minilm-l6", "max_tokens": 64, "role": "report"}},
}
"""The overlay with a round less."""


def snakemake(folder: Path, *arguments: str, overlay: bool = True) -> str:
    """What a run of the overlay says, or of smoke.yaml alone."""
    files = ["config.yaml", str(ROOT / "tests/smoke.yaml")]
    if overlay:
        (folder / "more.yaml").write_text(yaml.safe_dump(MORE))
        files += [str(ROOT / "studies/convergence.yaml"), "more.yaml"]
    run = subprocess.run(
        ["snakemake", "--quiet", "rules", *arguments, "--configfile", *files],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=3000,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout + run.stderr


def jobs(said: str) -> dict[str, int]:
    """How many jobs of each rule a dry run named."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", said, re.MULTILINE) if rule != "total"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which both targets were made, after the run of smoke.yaml."""
    folder = workspaces.finished(tmp_path_factory, "convergence")
    snakemake(folder, "--cores", "2", "convergence", "examples")
    return folder


def test_the_table_has_a_row_a_stage_with_the_videos_that_were_filmed_for_it(finished: Path) -> None:
    results = finished / "results"
    table = pd.read_csv(results / "tables/convergence.csv")
    chain = ["sft", "dpo-1", "dpo-2", "dpo-3"]
    assert table["refiner"].tolist() == ["original", "llm", *chain]
    assert table["before"].tolist()[1:] == ["original", "llm", *chain[:-1]]
    keys: set[str] = set()
    for stage, row in zip(chain, table.to_dict("records")[2:], strict=True):
        folders = [f"evolution/round-{number}" for number in range(3)] if stage == "sft" else [stage]
        manifests = [path for name in folders for path in (results / "mini-t2v" / name / "videos").glob("*.jsonl")]
        own = {entry.key for path in manifests for entry in read_manifest(path)} - keys
        keys |= own
        assert (row["filmed"], row["filmed_total"]) == (len(own), len(keys)) and own
        assert row["hours_total"] > 0
        assert row["gain_per_1000_videos"] == pytest.approx(1000 * row["gain"] / len(keys))
        assert row["gain_per_hour"] == pytest.approx(row["gain"] / row["hours_total"])
    assert table["hours_total"].is_monotonic_increasing and table["filmed_total"].tolist()[:2] == [0, 0]
    assert table["distinct"].isna().tolist() == [True] * 3 + [False] * 3
    steps = table["avg"].diff()
    assert table["step"].tolist()[1:] == pytest.approx(steps.tolist()[1:])
    assert {"KEEP", "KEEP_gain", "SENSE", "DD_gain", "words", "repeated"} <= set(table.columns)
    rows = json.loads((results / "tables/convergence.provenance.json").read_text())
    assert rows[0]["filmed_for_it"] == [] and rows[-1]["filmed_for_it"][-1] == "mini-t2v/dpo-3"
    assert rows[-1]["booster"]["previous"] and "laptop-scale" in (results / "tables/convergence.md").read_text()
    assert (results / "figures/convergence.png").stat().st_size > 10_000


def test_the_evolution_is_told_round_by_round(finished: Path) -> None:
    told = (finished / "results/mini-t2v/examples/evolution.md").read_text()
    assert told.count("### Round 0") == told.count("### Round 2") == 2
    assert "Its gain is the median among the 3 prompts." in told and "the largest among the 3 prompts" in told
    pairs = pd.read_parquet(finished / "results/mini-t2v/pairs.parquet").set_index("prompt_id")
    rounds = pd.concat(
        pd.read_parquet(finished / f"results/mini-t2v/evolution/round-{number}/rewards/scores.parquet")
        for number in range(3)
    )
    for prompt_id, best in re.findall(r"Its id is (\w+)\..*?Best: candidate (\d+),", told, re.DOTALL):
        text = rounds[(rounds["prompt_id"] == prompt_id) & (rounds["candidate"] == int(best))]["refined"].iloc[0]
        if prompt_id in pairs.index:
            assert pairs.loc[prompt_id, "refined"] == text, "what is best is what boosters learn from"
    assert "<ins>" in (finished / "results/mini-t2v/examples/evolution.html").read_text()


def test_prompts_that_are_named_rerun_the_story_alone(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "-n", "convergence", "examples")
    ids = pd.read_parquet(finished / "results/mini-t2v/evolution/round-0/prompts.parquet")["prompt"].tolist()
    (finished / "named.yaml").write_text(yaml.safe_dump({"evolution": {"story": ids[:1]}}))
    said = subprocess.run(
        ["snakemake", "--quiet", "rules", "--cores", "1", "convergence", "examples", "--configfile", "config.yaml",
         str(ROOT / "tests/smoke.yaml"), str(ROOT / "studies/convergence.yaml"), "more.yaml", "named.yaml"],
        cwd=finished, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-3000:]
    told = (finished / "results/mini-t2v/examples/evolution.md").read_text()
    assert told.count("### Round 0") == 1 and "It is named in the configuration" in told


def test_the_report_shows_them_where_the_configuration_asks_and_nothing_else_makes_them(finished: Path) -> None:
    snakemake(finished, "--cores", "2", "results/report.html")
    html = (finished / "results/report.html").read_text()
    assert "What each stage gains, and its price" in html and ConvergenceTable.FIGURE.caption in html
    alone = jobs(snakemake(finished, "-n", "--forceall", overlay=False))
    assert not {"convergence", "study_figure", "evolution_story", "examples"} & set(alone)
    assert alone["table"] == 2, "VideoScore's and the gains"
    asked = jobs(snakemake(finished, "-n", "convergence", overlay=False))
    assert asked["table"] == 1 and asked["study_figure"] == 1 and "train" not in asked
