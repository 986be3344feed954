"""The configuration of a diffusers generator, and what is checked of it before anything runs."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from promptavideo.devices import Device
from promptavideo.dtypes import Dtype
from promptavideo.errors import InputError
from promptavideo.generators.base import Generator, GeneratorEntry, check_rate
from promptavideo.generators.source import (
    arguments,
    check_names,
    check_settings,
    defaults,
    fields,
    find,
    installed,
    required,
    returned,
)
from promptavideo.probe import Work
from promptavideo.reading import Reader
from promptavideo.settings import Added, Planning, Ref, Section, Value
from promptavideo.video import Filmed

if TYPE_CHECKING:
    from promptavideo.config import Config

PASSED = ("prompt", "negative_prompt", "generator", "output_type")
"""What `film` itself gives to a pipeline's call."""

RESERVED = (*PASSED, "return_dict", "num_videos_per_prompt", "num_images_per_prompt", "latents")
"""What the configuration must not set."""

MADE_FROM = re.compile(r"(Image|Video)To(?:Video|World)|(Im)a?g2Im|(Inpaint)")
"""In the name of a pipeline whose call takes it by its signature, but fails without an image or a video."""

GIVES: Mapping[Filmed, str] = {"video": "frames", "image": "images"}
"""The name of what a pipeline of each medium gives."""


@dataclass(frozen=True)
class FrameRule:
    """Numbers of frames that a pipeline films: `step`·N + 1, up to `most`."""

    step: int
    most: int | None
    why: str


FRAME_RULES = {
    "CogVideoXPipeline": FrameRule(8, 49, "CogVideoX was trained on clips of 8N+1 frames, 49 at most"),
    "HunyuanVideo15Pipeline": FrameRule(4, None, "its VAE makes 4 frames of each latent frame but the first"),
    "HunyuanVideoPipeline": FrameRule(4, None, "its VAE makes 4 frames of each latent frame but the first"),
    "LTXConditionPipeline": FrameRule(8, None, "its VAE makes 8 frames of each latent frame but the first"),
    "LTXPipeline": FrameRule(8, None, "its VAE makes 8 frames of each latent frame but the first"),
    "MochiPipeline": FrameRule(6, None, "its VAE makes 6 frames of each latent frame but the first"),
    "WanPipeline": FrameRule(4, None, "its VAE makes 4 frames of each latent frame but the first"),
}
"""Other numbers are rounded by some pipelines and filmed badly by others, hours later."""


TEXT_LIMITS = {"HunyuanVideo15Pipeline": 995, "LattePipeline": 120}
"""Tokens of a text that pipelines read whose code alone says it. HunyuanVideo 1.5 reads 1000, of which 5 end its chat
template."""


class Scheduler(Section):
    """Another noise schedule than the model's own."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*Scheduler$")
    """Scheduler class of diffusers. It takes over the settings of the model's scheduler."""
    settings: dict[str, Value] = Field(default_factory=dict)
    """What differs from them: timestep_spacing, flow_shift, ..."""


class Compile(Section):
    """torch.compile of the denoiser."""

    mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default"
    """`max-autotune` chooses kernels by their time, so two jobs may round differently."""
    regional: bool = False
    """Compile the repeated blocks only: minutes less to wait at the start of each job."""


class Quantisation(Section):
    """torchao quantisation while loading. Without `compile` it saves memory and costs time."""

    scheme: Literal["int8", "int8-dynamic", "float8", "float8-dynamic"]
    """Of weights alone, or (`dynamic`) of activations as well."""
    components: list[str] = Field(["transformer"], min_length=1)
    """Of the pipeline."""


class CacheHook(Section):
    """A hook of diffusers that reuses what the denoiser computed in earlier steps."""

    name: Literal["PyramidAttentionBroadcast", "FasterCache", "FirstBlockCache", "MagCache", "TaylorSeerCache"]
    """Of the class `{name}Config`."""
    settings: dict[str, Value | list[Value]] = Field(default_factory=dict)
    """Its fields: spatial_attention_block_skip_range, threshold, ..."""


class Lora(Section):
    """A low-rank adapter of the denoiser, such as one that lets it film in 4 steps."""

    model: Annotated[str, Ref("models")]
    """Name in the model registry; of the hub's files, `allow_patterns` chooses the one."""
    weight: float = 1.0
    """Factor of what it adds."""
    component: str = "transformer"
    """Of the pipeline: Wan 2.2 has a `transformer_2` beside its `transformer`, with an adapter of its own."""


