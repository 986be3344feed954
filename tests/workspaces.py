"""Workspaces in which the workflow ran, or seems to have run, and what it would run again."""

import copy
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]

Jobs = dict[str, int]
"""Numbers of jobs by rule."""
Keys = tuple[str, ...]
"""The place of a value in a configuration."""


def finished(factory: "pytest.TempPathFactory", name: str) -> Path:
    """A workspace of its own in which the whole run of smoke.yaml is finished, which began with a probe.

    It is a copy of one that all workers of a test session share: who needs it first makes it. What that run said is in
    its `stderr.txt`.

    Args:
        factory: The session's.
        name: Of the folder around it.
    """
    from filelock import FileLock
    from makers import workspace

    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)
    with FileLock(shared / "lock"):
        if not (shared / "run/stderr.txt").exists():
            shutil.rmtree(shared / "run", ignore_errors=True)
            workspace(shared / "run")
            planning = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["planning"]
            (shared / "run/reference.yaml").write_text(yaml.safe_dump({"planning": planning}))
            run = snakemake(shared / "run", "--quiet", "rules", layers=("reference.yaml",))
            assert run.returncode == 0, run.stderr[-3000:]
            (shared / "run/stderr.txt").write_text(run.stderr)
    return Path(shutil.copytree(shared / "run", factory.mktemp(name) / "run", symlinks=True))


def arguments_of(arguments: tuple[str, ...], layers: tuple[str, ...]) -> list[str]:
    """Snakemake's arguments at smoke scale."""
    return ["--cores", "2", *arguments, "--configfile", "config.yaml", str(ROOT / "tests/smoke.yaml"), *layers]


def snakemake(folder: Path, *arguments: str, layers: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Snakemake at smoke scale, with further files of settings over it."""
    command = ["snakemake", *arguments_of(arguments, layers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)


def seem_finished(folder: Path, layers: tuple[str, ...] = ()) -> None:
    """Make every output that is not there as an empty file, and have Snakemake record all jobs as done.

    What a dry run then decides rests on what a real run leaves for it: names and times of files, and the recorded
    parameters and checksums.
    """
    listed = snakemake(folder, "--summary", layers=layers)
    assert listed.returncode == 0, listed.stderr[-3000:]
    outputs = [line.split("\t")[0] for line in listed.stdout.splitlines()[1:]]
    for path in (folder / output for output in outputs):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.suffix:
            path.mkdir(exist_ok=True)
        elif not path.exists():
            path.touch()
    touched = snakemake(folder, "--quiet", "all", "--touch", "--forceall", *outputs, layers=layers)
    assert touched.returncode == 0, touched.stderr[-3000:]


def would_run(
    folder: Path, overlays: Mapping[str, Mapping[str, Any]], layers: tuple[str, ...] = (), *arguments: str
) -> dict[str, Jobs]:
    """How many jobs of each rule run again with some settings laid over a finished run's, for each of some overlays.

    Args:
        folder: The workspace.
        overlays: The settings, by any names.
        layers: The files that the run was finished with.
        arguments: Further ones of Snakemake.
    """
    said = folder / "dry-runs"
    shutil.rmtree(said, ignore_errors=True)
    said.mkdir()
    for place, overlay in enumerate(overlays.values()):
        (said / f"{place}.yaml").write_text(yaml.safe_dump(dict(overlay)))
    command = [sys.executable, __file__, *arguments_of(("--quiet", "rules", "--dry-run", *arguments), layers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=1200)
    jobs = {}
    for place, name in enumerate(overlays):
        text = (said / f"{place}.txt").read_text()
        assert "This was a dry-run" in text or "Nothing to be done" in text, f"{name}: {text[-3000:]}"
        found = re.findall(r"^(\w+)\s+(\d+)$", text, re.MULTILINE)
        jobs[name] = {rule: int(count) for rule, count in found if rule not in ("all", "total")}
    return jobs


def _run_dry(overlay: Path) -> None:
    from snakemake.cli import main

    with overlay.with_suffix(".txt").open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        with suppress(SystemExit):
            main([*sys.argv[1:], str(overlay)])
        sys.stdout.flush()
        sys.stderr.flush()


def flat(part: Any, path: Keys = ()) -> dict[Keys, Any]:
    """{place: value} of every leaf."""
    if not isinstance(part, Mapping) or not part:
        return {path: part}
    return {key: value for name, below in part.items() for key, value in flat(below, (*path, str(name))).items()}


def nested(keys: Keys, value: Any) -> dict[str, Any]:
    """The settings that set one leaf."""
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def merged(*settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings put into one file; what two of them set, the later one sets."""
    whole: dict[str, Any] = {}
    for one in settings:
        for key, value in one.items():
            both = isinstance(value, Mapping) and isinstance(whole.get(key), Mapping)
            whole[key] = merged(whole[key], value) if both else copy.deepcopy(value)
    return whole


if __name__ == "__main__":  # many dry runs, which share the seconds that imports take
    for module in ("snakemake.cli", "promptavideo.estimate", "promptavideo.decides"):
        import_module(module)

    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        pool.map(_run_dry, sorted(Path("dry-runs").glob("*.yaml")), chunksize=1)
