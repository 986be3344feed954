"""paper.yaml on stand-ins for its models: from captions to both generators' tables, killed three times on the way."""

import hashlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import yaml
from chat_server import Answer, Asked, ChatServer, says

ROOT = Path(__file__).parents[2]
LANGUAGE_MODEL = "resources/models/smollm2-135m"
LAYERS = ("paper.yaml", "overlay.yaml", "addresses.yaml")
KEYS = {"ZHIPUAI_API_KEY": "rehearsal", "OPENAI_API_KEY": "rehearsal"}
WORDS = ("soft morning light", "slow pan", "sharp details", "deep colours", "steady camera", "calm water", "wide view")


def operate(asked: Asked) -> Answer:
    """Three variants in the form that the evolution's instruction asks for, which no small language model keeps."""
    draws = hashlib.sha256(asked.message.encode()).digest()
    texts = (f"A river in {WORDS[one % 7]}, with {WORDS[one % 5]} and {WORDS[one % 3]}." for one in draws[:3])
    return says("\n".join(f"<PROMPT>{text}</PROMPT>" for text in texts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with the stand-ins."""
    folder = tmp_path_factory.mktemp("rehearsal") / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    for name in (".venv", ".venv-vbench"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "overlay.yaml").symlink_to(ROOT / "tests/rehearsal/overlay.yaml")
    stand_ins.make(folder / "stand-ins")
    stand_ins.open_sora(folder / "external/Open-Sora")
    return folder


def environment(folder: Path) -> dict[str, str]:
    path = f"{folder / 'stand-ins/bin'}:{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    return {**os.environ, **KEYS, "PATH": path, "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1"}


def command(*arguments: str, more: tuple[str, ...] = ()) -> list[str]:
    return ["snakemake", "--quiet", "rules", "--cores", "2", *arguments, "--configfile", *LAYERS, *more]


def snakemake(folder: Path, *arguments: str, more: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        command(*arguments, more=more), cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, run.stderr[-5000:]
    return run


def jobs(folder: Path, *arguments: str, more: tuple[str, ...] = ()) -> dict[str, int]:
    """How many jobs of each rule a run would run."""
    said = snakemake(folder, "--dry-run", *arguments, more=more)
    found = re.findall(r"^(\w+)\s+(\d+)$", said.stdout + said.stderr, re.MULTILINE)
    return {rule: int(count) for rule, count in found}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def endpoints(folder: Path) -> Iterator[ChatServer]:
    """The operators' endpoint, and the LLM refiner's: transformers' own server with the laptop's language model."""
    addresses: dict[str, Any] = stand_ins.addresses(folder / "stand-ins")
    port = free_port()
    with ChatServer(operate) as server, (folder / "serve.log").open("wb") as log:
        addresses["operators"] = {
            "gpt-4o": {"base_url": server.base_url},
            "glm-4": {"base_url": server.base_url},
            "glm-4-refiner": {"base_url": f"http://127.0.0.1:{port}/v1"},
        }
        (folder / "addresses.yaml").write_text(yaml.safe_dump(addresses))
        snakemake(folder, f"{LANGUAGE_MODEL}/manifest.json")
        serve = ["transformers", "serve", LANGUAGE_MODEL, "--device", "cpu", "--port", str(port)]
        process = subprocess.Popen(serve, cwd=folder, env=environment(folder), stdout=log, stderr=log)
        try:
            until(lambda: listens(port), process, 120)
            yield server
        finally:
            process.terminate()
            process.wait(30)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(moment: Callable[[], bool], process: "subprocess.Popen[bytes]", limit_s: float) -> None:
    """Wait for a moment while a process runs."""
    deadline = time.monotonic() + limit_s
    while not moment():
        assert process.poll() is None, "it ended before that"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_paper_from_captions_to_tables(folder: Path, endpoints: ChatServer) -> None:
    snakemake(folder)
