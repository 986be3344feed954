import contextlib
import errno
import json
import logging
import math
import shutil
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fakes import Critic, Painter, prompts_table

from promptavideo import cli
from promptavideo import store as store_module
from promptavideo.errors import InputError, ScoreError
from promptavideo.files import sha256
from promptavideo.filming import film_shard
from promptavideo.generators.base import Made
from promptavideo.metrics import PAPER
from promptavideo.progress import Progress
from promptavideo.provenance import filmed, filming, remarks
from promptavideo.schemas import PROMPTS, read_table, write_table
from promptavideo.scoring import score_shard
from promptavideo.shards import part, shard_count, shard_names, shard_rows
from promptavideo.shots import Shot, shots_of
from promptavideo.store import Store, read_manifest, write_manifest
from promptavideo.video import Clip, nothing, read_video, write_video

TEXTS = {prompt: [f"{prompt} one", f"{prompt} two"] for prompt in ("d", "a", "c", "b", "e")}


def contents(store: Store) -> dict[str, str]:
    """Key and sha256 of every video."""
    return {path.stem: sha256(path) for path in store.folder.glob("videos/*/*.mp4")}


def test_the_manifest_names_every_row_in_order_with_what_was_filmed(tmp_path: Path) -> None:
    rows, store, painter = prompts_table(TEXTS, replicates=2), Store(tmp_path, "painter"), Painter()
    film_shard(rows, painter, store, tmp_path / "0000.jsonl", "film")
    entries = read_manifest(tmp_path / "0000.jsonl")
    keys = ["prompt_id", "candidate", "replicate"]
    named = [(entry.prompt_id, entry.candidate, entry.replicate) for entry in entries]
    assert named == list(rows[keys].itertuples(index=False, name=None))
    assert [entry.key for entry in entries] == [painter.key(shot) for shot in shots_of(rows)]
    assert {entry.key: entry.sha256 for entry in entries} == contents(store)
    assert {(entry.frames, entry.fps) for entry in entries} == {(8, 8.0)}


def test_each_video_keeps_the_record_of_what_filmed_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, store, manifest = prompts_table(TEXTS), Store(tmp_path, "painter"), tmp_path / "0000.jsonl"
    for version, videos in (("1", 4), ("2", math.inf)):  # killed, and gone on with after an upgrade
        monkeypatch.setattr(Painter, "environment", lambda self, version=version: {"packages": {"torch": version}})
        with contextlib.suppress(KeyboardInterrupt):
            film_shard(rows, Painter(videos=videos, device=f"easel {version}"), store, manifest, "film")
    film_shard(rows, Painter(videos=0, device="none"), store, manifest, "film")
    found = filming(read_manifest(manifest), store)
    assert found == [
        {"device": "easel 1", "packages": {"torch": "1"}, "videos": 4},
        {"device": "easel 2", "packages": {"torch": "2"}, "videos": 6},
    ]
    shutil.rmtree(tmp_path / "painter/made_with")
    told = [{"device": "easel 1", "videos": 4}, {"device": "easel 2", "videos": 6}]
    assert filming(read_manifest(manifest), store) == told


def test_shard_size_row_order_and_batch_size_change_no_video(tmp_path: Path) -> None:
    rows = prompts_table(TEXTS)
    stores = []
    for size, batch_size, table in ((5, 4, rows), (2, 3, rows.iloc[::-1]), (1, 1, rows.sample(frac=1, random_state=0))):
        store = Store(tmp_path / str(size), "painter")
        for shard in shard_names(shard_count(len(TEXTS), size)):
            part = shard_rows(table, shard)
            film_shard(part, Painter(batch_size), store, tmp_path / f"{size}-{shard}.jsonl", "film")
        stores.append(contents(store))
    assert len(stores[0]) == len(rows)
    assert stores[0] == stores[1] == stores[2]


def test_shards_part_the_prompts_and_keep_each_whole() -> None:
    rows = prompts_table(TEXTS)
    assert [shard_count(prompts, 2) for prompts in (0, 1, 2, 3, 4)] == [1, 1, 1, 2, 2]
    assert shard_names(3) == ["0001-of-0003", "0002-of-0003", "0003-of-0003"]
    parts = [shard_rows(rows, shard) for shard in shard_names(3)]
    assert [sorted(set(part["prompt_id"])) for part in parts] == [["pa"], ["pb", "pc"], ["pd", "pe"]]
    assert [len(part) for part in parts] == [2, 4, 4]
    for count in range(1, 9):
        held = [len(set(shard_rows(rows, shard)["prompt_id"])) for shard in shard_names(count)]
        assert sum(held) == 5 and max(held) - min(held) <= 1