class DiffusersConfig(GeneratorEntry):
    """A generator that is a diffusers pipeline."""

    kind: Literal["diffusers"]
    pipeline: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*Pipeline$")
    """Pipeline class of the pinned diffusers, e.g. `CogVideoXPipeline`."""
    model: Annotated[str, Ref("models")]
    """Name in the model registry."""
    dtype: Dtype = "auto"
    """`auto` counts in a key as what it becomes where the video is filmed."""
    component_dtypes: Annotated[dict[str, Dtype], Added()] = Field(default_factory=dict)
    """Of components that need another one: `{vae: float32}` for Wan."""
    device: Annotated[Device, Planning()] = "auto"
    """`auto`: a GPU when there is one; `cuda`: a GPU or an error."""
    offload: Annotated[Literal["none", "model", "sequential"], Planning()] = "none"
    """Keep weights in main memory and bring the running `model`, or each of its layers, to the GPU."""
    threads: int = Field(1, ge=1)
    """Torch threads of one job. Fixed here and not taken from the scheduler, since sums depend on it."""
    batch_size: int = Field(1, ge=1)
    """Videos per call of the pipeline; every call is padded to it."""
    medium: Annotated[Filmed, Added()] = "video"
    """`image`: the pipeline makes images, which are stored as PNG without loss."""
    fps: float | None = Field(None, gt=0)
    """Frames a second that the video's file is played with; none of images."""
    negative_prompt: str = ""
    """What no video shall show, for pipelines that take one."""
    scheduler: Annotated[Scheduler | None, Added()] = None
    sampling: dict[str, Value | list[Value]] = Field(default_factory=dict)
    """Arguments of the pipeline's call: height, width, num_frames, num_inference_steps, guidance_scale, ...;
    lists for what takes them, such as the timesteps of a distilled model."""
    text_tokens: Annotated[Annotated[int, Field(ge=1)] | Literal["encoder"] | None, Added()] = "encoder"
    """Most tokens of a text that evolution proposes, or a booster of this generator writes; longer ones are cut after
    their last clause. `encoder`: as many as its text encoder reads; null: no bound."""
    max_frames: Annotated[int | None, Planning()] = Field(None, ge=1)
    """Allow more frames than `FRAME_RULES` knows of, for a checkpoint of the same class that was trained on them."""
    vae_tiling: Annotated[bool, Added()] = False
    """Decode in overlapping tiles: less memory, and seams that blend."""
    vae_slicing: Annotated[bool, Added()] = False
    """Decode the videos of a call one by one: less memory."""
    compile: Annotated[Compile | None, Added()] = None
    quantisation: Annotated[Quantisation | None, Added()] = None
    cache: Annotated[CacheHook | None, Added()] = None
    loras: Annotated[list[Lora], Added()] = Field(default_factory=list)
    """Adapters that are added up."""
    crf: int = Field(12, ge=0, le=51)
    """x264's constant rate factor: 0 is lossless, 12 visually so, more is smaller."""
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"
    """`yuv420p` plays everywhere; `yuv444p` keeps the colours of tiny clips."""
    seconds_per_video: Annotated[float, Planning()] = Field(gt=0)
    """Expected time of one video on one worker; plans shards and estimates, never results."""

    def settings(self) -> dict[str, Any]:
        """How a video is encoded says nothing of an image, and how texts are bounded nothing of either."""
        of_videos = ("crf", "pixel_format", "fps") if self.medium == "image" else ()
        return {name: value for name, value in super().settings().items() if name not in (*of_videos, "text_tokens")}

    @property
    def text_bound(self) -> bool:
        """Unless `text_tokens` is null."""
        return self.text_tokens is not None

    def reader(self, folder: Path) -> Reader | None:
        """By the tokenizer in the model's folder, with the limit that `text_tokens` says."""
        from promptavideo.generators import reader

        found = reader.reader(self, reader.tokenizers_in(folder))
        if found and isinstance(self.text_tokens, int):
            return Reader(self.text_tokens, found.tokenizer)
        return found

    @property
    def models(self) -> list[str]:
        """The pipeline's model, then that of each adapter."""
        return [self.model, *(lora.model for lora in self.loras)]

    @property
    def takes_negative(self) -> bool:
        """Whether its call's guidance has negative prompts take part: `true_cfg_scale` of a pipeline that has it, else
        `guidance_scale`, is over 1. Where diffusers' source is not there, or the call has neither, it counts as so."""
        source = installed()
        default = defaults(find(source, self.pipeline, "pipeline"), "__call__") if source else {}
        name = "true_cfg_scale" if "true_cfg_scale" in default else "guidance_scale"
        scale = self.sampling.get(name, default.get(name))
        return not isinstance(scale, int | float) or scale > 1

    @property
    def work(self) -> Work:
        """In what the pipeline computes."""
        return Work(self.dtype, self.threads, self.device)

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check classes and their settings against the source of the installed diffusers."""
        check_pipeline(where, self)

    def load(self, name: str, folders: Sequence[Path], work: Path | None) -> Generator:
        """Load the pipeline."""
        from promptavideo.generators.diffusers import DiffusersGenerator

        return DiffusersGenerator(self, *folders)

    @model_validator(mode="after")
    def _rate(self) -> Self:
        check_rate(self.medium, self.fps)
        return self

    @model_validator(mode="after")
    def _neighbours(self) -> Self:
        if self.cache and self.cache.name == "FirstBlockCache" and self.batch_size > 1:
            raise ValueError(
                "FirstBlockCache decides for all videos of a call together, so a video would depend on its "
                "neighbours; set batch_size: 1"
            )
        return self


def check_pipeline(where: str, config: DiffusersConfig) -> None:
    """Check classes and their settings against the source of the installed diffusers, and the number of frames.

    Raises:
        InputError: diffusers has no such class, the class does not take a setting, or the pipeline cannot film so many
            frames.
    """
    _check_frames(where, config)
    source = installed()
    if source is None:
        return
    pipeline = find(source, config.pipeline, f"{where}.pipeline")
    _check_makes(f"{where}.pipeline", pipeline, config.medium)
    if (known := arguments(pipeline, "__call__")) is not None:
        for argument in PASSED:
            if argument not in known:
                raise InputError(f"{where}.pipeline: {config.pipeline} cannot be used, its call takes no {argument}")
        settable = {name: kind for name, kind in known.items() if name not in RESERVED}
        check_settings(f"{where}.sampling", config.pipeline, config.sampling, settable)
    if (components := arguments(pipeline, "__init__")) is not None:
        check_names(f"{where}.component_dtypes", config.pipeline, config.component_dtypes, components)
        for place, lora in enumerate(config.loras):
            check_names(f"{where}.loras.{place}.component", config.pipeline, [lora.component], components)
        if config.quantisation:
            key = f"{where}.quantisation.components"
            check_names(key, config.pipeline, config.quantisation.components, components)
    if config.scheduler:
        key = f"{where}.scheduler"
        taken = arguments(find(source, config.scheduler.name, f"{key}.name"), "__init__")
        if taken is not None:
            check_settings(f"{key}.settings", config.scheduler.name, config.scheduler.settings, taken)
    if config.cache:
        hook = f"{config.cache.name}Config"
        settable = {
            field: kind
            for field, kind in fields(find(source, hook, f"{where}.cache.name")).items()
            if not field.endswith(("callback", "dtype"))
        }
        check_settings(f"{where}.cache.settings", hook, config.cache.settings, settable)


def _check_makes(where: str, pipeline: ast.ClassDef, medium: Filmed) -> None:
    """Refuse a pipeline that films no text alone, or makes something of another medium."""
    lacking = [name for name in required(pipeline, "__call__") if name not in PASSED]
    if not lacking and (made_from := MADE_FROM.search(pipeline.name)):
        lacking = ["video" if made_from[1] == "Video" else "image"]
    if lacking:
        raise InputError(
            f"{where}: {pipeline.name} needs {', '.join(lacking)}, which no configuration gives; take a pipeline that "
            f"makes {medium}s of texts"
        )
    given = returned(pipeline, "__call__")
    if not given or GIVES[medium] in given:
        return
    other = next((name for name, key in GIVES.items() if key in given), None)
    way = f"; set medium: {other} in this entry if you mean it" if other else ""
    raise InputError(f"{where}: {pipeline.name} gives {', '.join(sorted(given))} and no {medium}{way}")


def _check_frames(where: str, config: DiffusersConfig) -> None:
    rule, frames = FRAME_RULES.get(config.pipeline), config.sampling.get("num_frames")
    if rule is None or not isinstance(frames, int):
        return
    most = config.max_frames or rule.most
    if frames % rule.step != 1 or (most and frames > most):
        below = frames - (frames - 1) % rule.step
        fitting = min(below, most) if most else below
        raise InputError(
            f"{where}.sampling.num_frames: {config.pipeline} cannot film {frames} frames, since {rule.why}; "
            f"{fitting} would do"
        )
