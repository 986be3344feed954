"""Images in place of videos: files, the store, pipelines of three families of encoders, and commands."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_images
import yaml
from fakes import deep_png, prompts_table
from makers import FAST, RAW, diffusers_config
from PIL import Image
from workspaces import merged

from promptavideo.comparisons import comparisons
from promptavideo.config import check
from promptavideo.convergence import Stage, convergence_table
from promptavideo.errors import InputError, ScoreError
from promptavideo.filming import film_shard
from promptavideo.generators.base import Generator
from promptavideo.generators.command import CommandConfig, CommandGenerator
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.generators.diffusers_config import DiffusersConfig, check_pipeline
from promptavideo.metrics import PAPER, VIDEOSCORE
from promptavideo.models import LocalModel, fetch
from promptavideo.picture import read_image, write_image
from promptavideo.price import Price
from promptavideo.results import store_of
from promptavideo.settings import lay
from promptavideo.shots import Shot
from promptavideo.store import BlackError, Store, VideoFile, read_manifest
from promptavideo.study import Study
from promptavideo.tables import Arm, Columns
from promptavideo.video import Clip, nothing

ROOT = Path(__file__).parents[1]
MAKERS: dict[str, tuple[Callable[[Path], Path], dict[str, Any], int]] = {
    "clip": (tiny_images.tiny_stable_diffusion, tiny_images.STABLE_DIFFUSION, 77),
    "t5": (tiny_images.tiny_pixart, tiny_images.PIXART, 8),
    "both": (tiny_images.tiny_flux, tiny_images.FLUX, 8),
}


def image(seed: int = 0, height: int = 24, width: int = 31) -> Clip:
    return Clip(np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8), 0.0)


# --- files ---


def test_an_image_is_written_without_loss_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_image(image(), tmp_path / f"{name}.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    again = read_image(tmp_path / "one.png")
    assert np.array_equal(again.frames, image().frames) and again.fps == 0
    with pytest.raises(ScoreError, match=r"\[2, 8, 8, 3\] is no image of one frame"):
        write_image(Clip(np.zeros((2, 8, 8, 3), np.uint8), 8.0), tmp_path / "clip.png")
    with pytest.raises(ScoreError, match="is no image of one frame"):
        write_image(Clip(np.zeros((1, 0, 0, 3), np.uint8), 0.0), tmp_path / "empty.png")
    assert not (tmp_path / "clip.png").exists() and not (tmp_path / "empty.png").exists()


@pytest.mark.parametrize("mode", ["L", "P"])
def test_gray_and_palettes_become_rgb(tmp_path: Path, mode: str) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (8, 9), dtype=np.uint8)
    made = Image.fromarray(gray)
    (made if mode == "L" else made.convert("P")).save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png").frames[0], np.repeat(gray[..., None], 3, axis=2))


def _cut(path: Path) -> None:
    write_image(image(), path)
    path.write_bytes(path.read_bytes()[:-200])


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (_cut, "cannot be decoded"),
    "text": (lambda path: path.write_text("no image"), "cannot be decoded"),
    "absent": (lambda path: None, "cannot be decoded"),
    "16 bits": (lambda path: Image.fromarray(np.zeros((4, 4), np.uint16)).save(path), "mode I;16, not 8-bit RGB"),
    "16 bits of colour": (lambda path: path.write_bytes(deep_png(4, 4)), "mode RGB;16B, not 8-bit RGB"),
    "cmyk": (lambda path: Image.new("CMYK", (4, 4)).save(path, format="TIFF"), "mode CMYK, not 8-bit RGB"),
    "transparent": (lambda path: Image.new("RGBA", (4, 4)).save(path), "mode RGBA, not 8-bit RGB"),
    "huge": (lambda path: Image.new("L", (9000, 9000)).save(path), "9000 x 9000 pixels are more than"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_plain_image_is_refused(tmp_path: Path, case: str) -> None:
    make, words = BROKEN[case]
    make(tmp_path / "x.png")
    with pytest.raises(ScoreError, match=words):
        read_image(tmp_path / "x.png")


def test_only_the_forms_that_are_asked_for_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "x.bmp")
    assert read_image(tmp_path / "x.bmp").frames.shape == (1, 4, 4, 3)
    with pytest.raises(ScoreError, match="cannot be decoded"):
        read_image(tmp_path / "x.bmp", formats=("PNG",))


# --- the store ---


def test_the_store_keeps_images_as_png(tmp_path: Path) -> None:
    store = Store(tmp_path, "images", "image")
    stored = store.put("0123abcd", image(), crf=12, pixel_format="yuv420p")
    assert store.video("0123abcd").relative_to(store.folder).as_posix() == "images/01/0123abcd.png"
    assert store.find("0123abcd") == stored and (stored.frames, stored.fps) == (1, 0.0)
    assert store.unnamed([]) == [store.video("0123abcd")]
    store.video("0123abcd").write_bytes(b"damaged")
    assert store.find("0123abcd") is None and not store.video("0123abcd").exists()
    with pytest.raises(BlackError, match="the image is wholly black"):
        store.put("black", Clip(np.zeros((1, 8, 8, 3), np.uint8), 0.0), crf=12, pixel_format="yuv420p")
    assert nothing(Clip(np.full((1, 8, 8, 3), 99, np.uint8), 0.0)) == "of one colour"


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    write_image(image(), tmp_path / "made.png")
    with pytest.raises(InputError, match="width 31, not 32"):
        Store(tmp_path, "images", "image").put("00", VideoFile(tmp_path / "made.png", 32, 24), 12, "yuv420p")


# --- pipelines ---


def configure(entry: dict[str, Any], **fields: Any) -> DiffusersConfig:
    return diffusers_config(**{"medium": "image", "fps": None, **entry, **fields})


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name, (make, _, _) in MAKERS.items():
        folder = tmp_path_factory.mktemp(name)
        fetch(name, LocalModel(kind="local", path=str(make(folder / "source"))), folder / name, {})
        folders[name] = folder / name
    return folders


@pytest.mark.parametrize("name", MAKERS)
def test_a_pipeline_makes_images_by_configuration_alone(fetched: dict[str, Path], name: str) -> None:
    _, entry, reads = MAKERS[name]
    config = configure(entry)
    check_pipeline("generators.tiny", config)
    generator = DiffusersGenerator(config, fetched[name])
    one, two = generator.film([Shot("a red ball", None, 1), Shot("a blue box", None, 2)])
    assert one.frames.shape == (1, 32, 32, 3) and one.fps == 0 and one.frames.std() > 1
    (alone,) = generator.film([Shot("a blue box", None, 2)])
    assert np.array_equal(alone.frames, two.frames), "an image depends on no neighbour"
    others = [Shot("a blue box", None, 3), Shot("a red ball", None, 2)]
    assert not any(np.array_equal(clip.frames, two.frames) for clip in generator.film(others))
    assert generator.reads_tokens == reads
    texts = ["a red ball " * 50, "a", "a blue box, well lit"]
    counts = generator.count_tokens(texts)
    assert [generator.cuts(count) for count in counts] == [True, False, counts[2] > reads]
    alone = config.reader(fetched[name])  # without the pipeline
    assert alone and (alone.limit, [alone.count(text) for text in texts]) == (reads, counts)
    least = configure(entry, text_tokens=5).reader(fetched[name])
    assert least and (least.limit, least.count("a")) == (5, counts[1])


def test_how_a_video_is_written_is_no_part_of_an_images_key(fetched: dict[str, Path]) -> None:
    entry, shot = MAKERS["clip"][1], Shot("a", None, 1)
    keys = [DiffusersGenerator(configure(entry, **one), fetched["clip"]).key(shot) for one in ({}, {"crf": 30})]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ("pipeline", "medium", "words"),
    [
        ("StableDiffusionPipeline", "video", "gives images, nsfw_content_detected and no video; set medium: image"),
        ("CogVideoXPipeline", "image", "gives frames and no image; set medium: video"),
        ("StableDiffusionImg2ImgPipeline", "image", "needs image, which no configuration gives"),
        ("StableDiffusionXLInpaintPipeline", "image", "needs image, which no configuration gives"),
        ("AudioLDM2Pipeline", "image", "gives audios and no image"),
    ],
)
def test_a_pipeline_of_another_medium_is_refused(pipeline: str, medium: str, words: str) -> None:
    fps = 8.0 if medium == "video" else None
    with pytest.raises(InputError, match=rf"generators\.mine\.pipeline: {pipeline} {words}"):
        check_pipeline("generators.mine", configure({"pipeline": pipeline}, medium=medium, fps=fps))


@pytest.mark.parametrize(
    "pipeline",
    ["StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline",
     "PixArtSigmaPipeline", "SanaPipeline", "QwenImagePipeline"],
)  # fmt: skip
def test_the_pipelines_of_images_that_people_use_are_taken(pipeline: str) -> None:
    check_pipeline("generators.mine", configure({"pipeline": pipeline}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"fps": 8.0}, "images have no frame rate"), ({"medium": "video"}, "fps: is missing; videos have a frame rate")],
)
def test_only_videos_have_a_frame_rate(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        configure({"pipeline": "FluxPipeline"}, **fields)


# --- filming ---


class Noise(Generator):
    """Makes an image of each text's seed, and counts."""

    batch_size = 2

    def __init__(self, stop_after: int | None = None) -> None:
        self.made, self.stop_after = 0, stop_after

    def identity(self) -> dict[str, Any]:
        return {"noise": "image"}

    def film(self, shots: Any) -> Any:
        for shot in shots:
            if self.made == self.stop_after:
                raise InputError("killed")
            self.made += 1
            yield image(shot.seed)


