import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from promptavideo.errors import InputError, ScoreError
from promptavideo.files import atomic_path, sha256
from promptavideo.miniature.world import random_scene, render
from promptavideo.seeds import derive, video_seed
from promptavideo.store import Entry, Store, Stored, VideoFile, read_manifest, write_manifest
from promptavideo.video import Clip, write_video

KEY = "ab" * 16


def clip(seed: int = 0) -> Clip:
    rng = np.random.default_rng(seed)
    return Clip(render(random_scene(rng), rng), 8.0)


def filled(root: Path, key: str = KEY) -> tuple[Store, Entry]:
    store = Store(root, "painter")
    store.put(key, clip(), crf=8, pixel_format="yuv444p")
    return store, Entry("p1", 2, 3, key, sha256(store.video(key)), 8, 8.0)


def test_a_stored_video_is_held_and_read_back(tmp_path: Path) -> None:
    store, entry = filled(tmp_path)
    assert store.find(KEY) == Stored(entry.sha256, 8, 8.0, "unknown", None)
    assert store.find("cd" * 16) is None
    assert store.read(entry, tmp_path / "0000.jsonl").frames.shape == (8, 32, 32, 3)
    assert Store(tmp_path, "other").video(KEY) != store.video(KEY)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def swap(path: Path) -> None:
    other = Store(path.parent / "elsewhere", "painter")
    other.put(KEY, clip(1), crf=8, pixel_format="yuv444p")
    other.video(KEY).replace(path)


@pytest.mark.parametrize(
    ("damage", "what"),
    [(truncate, "sha256 differs"), (swap, "sha256 differs"), (Path.unlink, "is gone")],
)
def test_a_video_that_is_not_the_filmed_one_is_named_and_taken_out(
    tmp_path: Path, damage: Callable[[Path], None], what: str
) -> None:
    store, entry = filled(tmp_path)
    manifest = tmp_path / "0000.jsonl"
    write_manifest([entry], manifest)
    damage(store.video(KEY))
    with pytest.raises(ScoreError, match=what) as caught:
        store.read(entry, manifest)
    for part in (str(store.video(KEY)), "prompt p1", "candidate 2", "replicate 3", str(manifest), "run the same"):
        assert part in str(caught.value)
    assert not store.video(KEY).exists() and not manifest.exists()


def test_a_truncated_video_is_not_found(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    truncate(store.video(KEY))
    assert store.find(KEY) is None
    assert not list(store.video(KEY).parent.iterdir())


def test_what_is_put_is_what_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path, "painter")
    put = store.put(KEY, clip(), crf=8, pixel_format="yuv444p", circumstances={"device": "GPU", "offload": "model"})
    assert put == store.find(KEY) == Stored(sha256(store.video(KEY)), 8, 8.0, "GPU", None)
    assert json.loads(store.circumstances(KEY).read_text()) == {"device": "GPU", "offload": "model"}
    assert sorted(path.suffix for path in store.video(KEY).parent.iterdir()) == [".json", ".mp4"]


def test_a_video_that_another_job_stored_meanwhile_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, "painter")
    first = store.put(KEY, clip(0), crf=8, pixel_format="yuv444p", circumstances={"device": "one"})
    assert store.put(KEY, clip(1), crf=8, pixel_format="yuv444p", circumstances={"device": "two"}) == first
    assert store.find(KEY) == first
    truncate(store.video(KEY))
    second = store.put(KEY, clip(1), crf=8, pixel_format="yuv444p", circumstances={"device": "two"})
    assert second == store.find(KEY) != first
    assert second.device == "two"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(target))

    monkeypatch.setattr("promptavideo.store.os.link", link)
    store, entry = filled(tmp_path)
    assert store.read(entry, tmp_path / "0000.jsonl").frames.shape == (8, 32, 32, 3)


