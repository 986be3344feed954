"""Stand-ins under the paper's names are told at the paper's scale."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptavideo.config import check
from promptavideo.models import LocalModel, fetch
from promptavideo.provenance import model
from promptavideo.provenance import others as strangers
from promptavideo.published import others, sources_at
from promptavideo.settings import lay
from promptavideo.study import Study

ROOT = Path(__file__).parents[1]


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def paper() -> list[str]:
    return sources_at("paper", ROOT) or []


def row(name: str = "cogvideox-5b", /, **scores: Any) -> dict[str, Any]:
    return {"generator": name, "set": "webvid-test", "refiner": "dpo-2", "scores": scores}


def fetched(name: str, source: str, kind: str = "hub") -> dict[str, Any]:
    return {"name": name, "kind": kind, "source": source, "revision": "c0ffee", "digest": "d"}


def refined(
    refiner: str,
    generator: str = "cogvideox-5b",
    judges: tuple[str, ...] = (),
    filming: Sequence[dict[str, Any]] = (),
    changes: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """The record of an evaluation at the paper's scale, under some changes."""
    layers = {name: read(name) for name in ("config.yaml", "paper.yaml")}
    study = Study(check(lay({**layers, "changes": changes})[0], ROOT), ROOT)
    batch = study.batch(generator, f"evaluation/webvid-test/{refiner}")
    return row(generator, others=strangers(study, batch, judges, filming))


def test_the_papers_own_models_judges_and_endpoints_need_no_word(paper: list[str]) -> None:
    rows = [
        row(models=[fetched("cogvideox-5b", "THUDM/CogVideoX-5b"), fetched("videoscore", "TIGER-Lab/VideoScore")]),
        row(models=[fetched("under-another-name", "THUDM/CogVideoX-5b")]),
        {**row(), "booster": {"base_model": fetched("llama-3-8b-instruct", "meta-llama/Meta-Llama-3-8B-Instruct")}},
        {"source": "Prompt-A-Video (arXiv 2412.15156), Table 1", "file": "resources/paper/table1_videoscore.csv"},
        *(refined(name) for name in ("promptist", "glm-4", "original")),
        refined("gpt-4o", generator="open-sora-1.2"),
    ]
    assert others(rows, paper) == []


def test_a_folder_or_file_of_this_machine_may_hold_anything(paper: list[str], tmp_path: Path) -> None:
    gpt2 = {"kind": "local", "path": "stand-ins/gpt2", "weights": False}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/model.safetensors").write_bytes(b"weights")
    fetch("cogvideox-5b", LocalModel(kind="local", path=str(tmp_path / "tiny")), tmp_path / "cogvideox-5b", {})
    rows = [
        row(models=[model(tmp_path / "cogvideox-5b")]),
        row(models=[fetched("laion-aesthetic", "file:///data/head.pth", "url")]),
        row(checkpoints=[{"name": "clip-vit-l-14", "source": "file:///data/clip.pt"}]),
        {**row(), "booster": {"base_model": fetched("llama-3-8b-instruct", "/data/llama", "local")}},
        {**row(), "rewards": {"models": [fetched("videoscore", "/data/judge", "local")]}},
        {**row(), "reported": {"videoreward": {"models": [fetched("videoreward", "/data/judge", "local")]}}},
        refined("promptist", changes={"models": {"gpt2": gpt2}}),
    ]
    names = ["cogvideox-5b", "laion-aesthetic", "clip-vit-l-14", "llama-3-8b-instruct", "videoscore"]
    names += ["videoreward", "gpt2"]
    assert others(rows * 2, paper) == [f"{name} (from this machine)" for name in names]


def test_another_repository_or_endpoint_under_the_papers_name_is_told(paper: list[str]) -> None:
    local = {"operators": {"glm-4-refiner": {"base_url": "http://localhost:8000/v1", "model": "small"}}}
    rows = [row(models=[fetched("cogvideox-5b", "lab/tiny-random-cogvideox")]), refined("glm-4", changes=local)]
    assert others(rows, paper) == [
        "cogvideox-5b (lab/tiny-random-cogvideox)",
        "glm-4-refiner (small at http://localhost:8000/v1)",
    ]


def test_a_command_that_reports_no_weights_may_film_with_any(paper: list[str]) -> None:
    known = {"weights": {"hpcai-tech/OpenSora-STDiT-v3": "a" * 40}}
    assert others([refined("original", "open-sora-1.2", filming=(known,))], paper) == []
    silent: list[list[dict[str, Any]]] = [[{}], [{"weights": {}}], [known, {}]]
    for filming in silent:
        told = others([refined("original", "open-sora-1.2", filming=filming)], paper)
        assert told == ["open-sora-1.2 (whose command reports no weights)"]
    models = {"own": {"kind": "hub", "repo_id": "lab/own", "revision": "v1"}}
    registered = {"models": models, "generators": {"open-sora-1.2": {"model": "own"}}}
    record = refined("original", "open-sora-1.2", filming=[{}], changes=registered)
    record["scores"]["models"] = [fetched("own", "lab/own")]
    assert others([record], paper) == ["own (lab/own)"]


def test_measurements_are_no_judges_and_recombined_words_no_operators(paper: list[str]) -> None:
    changes = {
        "operators": {"words": {"kind": "recombine"}},
        "refiners": {"gpt-4o": {"operator": "words"}},
        "judges": {"videoscore": None, "aesthetic": None, "mps": None, "pixels": {"kind": "pixels"}},
    }
    record = refined("gpt-4o", "open-sora-1.2", judges=("pixels", "videoreward"), changes=changes)
    assert others([record], paper) == ["words (no model)", "pixels (no model)"]


def test_a_hosted_generator_is_told_by_its_endpoint(paper: list[str]) -> None:
    hosted = {
        "kind": "openai-video", "model": "sora-2", "base_url": "https://api.openai.com/v1", "size": "1280x720",
        "seconds": 4, "seconds_per_video": 90.0,
    }  # fmt: skip
    record = refined("original", "sora", changes={"generators": {"sora": hosted}})
    assert others([record], paper) == ["sora (sora-2 at https://api.openai.com/v1)"]
