"""What VBench's networks are loaded from: the list, and putting its files where VBench looks."""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from promptavideo.errors import InputError
from promptavideo.vbench.checkpoints import (
    HubCheckpoint,
    UrlCheckpoint,
    describe,
    read_checkpoints,
    stage,
)
from promptavideo.vbench.dimensions import DIMENSIONS
from promptavideo.vbench.staged import Record, check_staged

LIST = Path(__file__).parent.parent / "resources" / "vbench" / "checkpoints.yaml"
CONTENT = b"weights" * 100
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return stream.getvalue()


class Place:
    """An address that gives `content`, and the folder that it is staged into."""

    def __init__(self, folder: Path) -> None:
        self.address, self.cache, self.record = folder / "address", folder / "cache", folder / "records" / "clip.json"

    def entry(self, content: bytes, files: dict[str, str], **fields: Any) -> UrlCheckpoint:
        self.address.write_bytes(content)
        options: dict[str, Any] = {"sha256": digest(content), "megabytes": 1.0, "dimensions": ["color"]} | fields
        return UrlCheckpoint(url=self.address.as_uri(), files=files, **options)

    def stage(self, content: bytes, files: dict[str, str], **fields: Any) -> Record:
        stage("clip", self.entry(content, files, **fields), self.cache, self.record)
        return Record.model_validate_json(self.record.read_bytes())

    def staged(self) -> dict[str, bytes]:
        """Every file in the folder."""
        paths = [path for path in self.cache.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.cache)): path.read_bytes() for path in paths}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_repositorys_list_serves_every_dimension_that_has_a_network() -> None:
    entries = read_checkpoints(LIST)
    assert set(DIMENSIONS).difference(*(entry.dimensions for entry in entries.values())) == {"temporal_flickering"}
    placed = [path for entry in entries.values() if isinstance(entry, UrlCheckpoint) for path in entry.files]
    assert len(placed) == len(set(placed))
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) for name in entries)  # they become names of files
    hub = [entry for entry in entries.values() if isinstance(entry, HubCheckpoint)]
    assert hub and all(re.fullmatch(r"[0-9a-f]{40}", entry.revision) for entry in hub)


def test_a_checkpoint_is_told_in_one_line() -> None:
    entry = UrlCheckpoint(
        url="https://x/y.pt", sha256="a" * 64, megabytes=354.0, files={"y.pt": "."}, dimensions=["color", "scene"]
    )
    assert describe("clip", entry) == f"clip: 354 MB from https://x/y.pt ({'a' * 12}), for color, scene"
    hub = HubCheckpoint(
        kind="hub", repo_id="lab/demo", revision=COMMIT, allow_patterns=["*"], megabytes=0.5, dimensions=["scene"]
    )
    assert describe("bert", hub) == f"bert: 0.5 MB from the Hub's lab/demo ({COMMIT}), for scene"


URL = {
    "url": "https://x/y.pt",
    "sha256": "a" * 64,
    "megabytes": "354",
    "files": '{clip/y.pt: "."}',
    "dimensions": "[color]",
}
HUB = {
    "kind": "hub",
    "repo_id": "lab/demo",
    "revision": COMMIT,
    "allow_patterns": '["*.json"]',
    "megabytes": "1",
    "dimensions": "[scene]",
}


def listed(entry: dict[str, str], folder: Path) -> Path:
    lines = ["clip:", *(f"  {key}: {value}" for key, value in entry.items())]
    (folder / "list.yaml").write_text("\n".join(lines) + "\n")
    return folder / "list.yaml"


def test_sound_entries_of_both_kinds_are_read(tmp_path: Path) -> None:
    (url,) = read_checkpoints(listed(URL, tmp_path)).values()
    assert isinstance(url, UrlCheckpoint) and url.files == {"clip/y.pt": "."} and url.megabytes == 354
    (hub,) = read_checkpoints(listed(HUB, tmp_path)).values()
    assert isinstance(hub, HubCheckpoint) and hub.revision == COMMIT


