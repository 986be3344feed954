import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from promptavideo.errors import InputError
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.generators.diffusers_config import DiffusersConfig
from promptavideo.models import LocalModel, fetch
from promptavideo.shots import Shot
from promptavideo.video import Clip

TEXTS = ("a red ball", "a blue ball", "a green box", "a red box", "a ball", "a blue box", "a green ball")
SAMPLING: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "video_length": 8,
    "clean_caption": False,
    "num_inference_steps": 2,
    "guidance_scale": 3.0,
}


def configure(**fields: Any) -> DiffusersConfig:
    given = {
        "kind": "diffusers",
        "pipeline": "LattePipeline",
        "model": "mini",
        "dtype": "float32",
        "device": "cpu",
        "batch_size": 4,
        "fps": 8.0,
        "sampling": SAMPLING,
        "seconds_per_video": 1.0,
    }
    return DiffusersConfig.model_validate({**given, **fields})


@pytest.fixture(scope="module")
def generator(miniature: Path) -> DiffusersGenerator:
    return DiffusersGenerator(configure(), miniature)


def film(generator: DiffusersGenerator, work: list[tuple[str, int]]) -> list[Clip]:
    """Film any number of (text, seed), a batch at a time."""
    clips: list[Clip] = []
    for start in range(0, len(work), generator.batch_size):
        clips += generator.film([Shot(text, None, seed) for text, seed in work[start : start + generator.batch_size]])
    return clips


def equal(one: Clip, two: Clip) -> bool:
    return np.array_equal(one.frames, two.frames)


