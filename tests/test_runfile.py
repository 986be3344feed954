"""The file of a run's configuration, and what differs from the last finished run."""

import json
from pathlib import Path
from typing import Any

import pytest
from makers import RAW, ROOT, changed

from promptavideo import runfile
from promptavideo.config import resolve
from promptavideo.errors import InputError


def write(folder: Path, raw: dict[str, Any] = RAW) -> Path:
    return runfile.write(resolve(raw, ROOT), folder)


def test_a_file_is_named_by_its_content_and_written_once(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path.parent == tmp_path and json.loads(path.read_text()) == RAW
    before = path.stat().st_mtime_ns
    assert write(tmp_path) == path and path.stat().st_mtime_ns == before
    assert write(tmp_path, changed("seed", 2)) != path
    assert len(list(tmp_path.iterdir())) == 2, "and nothing half written"


def test_the_order_of_entries_survives(tmp_path: Path) -> None:
    """Tracks, sets and refiners stand in tables in that order."""
    turned = changed("refiners", dict(reversed(RAW["refiners"].items())))
    path = write(tmp_path, turned)
    assert path != write(tmp_path)
    assert list(runfile.load(path).config.refiners) == list(turned["refiners"])


def test_what_was_written_is_the_same_study(tmp_path: Path) -> None:
    raw = changed("generators/mine", {"like": "mini-t2v", "sampling": {"num_inference_steps": 8}})
    study = runfile.load(write(tmp_path, raw))
    assert study.tracks == ["mini-t2v", "mine"] and study.root == Path()
    assert study.config.generators["mine"].decides()["sampling"]["num_inference_steps"] == 8


def test_the_file_that_is_named_counts_before_the_runs_and_that_before_the_last_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runfile.VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"configs/started\.json: there is no run's configuration; start a run first"):
        runfile.load()
    paths = [write(runfile.FOLDER, changed("seed", seed)) for seed in (1, 2, 3)]
    runfile.keep(paths[0], runfile.STARTED)
    assert runfile.load().config.seed == 1
    monkeypatch.setenv(runfile.VARIABLE, str(paths[1]))
    assert runfile.load().config.seed == 2
    assert runfile.load(paths[2]).config.seed == 3
    with pytest.raises(InputError, match=r"mine\.json: there is no run's configuration; .* or name one by --config"):
        runfile.load(Path("mine.json"))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"run\.json"):
        runfile.load(path)


def test_keys_that_cannot_be_used_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(RAW | {"seed": "one", "colour": "red"}))
    with pytest.raises(InputError, match=r"cannot be used:\n(.*\n)*  colour: there is no such key"):
        runfile.load(path)


class TestChanges:
    """What differs from the last finished run."""

    def test_are_none_without_one(self, tmp_path: Path) -> None:
        path = write(tmp_path)
        assert runfile.changes(path, tmp_path / "finished.json") == []
        assert runfile.announce(path, tmp_path / "finished.json") == ""

    def test_are_the_keys_with_both_values(self, tmp_path: Path) -> None:
        finished = tmp_path / "finished.json"
        runfile.keep(write(tmp_path), finished)
        assert runfile.announce(write(tmp_path), finished) == ""
        raw = changed("generators/mini-t2v/sampling/num_inference_steps", 8) | {"seed": 2, "score_minutes": 5.0}
        raw["prompt_sets"] = {**RAW["prompt_sets"], "more": {"file": "more.txt"}}
        del raw["preference"]["rounds"]
        path = write(tmp_path, raw)
        assert runfile.changes(path, finished) == [
            "generators.mini-t2v.sampling.num_inference_steps: 4 -> 8",
            "preference.rounds: 2 -> (absent)",
            'prompt_sets.more.file: (absent) -> "more.txt"',
            "score_minutes: null -> 5.0",
            "seed: 1 -> 2",
        ]
        lines = runfile.announce(path, finished).splitlines()
        assert lines[0] == "Other than in the last finished run:" and lines[-1] == "  seed: 1 -> 2"

    def test_that_are_many_or_long_are_cut(self, tmp_path: Path) -> None:
        finished, many = tmp_path / "finished.json", {f"set-{number:02}": {"file": "a" * 99} for number in range(30)}
        runfile.keep(write(tmp_path), finished)
        path = write(tmp_path, changed("prompt_sets", RAW["prompt_sets"] | many))
        lines = runfile.announce(path, finished).splitlines()
        assert len(runfile.changes(path, finished)) == 30 and len(lines) == 22
        assert lines[-1] == "  and 10 more" and max(map(len, lines)) < 120

    def test_of_lists_and_empty_sections_are_shown_whole(self, tmp_path: Path) -> None:
        finished = tmp_path / "finished.json"
        runfile.keep(write(tmp_path, changed("boosters", {})), finished)
        raw = changed("evaluation/refiners", ["original", "llm"])
        assert runfile.changes(write(tmp_path, raw), finished) == [
            "boosters: {} -> (absent)",
            'evaluation.refiners: ["original", "llm", "sft", "dpo-1", "dpo-2"] -> ["original", "llm"]',
        ]
