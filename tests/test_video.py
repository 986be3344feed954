"""Clips as files: what is written comes back, twice the same, and damage is told."""

import numpy as np
import pytest

from promptavideo.errors import ScoreError
from promptavideo.files import sha256
from promptavideo.miniature.world import QUALITIES, Scene, render
from promptavideo.video import Clip, read_video, write_video


@pytest.fixture
def clip() -> Clip:
    flaws = dict.fromkeys(QUALITIES, 0.3)
    return Clip(render(Scene("purple", "triangle", "up", "tiles", flaws), np.random.default_rng(7)), 8.0)


def test_a_lossless_clip_comes_back_with_its_rate(clip, tmp_path):
    write_video(clip, tmp_path / "a.mp4", crf=0, pixel_format="yuv444p")
    back = read_video(tmp_path / "a.mp4")
    assert back.fps == 8.0
    assert back.frames.shape == clip.frames.shape
    assert back.frames.dtype == np.uint8
    assert np.abs(back.frames.astype(int) - clip.frames).max() <= 4  # rounding between RGB and YCbCr


def test_full_chroma_keeps_the_colours_of_a_tiny_clip(clip, tmp_path):
    error = {}
    for pixel_format in ("yuv444p", "yuv420p"):
        write_video(clip, tmp_path / "a.mp4", pixel_format=pixel_format)
        error[pixel_format] = np.abs(read_video(tmp_path / "a.mp4").frames.astype(float) - clip.frames).mean()
    assert error["yuv444p"] < 3
    assert error["yuv444p"] < 0.8 * error["yuv420p"]


@pytest.mark.parametrize("fps", [8.0, 24.0, 30000 / 1001])
def test_frame_rates_survive(clip, tmp_path, fps):
    write_video(Clip(clip.frames, fps), tmp_path / "a.mp4")
    assert read_video(tmp_path / "a.mp4").fps == pytest.approx(fps)


def test_the_same_clip_gives_the_same_bytes_with_decodes_and_other_work_in_between(clip, tmp_path):
    rng = np.random.default_rng(0)
    digests = set()
    for attempt in range(12):
        path = tmp_path / f"{attempt}.mp4"
        write_video(clip, path)
        digests.add(sha256(path))
        read_video(path)
        other = Clip(rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8), 12.0)
        write_video(other, tmp_path / "other.mp4")
        read_video(tmp_path / "other.mp4")
    assert len(digests) == 1


def test_memory_layout_does_not_change_the_bytes(clip, tmp_path):
    write_video(clip, tmp_path / "a.mp4")
    write_video(Clip(np.asfortranarray(clip.frames), 8.0), tmp_path / "b.mp4")
    assert sha256(tmp_path / "a.mp4") == sha256(tmp_path / "b.mp4")


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(clip, tmp_path, kept):
    path = tmp_path / "a.mp4"
    write_video(clip, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ScoreError, match=r"a\.mp4"):
        read_video(path)


def test_no_cut_gives_a_shorter_or_other_clip_silently(clip, tmp_path):
    path = tmp_path / "a.mp4"
    write_video(clip, path)
    data, whole = path.read_bytes(), read_video(path).frames
    refused = 0
    for length in range(0, len(data), 101):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_video(path).frames, whole)  # only the closing metadata was cut
        except ScoreError:
            refused += 1
    assert refused > 0.9 * len(data) / 101


def test_lost_frames_are_an_error(clip, tmp_path):
    path = tmp_path / "a.mp4"
    write_video(clip, path)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    stop = data.index(b"moov") - 4
    data[start + (stop - start) // 2 : stop] = bytes(stop - start - (stop - start) // 2)
    path.write_bytes(bytes(data))
    with pytest.raises(ScoreError, match=r"a\.mp4"):
        read_video(path)


def test_what_is_no_video_is_an_error(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    for name in ("text.mp4", "missing.mp4"):
        with pytest.raises(ScoreError, match=name):
            read_video(tmp_path / name)


def test_a_failed_write_leaves_the_old_file_and_no_other(clip, tmp_path):
    path = tmp_path / "a.mp4"
    write_video(clip, path)
    before = sha256(path)
    with pytest.raises(Exception):  # noqa: B017 - an odd height cannot be 4:2:0; the encoder's error type is its own
        write_video(Clip(clip.frames[:, :31], 8.0), path)
    assert sha256(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]
