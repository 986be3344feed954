"""The profile for clusters, as far as it can be checked without one; `make test-slurm` runs it on a real Slurm."""

import re
import resource
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml
from makers import ROOT, workspace

from promptavideo.config import check
from promptavideo.estimate import Estimate
from promptavideo.settings import lay
from promptavideo.study import Study

PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
SOURCE = "\n".join(path.read_text() for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))])


def test_every_rule_runs_beside_snakemake_or_says_what_it_takes() -> None:
    pieces = re.split(r"^rule (\w+)\b", SOURCE, flags=re.MULTILINE)
    commands = {name for name, text in zip(pieces[1::2], pieces[2::2], strict=True) if "    shell:" in text}
    assert {"film", "score", "gather", "train"} <= commands
    local = set(re.findall(r"\w+", re.search(r"^localrules:((?:\n    \w+,)+)", SOURCE, re.MULTILINE).group(1)))
    named = set(PROFILE["set-resources"])
    assert local <= commands
    assert not local & named
    assert commands <= local | named | {"unknown"}  # which is there to be refused


@pytest.mark.parametrize("rule", PROFILE["set-resources"])
def test_a_retry_gets_more_time_and_memory(rule: str) -> None:
    needs = PROFILE["set-resources"][rule]
    assert {"cpus_per_task", "mem_mb", "runtime"} <= set(needs) <= {"gpu", "cpus_per_task", "mem_mb", "runtime"}
    for grows in ("mem_mb", "runtime"):
        attempts = [eval(needs[grows], {"attempt": attempt}) for attempt in range(1, PROFILE["retries"] + 2)]
        assert attempts == sorted(set(attempts))


@pytest.mark.workflow
def test_the_profile_plans_the_workflow_together_with_the_default_one(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    (folder / "slurm").symlink_to(ROOT / "slurm")
    run = subprocess.run(
        [
            *("snakemake", "--profile", "slurm", "--dry-run", "--software-deployment-method=env-modules"),
            *("--configfile", "config.yaml", str(ROOT / "tests/smoke.yaml")),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "Using profiles slurm and workflow specific profile profiles/default" in run.stderr


@pytest.mark.workflow
def test_a_file_that_takes_the_place_of_paper_yaml_does_not_book_a_cluster_for_a_laptops_run(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    (folder / "slurm").symlink_to(ROOT / "slurm")
    (folder / "mine.yaml").write_text("seed: 3\n")
    run = subprocess.run(
        [
            *("snakemake", "--profile", "slurm", "--software-deployment-method=env-modules"),
            *("--configfile", "mine.yaml"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode != 0
    assert "laptop's scale on a cluster" in run.stderr and "--configfile paper.yaml mine.yaml" in run.stderr
    assert not (folder / "results").exists()


@pytest.mark.workflow
@pytest.mark.parametrize("generator", ["cogvideox-5b", "open-sora-1.2"])
def test_the_papers_scale_is_planned_in_seconds_and_few_jobs(tmp_path: Path, generator: str) -> None:
    folder = workspace(tmp_path / "run")
    (folder / "slurm").symlink_to(ROOT / "slurm")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(
        [
            *("snakemake", "--profile", "slurm", "--dry-run", "--quiet", "rules"),
            *("--software-deployment-method=env-modules", generator),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    counted = {
        rule: int(count) for rule, count in re.findall(r"^(\w+)\s+(\d+)$", run.stdout + run.stderr, re.MULTILINE)
    }
    assert 800 < counted["total"] <= 2000
    planned = Counter[str]()
    layers = {name: yaml.safe_load((ROOT / name).read_text()) for name in ("config.yaml", "paper.yaml")}
    for row in Estimate(Study(check(lay(layers)[0], ROOT), ROOT), ROOT).rows(generator):
        batch, work = row.stage.split()[:2]
        planned["refine" if batch.startswith("evaluation/") and work in ("ask", "sample", "copy") else work] += row.jobs
    assert planned["film"] == counted["film"] and planned["score"] == counted["score"]
    assert planned["train"] == counted["train"]
    assert planned["vbench"] == counted["vbench_dimension"] > 0
    assert planned["refine"] == counted["refine"] and planned["sample"] == counted["candidates"]
    assert not planned["ask"]  # proposals for the evolution are made beside Snakemake
    assert counted["score"] < counted["film"] / 10
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 30  # of processors, on busy ones too
