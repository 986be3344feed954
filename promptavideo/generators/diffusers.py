"""Any diffusers text-to-video pipeline, by configuration alone."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.generators.base import Generator
from promptavideo.models import check_model
from promptavideo.settings import Section
from promptavideo.video import Clip

RESERVED = ("prompt", "generator", "output_type", "return_dict", "num_videos_per_prompt", "latents")


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
    sampling: dict[str, int | float | bool | str] = {}
    """Arguments of the pipeline's call: height, width, num_frames, num_inference_steps, guidance_scale, ..."""
    crf: int = Field(12, ge=0, le=51)
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"
    seconds_per_video: float = Field(gt=0)
    """Expected time of one video on one worker; plans shards and estimates, never results."""


def check_pipeline(name: str, config: DiffusersConfig) -> None:
    """Check the pipeline class and its sampling arguments without loading weights.

    Raises:
        InputError: diffusers has no such class, or its call does not take one of the arguments.
    """
    import diffusers

    where = f"generators.{name}"
    if not hasattr(diffusers, config.pipeline):
        raise InputError(f"{where}.pipeline: diffusers {diffusers.__version__} has no class {config.pipeline}")
    known = inspect.signature(getattr(diffusers, config.pipeline).__call__).parameters
    for argument in config.sampling:
        if argument in RESERVED or argument not in known:
            raise InputError(f"{where}.sampling.{argument}: {config.pipeline} takes no such setting")


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

        self.config = config
        self.batch_size = config.batch_size
        self.crf, self.pixel_format = config.crf, config.pixel_format
        self._model = check_model(folder).digest
        if config.device == "cuda" and not torch.cuda.is_available():
            raise InputError(f"generator of {folder.name}: device is cuda, but this machine has no GPU")
        device = "cuda" if config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available()) else "cpu"
        torch.set_num_threads(config.threads)
        try:
            pipeline = DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, config.dtype))
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder}: cannot be loaded as a diffusers pipeline ({error})") from error
        if type(pipeline).__name__ != config.pipeline:
            raise InputError(f"{folder}: holds a {type(pipeline).__name__}, but the configuration says {config.pipeline}")
        self._pipeline = pipeline.to(device)
        self._pipeline.set_progress_bar_config(disable=True)

    def identity(self) -> dict[str, Any]:
        """Model digest and every setting but the ones that only plan the work."""
        settings = self.config.model_dump(exclude={"device", "seconds_per_video", "model"})
        return {"model": self._model, **settings}

    def film(self, texts: Sequence[str], seeds: Sequence[int]) -> list[Clip]:
        """Film up to `batch_size` texts; see `Generator.film`."""
        import torch

        wanted = len(texts)
        padded = [*texts, *[texts[-1]] * (self.batch_size - wanted)]
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        generators += [torch.Generator("cpu").manual_seed(0) for _ in range(self.batch_size - wanted)]
        with torch.inference_mode():
            frames = self._pipeline(
                prompt=padded,
                negative_prompt=[self.config.negative_prompt] * self.batch_size,
                generator=generators,
                output_type="np",
                **self.config.sampling,
            ).frames
        pixels = np.round(np.clip(np.asarray(frames[:wanted]), 0, 1) * 255).astype(np.uint8)
        return [Clip(clip, self.config.fps) for clip in pixels]
