"""Where a number comes from: code, models, settings, prompts, seeds and machine."""

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from promptavideo import hardware
from promptavideo.files import sha256
from promptavideo.models import check_model

PACKAGES = ("torch", "diffusers", "transformers", "trl", "peft", "opencv-python-headless", "scikit-image", "av")


def code_version(root: Path) -> str:
    """The commit of the checkout, with `-dirty` when tracked files differ from it; `unknown` outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()


def environment() -> dict[str, Any]:
    """Interpreter, libraries and processor of this machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"python": platform.python_version(), "packages": versions, "processor": hardware.processor()}


def model(folder: Path) -> dict[str, Any]:
    """Source, revision and digest of a fetched model."""
    manifest = check_model(folder)
    return {
        "name": manifest.name,
        "source": manifest.source,
        "revision": manifest.revision,
        "digest": manifest.digest,
    }


def row(
    arm: Mapping[str, str], scores: pd.DataFrame, prompts_file: Path, model_folder: Path, booster: Path | None
) -> dict[str, Any]:
    """The origin of one table row.

    Args:
        arm: Its generator, set and refiner.
        scores: The `schemas.SCORES` table behind it.
        prompts_file: The file its prompt set was read from.
        model_folder: The generator's model.
        booster: The folder of the booster behind the refiner, if it is one.
    """
    return {
        **arm,
        "videos": len(scores),
        "prompts": int(scores["prompt_id"].nunique()),
        "video_seeds": sorted(int(seed) for seed in scores["seed"].unique()),
        "prompts_file": {"path": str(prompts_file), "sha256": sha256(prompts_file)},
        "generator_model": model(model_folder),
        "booster": json.loads((booster / "booster.json").read_text(encoding="utf-8")) if booster else None,
    }