def test_parts_of_more_shards_lie_within_those_of_a_divisor() -> None:
    for items in range(20):
        for few, many in ((1, 4), (2, 6), (3, 12)):
            finer = [part(range(items), shard) for shard in shard_names(many)]
            for place, shard in enumerate(shard_names(few)):
                inside = finer[place * many // few : (place + 1) * many // few]
                assert [item for piece in inside for item in piece] == list(part(range(items), shard))


@pytest.mark.parametrize("shard", ["0003", "0000-of-0003", "0004-of-0003", "one-of-two", "-1-of-0003", ""])
def test_a_name_that_is_no_shard_is_refused(shard: str) -> None:
    with pytest.raises(InputError, match="is no shard; write the third of twelve as 0003-of-0012"):
        shard_rows(prompts_table(TEXTS), shard)


def test_a_killed_job_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    rows, store, manifest = prompts_table(TEXTS), Store(tmp_path, "painter"), tmp_path / "0000.jsonl"
    killed = Painter(batch_size=2, videos=5)
    with pytest.raises(KeyboardInterrupt):
        film_shard(rows, killed, store, manifest, "film")
    assert not manifest.exists()
    kept = contents(store)
    assert len(kept) == 4  # the fifth died with its batch
    again = Painter(batch_size=2)
    film_shard(rows, again, store, manifest, "film")
    assert [again.key(shot) for shot in again.filmed] == [
        key for key in map(again.key, shots_of(rows)) if key not in kept
    ]
    assert contents(store).items() >= kept.items() and len(contents(store)) == len(rows)
    done = Painter(videos=0)
    film_shard(rows, done, store, manifest, "film")
    assert not done.filmed


def test_arms_share_the_video_of_one_text_and_seed(tmp_path: Path) -> None:
    store = Store(tmp_path, "painter")
    painter = Painter()
    film_shard(prompts_table({"a": ["same", "same", "own"]}), painter, store, tmp_path / "one.jsonl", "film")
    assert [shot.text for shot in painter.filmed] == ["same", "own"]
    film_shard(prompts_table({"a": ["same", "new"]}), painter, store, tmp_path / "two.jsonl", "film")
    assert [shot.text for shot in painter.filmed] == ["same", "own", "new"]
    one, two = read_manifest(tmp_path / "one.jsonl"), read_manifest(tmp_path / "two.jsonl")
    assert one[0].key == one[1].key == two[0].key
    other = Painter(revision="2")
    film_shard(prompts_table({"a": ["same"]}), other, store, tmp_path / "three.jsonl", "film")
    assert len(other.filmed) == 1 and len(contents(store)) == 4


def test_hostile_texts_never_become_file_names(tmp_path: Path) -> None:
    texts = ["../../x", "$(rm -rf .)", "<script>alert(1)</script>", "'; touch x #", "a" * 5000]
    film_shard(prompts_table({"a": texts}), Painter(), Store(tmp_path, "painter"), tmp_path / "0000.jsonl", "film")
    names = [path.name for path in (tmp_path / "painter/videos").rglob("*.mp4")]
    assert len(names) == len(texts)
    assert all(len(name) == 36 and set(name[:32]) <= set("0123456789abcdef") for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000.jsonl", "painter"]


def damage_writes(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Cut the next `times` videos short as they are written."""
    left = [None] * times

    def write(clip: Clip, path: Path, **settings: Any) -> None:
        write_video(clip, path, **settings)
        if left:
            left.pop()
            path.write_bytes(path.read_bytes()[:-500])

    monkeypatch.setattr(store_module, "write_video", write)


@pytest.mark.parametrize(("blank", "damaged"), [(1, 0), (0, 1)])
def test_a_video_that_cannot_be_read_back_is_filmed_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, blank: int, damaged: int
) -> None:
    damage_writes(monkeypatch, damaged)
    painter, store = Painter(batch_size=3, blank=blank), Store(tmp_path, "painter")
    film_shard(prompts_table({"a": ["one", "two", "three"]}), painter, store, tmp_path / "0000.jsonl", "film")
    assert [shot.text for shot in painter.filmed] == ["one", "two", "three", "one"]
    assert len(contents(store)) == 3
    assert "filming it again" in caplog.text


@pytest.mark.parametrize(("blank", "damaged"), [(2, 0), (0, 2)])
def test_a_video_that_cannot_be_read_back_twice_is_an_error_with_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: int, damaged: int
) -> None:
    damage_writes(monkeypatch, damaged)
    rows, painter, store = prompts_table({"a": ["a red ball", "x"]}), Painter(1, blank=blank), Store(tmp_path, "p")
    with pytest.raises(ScoreError, match="filmed twice; text: 'a red ball'"):
        film_shard(rows, painter, store, tmp_path / "0.jsonl", "film")
    assert len(painter.filmed) == 2
    assert not (tmp_path / "0.jsonl").exists()
    film_shard(rows, Painter(1), store, tmp_path / "0.jsonl", "film")  # a later run heals it
    assert len(read_manifest(tmp_path / "0.jsonl")) == 2


def test_a_video_changed_after_filming_is_filmed_again_alone(tmp_path: Path) -> None:
    rows, store, manifest = prompts_table(TEXTS), Store(tmp_path, "painter"), tmp_path / "0000.jsonl"
    film_shard(rows, Painter(), store, manifest, "film")
    filmed = contents(store)
    victim = read_manifest(manifest)[3]
    store.video(victim.key).write_bytes(store.video(victim.key).read_bytes()[:-100])
    with pytest.raises(ScoreError, match=victim.key):
        score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    again = Painter()
    film_shard(rows, again, store, manifest, "film")
    assert [again.key(shot) for shot in again.filmed] == [victim.key]
    assert contents(store) == filmed
    assert len(score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")) == len(rows)


def test_a_table_read_from_disk_gives_the_same_keys(tmp_path: Path) -> None:
    rows, painter = prompts_table(TEXTS), Painter()
    write_table(rows, tmp_path / "prompts.parquet", PROMPTS)
    film_shard(rows, painter, Store(tmp_path, "painter"), tmp_path / "0.jsonl", "film")
    reader = Painter()
    table = read_table(tmp_path / "prompts.parquet", PROMPTS)
    film_shard(table, reader, Store(tmp_path, "painter"), tmp_path / "1.jsonl", "film")
    assert painter.filmed and not reader.filmed
    assert (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()


def test_an_empty_shard_films_nothing(tmp_path: Path) -> None:
    rows: pd.DataFrame = shard_rows(prompts_table(TEXTS), "0001-of-0009")
    painter = Painter()
    film_shard(rows, painter, Store(tmp_path, "painter"), tmp_path / "0009.jsonl", "film")
    assert not painter.filmed
    assert read_manifest(tmp_path / "0009.jsonl") == []


def test_progress_counts_what_was_there_and_tells_the_time_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("promptavideo.progress.time.monotonic", lambda: now)
    with caplog.at_level(logging.INFO):
        progress = Progress("film", 10, "videos", done=4)
        now += 5
        progress.advance(1)  # too soon after the last line
        now += 15
        progress.advance(1)
        now += 1000
        progress.advance(2)
        progress.advance(2)
    assert caplog.messages == [
        "film: 10 videos (4 already there)",
        "film: 6/10 videos, 0:40 left",
        "film: 8/10 videos, 8:30 left",
        "film: 10/10 videos, 0:00 left",
    ]


def test_a_full_disk_is_one_message_and_what_was_filmed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Writes fail as they do on a full disk, after three videos."""
    left = [None] * 3

    def write(clip: Clip, path: Path, **settings: Any) -> None:
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        left.pop()
        write_video(clip, path, **settings)

    monkeypatch.setattr(store_module, "write_video", write)
    rows, store = prompts_table(TEXTS), Store(tmp_path, "painter")
    with pytest.raises(SystemExit):
        cli.run(Namespace(log=None), lambda _: film_shard(rows, Painter(), store, tmp_path / "0000.jsonl", "film"))
    said = capsys.readouterr().err
    assert "the disk is full" in said and "run the same command again" in said and "Traceback" not in said
    assert len(contents(store)) == 3
    assert not (tmp_path / "0000.jsonl").exists()


class Dull(Painter):
    """Paints `frozen` without motion, `flat` in one colour and `dark` black."""

    def film(self, shots: Sequence[Shot]) -> list[Made]:
        clips = super().film(shots)
        for place, (shot, clip) in enumerate(zip(shots, clips, strict=True)):
            assert isinstance(clip, Clip)
            frames = clip.frames.copy()
            if shot.text == "frozen":
                frames[:] = frames[0]
            if shot.text in ("flat", "dark"):
                frames[:] = (90, 120, 30) if shot.text == "flat" else 0
            clips[place] = Clip(frames, clip.fps)
        return clips


def test_a_video_that_shows_nothing_is_named_and_counted_and_a_black_one_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows, store = prompts_table({"a": ["moving", "frozen"], "b": ["flat"]}), Store(tmp_path, "painter")
    film_shard(rows, Dull(), store, tmp_path / "0.jsonl", "film")
    assert [entry.nothing for entry in read_manifest(tmp_path / "0.jsonl")] == [None, "frozen", "of one colour"]
    assert "the video is frozen; prompt pa, text: 'frozen'" in caplog.text
    film_shard(rows, Painter(videos=0), store, tmp_path / "again.jsonl", "film")  # found in the store it is the same
    assert read_manifest(tmp_path / "again.jsonl") == read_manifest(tmp_path / "0.jsonl")
    dull, rows = Dull(), prompts_table({"a": ["dark", "moving"], "b": ["flat"]})
    with pytest.raises(
        InputError, match=r"no videos of 1 texts.*\n  prompt pa, candidate 0: the video is wholly black"
    ):
        film_shard(rows, dull, store, tmp_path / "1.jsonl", "film")
    assert len(dull.filmed) == 1 and not (tmp_path / "1.jsonl").exists()
    assert not list(tmp_path.rglob(".*.mp4"))


class Skimming(Painter):
    """Reads three words of a text."""

    reads_tokens = 3

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def test_texts_that_are_cut_are_counted_whether_they_were_filmed_now_or_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = {"a": ["one two three", "one two three four"], "b": ["one two three four five"], "c": ["one"]}
    rows, store = prompts_table(texts, replicates=2), Store(tmp_path, "painter")
    for painter in (Skimming(), Skimming(videos=0)):
        caplog.clear()
        film_shard(rows, painter, store, tmp_path / "0.jsonl", "film")
        entries = read_manifest(tmp_path / "0.jsonl")
        assert [entry.cut_at for entry in entries] == [None, None, 3, 3, 3, 3, None, None]
        assert "film: 2 of 4 texts are longer than the 3 tokens that the encoder reads" in caplog.text
        assert filmed(entries)["cut_by_encoder"] == {"count": 2, "texts": 4, "limit": 3}
        assert filmed(entries)["tokens_seen"] == pytest.approx((1 + 3 / 4 + 3 / 5 + 1) / 4)
    added = ("cut_at", "tokens")
    old = [{name: value for name, value in asdict(entry).items() if name not in added} for entry in entries]
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    assert read_manifest(tmp_path / "old.jsonl") == [replace(entry, cut_at=None, tokens=None) for entry in entries]
    known = filmed(read_manifest(tmp_path / "old.jsonl"))
    assert known["cut_by_encoder"] == {} and "tokens_seen" not in known


def test_negative_prompts_that_are_cut_are_counted_by_themselves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = prompts_table({"a": ["one two three four", "one"], "b": ["two"]}, replicates=2)
    rows["negative"] = ["dark"] * 2 + ["much too dark here"] * 2 + [None] * 2
    painter = Skimming()
    painter.takes_negative = True
    film_shard(rows, painter, Store(tmp_path, "painter"), tmp_path / "0.jsonl", "film")
    entries = read_manifest(tmp_path / "0.jsonl")
    assert [entry.negative_cut_at for entry in entries] == [None, None, 3, 3, None, None]
    assert [entry.cut_at for entry in entries] == [3, 3, None, None, None, None]
    assert "film: 1 of 2 negative prompts are longer than the 3 tokens that the encoder reads" in caplog.text
    assert filmed(entries)["negatives_cut_by_encoder"] == {"count": 1, "limit": 3}
    (note,) = remarks([{"generator": "g", "refiner": "r", "set": "s", "scores": {"videos": 6, **filmed(entries)}}])
    assert "1 negative prompts of r for g on s are longer than the 3 tokens" in note


def test_a_black_video_that_is_stored_already_is_refused_too(tmp_path: Path) -> None:
    """As an earlier version stored it, or a disk zeroed it."""
    rows, store, manifest = prompts_table({"a": ["dark", "moving"]}), Store(tmp_path, "painter"), tmp_path / "0.jsonl"
    film_shard(rows, Painter(), store, manifest, "film")
    dark, moving = read_manifest(manifest)
    write_video(Clip(np.zeros((8, 32, 32, 3), np.uint8), 8.0), store.video(dark.key))
    write_manifest([replace(dark, sha256=sha256(store.video(dark.key))), moving], manifest)
    with pytest.raises(ScoreError, match=r"wholly black.* prompt pa, candidate 0"):
        score_shard(rows, [manifest], {"judge": Critic()}, PAPER, store, "score")
    assert not manifest.exists()
    write_video(Clip(np.zeros((8, 32, 32, 3), np.uint8), 8.0), store.video(dark.key))
    with pytest.raises(InputError, match=r"prompt pa, candidate 0: the video is wholly black: .*try another"):
        film_shard(rows, Dull(), store, manifest, "film")
    assert list(contents(store)) == [moving.key]


def test_one_frame_is_no_frozen_video_and_a_dim_moving_one_is_no_black_one() -> None:
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    assert nothing(Clip(frames, 8.0)) == "black"
    frames[2, 3, 3] = 40
    assert nothing(Clip(frames, 8.0)) is None
    assert nothing(Clip(frames[2:3], 8.0)) is None
    assert nothing(Clip(np.repeat(frames[2:3], 4, axis=0), 8.0)) == "frozen"


def test_a_refused_text_is_named_by_its_prompt_once_all_else_is_filmed(tmp_path: Path) -> None:
    rows, store = prompts_table({"a": ["one", "bad", "two"], "b": ["bad", "three"]}), Store(tmp_path, "painter")
    painter = Painter(refused=("bad",))
    with pytest.raises(InputError, match=r"no videos of 2 texts") as caught:
        film_shard(rows, painter, store, tmp_path / "0000.jsonl", "film")
    assert "prompt pa, candidate 1: not this; text: 'bad'" in str(caught.value)
    assert "prompt pb, candidate 0: not this; text: 'bad'" in str(caught.value)
    assert len(contents(store)) == 3
    assert not (tmp_path / "0000.jsonl").exists()


def test_what_was_made_of_a_failing_batch_is_kept(tmp_path: Path) -> None:
    rows, store = prompts_table({"a": ["one", "lost", "two", "three"]}), Store(tmp_path, "painter")
    with pytest.raises(InputError, match="the machine stopped"):
        film_shard(rows, Painter(batch_size=3, lost=("lost",)), store, tmp_path / "0000.jsonl", "film")
    assert len(contents(store)) == 2
    again = Painter()
    film_shard(rows, again, store, tmp_path / "0000.jsonl", "film")
    assert [shot.text for shot in again.filmed] == ["lost", "three"]


def test_the_device_that_filmed_a_video_is_in_every_manifest_that_names_it(tmp_path: Path) -> None:
    rows, store = prompts_table({"a": ["one"]}), Store(tmp_path, "painter")
    film_shard(rows, Painter(device="GPU one"), store, tmp_path / "0.jsonl", "film")
    film_shard(prompts_table({"a": ["one", "two"]}), Painter(device="GPU two"), store, tmp_path / "1.jsonl", "film")
    assert [entry.device for entry in read_manifest(tmp_path / "1.jsonl")] == ["GPU one", "GPU two"]


def test_a_freshly_filmed_video_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []

    def read(path: Path) -> Clip:
        decoded.append(path)
        return read_video(path)

    monkeypatch.setattr(store_module, "read_video", read)
    store = Store(tmp_path, "painter")
    film_shard(prompts_table({"a": ["one", "two"]}), Painter(), store, tmp_path / "0.jsonl", "film")
    assert len(decoded) == 2
    film_shard(prompts_table({"a": ["one", "two"]}), Painter(), store, tmp_path / "0.jsonl", "film")
    assert len(decoded) == 4  # found in the store: decoded once each
