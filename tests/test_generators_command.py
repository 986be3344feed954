"""External commands: what they are given, what is made of what they leave behind, and the Open-Sora script."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import prompts_table
from pydantic import ValidationError

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import hold
from promptavideo.filming import film_shard
from promptavideo.generators import command as module
from promptavideo.generators.command import CommandConfig, CommandGenerator
from promptavideo.models import LocalModel, fetch
from promptavideo.shots import Shot
from promptavideo.store import Store, read_manifest
from promptavideo.video import read_video

ROOT = Path(__file__).parents[1]

FILM = """
import json, os, sys, time
from pathlib import Path
import numpy as np
from promptavideo.seeds import derive
from promptavideo.video import Clip, write_video

prompts, output, *rest = sys.argv[1:]
do = json.loads(Path("behaviour.json").read_text())
with open("calls.jsonl", "a") as calls:
    calls.write(json.dumps({"environment": sorted(os.environ), "rest": rest, "file": Path(prompts).read_text(),
                            "folder": os.getcwd()}) + "\\n")
if prompts.endswith(".txt"):
    jobs = [{"text": line.rstrip("\\n"), "seed": int(rest[0]), "output": "sample_0000.mp4"} for line in open(prompts)]
else:
    jobs = [json.loads(line) for line in open(prompts)]
print("loading the model with", os.environ.get("A_TOKEN"), flush=True)
for place, job in enumerate(jobs):
    if place == do.get("die_at"):
        sys.exit("CUDA error: something broke")
    if place == do.get("hang_at"):
        Path("hanging").touch()
        time.sleep(60)
    if place == do.get("skip"):
        continue
    frames = np.random.default_rng(derive(job["text"], job["seed"])).integers(0, 256, (4, 1, 1, 3), dtype=np.uint8)
    target = Path(output, job["output"])
    write_video(Clip(np.tile(frames, (1, 16, 32, 1)), 8.0), target)
    if place == do.get("damage"):
        target.write_bytes(target.read_bytes()[:-100])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "film.py").write_text(FILM)
    behave(folder)
    return folder


def behave(checkout: Path, **behaviour: int) -> None:
    (checkout / "behaviour.json").write_text(json.dumps(behaviour))


def calls(checkout: Path) -> list[dict[str, Any]]:
    path = checkout / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def configure(checkout: Path, **fields: Any) -> CommandConfig:
    given = {
        "kind": "command",
        "command": [sys.executable, "{checkout}/film.py", "{prompts}", "{output}"],
        "version": "1",
        "checkout": str(checkout),
        "environment": {"PYTHONPATH": str(ROOT)},
        "batch_size": 3,
        "timeout_s": 300.0,
        "width": 32,
        "height": 16,
        "frames": 4,
        "fps": 8.0,
        "seconds_per_video": 1.0,
    }
    return CommandConfig.model_validate({**given, **fields})


TEXTS = ["a ball", 'a "box"; $(touch hacked) {"reference_path": "/etc/passwd"}', "|0|a line\nand another", "é"]


def film(config: CommandConfig, root: Path, texts: list[str] = TEXTS) -> dict[str, str]:
    """Film a shard; the sha256 of each text's video."""
    store = Store(root / "store", "own")
    film_shard(
        prompts_table({"x": texts}),
        CommandGenerator(config, "generators.own", None, root / "work"),
        store,
        root / "m.jsonl",
        "film",
    )
    return {text: entry.sha256 for text, entry in zip(texts, read_manifest(root / "m.jsonl"), strict=True)}