def test_latte_reads_as_many_tokens_as_its_code_says(miniature: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = DiffusersGenerator(configure(), miniature)
    asked, tokenizer = list[int](), type(generator._pipeline.tokenizer)
    call = tokenizer.__call__

    def spy(self: Any, *texts: Any, **options: Any) -> Any:
        asked.append(options.get("max_length", 0))
        return call(self, *texts, **options)

    monkeypatch.setattr(tokenizer, "__call__", spy)
    generator.film([Shot("a red ball", None, 1)])
    assert generator.reads_tokens == 120 and 120 in asked


class TestFilm:
    def test_a_clip_depends_on_its_text_and_seed_only(self, generator: DiffusersGenerator) -> None:
        work = [(text, 10 + place) for place, text in enumerate(TEXTS)]
        clips = film(generator, work)
        assert all(equal(one, two) for one, two in zip(clips, film(generator, work[::-1])[::-1], strict=True))
        for place in (0, 3, 6):
            assert equal(clips[place], *film(generator, [work[place]]))
        assert equal(clips[5], film(generator, [("a box", 1), work[5], ("a box", 2)])[1])

    def test_shape_kind_and_rate(self, generator: DiffusersGenerator) -> None:
        (clip,) = generator.film([Shot("a red ball", None, 1)])
        assert (clip.frames.shape, clip.frames.dtype, clip.fps) == ((8, 32, 32, 3), np.uint8, 8.0)
        assert clip.frames.std() > 0

    def test_text_seed_negative_prompt_and_settings_each_matter(self, miniature: Path) -> None:
        def first(text: str = "a red ball", seed: int = 1, **fields: Any) -> Clip:
            return DiffusersGenerator(configure(**fields), miniature).film([Shot(text, None, seed)])[0]

        plain = first()
        others = [
            first(seed=2),
            first(text="a blue box"),
            first(negative_prompt="a green box"),
            first(sampling={**SAMPLING, "guidance_scale": 9.0}),
            first(sampling={**SAMPLING, "num_inference_steps": 3}),
        ]
        assert equal(plain, first())
        assert not any(equal(plain, other) for other in others)

    def test_the_pipeline_runs_in_the_configured_type(self, miniature: Path) -> None:
        brief = configure(dtype="bfloat16", sampling={**SAMPLING, "num_inference_steps": 1})  # it may be emulated
        generator = DiffusersGenerator(brief, miniature)
        assert generator._pipeline.transformer.dtype == torch.bfloat16
        assert generator.film([Shot("a red ball", None, 1)])[0].frames.shape == (8, 32, 32, 3)


@pytest.fixture(scope="module")
def other_model(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with another scheduler setting: another model."""
    folder = tmp_path_factory.mktemp("other")
    for path in miniature.rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            copy = folder / "source" / path.relative_to(miniature)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    config = folder / "source" / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "shift": 1.5}))
    fetch("mini", LocalModel(kind="local", path=str(folder / "source")), folder / "model", {})
    return folder / "model"


class TestKey:
    @pytest.fixture
    def key(self, miniature: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
        import diffusers

        class Unloaded:
            """Stands in for the pipeline: a key needs none."""

            components: ClassVar[dict[str, object]] = {}

            def to(self, device: str) -> "Unloaded":
                return self

            def set_progress_bar_config(self, **settings: object) -> None:
                pass

        unloaded = type("LattePipeline", (Unloaded,), {})
        monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", lambda *_, **__: unloaded())

        def make(text: str = "a red ball", seed: int = 1, folder: Path = miniature, **fields: Any) -> str:
            return DiffusersGenerator(configure(**fields), folder).key(Shot(text, None, seed))

        return make

    def test_changes_with_all_that_decides_the_video(self, key: Callable[..., str], other_model: Path) -> None:
        keys = [
            key(),
            key(text="a red ball "),
            key(seed=2),
            key(folder=other_model),
            key(sampling={**SAMPLING, "num_inference_steps": 3}),
            key(sampling={**SAMPLING, "guidance_scale": 5.0}),
            key(negative_prompt="blurry"),
            key(dtype="bfloat16"),
            key(threads=2),
            key(batch_size=3),
            key(fps=16.0),
            key(crf=20),
            key(pixel_format="yuv444p"),
        ]
        assert len(set(keys)) == len(keys)
        assert all(len(name) == 32 and int(name, 16) for name in keys)

    def test_stays_when_only_the_work_is_planned_otherwise(self, key: Callable[..., str]) -> None:
        shuffled = dict(reversed(SAMPLING.items()))
        same = [key(seconds_per_video=9.0), key(device="auto"), key(model="renamed"), key(sampling=shuffled)]
        assert set(same) == {key()}

    def test_texts_and_seeds_cannot_be_mistaken_for_each_other(self, key: Callable[..., str]) -> None:
        assert len({key(text="a", seed=11), key(text="a1", seed=1), key(text="a, 1", seed=1)}) == 3
        assert key(text="é") != key(text="e\u0301")


class TestLoad:
    def test_the_registry_gives_a_generator(self, miniature: Path) -> None:
        generator = configure().load("mini", [miniature], None)
        assert (generator.batch_size, generator.crf, generator.pixel_format) == (4, 12, "yuv420p")

    def test_another_pipeline_than_configured_is_refused(self, miniature: Path) -> None:
        with pytest.raises(InputError, match="holds a LattePipeline, but the configuration says CogVideoXPipeline"):
            DiffusersGenerator(configure(pipeline="CogVideoXPipeline"), miniature)

    def test_a_folder_without_a_manifest_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"no manifest\.json"):
            DiffusersGenerator(configure(), tmp_path)

    @pytest.mark.parametrize(
        ("index", "words"),
        [(None, "cannot be loaded"), ("{", "cannot be loaded"), ('{"_class_name": "NoPipeline"}', "cannot be loaded")],
    )
    def test_what_is_no_pipeline_is_refused(self, tmp_path: Path, index: str | None, words: str) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "model.safetensors").write_bytes(b"weights")
        if index is not None:
            (source / "model_index.json").write_text(index)
        fetch("broken", LocalModel(kind="local", path=str(source)), tmp_path / "broken", {})
        with pytest.raises(InputError, match=words):
            DiffusersGenerator(configure(), tmp_path / "broken")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
    def test_a_required_gpu_that_is_missing_is_named(self, miniature: Path) -> None:
        with pytest.raises(InputError, match=r"device of the generator of .*: cuda needs a GPU.*; run on one"):
            DiffusersGenerator(configure(device="cuda"), miniature)

    def test_an_argument_that_the_pipeline_refuses_is_named(self, miniature: Path) -> None:
        generator = DiffusersGenerator(configure(sampling={**SAMPLING, "height": 33}), miniature)
        with pytest.raises(InputError, match=r"LattePipeline.*divisible by 8"):
            generator.film([Shot("a red ball", None, 1)])

    @pytest.mark.parametrize(
        "fields",
        [{"pipeline": "os.system"}, {"batch_size": 0}, {"fps": 0.0}, {"crf": 52}, {"dtype": "int8"}, {"stpes": 1}],
    )
    def test_unusable_settings_are_refused(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(fields))):
            configure(**fields)
