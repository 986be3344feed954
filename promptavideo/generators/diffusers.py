"""Any diffusers text-to-video pipeline, by configuration alone."""

import gc
import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from promptavideo.devices import choose_device, ran_out
from promptavideo.dtypes import resolve
from promptavideo.errors import InputError
from promptavideo.generators.base import Generator
from promptavideo.generators.diffusers_config import GIVES, CacheHook, DiffusersConfig, Quantisation
from promptavideo.generators.reader import Tokenizers, reader
from promptavideo.hardware import device_name
from promptavideo.models import check_model
from promptavideo.shots import Shot
from promptavideo.tokenization import deviation, load_tokenizer
from promptavideo.video import Clip

log = logging.getLogger(__name__)

OFFLOADS = ("none", "model", "sequential")
"""Where weights wait, from fastest to what needs least GPU memory."""

SIZES = {"num_frames": 1, "video_length": 1, "height": 2, "width": 3}
"""Arguments that say how large a video is, and the axes of the frames that they are the length of."""

DENOISERS = ("transformer", "transformer_2", "unet")


class DiffusersGenerator(Generator):
    """Films with a pipeline loaded from a folder on disk."""

    _as_published: Sequence[str] = ()
    """The tokenizers that transformers reads otherwise than their files say, so that they were loaded from these."""

    def __init__(self, config: DiffusersConfig, folder: Path, *loras: Path) -> None:
        """Load the pipeline.

        Args:
            config: Its configuration entry.
            folder: The model's folder, in diffusers format.
            loras: Those of its adapters.

        Raises:
            InputError: The folder is no such pipeline, it lacks what a setting asks for, or a GPU is required and there
                is none.
        """
        import torch
        from diffusers.utils.logging import disable_progress_bar

        self.crf, self.pixel_format = config.crf, config.pixel_format
        self.negative_prompt, self.takes_negative = config.negative_prompt, config.takes_negative
        self._folder, self._model = folder, check_model(folder).digest
        self._loras = [(lora, check_model(lora).digest) for lora in loras]
        self._device = choose_device(config.device, f"device of the generator of {folder.name}")
        self.config = config = _resolved(config, self._device, f"generator of {folder.name}")
        self.batch_size = config.batch_size
        self._offload: str = config.offload if self._device == "cuda" else "none"
        torch.set_num_threads(config.threads)
        disable_progress_bar()
        self._pipeline = self._load()
        self._reader = reader(config, _tokenizers(self._pipeline))
        self.reads_tokens = self._reader.limit if self._reader else None
        self._set_up()
        if not self._fits(self._place):
            self._give_way("while its weights were moved there")

    def identity(self) -> dict[str, Any]:
        """Model digest and every setting but the ones that only plan the work."""
        kept = self.config.settings()
        if "loras" in kept:
            pairs = zip(kept["loras"], self._loras, strict=True)
            kept["loras"] = [lora | {"model": digest} for lora, (_, digest) in pairs]
        # Only where transformers reads a tokenizer otherwise than its file says: those videos were other ones before.
        tokenizers = {"tokenizers": self._as_published} if self._as_published else {}
        return {"model": self._model, **kept, **tokenizers}

    def circumstances(self) -> dict[str, Any]:
        """Hardware, dtype, and how far weights were offloaded in the end."""
        found = {"device": device_name(self._device), "dtype": self.config.dtype}
        return found if self._device == "cpu" else found | {"offload": self._offload}

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int | None]:
        """Tokens of each text, with those that the tokenizer adds."""
        return [self._reader.count(text) for text in texts] if self._reader else super().count_tokens(texts)

    def film(self, shots: Sequence[Shot]) -> list[Clip]:
        """Film up to `batch_size` shots; see `Generator.film`.

        When GPU memory runs out, weights are offloaded one step further and the call is repeated. Fewer videos a call
        are left to the user to choose, since they are other videos: sums depend on the shape of a batch.

        Raises:
            InputError: The pipeline refuses a sampling argument's value, its frames are no numbers, or memory does not
                suffice with everything offloaded.
        """
        frames: list[Any] = []
        while not self._fits(lambda: frames.append(self._call(shots))):
            self._give_way("while it filmed")
        numbers = np.asarray(frames[0][: len(shots)])
        if self.config.medium == "image":
            numbers = numbers[:, None]
        if lost := [shot.text for shot, clip in zip(shots, numbers, strict=True) if not np.isfinite(clip).all()]:
            raise InputError(
                f"{self.config.pipeline} gave frames that are not numbers in {self.config.dtype}; try bfloat16, or "
                f"component_dtypes: {{vae: float32}}. Text: {lost[0]!r:.200}"
            )
        self._check_size(numbers.shape)
        pixels = np.round(np.clip(numbers, 0, 1) * 255).astype(np.uint8)
        return [Clip(clip, self.config.fps or 0.0) for clip in pixels]

    def _check_size(self, shape: tuple[int, ...]) -> None:
        """Check the shape [B, T, H, W, 3] of what the pipeline gave; some round what they are asked for."""
        for name, axis in SIZES.items():
            if name in self.config.sampling and self.config.sampling[name] != shape[axis]:
                raise InputError(
                    f"{self.config.pipeline} gave {self.config.medium}s of {shape[axis]} where sampling.{name} is "
                    f"{self.config.sampling[name]}; set it to what the pipeline can film"
                )

    def _call(self, shots: Sequence[Shot]) -> Any:
        import torch

        full = [*shots, *[replace(shots[-1], seed=0)] * (self.batch_size - len(shots))]
        # A call that was broken off leaves behind what cache hooks remember of it.
        self._pipeline.maybe_free_model_hooks()
        try:
            with torch.inference_mode():
                made = self._pipeline(
                    prompt=[shot.text for shot in full],
                    negative_prompt=[self.negative_prompt if shot.negative is None else shot.negative for shot in full],
                    generator=[torch.Generator("cpu").manual_seed(shot.seed) for shot in full],
                    output_type="np",
                    **self.config.sampling,
                )
        except ValueError as error:
            raise InputError(f"{self.config.pipeline} cannot film with these settings ({error})") from error
        wanted = GIVES[self.config.medium]
        if wanted not in made:
            raise InputError(f"{self.config.pipeline} gives {', '.join(made)} and no {self.config.medium}")
        return made[wanted]

    def _load(self) -> Any:
        import torch
        from diffusers import DiffusionPipeline
        from transformers import PreTrainedTokenizerBase

        dtypes = {"default": self.config.dtype, **self.config.component_dtypes}
        wanted = self.config.quantisation
        options = {"quantization_config": self._quantisation(wanted)} if wanted else {}
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                self._folder,
                dtype={name: getattr(torch, dtype) for name, dtype in dtypes.items()},
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                **options,
            )
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{self._folder}: cannot be loaded as a diffusers pipeline ({error})") from error
        if type(pipeline).__name__ != self.config.pipeline:
            raise InputError(
                f"{self._folder}: holds a {type(pipeline).__name__}, but the configuration says {self.config.pipeline}"
            )
        pipeline.set_progress_bar_config(disable=True)
        self._as_published = [
            name
            for name, part in pipeline.components.items()
            if isinstance(part, PreTrainedTokenizerBase) and deviation(part, self._folder / name) is not None
        ]
        for name in self._as_published:
            pipeline.register_modules(**{name: load_tokenizer(self._folder / name)})
        return pipeline

    def _quantisation(self, wanted: Quantisation) -> Any:
        if importlib.util.find_spec("torchao") is None:
            raise InputError(
                f"generator of {self._folder.name}: quantisation needs torchao, which is not installed here; install "
                "it, or leave quantisation out"
            )
        if self._device == "cpu":
            raise InputError(
                f"generator of {self._folder.name}: quantisation needs a GPU, and this machine has none in use; leave "
                "quantisation out"
            )
        from diffusers import PipelineQuantizationConfig

        config = quantisation_config(wanted.scheme)
        return PipelineQuantizationConfig(quant_mapping=dict.fromkeys(wanted.components, config))

    def _set_up(self) -> None:
        """Scheduler, VAE and accelerations, as configured."""
        import diffusers

        config, pipeline = self.config, self._pipeline
        if config.scheduler:
            scheduler = getattr(diffusers, config.scheduler.name)
            pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config, **config.scheduler.settings)
        for wanted, name in ((config.vae_tiling, "enable_tiling"), (config.vae_slicing, "enable_slicing")):
            if wanted:
                self._ability("vae", name)()
        self._add_loras()
        for denoiser in DENOISERS:
            if pipeline.components.get(denoiser) is None:
                continue
            if config.cache:
                self._ability(denoiser, "enable_cache")(self._cache_config(config.cache))
            if config.compile:
                name = "compile_repeated_blocks" if config.compile.regional else "compile"
                try:
                    self._ability(denoiser, name)(mode=config.compile.mode, dynamic=False)
                except ValueError as error:
                    raise InputError(f"{config.pipeline}: compile.regional is not possible ({error})") from error

    def _add_loras(self) -> None:
        """Load every adapter into its component and set its weight."""
        weights: dict[str, dict[str, float]] = {}
        for place, (lora, (folder, _)) in enumerate(zip(self.config.loras, self._loras, strict=True)):
            load_lora(self._pipeline, folder, lora.component, f"lora_{place}")
            weights.setdefault(lora.component, {})[f"lora_{place}"] = lora.weight
        for component, adapters in weights.items():
            self._ability(component, "set_adapters")(list(adapters), list(adapters.values()))

    def _cache_config(self, hook: CacheHook) -> Any:
        import diffusers

        kind = getattr(diffusers, f"{hook.name}Config")
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in hook.settings.items()
        }
        if "current_timestep_callback" in kind.__dataclass_fields__:
            settings["current_timestep_callback"] = lambda: self._pipeline.current_timestep
        try:
            return kind(**settings)
        except (TypeError, ValueError) as error:
            raise InputError(f"cache.settings: {kind.__name__} cannot be made of these ({error})") from error

    def _ability(self, component: str, name: str) -> Any:
        found = getattr(self._pipeline.components.get(component), name, None)
        if found is None:
            raise InputError(f"{self.config.pipeline}: its {component} has no {name}; take that setting out")
        return found

    def _place(self) -> None:
        if self._offload == "none":
            self._pipeline.to(self._device)
        elif self._offload == "model":
            self._pipeline.enable_model_cpu_offload(device=self._device)
        else:
            self._pipeline.enable_sequential_cpu_offload(device=self._device)

    @staticmethod
    def _fits(work: Callable[[], object]) -> bool:
        """Do something; False if memory ran out. The error is gone then, and with it the tensors that it held."""
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            return False
        return True

    def _give_way(self, when: str) -> None:
        """Offload one step further.

        Raises:
            InputError: There is no further step.
        """
        import torch

        where = "GPU" if self._device == "cuda" else "main"
        config = self.config
        while True:
            gc.collect()
            torch.cuda.empty_cache()
            step = OFFLOADS.index(self._offload) + 1
            if self._device == "cpu" or step == len(OFFLOADS):
                fewer = (
                    f"batch_size below {config.batch_size} (its videos have other keys)"
                    if config.batch_size > 1
                    else ""
                )
                ways = [fewer, "" if config.vae_tiling else "vae_tiling: true", "fewer or smaller frames"]
                raise InputError(
                    f"{self._folder.name}: {where} memory ran out {when}, with offload: {self._offload}. What is "
                    f"filmed is kept. Try {', '.join(filter(None, ways))}, or a machine with more memory"
                )
            self._offload = OFFLOADS[step]
            log.warning(
                "%s: GPU memory ran out %s; going on with offload: %s. Set that in the generator's entry to spare the "
                "failed attempt in each job", self._folder.name, when, self._offload,
            )  # fmt: skip
            if self._fits(self._place):
                return