class TestFilm:
    def test_a_call_films_a_chunk_and_its_videos_are_taken_as_they_are(self, tmp_path: Path, checkout: Path) -> None:
        videos = film(configure(checkout), tmp_path)
        assert len(set(videos.values())) == 4
        entries = read_manifest(tmp_path / "m.jsonl")
        assert {(entry.frames, entry.fps) for entry in entries} == {(4, 8.0)}
        assert {entry.device for entry in entries} != {"unknown"}
        assert [len(call["file"].splitlines()) for call in calls(checkout)] == [3, 1]
        jobs = [json.loads(line) for call in calls(checkout) for line in call["file"].splitlines()]
        assert [job["text"] for job in jobs] == TEXTS
        assert not list((tmp_path / "work").iterdir())
        assert not (checkout / "hacked").exists()

    def test_chunks_order_and_neighbours_change_no_video(self, tmp_path: Path, checkout: Path) -> None:
        videos = film(configure(checkout), tmp_path / "one")
        assert film(configure(checkout, batch_size=1), tmp_path / "two", TEXTS[::-1]) == videos
        assert film(configure(checkout, batch_size=9), tmp_path / "three", TEXTS[1:3]).items() <= videos.items()

    def test_one_text_a_line_and_a_call(self, tmp_path: Path, checkout: Path) -> None:
        command = [sys.executable, "film.py", "{prompts}", "{output}", "{seed}"]
        config = configure(checkout, command=command, prompts="lines", batch_size=1)
        texts = ["a ball", "a line\nand another"]
        assert len(set(film(config, tmp_path, texts).values())) == 2
        assert [call["file"] for call in calls(checkout)] == ["a ball\n", "a line and another\n"]
        seed = str(prompts_table({"x": texts})["seed"].iloc[0])
        assert [call["rest"] for call in calls(checkout)] == [[seed], [seed]]

    def test_only_what_is_meant_for_the_command_is_in_its_environment(
        self, tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("A_TOKEN", "OPENAI_API_KEY", "PYTHONPATH"):
            monkeypatch.setenv(name, "secret")
        film(configure(checkout, pass_environment=["A_TOKEN", "NOT_SET"]), tmp_path, TEXTS[:1])
        names = set(calls(checkout)[0]["environment"])
        assert {"A_TOKEN", "PYTHONPATH", "PATH"} <= names
        assert names <= {*module.INHERITED, "A_TOKEN", "PYTHONPATH", "LC_CTYPE"}

    def test_it_runs_in_its_checkout_and_knows_where_its_model_is(self, tmp_path: Path, checkout: Path) -> None:
        (tmp_path / "source").mkdir()
        (tmp_path / "source/model.safetensors").write_bytes(b"weights")
        fetch("m", LocalModel(kind="local", path=str(tmp_path / "source")), tmp_path / "model", {})
        command = [sys.executable, "film.py", "{prompts}", "{output}", "--ckpt={model}/x", "{scripts}"]
        config = configure(checkout, command=command, model="m")
        generator = CommandGenerator(config, "generators.own", tmp_path / "model", tmp_path / "work")
        assert len(list(generator.film([Shot("a", None, 1)]))) == 1
        (call,) = calls(checkout)
        assert call["folder"] == str(checkout)
        assert call["rest"] == [f"--ckpt={tmp_path}/model/x", str(ROOT / "scripts")]
        assert CommandGenerator(configure(checkout), "generators.own", None, tmp_path).key(
            Shot("a", None, 1)
        ) != generator.key(Shot("a", None, 1))

    def test_a_line_has_a_negative_prompt_where_a_text_has_one_of_its_own(self, tmp_path: Path, checkout: Path) -> None:
        generator = CommandGenerator(
            configure(checkout, takes_negative=True), "generators.own", None, tmp_path / "work"
        )
        shots = [Shot("a", None, 1), Shot("a", "dark", 1)]
        assert len({generator.key(shot) for shot in shots}) == 2 and len(list(generator.film(shots))) == 2
        (call,) = calls(checkout)
        plain, own = (json.loads(line) for line in call["file"].splitlines())
        assert list(plain) == ["text", "seed", "output"]
        assert {**own, "output": ""} == {"text": "a", "seed": 1, "output": "", "negative": "dark"}


class TestRecord:
    """What films is recorded, never what this project has installed."""

    def test_the_commands_own_interpreter_reports_its_packages(self, tmp_path: Path, checkout: Path) -> None:
        venv = tmp_path / "own"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "colossalai-0.3.7.dist-info").mkdir()
        (site / "colossalai-0.3.7.dist-info/METADATA").write_text("Name: colossalai\nVersion: 0.3.7\n")
        command = ["env", "--", str(venv / "bin/python"), "{checkout}/film.py", "{prompts}", "{output}"]
        config = configure(checkout, command=command, environment={})
        found = CommandGenerator(config, "generators.own", None, tmp_path / "work").environment()
        assert found == {"python": platform.python_version(), "packages": {"colossalai": "0.3.7"}}

    @pytest.mark.parametrize("lines", ["exec true", "exit 3", "echo no JSON", "echo '[1]'"])
    def test_a_command_without_an_interpreter_that_answers_credits_nobody(
        self, tmp_path: Path, checkout: Path, lines: str
    ) -> None:
        for name in ("run.sh", "python"):
            (checkout / name).write_text(f"#!/bin/sh\n{lines}\n")
            (checkout / name).chmod(0o755)
            config = configure(checkout, command=[str(checkout / name), "{prompts}", "{output}"])
            found = CommandGenerator(config, "generators.own", None, tmp_path / "work").environment()
            assert found == {"python": "unknown", "packages": {}}

    def test_what_the_command_leaves_for_the_record_is_taken(
        self, tmp_path: Path, checkout: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = '\nPath(output, "record.json").write_text(json.dumps({"weights": {"a/b": "c0"}, "python": "3.9"}))\n'
        (checkout / "film.py").write_text(FILM + said)
        generator = CommandGenerator(configure(checkout), "generators.own", None, tmp_path / "work")
        assert "weights" not in generator.environment()
        assert len(list(generator.film([Shot("a", None, 1)]))) == 1
        found = generator.environment()
        assert (found["weights"], found["python"]) == ({"a/b": "c0"}, "3.9") and found["packages"]
        (checkout / "film.py").write_text(FILM + '\nPath(output, "record.json").write_text("[1]")\n')
        assert len(list(generator.film([Shot("a", None, 2)]))) == 1
        assert "generators.own.command: leaves a record.json that holds no JSON object ([1])" in caplog.text


class TestFaults:
    def test_what_a_failing_command_filmed_is_kept_and_its_log_is_shown(
        self, tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A_TOKEN", "hf_secret")
        behave(checkout, die_at=2)
        with pytest.raises(InputError, match=r"ended with status 1; what it has filmed is kept") as caught:
            film(configure(checkout, pass_environment=["A_TOKEN"]), tmp_path)
        assert "CUDA error: something broke" in str(caught.value)
        assert "hf_secret" not in str(caught.value) and "loading the model with ***" in str(caught.value)
        assert len(list((tmp_path / "store").rglob("*.mp4"))) == 2
        behave(checkout)
        film(configure(checkout, pass_environment=["A_TOKEN"]), tmp_path)
        assert [len(call["file"].splitlines()) for call in calls(checkout)] == [3, 2]

    def test_a_command_that_hangs_is_stopped_and_what_it_filmed_is_kept(self, tmp_path: Path, checkout: Path) -> None:
        behave(checkout, hang_at=1)
        with pytest.raises(InputError, match=r"did not end within 15 s"):
            film(configure(checkout, timeout_s=15.0), tmp_path)
        assert len(list((tmp_path / "store").rglob("*.mp4"))) == 1

    def test_a_video_left_out_is_an_error_and_the_others_are_kept(self, tmp_path: Path, checkout: Path) -> None:
        behave(checkout, skip=1)
        with pytest.raises(InputError, match="command: ended well, but left out a video"):
            film(configure(checkout), tmp_path)
        assert len(list((tmp_path / "store").rglob("*.mp4"))) == 2

    def test_a_damaged_video_is_filmed_once_more(self, tmp_path: Path, checkout: Path) -> None:
        behave(checkout, damage=1)
        film(configure(checkout), tmp_path, TEXTS[:3])
        assert [len(call["file"].splitlines()) for call in calls(checkout)] == [3, 1]
        behave(checkout, damage=0)
        with pytest.raises(ScoreError, match="filmed twice"):
            film(configure(checkout, version="2"), tmp_path, TEXTS[:1])

    def test_another_size_than_expected_is_named(self, tmp_path: Path, checkout: Path) -> None:
        with pytest.raises(InputError, match=r"width 32, not 1280; height 16, not 720"):
            film(configure(checkout, width=1280, height=720), tmp_path)

    def test_an_unknown_program_is_named(self, tmp_path: Path, checkout: Path) -> None:
        with pytest.raises(InputError, match=r"generators\.own\.command: there is no program no-such-program"):
            film(configure(checkout, command=["no-such-program", "{prompts}", "{output}"]), tmp_path)

    def test_a_program_may_be_a_file_of_the_checkout(self, tmp_path: Path, checkout: Path) -> None:
        config = configure(checkout, command=["./run.sh", "{prompts}", "{output}"])
        with pytest.raises(InputError, match=r"there is no program .*checkout/run\.sh"):
            film(config, tmp_path)
        (checkout / "run.sh").write_text(f'#!/bin/sh\nexec {sys.executable} film.py "$@"\n')
        (checkout / "run.sh").chmod(0o755)
        film(config, tmp_path)

    def test_a_cancelled_job_stops_its_command_and_the_next_takes_what_is_whole(
        self, tmp_path: Path, checkout: Path
    ) -> None:
        behave(checkout, hang_at=2)
        job = subprocess.Popen(
            [sys.executable, "-c", "import sys; from test_generators_command import *; "
             "film(configure(Path(sys.argv[1])), Path(sys.argv[2]))", checkout, tmp_path],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        )  # fmt: skip
        wait_for(lambda: (checkout / "hanging").exists())
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) == 128 + signal.SIGTERM
        assert not list((tmp_path / "store").rglob("*.mp4"))
        behave(checkout)
        film(configure(checkout), tmp_path)
        assert [len(call["file"].splitlines()) for call in calls(checkout)] == [3, 1, 1]

    def test_a_command_that_outlived_its_job_is_not_joined_by_another(self, tmp_path: Path, checkout: Path) -> None:
        generator = CommandGenerator(configure(checkout), "generators.own", None, tmp_path / "work")
        behave(checkout, die_at=0)
        list(generator.film([Shot("a", None, 1)]))
        (folder,) = (tmp_path / "work").iterdir()
        with hold(folder / "lock"), pytest.raises(InputError, match="another run is at work"):
            list(generator.film([Shot("a", None, 1)]))


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited in vain")


class TestVersion:
    @pytest.fixture
    def repository(self, checkout: Path) -> Path:
        for arguments in (
            ["init", "-q"],
            ["add", "film.py"],
            ["-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "one"],
            ["tag", "v1"],
        ):
            subprocess.run(["git", "-C", checkout, *arguments], check=True)
        return checkout

    def test_the_one_checked_out_will_do(self, tmp_path: Path, repository: Path) -> None:
        generator = CommandGenerator(configure(repository, version="v1"), "generators.own", None, tmp_path)
        commit = subprocess.run(
            ["git", "-C", repository, "rev-parse", "v1"], capture_output=True, text=True, check=True
        )
        assert generator.environment()["commit"] == commit.stdout.strip()

    def test_another_one_an_unknown_one_and_changed_files_are_refused(self, tmp_path: Path, repository: Path) -> None:
        with pytest.raises(InputError, match="git cannot tell whether v2 is checked out"):
            CommandGenerator(configure(repository, version="v2"), "generators.own", None, tmp_path)
        (repository / "film.py").write_text("changed")
        with pytest.raises(InputError, match=r"files of .*checkout differ from v1 \(M film.py"):
            CommandGenerator(configure(repository, version="v1"), "generators.own", None, tmp_path)
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", repository, *identity, "commit", "-qam", "two"], check=True)
        with pytest.raises(InputError, match=r"version: .*checkout has .* checked out, not v1"):
            CommandGenerator(configure(repository, version="v1"), "generators.own", None, tmp_path)

    def test_a_missing_checkout_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"generators\.own\.checkout: .*nowhere is not a folder"):
            CommandGenerator(configure(tmp_path / "nowhere"), "generators.own", None, tmp_path)


class TestConfig:
    def test_the_key_changes_with_what_decides_the_video_and_nothing_else(self, tmp_path: Path, checkout: Path) -> None:
        def key(**fields: Any) -> str:
            return CommandGenerator(configure(checkout, **fields), "generators.own", None, tmp_path).key(
                Shot("a ball", None, 1)
            )

        longer = [*configure(checkout).command, "--steps=9"]
        keys = [key(), key(command=longer), key(version="2"), key(frames=8), key(fps=9.0), key(environment={"A": "1"})]
        assert len(set(keys)) == len(keys)
        planned = [key(batch_size=1), key(timeout_s=9.0), key(threads=4), key(pass_environment=["HF_TOKEN"])]
        assert set(planned) == {key()}

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"command": ["film", "{prompts}"]}, "command must hold {output}"),
            ({"command": ["film", "{output}"]}, "command must hold {prompts}"),
            ({"command": ["film", "{prompts}", "{output}", "{prompt}"]}, "texts are handed over in the file"),
            ({"command": ["film", "{prompts}", "{output}", "{steps}"]}, "command holds {steps}; known are"),
            ({"command": ["film", "{prompts}", "{output}", "{model}"]}, "command holds {model}, but model is not set"),
            ({"command": ["film", "{prompts}", "{output}", "{seed}"]}, "take {seed} out of command"),
            ({"prompts": "lines", "batch_size": 1}, "put {seed} into command"),
            ({"prompts": "lines", "command": ["f", "{prompts}", "{output}", "{seed}"]}, "set batch_size: 1"),
            ({"output": "../video.mp4"}, "output must be a file name"),
            ({"command": []}, "at least 1 item"),
            ({"command": "film {prompts} {output}"}, "valid list"),
        ],
    )
    def test_commands_that_cannot_work_are_refused(self, checkout: Path, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(ValidationError, match=words):
            configure(checkout, **fields)


OPEN_SORA = (ROOT / "tests/open_sora_inference.py").read_text()


class TestOpenSora:
    """scripts/opensora_film.py around a stand-in of the script that it runs."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> CommandConfig:
        (tmp_path / "open-sora/scripts").mkdir(parents=True)
        (tmp_path / "open-sora/scripts/inference.py").write_text(OPEN_SORA)
        command = [sys.executable, "{scripts}/opensora_film.py", "{prompts}", "{output}", "sample.py"]
        size = ["--num-frames", "4", "--resolution", "16p", "--aspect-ratio", "1:2", "--fps", "8"]
        return configure(tmp_path / "open-sora", command=[*command, *size])

    def test_each_video_depends_on_its_text_and_seed_alone(self, tmp_path: Path, config: CommandConfig) -> None:
        generator = CommandGenerator(config, "generators.own", None, tmp_path / "work")

        def clips(texts: list[str], seeds: list[int]) -> list[Any]:
            shots = [Shot(text, None, seed) for text, seed in zip(texts, seeds, strict=True)]
            return [read_video(made.path).frames for made in generator.film(shots)]  # type: ignore[union-attr]

        one, two, three = clips(["a ball", "a ball", "|0|a box|1|a ball {}"], [1, 2, 1])
        assert not np.array_equal(one, two)
        assert np.array_equal(two, clips(["a ball"], [2])[0])
        assert np.array_equal(three, clips(["a b", "|0|a box|1|a ball {}"], [7, 1])[1])
        assert not np.array_equal(one, three)

    def test_the_weights_that_it_read_are_recorded(self, tmp_path: Path, config: CommandConfig) -> None:
        cached = tmp_path / "hub/models--hpcai-tech--OpenSora-STDiT-v3/snapshots" / ("0" * 39 + "a")
        cached.mkdir(parents=True)
        (cached / "config.json").write_text("{}")
        script = tmp_path / "open-sora/scripts/inference.py"
        reads = f"def main():\n    Path({str(cached / 'config.json')!r}).read_text()\n"
        script.write_text(OPEN_SORA.replace("def main():\n", reads))
        generator = CommandGenerator(config, "generators.own", None, tmp_path / "work")
        assert len(list(generator.film([Shot("a ball", None, 1)]))) == 1
        assert generator.environment()["weights"] == {"hpcai-tech/OpenSora-STDiT-v3": "0" * 39 + "a"}

    def test_another_version_of_the_script_is_refused(self, tmp_path: Path, config: CommandConfig) -> None:
        script = tmp_path / "open-sora/scripts/inference.py"
        script.write_text(
            OPEN_SORA.replace("def split_prompt", "def split_text").replace("= split_prompt", "= split_text")
        )
        with pytest.raises(InputError, match=r"has no split_prompt: check out tag v1\.2\.0"):
            film(config, tmp_path, ["a ball"])
        script.write_text(OPEN_SORA.replace("        apply_mask_strategy(", "        str("))
        with pytest.raises(InputError, match=r"ended with status 1"):
            film(config, tmp_path, ["a ball"])
