import hashlib
import json
import logging
import re
import subprocess
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from fakes import prompts_table

from promptavideo import cli, hardware, provenance, runfile
from promptavideo.captions import LocalSource, read_source
from promptavideo.config import check, resolve
from promptavideo.errors import InputError, ScoreError, require
from promptavideo.models import LocalModel, fetch
from promptavideo.prompts import PromptSet
from promptavideo.store import Entry
from promptavideo.study import Study
from promptavideo.timing import Timing

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """`cli.run` sets logging up for the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("error", [InputError("prompts.txt: holds no prompt"), ScoreError("x.mp4: cannot be decoded")])
def test_an_error_for_people_is_one_message_and_status_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], error: Exception
) -> None:
    def work(options: Namespace) -> None:
        logging.getLogger("promptavideo.x").info("film: 1/2 videos")
        raise error

    with pytest.raises(SystemExit) as caught:
        cli.run(cli.parser("Test.").parse_args(["--log", str(tmp_path / "new/x.log")]), work)
    assert caught.value.code == 1
    written = (tmp_path / "new/x.log").read_text()
    for text in (capfd.readouterr().err, written):
        assert "film: 1/2 videos" in text
        assert text.endswith(f"{type(error).__name__}: {error}\n")
        assert "Traceback" not in text


def test_an_unexpected_error_leaves_its_traceback_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(Namespace(log=tmp_path / "x.log"), lambda options: [][0])
    assert caught.value.code == 1
    for text in (capfd.readouterr().err, (tmp_path / "x.log").read_text()):
        assert "Traceback" in text and "IndexError" in text


def test_work_that_succeeds_returns_and_a_log_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text("of an earlier run\n")
    done: list[Namespace] = []
    options = cli.parser(None).parse_args(["--log", str(tmp_path / "x.log")])
    cli.run(options, done.append)
    assert done == [options]
    assert (tmp_path / "x.log").read_text() == ""
    cli.run(cli.parser(None).parse_args([]), done.append)
    assert len(done) == 2


NOISY = """
import logging, os, subprocess, sys, warnings
from argparse import Namespace
from pathlib import Path
from promptavideo import cli

def work(options):
    from tqdm import tqdm
    for _ in tqdm(range(3), desc="our bar", disable=False):
        pass
    for _ in tqdm(range(3), desc="a bar"):
        pass
    print("printed by a library")
    warnings.warn("warned by a library")
    os.write(2, b"written by native code\\n")
    subprocess.run(["sh", "-c", "echo said by a child >&2"], check=True)
    logging.getLogger("promptavideo.x").info("film: 1/2 videos")
    cli.say("the result")
    {end}

