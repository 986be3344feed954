"""Models that are one file at an address, and folders taken without weights."""

import hashlib
import io
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import whole
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from promptavideo import registry
from promptavideo.errors import InputError
from promptavideo.models import check_model, fetch

ENTRY: TypeAdapter[Any] = TypeAdapter(registry.union("models"))
HEAD = {"weight": torch.arange(8.0).reshape(1, 8), "bias": torch.tensor([0.5])}


class Server(ThreadingHTTPServer):
    """Serves `content` at any path, in ranges if `ranges`; breaks off after `cut` bytes of an answer."""

    content = b""
    cut: int | None = None
    ranges = True
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/head.pth"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        body = self.server.content[start:]
        if asked and self.server.ranges and not body:
            self.send_response(416)
            self.end_headers()
            return
        self.send_response(206 if start else self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def pickled(content: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def entry(url: str, content: bytes, **fields: object) -> Any:
    return ENTRY.validate_python({"kind": "url", "url": url, "sha256": hashlib.sha256(content).hexdigest(), **fields})


def test_a_state_dict_becomes_safetensors_with_the_same_tensors(server: Server, tmp_path: Path) -> None:
    server.content = pickled(HEAD)
    fetch("head", entry(server.url, server.content), tmp_path / "head", {})
    manifest = whole(tmp_path / "head")
    assert (manifest.kind, manifest.source) == ("url", server.url)
    assert manifest.revision == hashlib.sha256(server.content).hexdigest()
    assert list(manifest.files) == ["model.safetensors"]
    loaded = load_file(tmp_path / "head" / "model.safetensors")
    assert loaded.keys() == HEAD.keys() and all(torch.equal(loaded[name], HEAD[name]) for name in HEAD)
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["manifest.json", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_tensors_may_share_their_memory_and_files_be_old(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    state = {"embed": whole, "head": whole, "row": whole[1], "turned": whole.T, "alone": torch.arange(9.0)[2:5]}
    for modern in (True, False):
        file = tmp_path / f"{modern}.pth"
        torch.save(state, file, _use_new_zipfile_serialization=modern)
        fetch("head", entry(file.as_uri(), file.read_bytes()), tmp_path / str(modern), {})
        loaded = load_file(tmp_path / str(modern) / "model.safetensors")
        assert loaded.keys() == state.keys() and all(torch.equal(loaded[name], state[name]) for name in state)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux says how much memory was used at most")
def test_gigabytes_are_not_held_in_memory(tmp_path: Path) -> None:
    size = 2**28
    torch.save({str(place): torch.full((size // 8,), place, dtype=torch.float16) for place in range(4)}, tmp_path / "w")
    script = """
import re, sys
import safetensors.torch, torch
from pathlib import Path
from promptavideo.models import _convert_state_dict
def most():
    return 1024 * int(re.search("VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = most()
_convert_state_dict("w", "w", Path(sys.argv[1]), Path(sys.argv[2]))
print(most() - before)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "w"), str(tmp_path / "model.safetensors")]
    grown = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert grown < 1.4 * size  # the file's own pages count, which the system takes back when it must


def test_an_unpinned_file_is_what_is_there_today_and_says_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_file(HEAD, tmp_path / "head.safetensors")
    digest = hashlib.sha256((tmp_path / "head.safetensors").read_bytes()).hexdigest()
    fetch("head", entry((tmp_path / "head.safetensors").as_uri(), b"", sha256="unpinned"), tmp_path / "head", {})
    assert check_model(tmp_path / "head").revision == digest
    assert f"models.head.sha256: takes what is there today; write {digest} there to pin it" in caplog.text


def test_safetensors_and_file_addresses_are_taken_as_they_are(tmp_path: Path) -> None:
    save_file(HEAD, tmp_path / "head.safetensors")
    content = (tmp_path / "head.safetensors").read_bytes()
    fetch("head", entry((tmp_path / "head.safetensors").as_uri(), content), tmp_path / "head", {})
    assert (tmp_path / "head" / "model.safetensors").read_bytes() == content


def test_a_download_that_breaks_off_resumes(server: Server, tmp_path: Path) -> None:
    server.content, server.cut = pickled(HEAD), 100
    wanted = entry(server.url, server.content)
    with pytest.raises(InputError, match=r"models\.head: .* broke off after 100 of \d+ bytes; run again"):
        fetch("head", wanted, tmp_path / "head", {})
    assert not (tmp_path / "head").exists()
    server.cut = None
    fetch("head", wanted, tmp_path / "head", {})
    assert server.asked == [None, "bytes=100-"]
    whole(tmp_path / "head")


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.content, server.cut, server.ranges = pickled(HEAD), 100, False
    wanted = entry(server.url, server.content)
    with pytest.raises(InputError, match="broke off"):
        fetch("head", wanted, tmp_path / "head", {})
    server.cut = None
    fetch("head", wanted, tmp_path / "head", {})
    whole(tmp_path / "head")


def test_a_beginning_of_another_file_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    right = pickled(HEAD)
    wanted = entry(server.url, right)
    server.content, server.cut = bytes(len(right)), 100
    with pytest.raises(InputError, match="broke off"):
        fetch("head", wanted, tmp_path / "head", {})
    server.content, server.cut = right, None
    fetch("head", wanted, tmp_path / "head", {})
    assert server.asked == [None, "bytes=100-", None]


def test_a_whole_file_that_was_left_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.content = pickled(HEAD)
    wanted = entry(server.url, server.content)
    server.cut = len(server.content) - 1
    with pytest.raises(InputError, match="broke off"):
        fetch("head", wanted, tmp_path / "models" / "head", {})
    (left,) = (tmp_path / "models").glob(".head.*/.download")
    left.write_bytes(server.content)
    fetch("head", wanted, tmp_path / "models" / "head", {})
    assert server.asked == [None, f"bytes={len(server.content)}-"]


def test_another_file_is_named_with_both_digests_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = b"another file"
    with pytest.raises(InputError) as caught:
        fetch("head", entry(server.url, b"expected"), tmp_path / "head", {})
    for part in (
        "models.head.sha256",
        server.url,
        *(hashlib.sha256(b).hexdigest() for b in (b"expected", server.content)),
    ):
        assert part in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_file_is_not_read_to_its_end(server: Server, tmp_path: Path) -> None:
    server.content = bytes(5_000_000)
    with pytest.raises(InputError, match=r"models\.head\.max_bytes: .* gives more than 1000 bytes"):
        fetch("head", entry(server.url, server.content, max_bytes=1000), tmp_path / "head", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        pickled({"weight": HEAD["weight"], "hook": threading.Thread}),
        pickle.dumps({"weight": print}),
        b"no pickle at all",
        b"",
    ],
    ids=["a class", "a call", "no pickle", "nothing"],
)
def test_what_is_not_safe_to_load_is_refused(server: Server, tmp_path: Path, content: bytes) -> None:
    server.content = content
    with pytest.raises(InputError, match=r"models\.head\.url: .* is no state dict that is safe to load"):
        fetch("head", entry(server.url, content), tmp_path / "head", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [{}, [1, 2], {"weight": HEAD["weight"], "epoch": 3}, {"model": HEAD}])
def test_what_is_no_state_dict_is_refused(server: Server, tmp_path: Path, content: object) -> None:
    server.content = pickled(content)
    with pytest.raises(InputError, match="holds something else than a state dict of tensors"):
        fetch("head", entry(server.url, server.content), tmp_path / "head", {})
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_an_answer_is_named(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(InputError, match=r"models\.head\.url: http://.* answers 404 Not Found"):
        fetch("head", entry(server.url, b""), tmp_path / "head", {})
    with pytest.raises(InputError, match=r"cannot be fetched .*run again .*name that instead"):
        fetch("head", entry("http://127.0.0.1:1/head.pth", b""), tmp_path / "head", {})
    with pytest.raises(InputError, match=r"cannot be fetched"):
        fetch("head", entry("file:///no/such/file.pth", b""), tmp_path / "head", {})


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"sha256": None}, "sha256"),
        ({"url": "ftp://x/y"}, "url"),
        ({"url": "head.pth"}, "url"),
        ({"max_bytes": 0}, "max_bytes"),
    ],
)
def test_unusable_entries_are_refused(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        entry(**{"url": "http://x/y", "content": b"", **fields})


def test_a_folder_without_weights_gives_its_other_files(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("config.json", "merges.txt", "model.safetensors", "pytorch_model.bin", "logo.png"):
        (source / name).write_bytes(b"{}")
    without = ENTRY.validate_python({"kind": "local", "path": str(source), "weights": False})
    fetch("base", without, tmp_path / "base", {})
    assert set(check_model(tmp_path / "base").files) == {"config.json", "merges.txt"}
