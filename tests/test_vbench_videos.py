"""A batch's videos under the names that VBench wants, and their cutting into shards."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fakes import prompts_table

from promptavideo.errors import InputError, ScoreError
from promptavideo.prompts import prompt_id
from promptavideo.shards import shard_count, shard_names
from promptavideo.store import Entry, Store, read_manifest, write_manifest
from promptavideo.vbench.config import VBenchSet
from promptavideo.vbench.listing import (
    Listing,
    Video,
    check_videos,
    read_listing,
    shard,
    write_listing,
)
from promptavideo.vbench.rows import Row, check_judged, read_rows
from promptavideo.vbench.videos import link_videos, list_videos
from promptavideo.vbench.wheel import write_rows
from promptavideo.video import Clip

HOSTILE = ["../../etc/passwd", "/etc/passwd", "$(rm -rf /)", "a/b", "-rf", "<b>", "x" * 300, "Überraschung\u2028", "."]
LIST = [
    Row(0, "a red ball", ("temporal_flickering",)),
    Row(1, "a blue box", ("color",), {"color": {"color": "blue"}}),
    Row(2, "A red ball", ("overall_consistency", "imaging_quality")),  # the pair that differs in case only
    Row(3, "a blue box", ("overall_consistency",)),  # a duplicate
    Row(4, "a dog", ("scene",), {"scene": {"scene": "yard"}}),
]
JUDGED = ["overall_consistency", "color", "temporal_flickering"]


def clip(frames: int = 4, size: int = 16, fps: float = 8.0) -> Clip:
    return Clip(np.full((frames, size, size, 3), 128, np.uint8), fps)


@dataclass(frozen=True)
class Batch:
    """A batch that was filmed in two shards."""

    table: pd.DataFrame
    manifests: Mapping[Path, list[Entry]]
    store: Store

    def listed(self, rows: Sequence[Row] | None = None, dimensions: Any = "all") -> Listing:
        """Standard with VBench's list, else custom."""
        settings = VBenchSet(mode="standard" if rows else "custom", dimensions=dimensions)
        return list_videos(self.table, self.manifests, self.store, settings, rows, "list")

    def entry(self, prompt: str) -> tuple[Path, Entry]:
        return next(
            (path, entry)
            for path, entries in self.manifests.items()
            for entry in entries
            if entry.prompt_id == prompt_id(prompt)
        )


def film(folder: Path, prompts: Sequence[str], replicates: int = 1, others: Mapping[str, Clip] | None = None) -> Batch:
    """A batch of small videos; those of some prompts are `others`."""
    table = prompts_table({prompt: [f"{prompt}, refined"] for prompt in prompts}, replicates)
    table = table.assign(prompt_id=table["prompt"].map(prompt_id))
    store = Store(folder / "store", "painter")
    entries = []
    for place, row in enumerate(table.to_dict("records")):
        key = f"{place:032x}"
        stored = store.put(key, (others or {}).get(row["prompt"], clip()), crf=20, pixel_format="yuv420p")
        entries.append(
            Entry(row["prompt_id"], 0, row["replicate"], key, stored.sha256, stored.frames, stored.fps, stored.device)
        )
    paths = [folder / "videos" / f"{number:04}.jsonl" for number in range(2)]
    half = len(entries) // 2
    for path, part in zip(paths, (entries[:half], entries[half:]), strict=True):
        write_manifest(part, path)
    return Batch(table, {path: read_manifest(path) for path in paths}, store)


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    """Two prompts of the list, two videos each."""
    return film(tmp_path, ["a red ball", "a blue box"], replicates=2)


