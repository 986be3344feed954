"""The Hub's own client against a local server that answers as the Hub does: what is there, and what is not."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import pandas as pd
import pytest
from makers import whole

from promptavideo.captions import HubSource, read_source
from promptavideo.errors import InputError
from promptavideo.models import HubModel, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CAPTIONS = pd.DataFrame({"videoid": range(3), "name": ["A dog runs", "A cat sleeps", "A heron eats"]})
FILES = {
    "config.json": b"{}",
    "vae/model.safetensors": b"weights",
    "run.py": b"print()",
    "data/a.csv": CAPTIONS.to_csv(index=False).encode(),
    "data/b.parquet": CAPTIONS.to_parquet(),
}


class Server(ThreadingHTTPServer):
    """Has the model, and dataset, lab/demo at COMMIT and at the tag v1; `closed` says whose token opens it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.closed: str | None = None
        self.listed_when_closed = True
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        token = self.headers["Authorization"]
        self.server.tokens.add(token)
        if "/lab/demo" not in path:
            self._send(404, {"X-Error-Code": "RepoNotFound"})
        elif COMMIT not in path and "/v1" not in path:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        elif (
            self.server.closed
            and token != f"Bearer {self.server.closed}"
            and ("/resolve/" in path or not self.server.listed_when_closed)
        ):
            self._send(403 if token else 401, {"X-Error-Code": "GatedRepo"})
        elif "/revision/" in path:
            self._send(200, {}, json.dumps({"id": "lab/demo", "sha": COMMIT}).encode())
        elif "/tree/" in path or "/paths-info/" in path:
            names = FILES if self.command == "GET" else self.asked["paths"]
            listed = [
                {"type": "file", "path": name, "size": len(FILES[name]), "oid": hashlib.sha1(FILES[name]).hexdigest()}
                for name in names
            ]
            self._send(200, {}, json.dumps(listed).encode())
        else:
            data = FILES[re.split(rf"/resolve/(?:{COMMIT}|v1)/", path)[1]]
            said = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or ""):
                self._send(206, said, data[int(wanted[1]) : int(wanted[2]) + 1])
            else:
                self._send(200, said, data)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield running
        running.shutdown()
        thread.join()


def model(repo_id: str = "lab/demo", revision: str = "v1") -> HubModel:
    return HubModel(kind="hub", repo_id=repo_id, revision=revision)


@pytest.mark.parametrize("revision", ["v1", COMMIT])
def test_a_model_that_is_there_is_fetched_without_its_code(hub: Server, tmp_path: Path, revision: str) -> None:
    fetch("demo", model(revision=revision), tmp_path / "models/demo", {})
    manifest = whole(tmp_path / "models/demo")
    assert (manifest.source, manifest.revision) == ("lab/demo", revision)
    assert set(manifest.files) == {"config.json", "vae/model.safetensors"}
    assert (tmp_path / "models/demo/vae/model.safetensors").read_bytes() == b"weights"
    assert hub.tokens == {None}


@pytest.mark.parametrize(
    ("repo_id", "revision", "words"),
    [
        ("lab/none", "v1", r"models\.demo\.repo_id: the Hub has no model lab/none, or it is private and HF_TOKEN is"),
        ("lab/none", COMMIT, r"models\.demo\.repo_id: the Hub has no model lab/none"),
        ("lab/demo", "v9", r"models\.demo\.revision: lab/demo at revision v9 does not exist; give one of its commits"),
        ("lab/demo", "f" * 40, r"models\.demo\.revision: lab/demo at revision f{40} does not exist"),
    ],
)
def test_what_is_not_there_is_named(hub: Server, tmp_path: Path, repo_id: str, revision: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fetch("demo", model(repo_id, revision), tmp_path / "models/demo", {})
    assert not (tmp_path / "models/demo").exists()


@pytest.mark.parametrize("listed", [True, False])
def test_a_gated_model_wants_a_token_that_may(
    hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool
) -> None:
    hub.closed, hub.listed_when_closed = "hf_right", listed
    with pytest.raises(InputError, match=r"models\.demo: lab/demo is gated and HF_TOKEN is not set; accept its terms"):
        fetch("demo", model(), tmp_path / "models/demo", {})
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(InputError, match="is gated and the token in HF_TOKEN has no access") as caught:
        fetch("demo", model(), tmp_path / "models/demo", {})
    assert "hf_wrong" not in str(caught.value)
    assert not (tmp_path / "models/demo").exists()
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    fetch("demo", model(), tmp_path / "models/demo", {})
    whole(tmp_path / "models/demo")
    assert hub.tokens == {None, "Bearer hf_wrong", "Bearer hf_right"}


def captions(tmp_path: Path, file: str, repo_id: str = "lab/demo", revision: str = "v1") -> list[str]:
    source = HubSource(kind="hub", repo_id=repo_id, revision=revision, files=[file], column="name")
    read_source("demo", source, tmp_path, tmp_path / "out.parquet", tmp_path / "out.json")
    return sorted(pd.read_parquet(tmp_path / "out.parquet")["prompt"])


@pytest.mark.parametrize("file", ["data/*.csv", "data/*.parquet"])
def test_captions_of_a_dataset_are_read(
    hub: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    assert captions(tmp_path, file) == ["A cat sleeps", "A dog runs", "A heron eats"]
    hub.closed = "hf_right"
    huggingface_hub.HfFileSystem.clear_instance_cache()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "another cache"))
    with pytest.raises(
        InputError, match=r"lab/demo is gated and HF_TOKEN is not set; accept its terms at .*/datasets/lab"
    ):
        captions(tmp_path, file)


def test_a_dataset_that_is_not_there_is_named(hub: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"demo\.repo_id: the Hub has no dataset lab/none"):
        captions(tmp_path, "data/*", repo_id="lab/none")
    with pytest.raises(InputError, match=r"demo\.revision: lab/demo at revision v9 does not exist"):
        captions(tmp_path, "data/*", revision="v9")


def test_a_hub_that_does_not_answer_is_told_from_one_that_refuses(hub: Server, tmp_path: Path) -> None:
    hub.shutdown()
    hub.server_close()
    with pytest.raises(InputError, match=r"models\.demo: the Hub cannot be reached to fetch lab/demo .*kind: local"):
        fetch("demo", model(), tmp_path / "models/demo", {})