cli.run(Namespace(log=Path(sys.argv[1]) if sys.argv[1:] else None), work)
"""
NOISE = ("our bar", "printed by a library", "warned by a library", "written by native code", "said by a child")


def noisy(*arguments: str, end: str = "") -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", NOISY.replace("{end}", end), *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_what_libraries_write_goes_to_the_log_and_our_lines_to_both(tmp_path: Path) -> None:
    ran = noisy(str(tmp_path / "x.log"))
    log = (tmp_path / "x.log").read_text()
    assert ran.returncode == 0 and ran.stdout == "the result\n"
    assert re.fullmatch(r"\d\d:\d\d:\d\d film: 1/2 videos\n", ran.stderr)
    assert "film: 1/2 videos" in log and all(noise in log for noise in NOISE)
    assert "a bar" not in log, "bars would fill the log"


def test_without_a_log_everything_goes_to_the_terminal() -> None:
    ran = noisy()
    said = ran.stdout + ran.stderr
    assert all(noise in said for noise in (*NOISE, "film: 1/2 videos", "the result"))


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("from promptavideo.errors import InputError; raise InputError('no prompt')", "InputError: no prompt"),
    ],
)
def test_an_error_ends_on_the_terminal_and_in_the_log(tmp_path: Path, end: str, message: str) -> None:
    ran = noisy(str(tmp_path / "x.log"), end=end)
    assert ran.returncode == 1
    assert ran.stderr.endswith(f"{message}\n") and (tmp_path / "x.log").read_text().endswith(f"{message}\n")
    assert ("Traceback" in ran.stderr) == ("ValueError" in message)


def test_who_leaves_early_leaves_on_the_terminal(tmp_path: Path) -> None:
    ran = noisy(str(tmp_path / "x.log"), end="sys.exit('enough')")
    assert ran.returncode == 1 and ran.stderr.endswith("enough\n")


def test_a_process_that_becomes_several_keeps_its_terminal(tmp_path: Path) -> None:
    """As `launch.relaunch` does, whose processes write their own log."""
    end = (
        "from promptavideo import terminal; terminal.give_back(); "
        "os.execv(sys.executable, [sys.executable, '-c', 'print(\\'relaunched\\')'])"
    )
    ran = noisy(str(tmp_path / "x.log"), end=end)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "the result\nrelaunched\n"
    assert "printed by a library" in (tmp_path / "x.log").read_text()


def test_a_step_is_named_in_order_and_reads_a_runs_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(runfile.VARIABLE, raising=False)
    parser = cli.parser("Test.", "track", "batch")
    options = parser.parse_args(["mini-t2v", "evolution/round-0", "--log", "x.log"])
    assert (options.track, options.batch, options.log) == ("mini-t2v", "evolution/round-0", Path("x.log"))
    with pytest.raises(InputError, match=r"started\.json.*start a run first"):
        cli.study(options)
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    written = {seed: runfile.write(resolve(raw | {"seed": seed}, ROOT)) for seed in (1, 2, 3)}
    runfile.keep(written[1], runfile.STARTED)
    assert cli.study(options).config.seed == 1
    monkeypatch.setenv(runfile.VARIABLE, str(written[2]))
    assert cli.study(options).config.seed == 2
    assert cli.study(parser.parse_args(["a", "b", "--config", str(written[3])])).config.seed == 3


def test_settings_are_read_from_json_and_checked() -> None:
    read = cli.settings(dict[str, PromptSet])
    assert read('{"a": {"file": "x.txt"}}')["a"].count is None
    for text in ('{"a": {"file": "x.txt", "cuont": 3}}', "{", "[]"):
        with pytest.raises(ArgumentTypeError):
            read(text)


def test_require_gives_the_value_or_says_what_is_missing() -> None:
    assert require(0, "a number is needed") == 0
    with pytest.raises(InputError, match="a number is needed"):
        require(None, "a number is needed")


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_code_version_is_the_commit_and_tells_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.code_version(tmp_path) == "unknown"
    git(tmp_path, "init")
    (tmp_path / "a.txt").write_text("a")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-m", "Add a")
    assert re.fullmatch(r"[0-9a-f]{12}", provenance.code_version(tmp_path))
    (tmp_path / "a.txt").write_text("b")
    assert re.fullmatch(r"[0-9a-f]{12}-dirty", provenance.code_version(tmp_path))
    assert provenance.code_version(tmp_path / "gone") == "unknown"


def test_the_environment_names_versions_and_what_is_not_installed() -> None:
    found = hardware.environment(("pandas", "no-such-package"))
    assert found["packages"] == {"pandas": pd.__version__, "no-such-package": "not installed"}
    assert found["processor"]


def test_a_row_tells_where_its_number_comes_from(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/config.json").write_text("{}")
    (tmp_path / "source/model.safetensors").write_bytes(b"weights")
    fetch("tiny", LocalModel(kind="local", path=str(tmp_path / "source")), tmp_path / "tiny", {})
    (tmp_path / "sft").mkdir()
    card: dict[str, Any] = {"stage": "sft", "dtype": "float32", "trained_on": [{"device": "GPU A"}]}
    (tmp_path / "sft/booster.json").write_text(json.dumps(card))
    scores = prompts_table({"a": ["x"], "b": ["y"]}, replicates=2)
    arm = {"generator": "mini", "set": "heldout", "refiner": "sft"}
    entries = [Entry(f"p{i}", 0, 0, "k", "s", 8, 8.0, "GPU A" if i else "GPU B") for i in range(4)]
    scorings = [Timing(3, device="GPU A"), Timing(0, device="GPU C")]
    drawn = {"dtype": "bfloat16", "engine": "vllm 0.11.0", "packages": {"vllm": "0.11.0"}}
    writings = [Timing(2, device="GPU A", circumstances=drawn), Timing(2, device="GPU A")]
    origin = {
        "models": [provenance.model(tmp_path / "tiny")],
        "videos": len(scores),
        "prompts": int(scores["prompt_id"].nunique()),
        "scored_on": provenance.scored_on(scorings),
        **provenance.filmed(entries),
        **provenance.written(writings),
    }
    row = provenance.row(arm, scores, origin, tmp_path / "sft")
    assert row.items() >= {**arm, "booster": card}.items()
    assert row["scores"]["videos"] == 4 and row["scores"]["prompts"] == 2
    assert row["scores"]["filmed_on"] == {"GPU B": 1, "GPU A": 3} and row["scores"]["scored_on"] == {"GPU A": 3}
    assert row["scores"]["written_on"] == {"GPU A in bfloat16 by vllm 0.11.0": 2}  # no network wrote the others
    assert row["scores"]["writing"] == [{**drawn, "device": "GPU A", "jobs": 1, "texts": 2}]
    other = {**row, "booster": {**card, "dtype": "bfloat16", "trained_on": [{"device": "GPU A"}, {"device": "GPU B"}]}}
    assert provenance.hardware_of([row]) == ["videos filmed on GPU B, GPU A"]
    assert provenance.hardware_of([row, other])[1:] == [
        "boosters trained on GPU A in float32, GPU A in bfloat16, GPU B in bfloat16"
    ]
    by_transformers = {"scores": {"written_on": {"GPU A in bfloat16 by transformers 5.23.0": 1}}}
    assert provenance.hardware_of([row, by_transformers])[1:] == [
        "texts written on GPU A in bfloat16 by vllm 0.11.0, GPU A in bfloat16 by transformers 5.23.0"
    ]
    assert row["video_seeds"] == sorted(scores["seed"])
    assert row["scores"]["models"][0]["name"] == "tiny" and row["scores"]["models"][0]["digest"]
    assert json.loads(json.dumps(row)) == row
    assert provenance.row(arm, scores, origin, None)["booster"] is None


def test_a_prompt_set_is_told_by_its_file_or_dataset_revision_and_slice(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red ball\n")
    found = provenance.prompt_set("own", PromptSet(file="prompts.txt", first=0, count=1), tmp_path)
    assert found.items() >= {"name": "own", "file": "prompts.txt", "first": 0, "count": 1}.items()
    assert found["sha256"] == hashlib.sha256(b"a red ball\n").hexdigest() and "dataset" not in found

    (tmp_path / "captions.csv").write_text("caption\na red ball\na blue box\nno. 123\n")
    source = LocalSource(kind="local", path="captions.csv")
    table, origin = (tmp_path / f"resources/prompts/clips.{suffix}" for suffix in ("parquet", "json"))
    read_source("clips", source, tmp_path, table, origin)
    found = provenance.prompt_set("learned", PromptSet(source="clips", first=1, count=1), tmp_path)
    assert set(found) == {"name", "source", "first", "count", "sha256", "dataset"}
    assert (found["source"], found["first"], found["count"]) == ("clips", 1, 1)
    assert found["dataset"].items() >= {"kind": "local", "path": "captions.csv", "rows": 3, "usable": 2}.items()
    digest = hashlib.sha256((tmp_path / "captions.csv").read_bytes()).hexdigest()
    assert found["dataset"]["files"] == {"captions.csv": f"sha256:{digest}"}

    said = json.loads(origin.read_text())
    said |= {"revision": "c0ffee", "source": {"kind": "hub", "repo_id": "lab/videos", "revision": "unpinned"}}
    origin.write_text(json.dumps(said))
    dataset = provenance.prompt_set("learned", PromptSet(source="clips", count=1), tmp_path)["dataset"]
    assert (dataset["repo_id"], dataset["revision"]) == ("lab/videos", "c0ffee")  # that was read, not what was asked
    origin.unlink()
    with pytest.raises(InputError, match=r"clips\.json: there is no record of a source of captions"):
        provenance.prompt_set("learned", PromptSet(source="clips", count=1), tmp_path)


def test_the_texts_of_a_batch_are_told_by_what_wrote_them() -> None:
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["operators"]["paid"] = {
        "kind": "chat", "base_url": "http://localhost", "model": "gpt-x", "key_variable": "KEY", "max_tokens": 100,
        "prices": {"prompt": 1.0, "completion": 2.0}, "budget": {"money": 5},
    }  # fmt: skip
    raw["evolution"]["operators"] = {"mini-t2v": "paid"}
    raw["models"]["gpt2"] = {"kind": "hub", "repo_id": "openai-community/gpt2", "revision": "607a30d7"}
    raw["refiners"] |= {"p": {"kind": "promptist", "model": "gpt2"}, "asked": {"kind": "llm", "operator": "paid"}}
    study = Study(check(raw, ROOT), ROOT)

    def texts(batch: str) -> dict[str, Any]:
        return provenance.texts(study, study.batch("mini-t2v", batch))

    def others(batch: str) -> dict[str, str]:
        return provenance.others(study, study.batch("mini-t2v", batch), ["pixels"], [])

    assert texts("pilot") == texts("evolution/round-0") == {}
    evolved = texts("evolution/round-2")
    assert evolved["operator"]["model"] == "gpt-x" and evolved["evolution"]["parents"] == 3
    assert "budget" not in evolved["operator"] and "prices" not in evolved["operator"]
    assert texts("dpo-2")["booster"]["base"] == "smollm2-135m" and texts("dpo-2")["candidates"] == 5
    assert texts("evaluation/heldout/original") == {"refiner": {"kind": "original"}}
    asked = texts("evaluation/heldout/asked")
    assert asked["refiner"]["kind"] == "llm" and asked["operator"] == evolved["operator"]
    sft = texts("evaluation/heldout/sft")["booster"]
    assert sft["sampling"]["top_k"] == 50 and sft["name"] == "mini-t2v/sft"
    assert texts("evaluation/heldout/p")["refiner"]["model"] == "gpt2"
    assert others("evaluation/heldout/sft") == {"pixels": "no model"}
    assert others("evaluation/heldout/p") == {"pixels": "no model", "gpt2": "openai-community/gpt2"}
    assert others("evaluation/heldout/asked") == {"pixels": "no model", "paid": "gpt-x at http://localhost"}


def test_what_the_records_call_for_is_said_in_notes() -> None:
    counted = {"texts": 9, "fallbacks": 2, "dropped": {"a refusal": 2}}
    seen = {"stand_ins": counted, "filmed_on": {"A": 1}, "videos": 9, "nothing": {"frozen": 3}}
    seen |= {"cut_by_encoder": {"count": 4, "texts": 9, "limit": 226}}
    model = {"name": "m", "kind": "hub", "source": "lab/tiny"}
    rows = [
        {"generator": "big", "set": "own", "refiner": "llm", "scores": seen},
        {"generator": "big", "scores": {"filmed_on": {"B": 1}, "models": [model]}},
    ]
    stand_ins, cut, nothing, hardware = provenance.remarks(rows)
    assert "4 of 9 texts of llm for big on own are longer than the 226 tokens that the encoder reads" in cut
    assert "3 of 9 videos of llm for big on own are frozen" in nothing
    assert "2 of 9 texts of llm for big on own are the prompt itself (a refusal: 2)" in stand_ins
    assert "videos filmed on A, B" in hardware
    assert provenance.remarks(rows, ["lab/large"]) == [
        provenance.OTHERS_NOTE.format("m (lab/tiny)"), stand_ins, cut, nothing, hardware
    ]  # fmt: skip
    assert provenance.remarks(rows, ["lab/tiny"]) == [stand_ins, cut, nothing, hardware]


def test_a_job_ran_on_what_it_says_and_else_on_what_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptavideo.timing.accelerator", lambda: "GPU of the machine")
    for circumstances, device in (({"device": "a processor"}, "a processor"), ({}, "GPU of the machine")):
        Timing(circumstances=circumstances).write(tmp_path / "timing.json")
        assert json.loads((tmp_path / "timing.json").read_text())["device"] == device


def test_jobs_are_told_by_what_they_ran_on() -> None:
    one, other = {"packages": {"torch": "2"}}, {"packages": {"torch": "3"}, "offload": "model"}
    timings = [
        *(Timing(items, device="A", circumstances=said) for items, said in ((3, one), (2, one), (1, other))),
        Timing(0, device="B"),
    ]
    assert provenance.jobs(timings) == [
        {"device": "A", **one, "jobs": 2, "videos": 5},
        {"device": "A", **other, "jobs": 1, "videos": 1},
    ]
