import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from gallery_makers import group

from promptavideo.errors import ScoreError
from promptavideo.files import sha256
from promptavideo.gallery import collect, page
from promptavideo.gallery.config import GalleryConfig
from promptavideo.tables import LAPTOP
from promptavideo.video import Clip, read_video
from promptavideo.viewing import Size, fitted, poster, write_copy

PROMPTS = ["a red ball", "a blue box"]
TEXTS = {"original": PROMPTS, "sft": ["a red ball, vivid colors", "a blue box"]}
CONFIG = GalleryConfig(least_pixels=64, most_pixels=128)


@pytest.fixture
def made(tmp_path: Path):
    shown = group(tmp_path, PROMPTS, TEXTS)
    return shown, collect.collect([shown], tmp_path / "gallery", CONFIG), tmp_path / "gallery"


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "videos").iterdir()}


def test_a_row_is_a_prompt_and_a_cell_its_first_video_with_that_videos_scores(made) -> None:
    shown, content, folder = made
    assert [row["prompt"] for row in sorted(content["rows"], key=lambda row: row["prompt"])] == sorted(PROMPTS)
    assert content["groups"][0]["refiners"] == ["original", "sft"] and content["groups"][0]["replicates"] == 2
    for row in content["rows"]:
        for arm, cell in zip(shown.arms, row["cells"], strict=True):
            record = arm.scores.query("prompt_id == @row['id'] and replicate == 0").iloc[0]
            assert "".join(piece for piece, _ in cell["text"]) == record["refined"]
            assert cell["avg"] == pytest.approx(record[["VQ_5", "TC_5", "DD_5", "TVA_5", "FC_5"]].mean(), abs=1e-4)
            assert cell["scores"][0] == pytest.approx(record["VQ_5"], abs=1e-4)
            assert cell["heldOut"] == [pytest.approx(record["AGREE"], abs=1e-4)]
            clip = read_video(folder / "videos" / cell["file"])
            assert clip.frames.shape == (8, 64, 64, 3) and clip.fps == 8
            original = shown.store.read(*arm.filmed[record["key"]]).frames.repeat(2, 1).repeat(2, 2)
            assert np.abs(clip.frames.astype(int) - original).mean() < 20, "the copy shows that video"
            assert content["posters"][cell["file"]].startswith("data:image/jpeg;base64,")
    added = [piece for row in content["rows"] for piece, mark in row["cells"][1]["text"] if mark]
    assert added == ["vivid colors"]


def test_copies_that_are_there_stay_and_what_is_missing_damaged_or_not_shown_any_more_is_seen_to(made) -> None:
    shown, content, folder = made
    before, digests = times(folder), {path.name: sha256(path) for path in (folder / "videos").iterdir()}
    missing, cut = sorted(before)[:2]
    (folder / "videos" / missing).unlink()
    (folder / "videos" / cut).write_bytes((folder / "videos" / cut).read_bytes()[:500])
    (folder / "videos/0123456789abcdef.mp4").touch()
    (folder / "videos/.half.1234.mp4").touch()
    assert collect.collect([shown], folder, CONFIG) == content
    after = times(folder)
    assert set(after) == set(before)
    assert {name for name in before if after[name] != before[name]} == {missing, cut}
    assert {path.name: sha256(path) for path in (folder / "videos").iterdir()} == digests
    larger = CONFIG.model_copy(update={"least_pixels": 96})
    assert set(times(folder)).isdisjoint(
        cell["file"] for row in collect.collect([shown], folder, larger)["rows"] for cell in row["cells"]
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_the_page_does_not_depend_on_threads(made, threads: int) -> None:
    shown, content, folder = made
    again = collect.collect([shown], folder.with_name("again"), CONFIG.model_copy(update={"threads": threads}))
    assert again == content
    pages = []
    for one in (folder, folder.with_name("again")):
        page.write(one, content, [])
        pages.append([path.read_bytes() for path in sorted(one.rglob("*.*"))])
    assert pages[0] == pages[1]


def test_a_video_that_was_changed_stops_the_gallery_and_is_filmed_anew(tmp_path: Path) -> None:
    shown = group(tmp_path, PROMPTS, TEXTS)
    entry, manifest = next(iter(shown.arms[0].filmed.values()))
    shown.store.video(entry.key).write_bytes(b"not a video")
    with pytest.raises(ScoreError, match="run the same command again"):
        collect.collect([shown], tmp_path / "gallery", CONFIG)
    assert not manifest.exists()


def test_a_limit_of_prompts_takes_the_first_by_id(tmp_path: Path) -> None:
    prompts = [f"a ball number {number}" for number in range(5)]
    shown = group(tmp_path, prompts, {"original": prompts, "sft": prompts})
    content = collect.collect([shown], tmp_path / "gallery", GalleryConfig(prompts=3))
    ids = [row["id"] for row in content["rows"]]
    assert ids == sorted(shown.arms[0].scores["prompt_id"].unique())[:3]
    assert len(content["posters"]) == len(list((tmp_path / "gallery/videos").iterdir())) == 6


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script> --> &lt; \u2028 ]]>",
    "'\"><img src=x onerror=alert(1)> \u202edrowssap",
    "x " * 2500,
]


