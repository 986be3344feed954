"""A video model with code and an environment of its own: an external command films a file of prompts."""

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from promptavideo.errors import InputError, ScoreError, require
from promptavideo.files import hold
from promptavideo.generators.base import Generator, GeneratorEntry, Made, check_rate
from promptavideo.hardware import accelerator
from promptavideo.models import check_model
from promptavideo.settings import Added, Planning, Ref
from promptavideo.shots import Shot
from promptavideo.store import SUFFIX, VideoFile, read_file
from promptavideo.video import Filmed

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
"""What `{scripts}` stands for."""

PLACEHOLDERS = ("prompts", "output", "seed", "checkout", "model", "scripts")

INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES"
)  # fmt: skip
"""What a command sees of our environment: not PYTHONPATH, which is meant for our Python, and no keys."""

TAIL = 30
"""Lines of a failed command's log that its error shows."""

GRACE_S = 10.0
"""What a command has to end by itself once it is told to."""

RECORD = "record.json"
"""What a command may leave in `{output}` for the record of its videos: an object, such as {"weights": {...}}."""

ASK = (
    "import json, platform; from importlib import metadata; print(json.dumps({'python': platform.python_version(), "
    "'packages': {str(one.metadata['Name']): one.version for one in metadata.distributions()}}))"
)
"""Asks an interpreter what it is and has; one line, since `conda run` takes no other."""

ASK_S = 300.0
"""What an interpreter has to answer."""


class CommandConfig(GeneratorEntry):
    """A generator that is an external command."""

    kind: Literal["command"]
    command: list[str] = Field(min_length=1)
    """Program and arguments; no shell reads them. `{prompts}`: the file of prompts; `{output}`: the folder to film
    into; `{seed}`: the seed (prompts: lines); `{checkout}`, `{model}`: folders; `{scripts}`: this repository's
    scripts/."""
    version: str = Field(min_length=1)
    """Of the code that films; part of a video's key. If the checkout is a git repository, the tag or commit that must
    be checked out."""
    checkout: Annotated[str | None, Planning()] = None
    """Folder of that code, in which the command runs; absolute, or relative to where the workflow runs."""
    model: Annotated[str | None, Ref("models")] = None
    """Name in the model registry, if the weights are there."""
    prompts: Literal["jsonl", "lines"] = "jsonl"
    """`jsonl`: the file has a line {"text", "seed", "output"} for each video, and the command names each video as its
    `output` says. `lines`: one text and one video a call, with the seed `{seed}`."""
    takes_negative: Annotated[bool, Planning()] = False
    """Whether the command films away from the `negative` that a line of the file has where a text has a negative prompt
    of its own (prompts: jsonl)."""
    output: Annotated[str, Planning()] = "sample_0000.mp4"
    """Name that the command gives to its video or image (prompts: lines)."""
    medium: Annotated[Filmed, Added()] = "video"
    """`image`: the command makes images, of any form that Pillow reads as 8-bit RGB or gray."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Variables to set; part of a video's key."""
    pass_environment: Annotated[list[str], Planning()] = Field(default_factory=list)
    """Further variables to hand on if they are set, such as HF_TOKEN or HF_HOME."""
    batch_size: Annotated[int, Planning()] = Field(1, ge=1)
    """Videos a call, since each call loads the model once. Changes no video."""
    timeout_s: Annotated[float, Planning()] = Field(gt=0)
    """Limit of one call."""
    width: int = Field(ge=1)
    """Pixels that the command films; another size is an error."""
    height: int = Field(ge=1)
    """Likewise."""
    frames: int | None = Field(None, ge=1)
    """Frames that the command films; another number is an error. None of images."""
    fps: float | None = Field(None, gt=0)
    """Frames a second that the command writes; another rate is an error. None of images."""
    threads: Annotated[int, Planning()] = Field(1, ge=1)
    """Cores of one job."""
    crf: int = Field(12, ge=0, le=51)
    """Of videos that the command does not write as H.264."""
    seconds_per_video: Annotated[float, Planning()] = Field(gt=0)
    """Expected time of one video on one worker; plans shards and estimates, never results."""

    negative_prompt: ClassVar[str | None] = None

    @model_validator(mode="after")
    def _rate(self) -> Self:
        if (self.frames is None) != (self.medium == "image"):
            raise ValueError("frames: belongs to videos, and to all of them")
        check_rate(self.medium, self.fps)
        return self

    def ready(self, where: str) -> None:
        """Check that the command is there, with its code in the version that the entry names."""
        program, search = self.command[0], self.environment.get("PATH")
        if "/" in program:
            program = str(Path(self.checkout or "", program))
        if "{" not in program and shutil.which(program, path=search) is None:
            raise InputError(f"{where}.command: there is no program {program}; install it, or give its whole path")
        if self.checkout is None:
            return
        folder = Path(self.checkout)
        if not folder.is_dir():
            raise InputError(f"{where}.checkout: {folder} is not a folder; check out version {self.version} there")
        if (folder / ".git").exists():
            _check_version(folder, self.version, where)

    def strangers(self, filming: Sequence[Mapping[str, Any]]) -> str | None:
        """A command that has no model of the registry must report its weights."""
        return None if self.model or all(job.get("weights") for job in filming) else "whose command reports no weights"

    def load(self, name: str, folders: Sequence[Path], work: Path | None) -> Generator:
        """Look whether the command can be called."""
        where = f"generators.{name}"
        folder = require(work, f"{where}: needs a folder to work in")
        return CommandGenerator(self, where, next(iter(folders), None), folder)

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        found = {name for part in self.command for name in re.findall(r"\{([a-z_]+)\}", part)}
        for name in sorted(found - set(PLACEHOLDERS)):
            hint = ", and texts are handed over in the file {prompts}" if name in ("prompt", "text") else ""
            raise ValueError(f"command holds {{{name}}}; known are {{{'}, {'.join(PLACEHOLDERS)}}}{hint}")
        for name in ("prompts", "output"):
            if name not in found:
                raise ValueError(f"command must hold {{{name}}}")
        for name in ("checkout", "model"):
            if name in found and getattr(self, name) is None:
                raise ValueError(f"command holds {{{name}}}, but {name} is not set")
        if self.prompts == "lines" and ("seed" not in found or self.batch_size > 1):
            raise ValueError(
                "prompts: lines films one video a call with its own seed: put {seed} into command, set batch_size: 1"
            )
        if self.prompts == "lines" and self.takes_negative:
            raise ValueError(
                "prompts: lines hands over no negative prompt; set takes_negative: false, or prompts: jsonl"
            )
        if self.prompts == "jsonl" and "seed" in found:
            raise ValueError("prompts: jsonl gives each video its own seed in the file; take {seed} out of command")
        if Path(self.output).name != self.output or not self.output:
            raise ValueError("output must be a file name")
        return self


