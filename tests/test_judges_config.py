"""Judges in the configuration: their models must be in the registry, and are fetched before anything is scored."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from makers import workspace

from promptavideo.config import check
from promptavideo.errors import InputError

ROOT = Path(__file__).parents[1]
MODELS: dict[str, Any] = {
    "videoscore": {"kind": "hub", "repo_id": "TIGER-Lab/VideoScore", "revision": "v1"},
    "clip-l": {"kind": "hub", "repo_id": "openai/clip-vit-large-patch14", "revision": "v1"},
    "clip-h": {"kind": "hub", "repo_id": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "revision": "v1", "weights": False},
    "mps": {"kind": "hub", "repo_id": "RE-N-Y/mpsv1", "revision": "v1"},
    "head": {"kind": "url", "url": "https://example.org/sa_0_4_vit_l_14_linear.pth", "sha256": "0" * 64},
}
REWARDS: dict[str, Any] = {
    "pixels": None,
    "videoscore": {"kind": "videoscore", "model": "videoscore"},
    "aes": {"kind": "aesthetic", "model": "clip-l", "head": "head"},
    "mps": {"kind": "mps", "model": "mps", "base": "clip-h"},
}


def raw(**changed: dict[str, Any]) -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["models"] |= MODELS
    config["judges"] = {name: entry | changed.get(name, {}) for name, entry in REWARDS.items() if entry}
    return config


def test_the_papers_rewards_are_a_configuration() -> None:
    config = check(raw(), ROOT)
    assert config.judges["mps"].models == ["mps", "clip-h"]
    assert config.judges["videoscore"].files == ["templates/videoscore.txt"]
    assert config.judges["aes"].files == []
    assert {one.key: one.value for one in config.judges["mps"].marked()} == {"model": "mps", "base": "clip-h"}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (
            {"videoscore": {"model": "nothing"}},
            "judges.videoscore.model: there is no 'nothing'; known are smollm2-135m",
        ),
        ({"aes": {"head": "nothing"}}, "judges.aes.head: there is no 'nothing'"),
        ({"mps": {"base": "nothing"}}, "judges.mps.base: there is no 'nothing'"),
        ({"aes": {"model": "mini-t2v"}}, "judges.aes.model: there is no 'mini-t2v'"),
        ({"mps": {"treshold": 0.1}}, "judges.mps.treshold: there is no such key"),
        ({"mps": {"kind": "hpsv3"}}, "judges.mps: Input tag 'hpsv3'"),
        ({"aes": {"kind": "pixels", "model": "x"}}, "judges.aes.model: there is no such key"),
    ],
)
def test_what_cannot_be_meant_is_named(changed: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        check(raw(**changed), ROOT)
    assert f"\n  {line}" in str(caught.value)


def test_each_metric_is_filled_once() -> None:
    config = raw()
    del config["judges"]["mps"]
    with pytest.raises(InputError, match="judges: MPS must be filled once, but is filled by none"):
        check(config, ROOT)
    config["judges"]["pixels"] = {"kind": "pixels"}
    with pytest.raises(InputError, match=r"VQ must be filled once, but is filled by judges.videoscore and judges.pix"):
        check(config, ROOT)


V11 = {"kind": "hub", "repo_id": "TIGER-Lab/VideoScore-v1.1", "revision": "v1"}
FOLDER = {"kind": "local", "path": "/models/judge"}
CACHED = {"kind": "local", "path": "/models--TIGER-Lab--VideoScore-v1.1/snapshots/0"}


@pytest.mark.parametrize(
    ("name", "model", "fields", "line"),
    [
        ("videoscore", V11, {}, "TIGER-Lab/VideoScore-v1.1 was trained with 48 frames; write 48"),
        ("judge", CACHED, {}, "/models--TIGER-Lab--VideoScore-v1.1/snapshots/0 was trained with 48 frames"),
        ("judge", MODELS["videoscore"], {"max_frames": 48}, "TIGER-Lab/VideoScore was trained with 16 frames"),
        ("videoscore-v1.1", FOLDER, {"max_frames": 16}, "/models/judge was trained with 48 frames"),
        ("judge", FOLDER, {}, "/models/judge is VideoScore v1 (write 16), v1.1 (48) or another?"),
        ("judge", V11, {"max_frames": 48}, None),
        ("judge", MODELS["videoscore"], {}, None),
        ("judge", FOLDER, {"max_frames": 24}, None),
        ("videoscore", FOLDER, {}, None),
    ],
)  # fmt: skip
def test_a_version_of_videoscore_under_any_name_gets_its_own_number_of_frames(
    name: str, model: dict[str, Any], fields: dict[str, Any], line: str | None
) -> None:
    config = raw(videoscore={"model": name, **fields})
    config["models"][name] = model
    if line is None:
        check(config, ROOT)
        return
    with pytest.raises(InputError) as caught:
        check(config, ROOT)
    assert f"judges.videoscore.max_frames: {line}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot be read"), ("Rate it", r"\$prompt is missing"), ("$prompt $frames", "unknown")]
)
def test_a_query_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    query = tmp_path / "query.txt"
    if text is not None:
        query.write_text(text)
    with pytest.raises(InputError, match=rf"judges.videoscore\.template: .*{words}"):
        check(raw(videoscore={"template": str(query)}), ROOT)


@pytest.mark.workflow
def test_models_are_fetched_before_anything_is_scored(tmp_path: Path) -> None:
    folder = workspace(tmp_path / "run")
    (folder / "mine.yaml").write_text(yaml.safe_dump({"models": MODELS, "judges": REWARDS}))
    name = "evaluation/heldout/original"
    target = f"results/mini-t2v/{name}/rewards/0001-of-0003.parquet"

    command = ["snakemake", "-n", "-p", "--quiet", "host", "--cores", "4", target]
    answer = subprocess.run(
        [*command, "--configfile", "config.yaml", "mine.yaml"],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    for model in MODELS:
        assert f"Fetch model {model}\n" in answer.stdout
    (score,) = (job for job in answer.stdout.split("\n\n") if f"Judge mini-t2v {name} by rewards, shard" in job)
    assert all(f"resources/models/{model}/manifest.json" in score for model in MODELS)
    assert f"python scripts/score.py mini-t2v {name} rewards 0001-of-0003 " in score