def load_lora(pipeline: Any, folder: Path, component: str, name: str) -> None:
    """Load an adapter into a component of a pipeline, whole.

    Args:
        pipeline: A diffusers pipeline.
        folder: The adapter's folder, with one .safetensors file in a form that diffusers reads.
        component: Name of the component.
        name: What the adapter is called from then on.

    Raises:
        InputError: The folder holds none or several, or parts of the adapter fit nothing in the component.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    files = sorted(folder.rglob("*.safetensors"))
    if len(files) != 1:
        raise InputError(f"{folder}: holds {len(files)} .safetensors files; choose the adapter's by allow_patterns")
    if not hasattr(pipeline, "load_lora_weights") or pipeline.components.get(component) is None:
        raise InputError(f"{type(pipeline).__name__}: this one has no {component} that takes adapters; take loras out")
    second = {"load_into_transformer_2": True} if component == "transformer_2" else {}
    file: dict[str, Any] = {"weight_name": str(files[0].relative_to(folder)), "local_files_only": True}
    try:
        found = pipeline.lora_state_dict(folder, **file)
        weights = found[0] if isinstance(found, tuple) else found
        pipeline.load_lora_weights(folder, adapter_name=name, **file, **second)  # the file's metadata hold its alpha
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(f"{files[0]}: cannot be loaded as an adapter ({error!s:.500})") from error
    given = sum(key.endswith(("lora_A.weight", "lora.down.weight")) for key in weights)
    layers = (one for one in getattr(pipeline, component).modules() if isinstance(one, BaseTunerLayer))
    taken = sum(name in getattr(layer, "lora_A", ()) for layer in layers)
    if not taken or taken < given:
        raise InputError(
            f"{files[0]}: {taken} of the {given} layers that this adapter changes are in the pipeline's {component}; "
            "it was made for another model or component"
        )


def _tokenizers(pipeline: Any) -> Tokenizers:
    """The tokenizers of a loaded pipeline."""
    from transformers import PreTrainedTokenizerBase

    parts = {name: part for name, part in pipeline.components.items() if name.startswith("tokenizer")}
    whole = {name: getattr(part, "tokenizer", part) for name, part in parts.items()}  # a processor holds one
    return {
        name: (type(part).__name__, part) for name, part in whole.items() if isinstance(part, PreTrainedTokenizerBase)
    }


def _resolved(config: DiffusersConfig, device: str, entry: str) -> DiffusersConfig:
    """The configuration with the dtypes that `auto` becomes on a device."""
    components = {name: resolve(dtype, device, entry) for name, dtype in config.component_dtypes.items()}
    return config.model_copy(update={"dtype": resolve(config.dtype, device, entry), "component_dtypes": components})


def quantisation_config(scheme: str) -> Any:
    """The TorchAoConfig of a scheme. Activations are scaled by row: one scale for all would tie videos together."""
    from diffusers import TorchAoConfig
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        Int8DynamicActivationInt8WeightConfig,
        Int8WeightOnlyConfig,
        PerRow,
    )

    kinds = {
        "int8": lambda: Int8WeightOnlyConfig(granularity=PerRow()),
        "int8-dynamic": lambda: Int8DynamicActivationInt8WeightConfig(granularity=PerRow()),
        "float8": Float8WeightOnlyConfig,
        "float8-dynamic": lambda: Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()),
    }
    return TorchAoConfig(kinds[scheme]())
