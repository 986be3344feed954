"""One dimension judged by a stand-in for the vbench package, which needs an environment of its own."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from promptavideo.errors import InputError, ScoreError
from promptavideo.vbench.evaluate import (
    Judged,
    Result,
    average_of,
    check_average,
    evaluate,
    read_result,
    write_result,
)
from promptavideo.vbench.listing import Listing, Mode, Video

FRAMES = 5
VARIABLES = (
    "VBENCH_CACHE_DIR",
    "TORCH_HOME",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD",
)


def mean(values: Sequence[float]) -> float:
    """As `color` and others average: nothing at all is a ZeroDivisionError."""
    return sum(values) / len(values)


def frame_mean(values: Sequence[float]) -> float:
    """As `subject_consistency` does."""
    return sum(value * (FRAMES - 1) for value in values) / sum(FRAMES - 1 for _ in values)


class Package:
    """Stands in for vbench 0.1.5: finds videos by their names, gives those of `values` their value, writes its file."""

    def __init__(self, values: Mapping[str, float], average: Callable[[Sequence[float]], float] = mean) -> None:
        self.values, self.average = values, average
        self.asked: dict[str, Any] = {}
        self.prompts: list[dict[str, Any]] = []
        self.device: object = None
        self.seen: dict[str, Path] = {}
        """What the links led to, by their names."""

    def open(self, device: object, full_info_dir: str, output_path: str) -> "Package":
        self.device, self.output = device, Path(output_path)
        self.prompts = json.loads(Path(full_info_dir).read_text(encoding="utf-8"))
        return self

    def evaluate(
        self,
        videos_path: str,
        name: str,
        prompt_list: Mapping[str, str] | Sequence[str] = (),
        dimension_list: Sequence[str] = (),
        local: bool = False,
        mode: str = "vbench_standard",
    ) -> None:
        self.asked = {"videos_path": videos_path, "prompt_list": prompt_list, "local": local, "mode": mode}
        (dimension,) = dimension_list
        found = [path.name for path in Path(videos_path).iterdir()]
        self.seen = {file: Path(videos_path, file).resolve(strict=True) for file in found}
        if mode == "custom_input":
            assert set(found) <= set(prompt_list)
        else:
            judged = [prompt["prompt_en"] for prompt in self.prompts if dimension in prompt["dimension"]]
            wanted = [f"{prompt}-{number}.mp4" for prompt in judged for number in range(5)]
            found = [file for file in wanted if file in found]
        results: list[dict[str, Any]] = [
            {"video_path": f"{videos_path}/{file}", "video_results": self.values[file]}
            for file in found
            if file in self.values
        ]
        average = self.average([result["video_results"] for result in results])
        content = json.dumps({dimension: [average, results]}, indent=4)
        (self.output / f"{name}_eval_results.json").write_text(content, encoding="utf-8")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code under test sets is set back."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "before")


Judge = Callable[..., Result]


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Evaluates a listing by a stand-in."""
    info = tmp_path / "site" / "vbench-0.1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vbench\nVersion: 0.1.5\n")
    monkeypatch.syspath_prepend(info.parent)

    def run(
        package: Package | None,
        dimension: str,
        listing: Listing,
        videos: Sequence[Video] | None = None,
        device: str = "cpu",
    ) -> Result:
        module = ModuleType("vbench")
        if package:
            module.VBench = package.open  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "vbench", module if package else None)
        folder = tmp_path / "videos"
        folder.mkdir()
        for video in listing.videos:
            (folder / video.file).write_bytes(b"video")
        chosen = [replace(one, video=str(folder / one.file)) for one in (listing.videos if videos is None else videos)]
        return evaluate(dimension, listing, chosen, tmp_path / "cache", device)

    return run


def listed(
    dimension: str,
    prompts: Sequence[str] = ("a red ball", "a box", "a dog"),
    mode: Mode = "standard",
    replicates: int = 1,
) -> Listing:
    """Rows 10, 11, ... of a list, all judged for one dimension, the first with something said about it."""
    videos = [
        Video(
            row=10 + place,
            prompt_id=f"p{place}",
            prompt=prompt,
            replicate=replicate,
            file=f"{prompt if mode == 'standard' else f'p{place}'}-{replicate}.mp4",
            video="",
            key=f"k{place}{replicate}",
            dimensions=(dimension,),
            auxiliary_info={dimension: {"said": "red"}} if mode == "standard" and place == 0 else None,
        )
        for place, prompt in enumerate(prompts)
        for replicate in range(replicates)
    ]
    return Listing(mode, FRAMES, 8.0, 16, 16, tuple(videos))


VALUES = {"a red ball-0.mp4": 0.25, "a box-0.mp4": 0.5, "a dog-0.mp4": 1.0}


