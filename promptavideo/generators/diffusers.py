"""Any diffusers text-to-video pipeline, by configuration alone."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.generators.base import Generator
from promptavideo.models import check_model
from promptavideo.settings import Section
from promptavideo.video import Clip

PASSED = ("prompt", "negative_prompt", "generator", "output_type")
"""What `film` itself gives to a pipeline's call."""

RESERVED = (*PASSED, "return_dict", "num_videos_per_prompt", "latents")
"""What the configuration must not set."""


class DiffusersConfig(Section):
    """A generator that is a diffusers pipeline."""

    kind: Literal["diffusers"]
    pipeline: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*Pipeline$")
    """Pipeline class of the pinned diffusers, e.g. `CogVideoXPipeline`."""
    model: str
    """Name in the model registry."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(1, ge=1)
    """Torch threads of one job. Fixed here and not taken from the scheduler, since sums depend on it."""
    batch_size: int = Field(1, ge=1)
    """Videos per call of the pipeline; every call is padded to it."""
    fps: float = Field(gt=0)
    negative_prompt: str = ""
    sampling: dict[str, int | float | bool | str] = Field(default_factory=dict)
    """Arguments of the pipeline's call: height, width, num_frames, num_inference_steps, guidance_scale, ..."""
    crf: int = Field(12, ge=0, le=51)
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"
    seconds_per_video: float = Field(gt=0)
    """Expected time of one video on one worker; plans shards and estimates, never results."""


def check_pipeline(name: str, config: DiffusersConfig) -> None:
    """Check the pipeline class and its sampling arguments against the source of the installed diffusers.

    Nothing is imported, which would take seconds. Where diffusers is not installed nothing is checked: the workflow may
    be planned in an environment without it.

    Raises:
        InputError: diffusers has no such class, or its call does not take one of the arguments.
    """
    package = importlib.util.find_spec("diffusers")
    if package is None or package.origin is None:
        return
    where = f"generators.{name}"
    found = _find_class(Path(package.origin), config.pipeline)
    if found is None:
        version = importlib.metadata.version("diffusers")
        raise InputError(f"{where}.pipeline: diffusers {version} has no class {config.pipeline}")
    known = _call_arguments(found)
    if known is None:
        return
    for argument in PASSED:
        if argument not in known:
            raise InputError(f"{where}.pipeline: {config.pipeline} cannot be used, its call takes no {argument}")
    for argument in config.sampling:
        if argument in RESERVED or argument not in known:
            settable = ", ".join(sorted(known - set(RESERVED)))
            raise InputError(f"{where}.sampling.{argument}: {config.pipeline} takes no such setting; known: {settable}")


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _find_class(path: Path, name: str) -> ast.ClassDef | None:
    """A class defined in a module, or in a module beside it from which it is imported."""
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and node.level == 1 and any(alias.name == name for alias in node.names):
            target = path.parent.joinpath(*(node.module or "").split("."))
            for source in (target / "__init__.py", target.with_suffix(".py")):
                if source.is_file():
                    return _find_class(source, name)
    return None


def _call_arguments(pipeline: ast.ClassDef) -> set[str] | None:
    """The arguments of a pipeline's call; None if its class does not tell (it inherits its call)."""
    for node in pipeline.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__call__" and node.args.kwarg is None:
            return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} - {"self"}
    return None


class DiffusersGenerator(Generator):
    """Films with a pipeline loaded from a folder on disk."""

    def __init__(self, config: DiffusersConfig, folder: Path) -> None:
        """Load the pipeline.

        Args:
            config: Its configuration entry.
            folder: The model's folder, in diffusers format.

        Raises:
            InputError: The folder is no such pipeline, or a GPU is required and there is none.
        """
        import torch
        from diffusers import DiffusionPipeline
        from diffusers.utils.logging import disable_progress_bar

        self.config = config
        self.batch_size = config.batch_size
        self.crf, self.pixel_format = config.crf, config.pixel_format
        self._model = check_model(folder).digest
        if config.device == "cuda" and not torch.cuda.is_available():
            raise InputError(f"generator of {folder.name}: device is cuda, but this machine has no GPU")
        device = "cuda" if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()) else "cpu"
        torch.set_num_threads(config.threads)
        disable_progress_bar()
        try:
            pipeline = DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, config.dtype))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{folder}: cannot be loaded as a diffusers pipeline ({error})") from error
        if type(pipeline).__name__ != config.pipeline:
            raise InputError(
                f"{folder}: holds a {type(pipeline).__name__}, but the configuration says {config.pipeline}"
            )
        self._pipeline = pipeline.to(device)
        self._pipeline.set_progress_bar_config(disable=True)

    def identity(self) -> dict[str, Any]:
        """Model digest and every setting but the ones that only plan the work."""
        settings = self.config.model_dump(exclude={"device", "seconds_per_video", "model"})
        return {"model": self._model, **settings}

    def film(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Clip]:
        """Film up to `batch_size` texts; see `Generator.film`.

        Raises:
            InputError: The pipeline refuses a sampling argument's value.
        """
        import torch

        wanted = len(texts)
        padded = [*texts, *[texts[-1]] * (self.batch_size - wanted)]
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        generators += [torch.Generator("cpu").manual_seed(0) for _ in range(self.batch_size - wanted)]
        try:
            with torch.inference_mode():
                frames = self._pipeline(
                    prompt=padded,
                    negative_prompt=[self.config.negative_prompt] * self.batch_size,
                    generator=generators,
                    output_type="np",
                    **self.config.sampling,
                ).frames
        except ValueError as error:
            raise InputError(f"{self.config.pipeline} cannot film with these settings ({error})") from error
        pixels = np.round(np.clip(np.asarray(frames[:wanted]), 0, 1) * 255).astype(np.uint8)
        return [Clip(clip, self.config.fps) for clip in pixels]