def test_every_row_of_a_filmed_prompt_is_listed_under_its_own_spelling(batch: Batch) -> None:
    listing = batch.listed(LIST, JUDGED)
    assert (listing.mode, listing.frames, listing.fps, listing.width, listing.height) == ("standard", 4, 8.0, 16, 16)
    assert [(video.row, video.replicate, video.file) for video in listing.videos] == [
        (row, replicate, f"{prompt}-{replicate}.mp4")
        for row, prompt in enumerate(["a red ball", "a blue box", "A red ball", "a blue box"])
        for replicate in range(2)
    ]
    assert [video.dimensions for video in listing.videos[::2]] == [
        ("temporal_flickering",),
        ("color",),
        ("imaging_quality", "overall_consistency"),  # whether or not the first was asked for
        ("overall_consistency",),
    ]
    assert [video.auxiliary_info for video in listing.videos[::2]] == [None, {"color": {"color": "blue"}}, None, None]
    assert [video.row for video in listing.of("overall_consistency")] == [2, 2, 3, 3]


def test_a_prompt_that_stands_twice_is_one_video_under_both_rows(batch: Batch) -> None:
    videos = {(video.row, video.replicate): video for video in batch.listed(LIST, JUDGED).videos}
    filmed = {entry.key for entries in batch.manifests.values() for entry in entries}
    assert {video.key for video in videos.values()} == filmed and len(filmed) == 4
    for one, other in ((0, 2), (1, 3)):
        for replicate in range(2):
            assert videos[one, replicate].key == videos[other, replicate].key
            assert videos[one, replicate].prompt_id == videos[other, replicate].prompt_id
    assert videos[0, 0].key != videos[0, 1].key


def test_links_have_the_original_prompts_as_names_and_lead_to_the_store(batch: Batch, tmp_path: Path) -> None:
    listing, folder = batch.listed(LIST, JUDGED), tmp_path / "vbench" / "videos"
    folder.mkdir(parents=True)
    (folder / "of an earlier run-0.mp4").touch()
    link_videos(listing, folder)
    assert {path.name for path in folder.iterdir()} == {
        f"{prompt}-{replicate}.mp4" for prompt in ("a red ball", "A red ball", "a blue box") for replicate in range(2)
    }
    for video in listing.videos:
        assert not (folder / video.file).readlink().is_absolute()
        assert (folder / video.file).resolve() == batch.store.video(video.key).resolve()