def test_each_video_gets_the_result_of_its_name(judge: Judge) -> None:
    package = Package({"a dog-0.mp4": 0.1, "a dog-1.mp4": 0.2, "a box-0.mp4": 0.3, "a box-1.mp4": 0.4})
    result = judge(package, "temporal_flickering", listed("temporal_flickering", ["a box", "a dog"], replicates=2))
    assert result.judged == (
        Judged(10, "p0", 0, "k00", 0.3, 1),
        Judged(10, "p0", 1, "k01", 0.4, 1),
        Judged(11, "p1", 0, "k10", 0.1, 1),
        Judged(11, "p1", 1, "k11", 0.2, 1),
    )
    assert result.dimension == "temporal_flickering" and result.average == pytest.approx(0.25)
    assert result.versions["vbench"] == "0.1.5" and result.versions["torch"] == version("torch")
    assert result.versions.keys() == {"vbench", "torch", "numpy"}
    assert result.device and result.seconds > 0


def test_vbench_is_told_of_its_own_prompts_only_what_is_judged(judge: Judge, tmp_path: Path) -> None:
    package, listing = Package(VALUES), listed("object_class")
    result = judge(package, "object_class", listing, listing.videos[:2])
    assert package.prompts == [
        {"prompt_en": "a red ball", "dimension": ["object_class"], "auxiliary_info": {"object_class": {"said": "red"}}},
        {"prompt_en": "a box", "dimension": ["object_class"]},
    ]
    assert (package.asked["mode"], package.asked["local"]) == ("vbench_standard", True)
    assert package.seen == {file: tmp_path / "videos" / file for file in ("a red ball-0.mp4", "a box-0.mp4")}
    assert not Path(package.asked["videos_path"]).exists()
    assert [one.value for one in result.judged] == [0.25, 0.5]


def test_other_prompts_are_told_by_file_and_are_no_file_names(judge: Judge) -> None:
    prompts = ["../../x", "$(rm -rf /)", "a dog"]
    package = Package({"p2-0.mp4": 0.5, "p0-0.mp4": 0.0, "p1-0.mp4": 1.0})
    result = judge(package, "motion_smoothness", listed("motion_smoothness", prompts, mode="custom"))
    assert package.asked["mode"] == "custom_input"
    assert package.asked["prompt_list"] == {"p0-0.mp4": "../../x", "p1-0.mp4": "$(rm -rf /)", "p2-0.mp4": "a dog"}
    assert [(one.prompt_id, one.value) for one in result.judged] == [("p0", 0.0), ("p1", 1.0), ("p2", 0.5)]


