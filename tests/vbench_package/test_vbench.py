"""The real vbench package through the real rules: equal to its own command, and random networks in every seam."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from makers import ROOT, workspace
from tiny_pipelines import tiny_ltx

from promptavideo.vbench.dimensions import DIMENSIONS

PYTHON = ROOT / ".venv-vbench/bin/python"
RANDOM = {
    "clip-vit-b-32": "pt", "clip-vit-l-14": "pt", "laion-aesthetic": "pth", "musiq-spaq": "pth", "amt-s": "pth",
    "raft-things": "zip",
}  # fmt: skip
OWN_COMMAND = """
import types, torch
import vbench.launch.evaluate as own
own.dist_init = lambda: None
own.torch = types.SimpleNamespace(device=lambda name: torch.device("cpu"))
own.main()
"""
"""What VBench's command starts, but for the process group and the device, for which it knows GPUs only."""


def snakemake(folder: Path, *arguments: str, overlays: list[str]) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "--quiet", "rules", "--cores", "2", *arguments, "--configfile", "config.yaml", *overlays]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200)


def linked(folder: Path) -> Path:
    """A workspace that knows VBench's environment and this folder's files."""
    workspace(folder)
    (folder / ".venv-vbench").symlink_to(ROOT / ".venv-vbench")
    (folder / "tests/vbench_package").symlink_to(ROOT / "tests/vbench_package")
    return folder


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laptop's configuration at smoke scale, judged without any download, by two refiners."""
    folder = linked(tmp_path_factory.mktemp("laptop") / "run")
    overlay = {
        "evaluation": {
            "sets": {"heldout": {"vbench": {"dimensions": ["temporal_flickering"]}}},
            "refiners": ["original", "llm"],
        },
        "vbench": {"main": "heldout", "shard_size": 4},
    }
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay))
    run = snakemake(folder, "results/tables/vbench.csv", overlays=[str(ROOT / "tests/smoke.yaml"), "overlay.yaml"])
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def own_command(folder: Path, videos: Path, dimension: str, *arguments: str, **variables: str) -> Any:
    """The average, and the result of each video by its name, that VBench's own command finds."""
    command = [str(PYTHON), "-c", OWN_COMMAND, "--videos_path", str(videos), "--dimension", dimension]
    command += ["--output_path", str(folder), *arguments]
    run = subprocess.run(
        command, env={"PATH": "", "OMP_NUM_THREADS": "1", **variables}, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-3000:]
    (path,) = folder.glob("*_eval_results.json")
    average, results = json.loads(path.read_text())[dimension]
    return average, {Path(one["video_path"]).name: one["video_results"] for one in results}


def test_the_rules_give_what_vbenchs_own_command_gives(laptop: Path, tmp_path: Path) -> None:
    table = pd.read_csv(laptop / "results/tables/vbench.csv")
    ours = table[table["source"] == "measured"].set_index("refiner")
    for refiner in ("original", "llm"):
        folder = laptop / f"results/mini-t2v/evaluation/heldout/{refiner}/vbench"
        average, results = own_command(
            tmp_path / refiner, folder / "videos", "temporal_flickering", "--mode", "custom_input"
        )
        scores = pd.read_parquet(folder / "scores.parquet")
        files = {video["key"]: video["file"] for video in json.loads((folder / "videos.json").read_text())["videos"]}
        found = {files[row["key"]]: row["value"] for row in scores.to_dict("records")}
        assert len(found) == len(results) == 6
        assert found == pytest.approx(results, abs=1e-12)
        assert ours.loc[refiner, "temporal_flickering"] == pytest.approx(100 * average, abs=1e-7)
        assert ours.loc[refiner, "temporal_flickering_ci_low"] < 100 * average < 100