class CommandGenerator(Generator):
    """Films by calling a command for up to `batch_size` videos at a time."""

    def __init__(self, config: CommandConfig, entry: str, model: Path | None, work: Path) -> None:
        """Look whether the command can be called.

        Args:
            config: Its configuration entry.
            entry: Its name, e.g. `generators.open-sora`, for messages.
            model: The model's folder, if the entry names one.
            work: Folder for the files of a call, until its videos are stored.

        Raises:
            InputError: There is no such program or checkout, or another version is checked out.
        """
        self.config, self._entry = config, entry
        self.batch_size, self.crf, self.takes_negative = config.batch_size, config.crf, config.takes_negative
        config.ready(entry)
        self._work = work.resolve()
        self._model = model.resolve() if model else None
        self._digest = check_model(model).digest if model else None
        self._checkout = Path(config.checkout).resolve() if config.checkout else None
        self._device = accelerator()
        self._said: dict[str, Any] = {}

    def identity(self) -> dict[str, Any]:
        """The command, its version and the model's digest; not how many videos a call makes."""
        return {"model": self._digest, **self.config.settings()}

    def circumstances(self) -> dict[str, Any]:
        """The hardware of this machine."""
        return {"device": self._device}

    def environment(self) -> dict[str, Any]:
        """What films, never what this process has: interpreter, all packages, the checkout's commit, and what else the
        command has left to record.

        Packages are those that the interpreter named in the command reports; `python` is unknown where none is named.
        """
        return self._own | self._said

    @cached_property
    def _own(self) -> dict[str, Any]:
        found: dict[str, Any] = {"python": "unknown", "packages": {}} | self._ask()
        if self._checkout and (self._checkout / ".git").exists():
            found["commit"] = _git(self._checkout, self.config.version, self._entry, "rev-parse", "HEAD")
        return found

    def _ask(self) -> dict[str, Any]:
        """What the command's own interpreter answers, if it has one."""
        command = self._resolved(self._work, self._work, 0)
        python = [place for place, part in enumerate(command) if re.fullmatch(r"python(\d+(\.\d+)?)?", Path(part).name)]
        if not python:
            return {}
        self._work.mkdir(parents=True, exist_ok=True)
        try:
            answer = subprocess.run(
                [*command[: python[0] + 1], "-c", ASK], cwd=self._checkout or self._work, env=self._environment(),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=ASK_S,
            )  # fmt: skip
            found = json.loads(answer.stdout.splitlines()[-1])
            return {"python": str(found["python"]), "packages": dict(sorted(found["packages"].items()))}
        except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s.command: its interpreter does not report its packages (%s)", self._entry, error)
            return {}

    def film(self, shots: Sequence[Shot]) -> Iterator[Made]:
        """Film up to `batch_size` shots by one call; see `Generator.film`.

        Videos that an interrupted call left behind whole are taken, and the command is called for the rest.
        """
        keys = [self.key(shot) for shot in shots]
        folder = self._work / hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16]
        output = folder / "videos"
        output.mkdir(parents=True, exist_ok=True)
        jobs = [
            {"text": shot.text, "seed": shot.seed, "output": f"{key}{SUFFIX[self.config.medium]}"}
            | ({} if shot.negative is None else {"negative": shot.negative})
            for key, shot in zip(keys, shots, strict=True)
        ]
        # The command inherits the lock, so that one which outlived its job is not joined by a second one.
        with hold(folder / "lock") as lock:
            left = [job for job in jobs if not _whole(output / str(job["output"]), self.config.medium)]
            failure = self._call(folder, left, lock.fileno()) if left else None
            complete = True
            for job in jobs:
                path = output / str(job["output"])
                if path.exists():
                    yield VideoFile(path, self.config.width, self.config.height, self.config.frames, self.config.fps)
                    continue
                complete = False
                absent = f"{self._entry}.command: ended well, but left out a video. {self._tail(folder)}"
                yield failure or InputError(absent)
            shutil.rmtree(folder if complete and not failure else output)

    def _call(self, folder: Path, jobs: list[dict[str, Any]], lock: int) -> InputError | None:
        """Call the command for some videos; what went wrong, if anything did."""
        config, output = self.config, folder / "videos"
        lines = [json.dumps(job) if config.prompts == "jsonl" else " ".join(job["text"].split()) for job in jobs]
        prompts = folder / ("prompts.jsonl" if config.prompts == "jsonl" else "prompts.txt")
        prompts.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        command = self._resolved(prompts, output, jobs[0]["seed"])
        with (folder / "log.txt").open("wb") as written:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._checkout or folder,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            except OSError as error:
                return InputError(f"{self._entry}.command: {command[0]} cannot be called ({error.strerror})")
            try:
                with _stoppable():
                    status = process.wait(config.timeout_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                _stop(process)
        if config.prompts == "lines" and (made := output / config.output).exists():
            made.replace(output / jobs[0]["output"])
        if (record := output / RECORD).is_file():
            self._said = self._read(record)
        if status == 0:
            return None
        what = f"ended with status {status}" if status is not None else f"did not end within {config.timeout_s:g} s"
        return InputError(f"{self._entry}.command: {what}; what it has filmed is kept. {self._tail(folder)}")

    def _read(self, record: Path) -> dict[str, Any]:
        """What the command has left for the record; nothing that stops the work, since the videos are there."""
        text = record.read_text(encoding="utf-8", errors="replace")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        log.warning("%s.command: leaves a %s that holds no JSON object (%.200s)", self._entry, RECORD, text)
        return {}

    def _resolved(self, prompts: Path, output: Path, seed: int) -> list[str]:
        """The command with its placeholders filled in."""
        values = {
            "prompts": prompts, "output": output, "seed": seed, "checkout": self._checkout, "model": self._model,
            "scripts": SCRIPTS,
        }  # fmt: skip
        return [re.sub(r"\{([a-z_]+)\}", lambda match: str(values[match[1]]), part) for part in self.config.command]

    def _environment(self) -> dict[str, str]:
        """The variables that the command sees."""
        passed = [name for name in (*INHERITED, *self.config.pass_environment) if name in os.environ]
        return {name: os.environ[name] for name in passed} | self.config.environment

    def _tail(self, folder: Path) -> str:
        """The end of a call's log, for a message, without what was handed on and may be a secret."""
        text = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        for name in self.config.pass_environment:
            if secret := os.environ.get(name):
                text = text.replace(secret, "***")
        lines = [line[:300] for line in text.splitlines() if line.strip()][-TAIL:]
        return f"The end of {folder / 'log.txt'}:\n  " + "\n  ".join(lines or ["(empty)"])


def _check_version(checkout: Path, version: str, entry: str) -> None:
    """Check that a git repository has a version checked out, unchanged."""
    wanted = _git(checkout, version, entry, "rev-parse", "--verify", "--end-of-options", f"{version}^{{commit}}")
    found = _git(checkout, version, entry, "rev-parse", "HEAD")
    if found != wanted:
        raise InputError(f"{entry}.version: {checkout} has {found} checked out, not {version} ({wanted})")
    changed = _git(checkout, version, entry, "status", "--porcelain", "--untracked-files=no")
    if changed:
        raise InputError(
            f"{entry}.version: files of {checkout} differ from {version} ({changed.splitlines()[0].strip()}, ...); "
            "commit the changes and name that commit"
        )


def _git(checkout: Path, version: str, entry: str, *arguments: str) -> str:
    """What git answers in a checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", checkout, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise InputError(
            f"{entry}.version: git cannot tell whether {version} is checked out in {checkout} ({said})"
        ) from error
    return answer.stdout.strip()


def _whole(path: Path, medium: Filmed) -> bool:
    """Whether an earlier call left a video, or image, that decodes; a damaged one is removed."""
    try:
        read_file(path, medium)
    except ScoreError:
        path.unlink(missing_ok=True)
        return False
    return True


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that a command does not outlive its job when that is cancelled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a command that still runs, with all that it has started."""
    if process.poll() is not None:
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            return