class Reader(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.data = ""
        self._within = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag == "script":
            self.scripts.append(dict(attrs))
            self._within = dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        if self._within:
            self.data += data

    def handle_endtag(self, tag: str) -> None:
        self._within = self._within and tag != "script"


def test_hostile_prompts_stay_data_and_name_no_file(tmp_path: Path) -> None:
    shown = group(tmp_path, HOSTILE, {"original": HOSTILE, "sft": [f"{text} more" for text in HOSTILE]})
    content = collect.collect([shown], tmp_path / "gallery", CONFIG)
    page.write(tmp_path / "gallery", content, ["a note </p><script>"])
    html = (tmp_path / "gallery/index.html").read_text()
    read = Reader(html)
    assert read.scripts == [{"type": "application/json", "id": "data"}, {"src": "player.js"}, {"src": "gallery.js"}]
    assert "img" not in read.tags and json.loads(read.data) == content
    assert "script-src 'self'" in html and "unsafe" not in html and "http" not in html.replace("http-equiv", "")
    names = {path.name for path in (tmp_path / "gallery/videos").iterdir()}
    assert all(re.fullmatch(r"[0-9a-f]{16}\.mp4", name) for name in names)
    assert {cell["file"] for row in content["rows"] for cell in row["cells"]} == names


def test_what_is_said_of_the_numbers(made) -> None:
    _, content, _ = made
    paper, laptop = collect.notes(content, "paper"), collect.notes(content, "laptop")
    assert not any(LAPTOP in note for note in paper) and any(LAPTOP in note for note in laptop)
    assert any("the first of up to 2 seeds" in note for note in paper)


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((32, 32), Size(128, 384), (128, 128)),
        ((30, 50), Size(64, 384), (90, 150)),
        ((480, 720), Size(128, 384), (256, 384)),
        ((33, 201), Size(16, 400), (34, 202)),
        ((10, 1000), Size(128, 384), (10, 1000)),
    ],
)
def test_copies_are_enlarged_by_whole_factors_and_shrunk_to_the_limit(shape, size: Size, expected) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), "uint8")
    made = fitted(frames, size)
    assert made.shape == (2, *expected, 3)
    if expected == (128, 128):
        assert (made[:, ::4, ::4] == frames).all() and (made[:, 3::4, 3::4] == frames).all()


def test_a_copy_of_an_image_and_a_poster(tmp_path: Path) -> None:
    from PIL import Image

    frames = np.full((1, 32, 32, 3), (200, 30, 30), "uint8")
    write_copy(Clip(frames, 0.0), "image", tmp_path / "a.jpg", Size(64, 128))
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (64, 64) and image.format == "JPEG"
    assert len(poster(Clip(frames.repeat(3, 0), 8.0), 16)) < 2000
