"""Faults as the system really makes them: a file system that is full, memory that is not there."""

import errno
import logging
import os
import subprocess
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import Critic, Painter, prompts_table
from makers import LTX, clips, diffusers_config, load_judge
from safetensors.torch import save_file
from tiny_pipelines import tiny_ltx

from promptavideo import cli
from promptavideo.devices import enough_memory, ran_out
from promptavideo.errors import InputError
from promptavideo.filming import film_shard
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.metrics import PAPER
from promptavideo.models import LocalModel, fetch
from promptavideo.scoring import score_shard
from promptavideo.shots import Shot
from promptavideo.store import Store, read_manifest

ROWS = prompts_table({name: [f"{name} one", f"{name} two", f"{name} three"] for name in "abcdefgh"})


class Disk:
    """A file system of its own, which can be made smaller and larger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def resize(self, kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", self.folder], check=True)

    def leave(self, kilobytes: int) -> None:
        """Let only so much room be left."""
        used = os.statvfs(self.folder)
        self.resize((used.f_blocks - used.f_bfree) * used.f_frsize // 1024 + kilobytes)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system, which a full disk takes (root has it)")
    root = logging.getLogger()
    before, level, disk = root.handlers[:], root.level, Disk(folder)
    yield disk
    disk.resize(64 * 1024)  # so that what a log still holds can be written
    for handler in root.handlers:
        if handler not in before:
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_stops_filming_with_one_message_and_the_next_run_goes_on(
    disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    store, manifest = Store(disk.folder, "painter"), disk.folder / "0000.jsonl"
    options = Namespace(log=disk.folder / "film.log")
    film_shard(ROWS.iloc[:2], Painter(), store, disk.folder / "before.jsonl", "film")
    disk.leave(kilobytes=64)
    with pytest.raises(SystemExit):
        cli.run(options, lambda _: film_shard(ROWS, Painter(), store, manifest, "film"))
    said = capfd.readouterr().err
    assert "the disk is full. What is finished is kept: free space and run the same command again" in said
    assert "Traceback" not in said and "Logging error" not in said
    assert not manifest.exists()
    kept = {path: path.read_bytes() for path in store.folder.glob("videos/*/*.mp4")}
    assert 2 < len(kept) < len(ROWS)
    assert not list(store.folder.rglob(".*")), "no half-written file stays behind"
    disk.resize(64 * 1024)
    painter = Painter()
    cli.run(options, lambda _: film_shard(ROWS, painter, store, manifest, "film"))
    assert len(painter.filmed) == len(ROWS) - len(kept)
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert {entry.device for entry in read_manifest(manifest)} == {"easel"}


def test_a_full_disk_stops_scoring_with_one_message_and_the_next_run_goes_on(
    disk: Disk, capsys: pytest.CaptureFixture[str]
) -> None:
    store, manifest = Store(disk.folder, "painter"), disk.folder / "0000.jsonl"
    film_shard(ROWS, Painter(), store, manifest, "film")
    first, second = Critic(), Critic()
    disk.leave(kilobytes=40)
    with pytest.raises(SystemExit):
        cli.run(Namespace(log=None), lambda _: score_shard(ROWS, [manifest], {"judge": first}, PAPER, store, "score"))
    said = capsys.readouterr().err
    assert "the disk is full" in said and "Traceback" not in said
    kept = list(store.folder.glob("scores/*/*.json"))
    assert 0 < len(kept) < len(ROWS)
    disk.resize(64 * 1024)
    table = score_shard(ROWS, [manifest], {"judge": second}, PAPER, store, "score")
    assert len(table) == len(ROWS) and len(second.prompts) == len(ROWS) - len(kept)


def test_a_log_that_a_full_disk_does_not_take_does_not_bury_the_message(
    disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    (disk.folder / "else").write_text("of somebody else")
    disk.leave(kilobytes=0)
    with pytest.raises(SystemExit):
        cli.run(Namespace(log=disk.folder / "film.log"), lambda _: (disk.folder / "manifest").write_text("x"))
    (line,) = capfd.readouterr().err.splitlines()
    assert "writing failed: the disk is full" in line


@pytest.mark.parametrize("save", [save_file, torch.save])
def test_a_full_disk_is_named_to_whoever_writes_a_checkpoint(
    disk: Disk, capsys: pytest.CaptureFixture[str], save: Callable[[Any, Path], None]
) -> None:
    (disk.folder / "else").write_text("of somebody else")
    disk.leave(kilobytes=64)
    with pytest.raises(SystemExit):
        cli.run(Namespace(log=None), lambda _: save({"weight": torch.zeros(100_000)}, disk.folder / "checkpoint"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "the disk is full. What is finished is kept" in line


def no_memory() -> torch.Tensor:
    """More than any machine can address."""
    return torch.empty(2**60, dtype=torch.uint8)


class TestMainMemory:
    def test_it_is_told_from_other_errors(self) -> None:
        with pytest.raises(RuntimeError) as caught:
            no_memory()
        assert not isinstance(caught.value, torch.OutOfMemoryError)
        assert (
            ran_out(caught.value) and ran_out(MemoryError()) and ran_out(torch.OutOfMemoryError("CUDA out of memory"))
        )
        assert not ran_out(RuntimeError("shapes do not match")) and not ran_out(OSError(errno.ENOMEM, "x"))

    def test_filming_says_what_to_lower(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fetch("tiny", LocalModel(kind="local", path=str(tiny_ltx(tmp_path / "source"))), tmp_path / "ltx", {})
        generator = DiffusersGenerator(diffusers_config(**LTX), tmp_path / "ltx")
        monkeypatch.setattr(generator, "_call", lambda shots: no_memory())
        with pytest.raises(
            InputError, match=r"main memory ran out while it filmed.*Try batch_size below 2.*fewer or small"
        ):
            generator.film([Shot("a red ball", None, 1)])

    def test_scoring_tries_half_the_batch_and_records_it(
        self, reward_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        reward = load_judge("mps", reward_models, batch_size=4)
        forward = reward._forward
        monkeypatch.setattr(
            reward, "_forward", lambda batch: forward(batch) if len(batch["input_ids"]) <= 2 else no_memory()
        )
        assert reward.circumstances() == {"dtype": "float32"}
        assert len(reward.score(clips(3), ["a", "b", "c"])) == 3
        assert reward.circumstances() == {"dtype": "float32", "batch_size": 2}
        assert "MPS: out of main memory; going on with batches of 2" in caplog.text
        monkeypatch.setattr(reward, "_forward", lambda batch: no_memory())
        with pytest.raises(InputError, match=r"MPS: main memory does not hold even one video\. What is scored is kept"):
            reward.score(clips(1), ["a"])

    def test_training_and_sampling_say_what_to_lower(self) -> None:
        said = r"memory does not suffice \(.*allocate memory.*\); lower the batch"
        with pytest.raises(InputError, match=said), enough_memory("lower the batch"):
            no_memory()