def test_what_was_not_measured_is_empty_and_the_table_says_why(laptop: Path) -> None:
    table = pd.read_csv(laptop / "results/tables/vbench.csv")
    ours = table[table["source"] == "measured"]
    others = [name for name in ("total", "quality", "semantic", *DIMENSIONS) if name != "temporal_flickering"]
    assert ours[others].isna().all(axis=None)
    assert ours["videos"].tolist() == [6, 6]
    paper = table[table["source"] == "paper"]
    assert len(paper) == 8 and paper["total"].notna().all()
    text = (laptop / "results/tables/vbench.md").read_text()
    assert "Empty cells were not measured" in text and "not those of VBench's list" in text and "laptop" in text
    origin = json.loads((laptop / "results/tables/vbench.provenance.json").read_text())
    assert origin[0]["scores"]["vbench_versions"][0]["vbench"] == "0.1.5"
    assert origin[0]["scores"]["videos"] == 6


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some rows of VBench's own list, judged for seven dimensions by random networks."""
    folder = linked(tmp_path_factory.mktemp("few") / "run")
    tiny_ltx(folder / "tests/tiny-ltx")
    weights = folder / "tests/random-weights"
    made = subprocess.run(
        [str(PYTHON), str(ROOT / "tests/vbench_package/random_weights.py"), str(weights), *RANDOM],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    entries: dict[str, Any] = yaml.safe_load((ROOT / "resources/vbench/checkpoints.yaml").read_text())
    for name, suffix in RANDOM.items():
        file = weights / f"{name}.{suffix}"
        entries[name] |= {"url": file.as_uri(), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        entries[name].pop("contents", None)
        entries[name]["megabytes"] = max(1, file.stat().st_size / 1e6)
    (weights / "checkpoints.yaml").write_text(yaml.safe_dump(entries))
    run = snakemake(folder, *FEW_TABLES, overlays=few_overlays())
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


FEW_TABLES = ("results/tables/vbench.csv", "results/tables/vbench100.csv")


def few_overlays() -> list[str]:
    return [str(ROOT / "tests/smoke.yaml"), str(ROOT / "tests/vbench_package/few.yaml")]


def test_random_networks_judge_videos_under_vbenchs_names(few: Path) -> None:
    folder = few / "results/tiny-ltx/evaluation/few/original/vbench"
    scores = pd.read_parquet(folder / "scores.parquet")
    rows = scores.groupby("dimension")["row"].unique().map(sorted).to_dict()
    assert rows == {
        "temporal_flickering": [0, 1],
        "motion_smoothness": [257, 258],
        "dynamic_degree": [257, 258],
        "appearance_style": [493, 495],
        "aesthetic_quality": [683, 713, 734, 748],
        "imaging_quality": [683, 713, 734, 748],
        "background_consistency": [776, 777],
    }
    assert scores["value"].notna().all()
    # Rows 495 and 748 are one prompt, 713 and 734 differ in case only: filmed once, judged twice.
    keys = scores[scores["replicate"] == 0].groupby("row")["key"].unique().map(list)
    assert keys[495] == keys[748] and keys[713] == keys[734] and len(keys[713]) == 1
    names = {path.name for path in (folder / "videos").iterdir()}
    assert len(names) == 22 and {"a fantasy landscape-0.mp4", "A fantasy landscape-1.mp4"} <= names
    assert len(list((few / "store/tiny-ltx/videos").glob("*/*.mp4"))) == 2 * 10


def test_the_ablations_table_joins_rewards_and_two_dimensions(few: Path) -> None:
    (row,) = pd.read_csv(few / "results/tables/vbench100.csv").to_dict("records")
    folder = few / "results/tiny-ltx/evaluation/two/original"
    rewards, judged = (pd.read_parquet(folder / f"{name}/scores.parquet") for name in ("rewards", "vbench"))
    assert row["videos"] == len(rewards) == 2 and set(rewards["key"]) == set(judged["key"])
    assert row["TC"] == pytest.approx(rewards["TC_5"].mean(), abs=1e-8)
    imaging = judged.loc[judged["dimension"] == "imaging_quality", "value"]
    assert row["imaging_quality"] == pytest.approx(100 * imaging.mean(), abs=1e-8)
    # Its prompts are among the others', so their videos are the same files.
    others = pd.read_parquet(few / "results/tiny-ltx/evaluation/few/original/vbench/scores.parquet")
    assert set(judged["key"]) <= set(others["key"])


@pytest.mark.parametrize("dimension", ["background_consistency", "imaging_quality", "appearance_style"])
def test_shards_average_as_vbenchs_own_command_does(few: Path, tmp_path: Path, dimension: str) -> None:
    """In one process and without shards, on the same folder."""
    folder = few / "results/tiny-ltx/evaluation/few/original/vbench"
    rows = [json.loads(line) for line in (few / "resources/vbench/vbench100.jsonl").read_text().splitlines()]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    arguments = ["--full_json_dir", str(tmp_path / "list.json"), "--load_ckpt_from_local", "True"]
    cache = str(few / "resources/vbench/cache")
    average, _ = own_command(tmp_path / "own", folder / "videos", dimension, *arguments, VBENCH_CACHE_DIR=cache)
    table = pd.read_csv(few / "results/tables/vbench.csv").set_index(["generator", "refiner"])
    assert table.loc[("tiny-ltx", "original"), dimension] == pytest.approx(100 * average, abs=1e-5)


def test_a_lost_checkpoint_is_named_before_vbench_would_download_it(few: Path) -> None:
    weights = few / "resources/vbench/cache/amt_model/amt-s.pth"
    kept = weights.read_bytes()
    weights.unlink()
    command = [str(PYTHON), "scripts/vbench_dimension.py", "tiny-ltx", "evaluation/few/original", "motion_smoothness"]
    command += ["0001-of-0005", "--checkpoints", "amt-s", "--device", "cpu"]
    run = subprocess.run(command, cwd=few, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    weights.write_bytes(kept)
    assert run.returncode == 1
    assert "amt_model/amt-s.pth: missing" in run.stderr and "Traceback" not in run.stderr


def test_a_second_run_does_nothing(few: Path) -> None:
    run = snakemake(few, *FEW_TABLES, "--dry-run", overlays=few_overlays())
    assert run.returncode == 0
    assert "Nothing to be done" in run.stdout + run.stderr
