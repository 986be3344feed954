"""The workflow through `--profile slurm` on a real Slurm of one node, and one of its filming jobs cancelled midway.

Not part of `pytest` alone: it installs Slurm. `make test-slurm` runs it.
"""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from cluster import Cluster, Job, install
from makers import ROOT, shas, workspace

from promptavideo.metrics import PAPER
from promptavideo.schemas import scores
from promptavideo.store import read_manifest

CONFIGURATION = [
    "--configfile",
    "config.yaml",
    str(ROOT / "tests/smoke.yaml"),
    str(ROOT / "tests/slurm/smoke.yaml"),
]
# What must differ from the profile here: its configuration, conda (no rule has modules, so this deploys nothing), and
# what waits for a slow cluster.
OVERRIDES = [
    *CONFIGURATION,
    "--software-deployment-method=env-modules",
    "--slurm-status-command=squeue",
    "--slurm-init-seconds-before-status-checks=5",
    "--latency-wait=10",
    "--local-cores=1",
]
FILMING = "rule_film_wildcards_mini-t2v_dpo-1_0001-of-0001"
VIDEOS = 10
"""Of the cancelled job: two prompts with five candidates each."""
SECONDS = 1800
"""Until a run is given up; it takes a fifth of it where nothing else runs."""


@dataclass(frozen=True)
class Cancelled:
    """A run whose filming job was cancelled, and what it had finished by then."""

    folder: Path
    jobs: list[Job]
    finished: dict[Path, int]
    """Its videos when it was cancelled, with the times they were written."""
    moment: int
    log: str


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    install()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else a `kill` would leave the daemons behind
    with Cluster(tmp_path_factory.mktemp("slurm"), gpus=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def cancelled(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cancelled]:
    """Run the workflow on Slurm, and cancel the job that films the candidates once it has filmed three videos."""
    folder = workspace(tmp_path_factory.mktemp("cluster") / "run")
    (folder / "slurm").symlink_to(ROOT / "slurm")
    videos = lambda: {path: path.stat().st_mtime_ns for path in folder.glob("store/mini-t2v/videos/*/*.mp4")}  # noqa: E731
    log = folder / "snakemake.log"
    with log.open("w") as stream:
        run = subprocess.Popen(
            ["snakemake", "--profile", "slurm", *OVERRIDES],
            cwd=folder,
            env=cluster.environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        wait(lambda: states(cluster, FILMING) == ["RUNNING"], run, log)
        before = videos()
        wait(lambda: len(videos()) >= len(before) + 3, run, log)
        [job] = [job for job in cluster.jobs() if job.state == "RUNNING"]
        assert job.comment == FILMING
        cluster.cancel(job)
        moment = time.time_ns()
        wait(lambda: states(cluster, FILMING)[0] == "CANCELLED", run, log)
        finished = {path: written for path, written in videos().items() if path not in before}
        run.wait(timeout=SECONDS)
        assert run.returncode == 0, log.read_text()[-5000:]
        yield Cancelled(folder, cluster.jobs(), finished, moment, log.read_text())
    finally:
        with suppress(subprocess.TimeoutExpired):
            run.terminate()
            run.wait(timeout=20)
        run.kill()


def states(cluster: Cluster, comment: str) -> list[str]:
    return [job.state for job in cluster.jobs() if job.comment == comment]


def wait(holds: Callable[[], bool], run: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert run.poll() is None, f"the run ended too early\n{log.read_text()[-5000:]}"
        assert time.monotonic() < deadline, log.read_text()[-5000:]
        time.sleep(0.1)


def test_a_cancelled_filming_job_resumes_at_the_next_video(cancelled: Cancelled) -> None:
    assert 3 <= len(cancelled.finished) < VIDEOS
    assert cancelled.finished == {path: path.stat().st_mtime_ns for path in cancelled.finished}, "one was filmed again"
    entries = read_manifest(cancelled.folder / "results/mini-t2v/dpo-1/videos/0001-of-0001.jsonl")
    shard = {cancelled.folder / f"store/mini-t2v/videos/{entry.key[:2]}/{entry.key}.mp4" for entry in entries}
    assert len(shard) == VIDEOS
    assert shard >= set(cancelled.finished)
    assert all(path.stat().st_mtime_ns > cancelled.moment for path in shard - set(cancelled.finished))
    log = (cancelled.folder / "logs/film/mini-t2v/dpo-1/0001-of-0001.log").read_text()
    assert f"{VIDEOS} videos ({len(cancelled.finished)} already there)" in log


def test_the_retry_gets_more_time_and_memory_and_the_same_gpu(cancelled: Cancelled) -> None:
    first, second = (job for job in cancelled.jobs if job.comment == FILMING)
    assert (first.state, second.state) == ("CANCELLED", "COMPLETED")
    assert (first.gpus, second.gpus) == ("gres:gpu:1", "gres:gpu:1")
    assert (first.limit, second.limit) == ("3:00:00", "6:00:00")
    assert first.resources.startswith("cpu=8,mem=62.50G,")  # 64000 MB, as Slurm writes it
    assert second.resources.startswith("cpu=8,mem=80000M,")


def test_only_work_for_gpus_and_the_copies_of_the_gallery_go_through_slurm(cancelled: Cancelled) -> None:
    gpus: dict[str, set[str]] = {}
    for job in cancelled.jobs:
        gpus.setdefault(job.comment.removeprefix("rule_").split("_wildcards_")[0], set()).add(job.gpus)
    assert "gpu" not in gpus.pop("gallery").pop()
    assert gpus == {key: {"gres:gpu:1"} for key in ("film", "score", "refine", "candidates", "train")}
    assert [job.state for job in cancelled.jobs].count("COMPLETED") == len(cancelled.jobs) - 1


def test_the_tables_are_those_of_a_run_without_slurm(cancelled: Cancelled, tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    shutil.copytree(cancelled.folder / "resources/models", folder / "resources/models")
    run = subprocess.run(
        ["snakemake", "--quiet", "rules", "--cores", "2", *CONFIGURATION],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    batches = [path.parents[1] for path in sorted((folder / "results/mini-t2v").rglob("rewards/scores.parquet"))]
    assert len(batches) == 5
    for batch in batches:
        mirror = cancelled.folder / batch.relative_to(folder)
        scores(PAPER).validate(pd.read_parquet(mirror / "rewards/scores.parquet"))
        assert shas(batch) == shas(mirror), batch
    tables = [pd.read_csv(each / "results/tables/videoscore.csv") for each in (folder, cancelled.folder)]
    assert list(tables[0].loc[tables[0]["set"] == "heldout", "refiner"]) == ["original", "dpo-1"]
    pd.testing.assert_frame_equal(*tables, rtol=0, atol=1e-6)
    assert (cancelled.folder / "results/report.html").stat().st_size > 0