@pytest.mark.parametrize(
    ("entry", "key", "value"),
    [
        (URL, "url", "ftp://x/y.pt"),
        (URL, "url", "y.pt"),
        (URL, "sha256", "abc"),
        (URL, "sha256", "none"),
        (URL, "megabytes", "0"),
        (URL, "files", "{}"),
        (URL, "files", '{/etc/y.pt: "."}'),
        (URL, "files", '{clip/../../y.pt: "."}'),
        (URL, "files", '{clip/: "."}'),
        (URL, "files", "{clip/y.pt: folder/}"),
        (URL, "dimensions", "[]"),
        (URL, "dimensions", "[beauty]"),
        (URL, "size", "3"),
        (URL, "kind", "ftp"),
        (HUB, "repo_id", "a/b/c"),
        (HUB, "revision", "main"),
        (HUB, "allow_patterns", "[]"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: dict[str, str], key: str, value: str) -> None:
    with pytest.raises(InputError, match=rf"list\.yaml: clip\b.*{key}"):
        read_checkpoints(listed(entry | {key: value}, tmp_path))


@pytest.mark.parametrize("key", ["url", "sha256", "megabytes", "files", "dimensions"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=rf"list\.yaml: clip\..*{key}: Field required"):
        read_checkpoints(listed({name: value for name, value in URL.items() if name != key}, tmp_path))


@pytest.mark.parametrize("content", [None, "", "[1, 2]", "clip: 3", "clip: [a]", "{", "text"])
def test_a_file_that_is_no_list_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "list.yaml").write_text(content)
    with pytest.raises(InputError, match=r"list\.yaml: is no list of checkpoints"):
        read_checkpoints(tmp_path / "list.yaml")


def test_a_file_is_put_in_every_place_that_wants_it(place: Place) -> None:
    record = place.stage(CONTENT, {"clip/a.pt": ".", "torch/hub/checkpoints/b.pt": "."})
    assert place.staged() == {"clip/a.pt": CONTENT, "torch/hub/checkpoints/b.pt": CONTENT}
    assert (record.name, record.source, record.revision) == ("clip", place.address.as_uri(), digest(CONTENT))
    assert {path: (file.bytes, file.sha256) for path, file in record.files.items()} == dict.fromkeys(
        place.staged(), (700, digest(CONTENT))
    )
    check_staged([place.record], place.cache)


def test_a_file_system_without_hard_links_will_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", link)
    place.stage(CONTENT, {"a.pt": ".", "b.pt": "."})
    assert place.staged() == {"a.pt": CONTENT, "b.pt": CONTENT}


def test_folders_and_files_are_taken_out_of_an_archive(place: Place) -> None:
    members = {
        "dino-7c4/": b"",
        "dino-7c4/hubconf.py": b"hub",
        "dino-7c4/utils/": b"",
        "dino-7c4/utils/x.py": b"x",
        "models/raft.pth": b"raft",
        "models/raft.pth.txt": b"note",
        "models/other.pth": b"other",
    }
    files = {"dino/main/": "dino-7c4/", "raft/things.pth": "models/raft.pth"}
    record = place.stage(archive(members), files)
    assert place.staged() == {"dino/main/hubconf.py": b"hub", "dino/main/utils/x.py": b"x", "raft/things.pth": b"raft"}
    assert {path: file.sha256 for path, file in record.files.items()} == {
        path: digest(content) for path, content in place.staged().items()
    }
    check_staged([place.record], place.cache)


def test_another_file_than_the_pinned_one_is_named_with_both_digests(place: Place) -> None:
    with pytest.raises(InputError) as caught:
        place.stage(CONTENT, {"a.pt": "."}, sha256=digest(b"expected"))
    for part in ("clip", "sha256", place.address.as_uri(), digest(b"expected"), digest(CONTENT)):
        assert part in str(caught.value)
    assert place.staged() == {} and not place.record.exists()


def test_nothing_twice_as_large_as_expected_is_taken(place: Place) -> None:
    with pytest.raises(InputError, match=r"clip\b.* gives more than \d{3} bytes"):
        place.stage(CONTENT, {"a.pt": "."}, megabytes=0.0003)
    assert place.staged() == {} and not place.record.exists()
    place.stage(CONTENT, {"a.pt": "."}, megabytes=0.0004)


def test_an_address_that_gives_nothing_is_named(place: Place) -> None:
    entry = place.entry(CONTENT, {"a.pt": "."})
    place.address.unlink()
    with pytest.raises(InputError, match=rf"clip\b.*{re.escape(entry.url)} cannot be fetched"):
        stage("clip", entry, place.cache, place.record)
    assert not place.record.exists()


@pytest.mark.parametrize(
    ("content", "files", "told"),
    [
        (archive({"repo/x.py": b"", "repo/../../evil.py": b""}), {"code/": "repo/"}, "leads upwards"),
        (archive({"repo/x.py": b""}), {"x.pth": "repo/x.pth"}, "holds nothing at 'repo/x.pth'"),
        (archive({"repository/x.py": b""}), {"code/": "repo/"}, "holds nothing at 'repo/'"),
        (archive({"repo/": b""}), {"code/": "repo/"}, "holds nothing at 'repo/'"),
        (CONTENT, {"code/": "repo/"}, "is no zip archive"),
    ],
    ids=["upwards", "no such file", "no such folder", "an empty folder", "no archive"],
)
def test_an_archive_that_is_not_as_expected_is_named(
    place: Place, content: bytes, files: dict[str, str], told: str
) -> None:
    with pytest.raises(InputError, match=rf"clip: .*{told}"):
        place.stage(content, files)
    assert not place.record.exists()
    assert not list(place.cache.parent.rglob("evil.py"))


def test_an_unpinned_file_is_what_is_there_today_and_says_which(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    assert place.stage(CONTENT, {"a.pt": "."}, sha256="unpinned").revision == digest(CONTENT)
    assert f"clip: takes what is there today; write sha256: {digest(CONTENT)}" in caplog.text
    with pytest.raises(InputError, match="missing"):
        (place.cache / "a.pt").unlink()
        check_staged([place.record], place.cache)
    assert place.stage(b"newer", {"a.pt": "."}, sha256="unpinned").revision == digest(b"newer")
    assert place.staged() == {"a.pt": b"newer"}
    check_staged([place.record], place.cache)


@pytest.mark.parametrize(
    ("path", "content", "told"), [("a.pt", b"another", digest(b"another")), ("b.pt", CONTENT, "nothing")]
)
def test_a_file_of_an_archive_is_held_to_its_own_digest(place: Place, path: str, content: bytes, told: str) -> None:
    pinned: dict[str, Any] = {"sha256": "unpinned", "contents": {path: digest(CONTENT)}}
    with pytest.raises(InputError, match=rf"clip: {path} has {told}, expected {digest(CONTENT)}; correct the entry"):
        place.stage(archive({"a": content}), {"a.pt": "a"}, **pinned)
    assert not place.record.exists()
    place.stage(archive({"a": CONTENT, "b": CONTENT}), {"a.pt": "a", "b.pt": "b"}, **pinned)
    check_staged([place.record], place.cache)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda place: (place.cache / "b.pt").unlink(), r"b\.pt: missing, though .*clip\.json says .* removed"),
        (lambda place: (place.cache / "a.pt").write_bytes(b"short"), r"a\.pt: 5 bytes instead of 700, though .*clip"),
        (lambda place: place.record.write_text('{"name": 3}'), r"clip\.json: is no record of a checkpoint"),
        (lambda place: place.record.unlink(), r"clip\.json: there is no record of a checkpoint"),
    ],
    ids=["a missing file", "a changed file", "a broken record", "no record"],
)
def test_what_is_not_where_it_was_put_is_named(place: Place, fault: Callable[[Place], object], told: str) -> None:
    place.stage(archive({"a": CONTENT, "b": CONTENT}), {"a.pt": "a", "b.pt": "b"})
    fault(place)
    with pytest.raises(InputError, match=told):
        check_staged([place.record], place.cache)