def test_a_file_system_that_takes_two_names_for_one_is_named(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: set[str] = set()

    def symlink_to(link: Path, target: object) -> None:
        if link.name.lower() in made:
            raise FileExistsError(link)
        made.add(link.name.lower())

    monkeypatch.setattr(Path, "symlink_to", symlink_to)
    with pytest.raises(InputError, match=r"takes 'a red ball-0\.mp4' and another name for one"):
        link_videos(batch.listed(LIST, JUDGED), tmp_path / "links")


def test_other_prompts_are_named_by_their_ids_whatever_they_hold(tmp_path: Path) -> None:
    batch = film(tmp_path, HOSTILE)
    listing, folder = batch.listed(dimensions=["imaging_quality", "temporal_flickering"]), tmp_path / "links"
    link_videos(listing, folder)
    assert listing.mode == "custom"
    assert {video.prompt for video in listing.videos} == set(HOSTILE)
    assert [video.row for video in listing.videos] == list(range(len(HOSTILE)))
    for video in listing.videos:
        assert re.fullmatch(r"p[0-9a-f]{12}-0\.mp4", video.file) and video.file.startswith(prompt_id(video.prompt))
        assert list(video.dimensions) == VBenchSet(dimensions="all").names and video.auxiliary_info is None
        assert video.key == batch.entry(video.prompt)[1].key
    assert sorted(path.name for path in folder.iterdir()) == sorted(video.file for video in listing.videos)
    assert not {path.name for path in tmp_path.iterdir()} - {"store", "videos", "links"}


def test_rows_of_other_prompts_do_not_depend_on_the_tables_order(batch: Batch) -> None:
    reverse = Batch(batch.table[::-1].reset_index(drop=True), batch.manifests, batch.store)
    assert reverse.listed() == batch.listed()


@pytest.mark.parametrize("prompt", ["a/b", "é" * 130])
def test_a_prompt_of_the_list_that_can_be_no_file_name_is_named(tmp_path: Path, prompt: str) -> None:
    with pytest.raises(InputError, match=rf"a video called '{prompt[:3]}.*is no file name; judge the set as `custom`"):
        film(tmp_path, [prompt]).listed([Row(0, prompt, ("scene",))], ["scene"])


def test_a_missing_and_an_extra_video_are_named(batch: Batch) -> None:
    first, second = batch.manifests
    box = prompt_id("a blue box")
    part = Batch(batch.table, {first: batch.manifests[first], second: batch.manifests[second][:1]}, batch.store)
    with pytest.raises(InputError, match=f"1 videos are missing, first that of prompt {box}, replicate 1.*removed"):
        part.listed(LIST, JUDGED)
    fewer = Batch(batch.table[:2], batch.manifests, batch.store)
    with pytest.raises(InputError, match=f"2 videos are too many, first that of prompt {box}, replicate 0.*removed"):
        fewer.listed(LIST, JUDGED)


@pytest.mark.parametrize("fault", ["damaged", "gone"])
def test_a_video_that_is_not_the_filmed_one_is_named_and_filmed_again(batch: Batch, fault: str) -> None:
    manifest, entry = batch.entry("a blue box")
    video = batch.store.video(entry.key)
    if fault == "damaged":
        video.write_bytes(video.read_bytes()[:-100])
    else:
        video.unlink()
    with pytest.raises(ScoreError, match=rf"{entry.key}\.mp4: the video is .*belongs to prompt {entry.prompt_id}"):
        batch.listed(LIST, JUDGED)
    assert not video.exists() and not manifest.exists()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (clip(fps=12.0), "4 frames of 16x16 at 12 a second"),
        (clip(size=32), "4 frames of 32x32 at 8 a second"),
        (clip(frames=5), "5 frames of 16x16 at 8 a second"),
    ],
    ids=["frame rate", "size", "length"],
)
def test_videos_that_are_not_alike_are_refused(tmp_path: Path, other: Clip, told: str) -> None:
    batch = film(tmp_path, ["a red ball", "a blue box"], others={"a blue box": other})
    with pytest.raises(InputError) as caught:
        batch.listed(LIST, JUDGED)
    assert f"prompt {prompt_id('a red ball')} has 4 frames of 16x16 at 8 a second" in str(caught.value)
    assert f"prompt {prompt_id('a blue box')} has {told}" in str(caught.value)


@pytest.mark.parametrize(("frames", "warns"), [(39, False), (40, True)])
def test_five_seconds_warn_of_vbench_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, frames: int, warns: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        film(tmp_path, ["a dog"], others={"a dog": clip(frames)}).listed(LIST, ["scene"])
    assert ("the videos are 5.0 s long; from 5 s on VBench-Long is the benchmark" in caplog.text) == warns


def test_a_prompt_that_the_list_does_not_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"2 prompts are not in VBench's list, first 'a (cat|cow)'; judge .*`mode: cust"
    ):
        film(tmp_path, ["a red ball", "a cat", "a cow"]).listed(LIST, ["temporal_flickering"])


def test_a_dimension_that_judges_no_prompt_of_the_set_is_named(batch: Batch) -> None:
    with pytest.raises(InputError, match=r"none of the \d prompts is judged for scene in VBench's list; take more"):
        batch.listed(LIST, [*JUDGED, "scene"])


def test_it_is_named_before_anything_is_filmed() -> None:
    sets = {"few": VBenchSet(mode="standard", dimensions=["scene"]), "none": VBenchSet(mode="standard")}
    row = Row(3, "a café", ("scene",))
    check_judged({prompt_id("a café"): "a café"}, {"few": sets["few"]}, [row])
    with pytest.raises(InputError, match=r"evaluation\.sets\.none\.vbench: none of the 1 prompts .* for: scene$"):
        check_judged({prompt_id("a café"): "a café"}, sets, [row])


