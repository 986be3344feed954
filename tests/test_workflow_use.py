"""The command in the folder of a run of the real Snakefile: the texts of its tables, and its videos and scores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import workspaces
from makers import ROOT

pytestmark = pytest.mark.workflow

DPO_2 = "results/mini-t2v/evaluation/heldout/dpo-2"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the last booster has written, filmed and scored the held-out set."""
    return workspaces.finished(tmp_path_factory, "use")


def boost(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "promptavideo", "boost", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_without_any_option_it_writes_the_texts_of_the_tables(run: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(run / DPO_2 / "prompts.parquet").drop_duplicates("prompt_id")
    (tmp_path / "prompts.txt").write_text("\n".join(table["prompt"]), encoding="utf-8")
    said = boost(run, "--file", str(tmp_path / "prompts.txt")).splitlines()
    assert said == table["refined"].tolist() != table["prompt"].tolist()
    assert boost(run, table["prompt"].iloc[0]).splitlines() == said[:1], "alone too"


def test_it_shows_the_videos_and_scores_of_the_tables(run: Path, tmp_path: Path) -> None:
    scores = pd.read_parquet(run / DPO_2 / "rewards/scores.parquet")
    row = scores[scores["replicate"] == 0].iloc[0]
    videos = sorted((run / "store/mini-t2v/videos").rglob("*.mp4"))
    said = json.loads(boost(run, row["prompt"], "--film", "mini-t2v", "--out", str(tmp_path / "look"), "--json"))
    (variant,) = said["variants"]
    assert (variant["text"], said["seed"]) == (row["refined"], row["seed"])
    assert variant["scores"] == {name: row[name] for name in variant["scores"]} and len(variant["scores"]) == 7
    assert {*(run / "store/mini-t2v/videos").rglob("*.mp4")} == {*videos}, "the run has filmed both"
    assert (tmp_path / "look/side-by-side.mp4").stat().st_size > 0
