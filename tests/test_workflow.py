"""The real Snakefile at smoke scale: through DPO-2 to the report, in one go, in other shards, and under kill -9."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import workspaces
import yaml
from makers import ROOT, shas, workspace
from tiny_pipelines import LTX_SAMPLING, WAN_SAMPLING, tiny_ltx, tiny_wan

from promptavideo import timing
from promptavideo.metrics import PAPER
from promptavideo.provenance import ARITHMETIC
from promptavideo.schemas import scores as scores_of
from promptavideo.store import read_manifest

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
pytestmark = pytest.mark.workflow


def command(*arguments: str, more: str | None = None) -> list[str]:
    """Snakemake at smoke scale, with `more` for a last configuration file."""
    files = ["config.yaml", str(ROOT / "tests/smoke.yaml"), *([more] if more else [])]
    return ["snakemake", "--quiet", "rules", *arguments, "--configfile", *files]


def snakemake(folder: Path, *arguments: str, more: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, more=more), cwd=folder, capture_output=True, text=True, timeout=1200)


def probed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A run that probes the machine first, as config.yaml asks for."""
    (folder / "reference.yaml").write_text(yaml.safe_dump({"planning": CONFIG["planning"]}))
    return snakemake(folder, *arguments, more="reference.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the whole workflow ran once, undisturbed."""
    return workspaces.finished(tmp_path_factory, "finished")


def test_the_run_ends_in_tables_figures_and_report(finished: Path) -> None:
    table = pd.read_csv(finished / "results/tables/videoscore.csv")
    ours = table[table["set"] == "heldout"].set_index("refiner")
    assert list(ours.index) == ["original", "llm", "sft", "dpo-1", "dpo-2"]
    scores = pd.read_parquet(finished / "results/mini-t2v/evaluation/heldout/dpo-2/rewards/scores.parquet")
    scores_of(PAPER).validate(scores)
    assert ours.loc["dpo-2", "videos"] == len(scores) == 6
    five = ["VQ_5", "TC_5", "DD_5", "TVA_5", "FC_5"]
    assert ours.loc["dpo-2", "avg"] == pytest.approx(scores[five].to_numpy().mean(), abs=1e-6)
    assert (table["set"] == "paper").sum() == 6
    for suffix in (".md", ".tex", ".provenance.json"):
        assert (finished / f"results/tables/videoscore{suffix}").stat().st_size > 0
    assert "laptop" in (finished / "results/tables/videoscore.md").read_text()
    for name in ("evolution", "training", "contact_sheet"):
        assert (finished / f"results/mini-t2v/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    gains = pd.read_csv(finished / "results/tables/gains.csv").set_index(["refiner", "against"])
    assert list(gains.index) == [(one, other) for one in ("sft", "dpo-1", "dpo-2") for other in ("original", "llm")]
    cells = dict(zip(("gain", "gain_ci_low", "gain_ci_high"), ("diff", "diff_ci_low", "diff_ci_high"), strict=True))
    over = gains.xs("original", level="against")
    for gain, difference in cells.items():
        np.testing.assert_array_equal(ours.loc[over.index, gain], over[difference])
    origins = json.loads((finished / "results/tables/gains.provenance.json").read_text())
    assert [(one["refiner"]["refiner"], one["against"]["refiner"]) for one in origins] == list(gains.index)
    html = (finished / "results/report.html").read_text()
    assert "<script" not in html and html.count('<video src="data:video/mp4;base64,') == 3
    assert f"films dpo-2&#39;s texts with avg {over.loc['dpo-2', 'avg']:.2f} against " in html
    for suffix, magic in ((".png", b"\x89PNG"), (".pdf", b"%PDF"), (".txt", b"mini-t2v on heldout: ")):
        assert (finished / f"results/figures/qualitative{suffix}").read_bytes().startswith(magic)
    assert "median of all 3 prompts" in html and "laptop-scale numbers" in html
    margins = pd.read_csv(finished / "results/mini-t2v/boosters/dpo-2/log.csv")
    assert {"step", "loss", "rewards/margins"} <= set(margins.columns)


def test_the_gallery_shows_every_video_of_the_first_seed(finished: Path) -> None:
    html = (finished / "results/gallery/index.html").read_text()
    content = json.loads(html.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])
    (group,) = content["groups"]
    assert (group["track"], group["set"], group["replicates"]) == ("mini-t2v", "heldout", 2)
    assert group["refiners"] == ["original", "llm", "sft", "dpo-1", "dpo-2"] and len(content["rows"]) == 3
    means = pd.DataFrame([[cell["avg"] for cell in row["cells"]] for row in content["rows"]], columns=group["refiners"])
    scores = pd.read_parquet(finished / "results/mini-t2v/evaluation/heldout/dpo-2/rewards/scores.parquet")
    first = scores[scores["replicate"] == 0][["VQ_5", "TC_5", "DD_5", "TVA_5", "FC_5"]].mean(axis=1)
    assert sorted(means["dpo-2"]) == pytest.approx(sorted(first), abs=1e-4)
    files = {cell["file"] for row in content["rows"] for cell in row["cells"]}
    assert files == {path.name for path in (finished / "results/gallery/videos").iterdir()}
    for name in ("player.js", "gallery.js", "gallery.css"):
        assert (finished / "results/gallery" / name).stat().st_size > 0


def test_the_run_was_estimated_and_every_job_told_how_far_it_is(finished: Path) -> None:
    said = (finished / "stderr.txt").read_text()
    assert re.search(
        r"This run should take about .+ on 2 cores, by a probe of this machine:\n"
        r"  mini-t2v: evolution .+, sft .+, dpo-1 .+, dpo-2 .+, evaluation .+\n",
        said,
    )
    assert re.search(r"film evolution/round-0 shard 0001-of-0001: 3/3 videos, 0:00 left, run \d+:\d\d left", said)
    assert "Loading weights" not in said and "it/s" not in said
    record = finished / ".snakemake/promptavideo/run.json"
    jobs = json.loads(record.read_text())["jobs"]
    trainings = [job for job in jobs if job["name"].startswith("logs/train/mini-t2v/")]
    assert len(trainings) == 3 and all(job["after"] and job["seconds"] > 5 for job in trainings)
    journal = [json.loads(line) for line in (record.parent / "run/journal.jsonl").read_text().splitlines()]
    ended = {line["job"] for line in journal if line["ended"]}
    assert ended == {place for place, job in enumerate(jobs) if job["name"]}


def test_a_second_run_does_nothing(finished: Path) -> None:
    def written() -> dict[Path, int]:
        files = [path for name in ("results", "store", "logs", "benchmarks") for path in (finished / name).rglob("*")]
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}

    before = written()
    assert snakemake(finished, "--cores", "2").returncode == 0
    assert written() == before