def test_the_list_of_prompts_is_read_as_it_was_written(tmp_path: Path) -> None:
    raw = [
        {"row": 0, "prompt_en": "a café", "dimension": ["scene"], "auxiliary_info": {"scene": {"scene": "café"}}},
        {"row": 1, "prompt_en": "a dog", "dimension": ["color", "scene"], "prompt_cn": "x"},
    ]
    write_rows(raw, tmp_path / "vbench.jsonl")
    assert read_rows(tmp_path / "vbench.jsonl") == [
        Row(0, "a café", ("scene",), {"scene": {"scene": "café"}}),
        Row(1, "a dog", ("color", "scene")),
    ]


@pytest.mark.parametrize("content", [None, b"[1]\n", b"{", b'{"row": 0, "prompt_en": "a dog"}\n', b"\xff\n"])
def test_an_unreadable_list_of_prompts_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "vbench.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"(?s)vbench\.jsonl: .*no list of VBench's prompts"):
        read_rows(tmp_path / "vbench.jsonl")


def test_a_listing_is_read_as_it_was_written(batch: Batch, tmp_path: Path) -> None:
    for listing in (batch.listed(LIST, JUDGED), batch.listed()):
        write_listing(listing, tmp_path / "videos.json")
        assert read_listing(tmp_path / "videos.json") == listing


@pytest.mark.parametrize("content", [None, "", "[]", json.dumps({"mode": "loud", "videos": []})])
def test_an_unreadable_listing_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "videos.json").write_text(content)
    with pytest.raises(InputError, match=r"(?s)videos\.json: .*no list of videos for VBench"):
        read_listing(tmp_path / "videos.json")


def video(row: int, replicate: int = 0) -> Video:
    key = f"{row:016x}{replicate:016x}"
    return Video(row, f"p{row}", f"prompt {row}", replicate, f"prompt {row}-{replicate}.mp4", "", key, ("scene",), None)


@pytest.mark.parametrize(
    ("damage", "state"), [(Path.unlink, "is gone"), (lambda path: path.write_bytes(b"half"), "is not the one")]
)
def test_a_video_that_vbench_could_not_read_is_named_and_filmed_again(
    batch: Batch, tmp_path: Path, damage: Callable[[Path], object], state: str
) -> None:
    listing, path = batch.listed(LIST, JUDGED), tmp_path / "vbench/videos.json"
    path.parent.mkdir()
    write_listing(listing, path)
    check_videos(path, listing.videos)
    manifest, entry = batch.entry("a blue box")
    video = batch.store.video(entry.key)
    damage(video)
    with pytest.raises(
        InputError, match=rf"{entry.key}\.mp4: the video of prompt {entry.prompt_id}, replicate 0 {state}"
    ):
        check_videos(path, listing.videos)
    others = [one for one in batch.manifests if one != manifest]
    assert not any(one.exists() for one in (video, manifest, path)) and all(one.exists() for one in others)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 14, 100])
@pytest.mark.parametrize("replicates", [1, 2, 5])
def test_shards_hold_every_video_once_and_replicates_together(size: int, replicates: int) -> None:
    rows = [3, 5, 8, 9, 20, 21, 40]  # a dimension's rows have gaps
    videos = [video(row, replicate) for row in rows for replicate in range(replicates)]
    count = shard_count(len(rows), max(1, size // replicates))  # as the workflow plans
    parts = [shard(videos, name) for name in shard_names(count)]
    assert [one for part in parts for one in part] == videos
    assert all(0 < len(part) <= max(size, replicates) and len(part) % replicates == 0 for part in parts)


def test_shards_of_fewer_videos_than_planned_are_empty() -> None:
    assert [shard([], name) for name in shard_names(2)] == [[], []]
    assert [shard([video(4)], name) for name in shard_names(2)] == [[], [video(4)]]
