import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from promptavideo.files import hold, sha256
from promptavideo.store import Entry, Store, write_manifest
from promptavideo.video import Clip

SCRIPT = Path(__file__).parents[1] / "scripts" / "prune_store.py"
NAMED, UNNAMED = "aa" * 16, "bb" * 16


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A store of two videos of which the results name one, and a third that a killed job left half written."""
    store = Store(tmp_path / "store", "mini")
    for shade, key in enumerate((NAMED, UNNAMED)):
        store.put(key, Clip(np.full((2, 16, 16, 3), 90 * shade + 30, np.uint8), 8.0), crf=20, pixel_format="yuv420p")
    store.video(UNNAMED).with_name(".cut.0123.mp4").write_bytes(b"half")
    entry = Entry("p0", 0, 0, NAMED, sha256(store.video(NAMED)), 2, 8.0)
    write_manifest([entry], tmp_path / "results/mini/evaluation/heldout/original/videos/0000.jsonl")
    return tmp_path


def gc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )


def videos(folder: Path) -> set[str]:
    return {path.name for path in (folder / "store").glob("*/videos/*/*.mp4")}


def test_lists_what_no_manifest_names_and_keeps_it(run_folder: Path) -> None:
    before = videos(run_folder)
    listed = gc(run_folder)
    assert listed.returncode == 0, listed.stderr
    assert {Path(line).name for line in listed.stdout.splitlines()} == {f"{UNNAMED}.mp4", ".cut.0123.mp4"}
    assert "2 videos and images" in listed.stderr
    assert "--delete" in listed.stderr
    assert videos(run_folder) == before


def test_delete_leaves_the_named_videos_alone(run_folder: Path) -> None:
    assert gc(run_folder, "--delete").returncode == 0
    assert videos(run_folder) == {f"{NAMED}.mp4"}
    assert gc(run_folder).stdout == ""


def test_deletes_nothing_while_a_workflow_runs(run_folder: Path) -> None:
    before = videos(run_folder)
    with hold(run_folder / ".snakemake/promptavideo.lock"):
        refused = gc(run_folder, "--delete")
    assert refused.returncode == 1
    assert "promptavideo.lock" in refused.stderr
    assert videos(run_folder) == before


def test_a_generator_without_any_manifest_is_left_alone(run_folder: Path) -> None:
    before = videos(run_folder)
    kept = gc(run_folder, "--delete", "--results", "elsewhere")
    assert kept.returncode == 0
    assert "store/mini: skipped" in kept.stderr
    assert videos(run_folder) == before


def test_a_damaged_manifest_stops_before_anything_is_deleted(run_folder: Path) -> None:
    before = videos(run_folder)
    manifest = next((run_folder / "results").rglob("*.jsonl"))
    manifest.write_text(manifest.read_text() + '{"prompt_id": ')
    broken = gc(run_folder, "--delete")
    assert broken.returncode == 1
    assert str(manifest.relative_to(run_folder)) in broken.stderr
    assert videos(run_folder) == before


def test_a_missing_store_is_named(tmp_path: Path) -> None:
    missing = gc(tmp_path, "--store", "nowhere")
    assert missing.returncode == 1
    assert "nowhere: there is no such store" in missing.stderr