def test_a_finished_run_that_is_renamed_has_nothing_to_do(finished: Path) -> None:
    moved = finished.rename(finished.with_name("a moved run"))
    try:
        run = snakemake(moved, "-n")
        assert run.returncode == 0, run.stderr[-3000:]
        assert "Nothing to be done" in run.stdout + run.stderr
        dangling = [path for path in moved.rglob("*") if path.is_symlink() and not path.exists()]
        assert not dangling
    finally:
        moved.rename(finished)


def test_no_command_names_the_folder_that_it_runs_in(tmp_path: Path) -> None:
    """What a command names is what Snakemake compares, and a clone may be renamed."""
    folder = workspace(tmp_path / "run")
    run = subprocess.run(["snakemake", "-n", "-p"], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    _, _, told = (run.stdout + run.stderr).partition("Building DAG of jobs")
    assert "scripts/vbench_dimension.py" in told
    assert str(folder) not in told and str(ROOT) not in told


def test_every_row_of_a_table_leads_back_to_what_made_it(finished: Path) -> None:
    rows = json.loads((finished / "results/tables/videoscore.provenance.json").read_text())
    table = pd.read_csv(finished / "results/tables/videoscore.csv")
    assert len(rows) == len(table)
    ours = rows[: int((table["set"] == "heldout").sum())]
    for row in ours:
        scores = row["scores"]
        assert row["code"] == scores["code"] != "" and row["run_seed"] == scores["run_seed"] == 1
        assert scores["generator"]["sampling"]["height"] == CONFIG["generators"]["mini-t2v"]["sampling"]["height"]
        assert scores["judges"] == {"pixels": {"kind": "pixels"}}
        assert [(model["name"], len(model["digest"])) for model in scores["models"]] == [("mini-t2v", 64)]
        assert (scores["videos"], scores["prompts"], len(row["video_seeds"])) == (6, 3, 6)
        assert sum(scores["filmed_on"].values()) == 6 and len(scores["prompt_set"]["sha256"]) == 64
        for job in scores["filming"] + scores["scoring"]:
            assert job["videos"] and job["device"] == job["processor"]
            assert job["packages"]["torch"] == version("torch")
        assert set(row["environment"]["packages"]) == set(scores["environment"]["packages"]) == {*ARITHMETIC}
        assert sum(job["videos"] for job in scores["filming"]) == 6  # those that another arm has filmed, too
    assert [row["booster"] and row["booster"]["stage"] for row in ours] == [None, None, "sft", "dpo", "dpo"]
    assert all(row["booster"]["base_model"]["name"] == "tiny-llama" for row in ours[2:])
    assert all(one["packages"]["trl"] == version("trl") for row in ours[2:] for one in row["booster"]["trained_on"])
    drawn = [row["scores"]["writing"] for row in ours]
    assert drawn[:2] == [[], []]  # what users or an operator wrote
    assert all(one["engine"] == f"transformers {version('transformers')}" for (one,) in drawn[2:])
    wrote = [row["scores"]["texts"] for row in ours]
    assert [texts["refiner"]["kind"] for texts in wrote] == ["original", "llm", "booster", "booster", "booster"]
    assert wrote[1]["operator"]["kind"] == "recombine" and wrote[2]["booster"]["sampling"]["max_new_tokens"] == 12


def plan(folder: Path) -> tuple[pd.Series, str]:
    """The totals that `snakemake plan` prints, and its last lines."""
    run = snakemake(folder, "--cores", "1", "plan")
    assert run.returncode == 0, run.stderr[-3000:]
    lines = run.stdout.splitlines()
    header = next(line.split() for line in lines if line.split()[:2] == ["generator", "stage"])
    total = next(line.split() for line in lines if line.split()[:2] == ["mini-t2v", "total"])
    return pd.Series(total, header), "\n".join(lines[-3:])


def test_the_plan_of_a_finished_run_has_nothing_to_do_and_tells_what_it_took(finished: Path) -> None:
    total, said = plan(finished)
    assert re.search(
        r"mini-t2v: \d+\.\d\d s a video \(measured, \d+ on .*\), \d+\.\d\d s a score \(measured, \d+ on", said
    )
    assert "expected" not in said
    assert total["videos"] == total["videos_done"] and total["requests"] == total["requests_done"]
    assert {float(total[name]) for name in total.index if name.endswith("to_do")} == {0}
    assert float(total["gpu_hours_done"]) > 0


def test_a_pilot_replaces_what_the_plan_expects(finished: Path, tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    shutil.copytree(finished / "resources/models", folder / "resources/models")
    before, said = plan(folder)
    entry, planning = CONFIG["generators"]["mini-t2v"], CONFIG["planning"]
    assert f"mini-t2v: {entry['seconds_per_video']} s a video (expected; `snakemake pilot` measures it), " in said
    assert f", {planning['seconds_per_score']} s a score (expected;" in said
    assert float(before["gpu_hours_done"]) == int(before["videos_done"]) == 0
    pilot = snakemake(folder, "--cores", "2", "pilot")
    assert pilot.returncode == 0, pilot.stderr[-3000:]
    told = []
    for kind, what in (("videos", "video"), ("rewards", "score")):
        paths = sorted((folder / "results/mini-t2v/pilot" / kind).glob("*.timing.json"))
        records = [timing.read(path) for path in paths]
        assert sum(record.items for record in records) == 3
        seconds, peak = sum(record.seconds for record in records), max(record.peak_memory_mb for record in records)
        told.append(f"{seconds / 3:.2f} s a {what} (measured, 3 on {records[-1].device}, peak {peak:,.0f} MB)")
    _, said = plan(folder)
    assert ", ".join(told) in said and "expected" not in said
    filmed = {path: path.stat().st_mtime_ns for path in folder.glob("store/mini-t2v/videos/*/*.mp4")}
    (folder / "scripts").unlink()
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "scripts/probe.py").write_text("raise SystemExit('no torch')")
    first = probed(folder, "--cores", "2", "results/mini-t2v/evolution/round-0/videos/0001-of-0001.jsonl")
    assert first.returncode == 0, first.stderr[-3000:]
    assert "no estimate of this run's time: the probe of this machine failed: no torch" in first.stderr
    assert filmed == {path: path.stat().st_mtime_ns for path in folder.glob("store/mini-t2v/videos/*/*.mp4")}


def test_other_shards_one_core_and_kills_give_the_same(finished: Path, tmp_path: Path) -> None:
    """Shards of two prompts and one on one core, killed while filming, scoring and training, against one smooth run."""
    arms = ["original", "dpo-2"]
    folder = workspace(tmp_path / "run")
    shutil.copytree(finished / "resources/models", folder / "resources/models")
    # The other arms of the evaluation come from the same rules as these.
    split = {"shard_size": 2, "score_minutes": 1, "evaluation": {"refiners": arms}}
    (folder / "split.yaml").write_text(yaml.safe_dump(split))
    arguments = ("--cores", "1", "results/tables/videoscore.csv")
    store = folder / "store/mini-t2v"
    moments: list[Callable[[], bool]] = [
        lambda: any(store.glob("videos/*/*.mp4")),
        lambda: any(store.glob("scores/*/*.json")),
        lambda: any(store.glob("checkpoints/*/checkpoint-*")),
    ]
    filmed: dict[Path, int] = {}
    for moment in moments:
        kill_at(moment, folder, *arguments, more="split.yaml")
        filmed |= {path: path.stat().st_mtime_ns for path in store.glob("videos/*/*.mp4")}
    run = snakemake(folder, *arguments, more="split.yaml")
    assert run.returncode == 0, run.stderr[-3000:]
    assert filmed
    assert filmed == {path: path.stat().st_mtime_ns for path in filmed}, "a finished video was filmed again"
    assert_same_results(folder, finished, arms)
    batch = folder / "results/mini-t2v/dpo-1"
    counted = {kind: len([*(batch / kind).glob("*-of-*.timing.json")]) for kind in ("videos", "rewards")}
    assert counted == {"videos": 2, "rewards": 1}, "two shards are scored in one job"


def test_another_generator_needs_an_entry_in_the_configuration_only(finished: Path) -> None:
    """Two pipelines on disk, of classes that this repository never names, are declared; one is asked for."""
    entries: dict[str, Any] = {"models": {}, "generators": {}}
    made = {"tiny-ltx": (tiny_ltx, "LTXPipeline", LTX_SAMPLING), "tiny-wan": (tiny_wan, "WanPipeline", WAN_SAMPLING)}
    for name, (make, pipeline, sampling) in made.items():
        make(finished / "tests" / name)
        entries["models"][name] = {"kind": "local", "path": f"tests/{name}"}
        entries["generators"][name] = {
            "kind": "diffusers", "pipeline": pipeline, "model": name, "fps": 8, "seconds_per_video": 1.0,
            "dtype": "float32", "batch_size": 4, "sampling": sampling,
        }  # fmt: skip
    fewer = {"evolution": {"rounds": 1}, "preference": {"rounds": 1}, "refiners": {"dpo-2": None}}
    compared = {"evaluation": {"refiners": ["original", "dpo-1"]}}
    (finished / "more.yaml").write_text(yaml.safe_dump(entries | fewer | compared))
    run = snakemake(finished, "--cores", "2", "tiny-wan", more="more.yaml")
    assert run.returncode == 0, run.stderr[-3000:]
    table = pd.read_csv(finished / "results/tiny-wan/tables/videoscore.csv")
    ours = table[table["set"] == "heldout"]
    assert list(ours["generator"] + " " + ours["refiner"]) == ["tiny-wan original", "tiny-wan dpo-1"]
    assert list(ours["videos"]) == [6, 6] and ours["avg"].between(0, 5).all()
    assert (finished / "results/tiny-wan/figures/contact_sheet.png").stat().st_size > 0
    assert not (finished / "results/tiny-ltx").exists()


def kill_at(moment: Callable[[], bool], folder: Path, *arguments: str, more: str) -> None:
    """Start the workflow and kill it with all its jobs as soon as `moment` holds."""
    process = subprocess.Popen(
        command(*arguments, more=more), cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while not moment():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def assert_same_results(one: Path, other: Path, arms: list[str]) -> None:
    """The same prompts, the same videos byte for byte, the same scores and table; evaluated arms: `arms` in `one`."""
    batches = [path.parents[1] for path in sorted((one / "results/mini-t2v").rglob("rewards/scores.parquet"))]
    assert len(batches) == 5 + len(arms)
    for batch in batches:
        mirror = other / batch.relative_to(one)
        ours, theirs = (pd.read_parquet(folder / "prompts.parquet") for folder in (batch, mirror))
        pd.testing.assert_frame_equal(ours, theirs)
        assert shas(batch) == shas(mirror), batch
        ours, theirs = (pd.read_parquet(folder / "rewards/scores.parquet") for folder in (batch, mirror))
        pd.testing.assert_frame_equal(ours, theirs, rtol=0, atol=1e-6)
    tables = [pd.read_csv(folder / "results/tables/videoscore.csv") for folder in (one, other)]
    rows = [table[(table["set"] == "paper") | table["refiner"].isin(arms)].reset_index(drop=True) for table in tables]
    assert len(rows[0]) == len(tables[0]) == 6 + len(arms)
    pd.testing.assert_frame_equal(*rows, rtol=0, atol=1e-6)


def test_a_damaged_video_is_named_and_filmed_again_by_the_next_run(finished: Path) -> None:
    manifest = next((finished / "results/mini-t2v/evaluation/heldout/original/videos").glob("*.jsonl"))
    entry = read_manifest(manifest)[0]
    video = finished / "store/mini-t2v/videos" / entry.key[:2] / f"{entry.key}.mp4"
    whole = video.read_bytes()
    shutil.rmtree(finished / "store/mini-t2v/scores")
    video.write_bytes(whole[: len(whole) // 2])
    rewards = manifest.parents[1] / "rewards" / f"{manifest.stem}.parquet"
    before = pd.read_parquet(rewards)
    target = "results/mini-t2v/evaluation/heldout/original/rewards/scores.parquet"
    for path in (rewards, finished / target):
        path.unlink()
    broken = snakemake(finished, "--cores", "2", target)
    assert broken.returncode != 0
    assert entry.prompt_id in broken.stderr
    assert str(video.relative_to(finished)) in broken.stderr
    healed = snakemake(finished, "--cores", "2", target)
    assert healed.returncode == 0, healed.stderr[-3000:]
    assert video.read_bytes() == whole
    np.testing.assert_allclose(
        before[["VQ", "MPS"]].to_numpy(), pd.read_parquet(rewards)[["VQ", "MPS"]].to_numpy(), atol=1e-6
    )


def test_a_copied_folder_has_nothing_to_do_and_whatever_is_damaged_in_it_is_named_and_made_again(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy of a run"
    shutil.copytree(finished, folder, symlinks=True)
    target = "results/tables/videoscore.csv"
    said = snakemake(folder, "--dry-run", target)
    assert "Nothing to be done" in said.stdout + said.stderr
    before, mini = pd.read_csv(folder / target), folder / "results/mini-t2v"
    batch, sheet = mini / "evaluation/heldout/original", mini / "figures/contact_sheet.png"
    entries = [entry for path in sorted(batch.glob("videos/*.jsonl")) for entry in read_manifest(path)]
    shown = min((entry for entry in entries if entry.replicate == 0), key=lambda entry: entry.prompt_id)
    video = folder / "store/mini-t2v/videos" / shown.key[:2] / f"{shown.key}.mp4"
    scores, rewards = batch / "rewards/scores.parquet", batch / "rewards/0001-of-0001.parquet"
    llm, manifest = mini / "evaluation/heldout/llm/prompts.parquet", next(batch.glob("videos/*.jsonl"))
    drawn = mini / "evaluation/heldout/sft/prompts.parquet"
    filmed = mini / "evolution/round-0/videos/0001-of-0001.jsonl"
    last = mini / "evaluation/heldout/dpo-2/prompts.parquet"
    # What is damaged, by what of it, what asks for it then, and what the message names beside the file.
    cases: list[tuple[Path, Callable[[Path], object], Path, str]] = [
        (video, Path.unlink, sheet, shown.prompt_id),
        (rewards, halve, scores, "parquet table"),
        (rewards, not_a_number, scores, shown.prompt_id),
        (manifest, halve, scores, str(manifest.relative_to(folder))),
        (llm, halve, llm.with_name("rewards") / "scores.parquet", "parquet table"),
        (mini / "boosters/sft/adapter/adapter_model.safetensors", halve, drawn, "adapter"),
        (folder / "resources/models/mini-t2v/manifest.json", halve, filmed, "manifest of a model"),
        (mini / "boosters/dpo-1/booster.json", halve, last, "card of a booster"),
        (scores.with_suffix(".provenance.json"), halve, folder / target, "record"),
        (folder / "results/tables/videoscore.provenance.json", halve, folder / "results/report.html", "record"),
    ]
    for damaged, damage, asking, named in cases:
        damage(damaged)
        asking.unlink()
        asked = str(asking.relative_to(folder))
        broken = snakemake(folder, "--cores", "2", asked)
        assert broken.returncode != 0, damaged
        told = (named, "removed", damaged.parent.name if damaged.suffix == ".safetensors" else damaged.name)
        assert all(part in broken.stderr for part in told), broken.stderr
        healed = snakemake(folder, "--cores", "2", asked)
        assert healed.returncode == 0, healed.stderr[-3000:]
    again = snakemake(folder, "--cores", "2", target)
    assert again.returncode == 0, again.stderr[-3000:]
    pd.testing.assert_frame_equal(pd.read_csv(folder / target), before, atol=1e-6)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_a_number(path: Path) -> None:
    table = pd.read_parquet(path)
    table.loc[0, "VQ"] = np.nan
    table.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shard_size=0", "shard_size"),
        ("shard_sizes=3", "shard_sizes"),
        ("seed=abc", "seed"),
    ],
)
def test_a_bad_configuration_stops_before_any_job(tmp_path: Path, override: str, message: str) -> None:
    folder = workspace(tmp_path / "run")
    run = snakemake(folder, "--cores", "1", "--config", override)
    assert run.returncode != 0
    assert f"  {message} (--config): " in run.stderr
    assert not (folder / "results").exists()