def test_a_shard_that_was_killed_goes_on_with_the_next_image(tmp_path: Path) -> None:
    rows, store = prompts_table({"x": ["a", "b", "c", "d", "e"]}), Store(tmp_path, "noise", "image")
    manifest = tmp_path / "0000.jsonl"
    with pytest.raises(InputError, match="killed"):
        film_shard(rows, Noise(stop_after=3), store, manifest, "film")
    rest = Noise()
    film_shard(rows, rest, store, manifest, "film")
    assert rest.made == 2 and len(read_manifest(manifest)) == 5
    assert all((entry.frames, entry.fps) == (1, 0.0) for entry in read_manifest(manifest))


# --- commands ---

DRAW = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image

for line in Path(sys.argv[1]).read_text().splitlines():
    job = json.loads(line)
    pixels = np.random.default_rng(job["seed"]).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    made = Image.fromarray(pixels)
    if "CMYK" in job["text"]:
        made = made.convert("CMYK")
    made.save(Path(sys.argv[2]) / job["output"], format="TIFF" if made.mode == "CMYK" else "PNG")
"""


def command(folder: Path, **fields: Any) -> CommandConfig:
    (folder / "draw.py").write_text(DRAW)
    given = {
        "kind": "command", "command": [sys.executable, "{checkout}/draw.py", "{prompts}", "{output}"], "version": "1",
        "checkout": str(folder), "medium": "image", "width": 32, "height": 16, "batch_size": 3, "timeout_s": 60.0,
        "seconds_per_video": 1.0,
    }  # fmt: skip
    return CommandConfig.model_validate({**given, **fields})


def test_a_command_makes_images(tmp_path: Path) -> None:
    store, manifest = Store(tmp_path / "store", "own", "image"), tmp_path / "m.jsonl"
    generator = CommandGenerator(command(tmp_path), "generators.own", None, tmp_path / "work")
    rows = prompts_table({"x": ["a", "b", "c", "d"]})
    film_shard(rows, generator, store, manifest, "film")
    entries = read_manifest(manifest)
    assert len({entry.key for entry in entries}) == 4
    expected = np.random.default_rng(int(rows["seed"].iloc[0])).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    assert np.array_equal(store.read(entries[0], manifest).frames[0], expected)
    said = json.loads(store.circumstances(entries[0].key).read_text())
    assert said["text"] == "a"


def test_an_image_of_other_colours_or_size_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    store, manifest = Store(tmp_path / "store", "own", "image"), tmp_path / "m.jsonl"
    generator = CommandGenerator(command(tmp_path), "generators.own", None, tmp_path / "work")
    with pytest.raises(ScoreError, match="mode CMYK, not 8-bit RGB"):
        film_shard(prompts_table({"x": ["a", "in CMYK", "c"]}), generator, store, manifest, "film")
    assert len(store.unnamed([])) == 2
    wider = CommandGenerator(command(tmp_path, width=33), "generators.own", None, tmp_path / "work")
    with pytest.raises(InputError, match="width 32, not 33"):
        film_shard(prompts_table({"x": ["a"]}), wider, Store(tmp_path / "more", "own", "image"), manifest, "film")


@pytest.mark.parametrize("fields", [{"frames": 4}, {"medium": "video", "fps": 8.0}])
def test_only_videos_have_frames(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frames: belongs to videos"):
        command(tmp_path, **fields)


# --- tracks ---

IMAGES: dict[str, Any] = {
    "models": {"pictures": {"kind": "local", "path": "elsewhere"}},
    "generators": {
        "pictures": {
            "kind": "diffusers", "pipeline": "StableDiffusionPipeline", "model": "pictures", "medium": "image",
            "seconds_per_video": 1.0,
        }
    },
}  # fmt: skip


def study(*overlays: dict[str, Any]) -> Study:
    return Study(check(merged(RAW, IMAGES, *overlays), ROOT), ROOT)


class TestTracks:
    """A track that makes images, beside one of videos."""

    def test_are_rewarded_by_the_metrics_that_images_have(self) -> None:
        mixed = study()
        assert [one.name for one in mixed.objective("pictures")] == ["AES", "MPS"]
        assert [one.name for one in mixed.metrics("rewards", "pictures")] == ["AES", "MPS"]
        assert [one.name for one in mixed.objective("mini-t2v")] == ["VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"]
        (pixels,) = mixed.judging("rewards", "pictures").values()
        assert [one.name for one in pixels.filled] == ["AES", "MPS"] and pixels.medium == "image"
        assert mixed.looks_at_videos("rewards", "pictures")
        assert store_of(mixed, "pictures").medium == "image" and store_of(mixed, "mini-t2v").medium == "video"

    def test_are_not_looked_at_by_judges_of_videos(self) -> None:
        mixed = study()
        assert mixed.evaluation("pictures", "heldout", "original").judges == ("rewards", "fidelity")
        assert mixed.evaluation("mini-t2v", "heldout", "original").judges == ("rewards", "witness", "fidelity")
        assert not any(map(mixed.vbench.judged, mixed.evaluations("pictures")))
        assert any(map(mixed.vbench.judged, mixed.evaluations("mini-t2v")))

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (
                {
                    "objective": ["VQ", "TC"],
                    "judges": {"pixels": {"metrics": ["VQ", "TC"]}},
                    "evaluation": {"average": ["VQ"]},
                },
                "objective: pictures makes images, which have no VQ, TC; add AES, MPS or HPS",
            ),
            (
                {"evolution": {"thresholds": {"VQ": 2.0}}},
                "evolution.thresholds.VQ: pictures makes images, which have no VQ",
            ),
            (
                {"preference": {"best_worst": {"thresholds": {"DD": 2.0}}}},
                "preference.thresholds.DD: pictures makes images, which have no DD",
            ),
            (
                {"boosters": {"both": {"trainer": "sft", "tracks": ["mini-t2v", "pictures"]}}},
                "boosters.both.tracks: mini-t2v is rewarded by VQ, TC, DD, TVA, FC, AES, MPS, and pictures by AES, MPS",
            ),
        ],
    )
    def test_what_they_cannot_have_is_refused(self, more: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=re.escape(words)):
            study(more)

    def test_no_table_of_vbench_has_a_row_of_them(self) -> None:
        rows = comparisons(study())["vbench"].rows("tables")
        assert rows and {row.track for row in rows} == {"mini-t2v"}

    def test_convergence_is_told_of_them_without_a_dynamic_degree(self) -> None:
        columns = Columns(PAPER, [metric.name for metric in VIDEOSCORE])
        scores = pd.DataFrame({"prompt_id": ["p0", "p1"], "refined": "a", "candidate": 0, "replicate": 0})
        arms = [Arm("pictures", "heldout", name, scores.assign(AES_5=1.0 + place, MPS_5=3.0)) for place, name in
                enumerate(("original", "sft"))]  # fmt: skip
        table = convergence_table([Stage(arm, [], Price(0, 0.0, ()), 0) for arm in arms], FAST, columns)
        assert table["avg"].tolist() == [2.0, 2.5] and table["gain"].tolist()[1] == 0.5
        assert table[["VQ", "DD", "DD_gain"]].isna().all(axis=None)


SETS: dict[str, Any] = {
    "clips": {"prompts": "heldout", "medium": "video"},
    "stills": {"prompts": "heldout", "medium": "image", "replicates": 3},
}


def test_sets_of_a_medium_are_filmed_by_its_generators_alone() -> None:
    mixed = study({"evaluation": {"sets": SETS}})
    assert mixed.sets("mini-t2v") == ["heldout", "clips"] and mixed.sets("pictures") == ["heldout", "stills"]
    assert mixed.evaluation("pictures", "stills", "sft") in mixed.evaluations("pictures")
    tables = comparisons(mixed)
    for name in ("videoscore", "convergence"):
        rows = {(row.track, row.name.split("/")[1]) for row in tables[name].rows("tables")}
        assert rows == {(track, one) for track in mixed.tracks for one in mixed.sets(track)}, name


def test_a_medium_without_a_set_is_named() -> None:
    with pytest.raises(InputError, match=r"evaluation\.sets: one set of images at least must be scored by the rewards"):
        study({"evaluation": {"sets": {"heldout": {"medium": "video"}}}})
    with pytest.raises(InputError, match=r"evaluation\.sets\.heldout\.vbench: VBench judges videos"):
        study({"evaluation": {"sets": SETS | {"heldout": {"medium": "image"}}}})


def test_a_judge_of_videos_that_is_asked_about_images_alone_is_refused() -> None:
    where = {"pictures": {"prompts": "heldout", "medium": "image"}}
    words = r"judges\.witness\.on: it looks at videos, and pictures is a set of images"
    with pytest.raises(InputError, match=words):
        study({"evaluation": {"sets": where}, "judges": {"witness": {"on": ["pictures"]}}})
    raw = merged(RAW, IMAGES, {"vbench": {"main": None}})
    del raw["generators"]["mini-t2v"]
    words = r"judges\.witness: looks at videos, and every generator makes images; take it out \(witness: null\)"
    with pytest.raises(InputError, match=words):
        check(raw, ROOT)
    del raw["judges"]["witness"]
    check(raw, ROOT)


def test_the_overlays_of_images_ask_for_their_generator_alone() -> None:
    overlays = {
        "mini-t2i": ("studies/images.yaml",),
        "sdxl": ("paper.yaml", "studies/images_paper.yaml"),
    }
    for track, files in overlays.items():
        layers = {file: yaml.safe_load((ROOT / file).read_text()) for file in ("config.yaml", *files)}
        planned = Study(check(lay(layers)[0], ROOT), ROOT)
        rows = comparisons(planned)["hpsv2"].rows("tables")
        assert {row.track for row in rows} == {track}
        refiners = planned.config.evaluation.compared(track)
        assert [row.source.refiner for row in rows] == refiners and "dpo-2" in refiners
        (foreign,) = (name for name in refiners if "/" in (planned.config.refiners[name].drawn_from or ""))
        writer = planned.writer(track, foreign)
        assert writer and planned.medium(writer.home) == "video"
        assert planned.readers(writer.tracks) == [f"results/{writer.home}/reader.json"]
        (styled,) = {row.source.set for row in rows}
        assert [name for name in planned.tracks if styled in planned.sets(name)] == [track]