class TestFile:
    """Videos that a generator hands over as files."""

    def file(self, folder: Path, name: str = "a.mp4", **settings: Any) -> Path:
        write_video(clip(), folder / name, **({"crf": 8, "pixel_format": "yuv420p"} | settings))
        return folder / name

    def test_h264_in_mp4_is_taken_as_it_is(self, tmp_path: Path) -> None:
        path, store = self.file(tmp_path), Store(tmp_path, "painter")
        stored = store.put(KEY, VideoFile(path, width=32, height=32, frames=8, fps=8), crf=40, pixel_format="yuv444p")
        assert stored.sha256 == sha256(path) == sha256(store.video(KEY))

    def test_another_codec_is_encoded(self, tmp_path: Path) -> None:
        path, store = tmp_path / "a.mp4", Store(tmp_path, "painter")
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=8)
            stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
            for frame in clip().frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        stored = store.put(KEY, VideoFile(path), crf=8, pixel_format="yuv444p")
        assert (stored.frames, stored.fps) == (8, 8.0)
        with av.open(str(store.video(KEY))) as container:
            assert container.streams.video[0].codec_context.name == "h264"

    @pytest.mark.parametrize(
        ("expected", "words"),
        [
            ({"width": 64}, "width 32, not 64"),
            ({"height": 16}, "height 32, not 16"),
            ({"frames": 9, "width": 64}, "width 32, not 64; frames 8, not 9"),
            ({"fps": 24.0}, "fps 8, not 24"),
        ],
    )
    def test_another_video_than_expected_is_not_stored(
        self, tmp_path: Path, expected: dict[str, Any], words: str
    ) -> None:
        store = Store(tmp_path, "painter")
        with pytest.raises(InputError, match=rf"a\.mp4: .*\({words}\)"):
            store.put(KEY, VideoFile(self.file(tmp_path), **expected), crf=8, pixel_format="yuv420p")
        assert not list(store.video(KEY).parent.iterdir())

    @pytest.mark.parametrize("damage", [truncate, lambda path: path.write_bytes(b"no video"), Path.unlink])
    def test_a_damaged_file_is_not_stored(self, tmp_path: Path, damage: Callable[[Path], None]) -> None:
        path, store = self.file(tmp_path), Store(tmp_path, "painter")
        damage(path)
        with pytest.raises(ScoreError):
            store.put(KEY, VideoFile(path), crf=8, pixel_format="yuv420p")
        assert store.find(KEY) is None


def test_a_manifest_keeps_its_entries_in_order(tmp_path: Path) -> None:
    entries = [Entry(f"p{place}", place, 0, KEY, "0" * 64, 8, 8.0) for place in (2, 0, 1)]
    write_manifest(entries, tmp_path / "a/0000.jsonl")
    assert read_manifest(tmp_path / "a/0000.jsonl") == entries
    write_manifest([], tmp_path / "a/0000.jsonl")
    assert read_manifest(tmp_path / "a/0000.jsonl") == []


GOOD = {"prompt_id": "p1", "candidate": 0, "replicate": 0, "key": KEY, "sha256": "0" * 64, "frames": 8, "fps": 8.0}


@pytest.mark.parametrize(
    "content",
    [
        b"not json\n",
        b"\xff\xfe\n",
        b"[1]\n",
        b'"text"\n',
        b"{}\n",
        json.dumps(GOOD).encode()[:-9],
        json.dumps(GOOD | {"key": 7}).encode(),
        json.dumps(GOOD | {"candidate": "first"}).encode(),
        b"\n",
    ],
)
def test_garbage_in_a_manifest_is_one_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0000.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"0000\.jsonl: is no manifest of videos"):
        read_manifest(path)


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0000\.jsonl"):
        read_manifest(tmp_path / "0000.jsonl")


def test_unnamed_videos_are_those_of_no_manifest(tmp_path: Path) -> None:
    store, entry = filled(tmp_path / "store")
    filled(tmp_path / "store", "cd" * 16)
    write_manifest([entry], tmp_path / "0000.jsonl")
    write_manifest([], tmp_path / "0001.jsonl")
    assert store.unnamed([tmp_path / "0000.jsonl", tmp_path / "0001.jsonl"]) == [store.video("cd" * 16)]
    assert store.unnamed([]) == [store.video(KEY), store.video("cd" * 16)]
    assert Store(tmp_path / "store", "other").unnamed([]) == []


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new/scores.json"
    with atomic_path(path) as partial:
        partial.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:
        assert partial.suffix == ".json"
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_seeds_depend_on_every_part_and_its_type() -> None:
    seeds = [derive(1, "a", 2), derive(1, "b", 2), derive(1, "a", 3), derive("1", "a", 2), derive("a", 1, 2)]
    assert len(set(seeds)) == len(seeds)
    assert derive(1, "a", 2) == seeds[0]
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert len({video_seed(1, "p1", 0), video_seed(1, "p1", 1), video_seed(2, "p1", 0), video_seed(1, "p2", 0)}) == 4