@pytest.mark.parametrize(
    ("device", "gpu", "chosen"), [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu")]
)
def test_the_device_is_the_one_asked_for_or_the_first_there(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, device: str, gpu: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    package = Package(VALUES)
    result = judge(package, "temporal_flickering", listed("temporal_flickering"), device=device)
    assert package.device == torch.device(chosen)
    assert (result.device == "a GPU") == (chosen == "cuda")


def test_imaging_quality_is_brought_to_the_scale_of_its_average(judge: Judge) -> None:
    package = Package({name: 100 * value for name, value in VALUES.items()}, lambda values: mean(values) / 100)
    result = judge(package, "imaging_quality", listed("imaging_quality"))
    assert [one.value for one in result.judged] == pytest.approx([0.25, 0.5, 1.0])
    assert result.average == pytest.approx(1.75 / 3)


@pytest.mark.parametrize("dimension", ["dynamic_degree", "human_action"])
def test_a_yes_or_no_counts_as_one_or_nought(judge: Judge, dimension: str) -> None:
    package = Package({"a red ball-0.mp4": True, "a box-0.mp4": False, "a dog-0.mp4": True})
    result = judge(package, dimension, listed(dimension))
    assert [one.value for one in result.judged] == [1.0, 0.0, 1.0]
    assert all(isinstance(one.value, float) for one in result.judged)
    assert result.average == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("dimension", "weight", "average"),
    [("subject_consistency", 4, frame_mean), ("background_consistency", 4, frame_mean), ("appearance_style", 5, mean)],
)
def test_videos_count_by_their_frames_where_vbench_averages_over_them(
    judge: Judge, dimension: str, weight: int, average: Callable[[Sequence[float]], float]
) -> None:
    result = judge(Package(VALUES, average), dimension, listed(dimension))
    assert [one.weight for one in result.judged] == [weight] * 3
    assert average_of(result.judged) == pytest.approx(result.average)


def test_a_video_without_anything_of_a_colour_has_no_value(judge: Judge) -> None:
    result = judge(Package({"a red ball-0.mp4": 0.0, "a dog-0.mp4": 1.0}), "color", listed("color"))
    assert [one.value for one in result.judged] == [0.0, None, 1.0]
    assert result.average == 0.5


def test_a_shard_in_which_no_video_has_anything_of_a_colour_is_no_error(judge: Judge) -> None:
    result = judge(Package({}), "color", listed("color"))
    assert [one.value for one in result.judged] == [None] * 3
    assert result.average is None


def test_a_division_by_zero_elsewhere_is_an_error(judge: Judge) -> None:
    with pytest.raises(ZeroDivisionError):
        judge(Package({}), "scene", listed("scene"))


@pytest.mark.parametrize("dimension", ["temporal_flickering", "imaging_quality", "object_class"])
def test_a_video_that_vbench_left_out_is_named(judge: Judge, dimension: str) -> None:
    scale = 100.0 if dimension == "imaging_quality" else 1.0
    package = Package({"a red ball-0.mp4": 0.5 * scale}, lambda values: mean(values) / scale)
    with pytest.raises(ScoreError, match=rf"{dimension}: VBench left out 2 of 3 videos, first 'a box-0\.mp4'"):
        judge(package, dimension, listed(dimension))


def test_videos_that_vbench_cannot_read_at_all_are_named(judge: Judge) -> None:
    package = Package({}, lambda _: math.nan)  # as numpy averages nothing
    with pytest.raises(ScoreError, match=r"left out 3 of 3 videos, first 'a red ball-0\.mp4'"):
        judge(package, "temporal_flickering", listed("temporal_flickering"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("dimension", ["temporal_flickering", "color"])
def test_a_result_that_is_no_number_names_the_video(judge: Judge, dimension: str, value: float) -> None:
    with pytest.raises(ScoreError, match=rf"{dimension}: VBench gives {value} for 'a box-0\.mp4'"):
        judge(Package(VALUES | {"a box-0.mp4": value}), dimension, listed(dimension))


@pytest.mark.parametrize("average", [0.6, math.nan, 0.5833])
def test_an_average_that_does_not_follow_from_the_results_is_an_error(judge: Judge, average: float) -> None:
    with pytest.raises(
        ScoreError, match=rf"VBench's average is {average}, but its results of single videos give 0\.58333"
    ):
        judge(Package(VALUES, lambda _: average), "temporal_flickering", listed("temporal_flickering"))


def test_an_average_over_frames_weighs_by_frames() -> None:
    judged = [Judged(0, "a", 0, "k0", 0.5, 1), Judged(1, "b", 0, "k1", 1.0, 3), Judged(2, "c", 0, "k2", None, 9)]
    assert average_of(judged) == pytest.approx((0.5 + 3 * 1.0) / 4)
    assert average_of(judged[2:]) is None
    check_average("color", 0.875, judged)
    check_average("color", None, judged[2:])
    for wrong in (0.75, None):
        with pytest.raises(ScoreError, match=r"color: VBench's average is"):
            check_average("color", wrong, judged)
    with pytest.raises(ScoreError, match=r"color: VBench's average is 0\.0, .* give None"):
        check_average("color", 0.0, judged[2:])


def test_a_missing_library_of_one_dimension_is_told(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def unimplemented(*_: object, **__: object) -> None:
        raise NotImplementedError("UnImplemented dimension color!, No module named 'detectron2'")

    package = Package(VALUES)
    monkeypatch.setattr(package, "evaluate", unimplemented)
    with pytest.raises(InputError, match=r"VBench's color cannot be imported .*No module named 'detectron2'"):
        judge(package, "color", listed("color"))


def test_nothing_is_imported_for_an_empty_shard(judge: Judge) -> None:
    result = judge(None, "temporal_flickering", listed("temporal_flickering"), [])
    assert (result.average, result.judged) == (None, ())


def test_an_environment_without_vbench_is_told_what_to_do(judge: Judge) -> None:
    with pytest.raises(InputError, match=r"the vbench package cannot be imported \(.*\); run with conda.*make"):
        judge(None, "temporal_flickering", listed("temporal_flickering"))


def test_vbench_is_imported_with_everything_pointing_to_the_staged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # VBench and huggingface_hub read these once, as they are imported.
    (tmp_path / "vbench.py").write_text("import json, os\nraise ImportError(json.dumps(dict(os.environ)))\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "vbench", raising=False)
    monkeypatch.chdir(tmp_path)
    listing = listed("temporal_flickering")
    with pytest.raises(InputError) as caught:
        evaluate("temporal_flickering", listing, listing.videos, Path("cache"), "cpu")
    seen = json.loads(str(caught.value.__cause__))
    assert {name: seen[name] for name in VARIABLES} == {
        "VBENCH_CACHE_DIR": str(tmp_path / "cache"),
        "TORCH_HOME": str(tmp_path / "cache" / "torch"),
        "HF_HOME": str(tmp_path / "cache" / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
    }


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    judged = (Judged(3, "p3", 0, "k3", 0.1 + 0.2, 4), Judged(5, "p5", 1, "k5", None, 4))
    result = Result("color", 0.1 + 0.2, judged, {"vbench": "0.1.5"}, "a GPU", 1.5)
    for one in (result, Result("color", None, (), {}, "a GPU", 0.0)):
        write_result(one, tmp_path / "0000.json")
        assert read_result(tmp_path / "0000.json") == one


@pytest.mark.parametrize("content", [None, "", "{}", '{"dimension": "color", "average": 1}'])
def test_a_file_that_is_no_result_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "0000.json").write_text(content)
    with pytest.raises(InputError, match=r"(?s)0000\.json: .*no result of VBench"):
        read_result(tmp_path / "0000.json")