class TestHub:
    ENTRY = HubCheckpoint(
        kind="hub", repo_id="lab/demo", revision=COMMIT, allow_patterns=["*.json"], megabytes=1.0, dimensions=["scene"]
    )

    @pytest.fixture(autouse=True)
    def _no_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_TOKEN", raising=False)

    @pytest.fixture
    def calls(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """What snapshot_download was called with; it lays a file down as the real one does."""
        calls = []

        def snapshot_download(repo_id: str, *, cache_dir: Path, **options: Any) -> str:
            calls.append({"repo_id": repo_id, **options})
            repository = Path(cache_dir) / "models--lab--demo"
            (repository / "blobs").mkdir(parents=True)
            (repository / "blobs" / "b10b").write_bytes(b"{}")
            folder = repository / "snapshots" / COMMIT  # whatever the revision was called
            folder.mkdir(parents=True)
            (folder / "config.json").symlink_to("../../blobs/b10b")
            return str(folder)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        return calls

    def test_a_snapshot_is_found_offline_by_its_name_alone(self, place: Place, calls: list[dict[str, Any]]) -> None:
        stage("bert", self.ENTRY, place.cache, place.record)
        assert calls == [{"repo_id": "lab/demo", "revision": COMMIT, "allow_patterns": ["*.json"], "token": False}]
        hub = place.cache / "huggingface" / "hub"
        found = huggingface_hub.hf_hub_download("lab/demo", "config.json", cache_dir=hub, local_files_only=True)
        assert Path(found).read_bytes() == b"{}"

        record = Record.model_validate_json(place.record.read_bytes())
        assert (record.name, record.source, record.revision) == ("bert", "lab/demo", COMMIT)
        repository = "huggingface/hub/models--lab--demo"
        snapshot = f"{repository}/snapshots/{COMMIT}/config.json"
        assert record.files.keys() == {snapshot, f"{repository}/refs/main"}
        assert record.files[snapshot].sha256 == digest(b"{}")
        check_staged([place.record], place.cache)
        (place.cache / repository / "blobs" / "b10b").unlink()
        with pytest.raises(InputError, match=r"config\.json: missing, though"):
            check_staged([place.record], place.cache)

    @pytest.mark.parametrize(("revision", "asked"), [("unpinned", None), ("v1.0", "v1.0")])
    def test_a_tag_and_the_newest_snapshot_are_recorded_by_their_commit(
        self, place: Place, calls: list[dict[str, Any]], revision: str, asked: str | None
    ) -> None:
        stage("bert", self.ENTRY.model_copy(update={"revision": revision}), place.cache, place.record)
        assert calls[0]["revision"] == asked
        assert Record.model_validate_json(place.record.read_bytes()).revision == COMMIT
        hub = place.cache / "huggingface" / "hub"
        assert huggingface_hub.hf_hub_download("lab/demo", "config.json", cache_dir=hub, local_files_only=True)

    def test_the_token_comes_from_the_environment_and_is_not_recorded(
        self, place: Place, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        stage("bert", self.ENTRY, place.cache, place.record)
        assert calls[0]["token"] == "hf_secret"
        assert b"hf_secret" not in place.record.read_bytes()

    def test_a_hub_that_cannot_be_reached_is_told(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable(*_: object, **__: object) -> None:
            raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
        with pytest.raises(InputError, match="bert: the Hub cannot be reached to fetch lab/demo"):
            stage("bert", self.ENTRY, place.cache, place.record)
        assert not place.record.exists()
