"""Settings of boosters: the base model, sampling, and the two trainings."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from promptavideo.devices import Device
from promptavideo.errors import InputError
from promptavideo.negatives import DescriptorLimits
from promptavideo.settings import File, Planning, Ref, Section, lay

Dtype = Literal["auto", "float32", "bfloat16"]

Writes = Literal["text", "negative"]
"""What a booster writes: a text to film, or a negative prompt for one."""


class LoraSettings(Section):
    """Size of a LoRA adapter (peft)."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(16, ge=1)
    """The adapter's output is multiplied by `alpha / r`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability, in training."""
    layers: int | None = Field(None, ge=1)
    """Adapt so many of the last layers; all when absent. No gradient goes below them, which saves time."""
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], min_length=1
    )
    """Layers that are adapted, by the last part of their name."""


class TrainSettings(Section):
    """Settings that SFT and DPO share."""

    epochs: float = Field(gt=0)
    """Passes over the data."""
    batch_size: int = Field(ge=1)
    """Examples a step, over all devices."""
    micro_batch_size: Annotated[int, Planning()] = Field(ge=1)
    """Examples a forward pass of one device; the rest is accumulated."""
    gradient_checkpointing: Annotated[bool | None, Planning()] = None
    """Compute activations twice rather than keep them: less memory, a third more time. When absent: on a GPU only."""
    learning_rate: float = Field(gt=0)
    """The highest, after the warm-up."""
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    """Share of the steps in which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up; the paper does not say, the authors' DPO has it linear."""
    max_length: int = Field(1024, ge=8)
    """Tokens of instruction and answer together."""
    checkpoint_steps: Annotated[int, Planning()] = Field(10, ge=1)
    """Steps between two checkpoints, from which a killed training goes on."""
    lora: LoraSettings = LoraSettings()
    """Size of the adapter that is trained."""


class DpoSettings(TrainSettings):
    """DPO adds the strength of the tie to the reference model."""

    beta: float = Field(0.1, gt=0)
    """Strength of that tie; larger keeps the booster nearer to the reference."""


class SamplingSettings(Section):
    """How candidates are drawn from a booster."""

    temperature: float = Field(1.0, gt=0)
    """Of drawing; below 1 probable tokens are drawn more often."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Tokens are drawn from the most probable that together have this probability; 1: from all."""
    top_k: int = Field(50, ge=0)
    """Tokens are drawn from this many most probable ones; 0: from all."""
    max_new_tokens: int = Field(250, ge=1)
    """Longest answer."""
    max_words: int = Field(130, ge=1)
    """Longer answers are cut after their last whole sentence."""
    max_prompt_tokens: int = Field(256, ge=8)
    """Every instruction is padded to this length."""
    batch_size: int = Field(64, ge=1)
    """Rows of one call; every call is padded to it. Engine vllm fills its own batches."""
    engine: Literal["generate", "vllm", "auto"] = "generate"
    """`vllm` is several times faster on a GPU and must be installed; its texts are others than those of `generate`
    (transformers). `auto` takes it where it is installed and there is a GPU, so that texts depend on the machine; the
    record of the texts names what drew them."""
    gpu_memory: Annotated[float, Planning()] = Field(0.9, gt=0, le=1)
    """Share of the GPU's memory that engine vllm takes."""


class NegativeBooster(Section):
    """How boosters of negative prompts are asked."""

    instruction: Annotated[str, File()] = "templates/negative_booster.txt"
    """Their instruction's text, in which `$prompt` is the text that is filmed; the same in training and in use."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """What differs from `booster.sampling`: they are asked about longer texts, and answer more briefly."""
    descriptors: DescriptorLimits = DescriptorLimits()
    """Of candidates that are drawn to learn from."""


class BoosterConfig(Section):
    """A booster: an instruct model, its instruction text, and how it is trained and sampled."""

    base: Annotated[str, Ref("models")]
    """Name in the model registry."""
    instruction: Annotated[str, File()] = "templates/booster.txt"
    """The instruction's text, relative to the repository root; the same in training and in use. Boosters of images have
    `NAME_images.txt` beside it, where there is one."""
    device: Annotated[Device, Planning()] = "auto"
    """`auto`: a GPU when there is one; `cuda`: a GPU or an error."""
    devices: Annotated[int, Planning()] = Field(1, ge=1)
    """GPUs (processes, on a CPU) of a training; the effective batch stays `batch_size`. Sampling takes one."""
    dtype: Dtype = "auto"
    """Of the base model's weights, in training and sampling. bfloat16 trains under autocast; adapters are float32
    always. `auto` is bfloat16 where the device has instructions for it, else float32."""
    threads: int = Field(2, ge=1)
    """Torch threads of each process of a training, fixed here since sums depend on it. On a processor, sampling makes
    as many calls at a time, each on one thread, which changes no text."""
    sampling: SamplingSettings = SamplingSettings()
    sft: TrainSettings
    """Supervised training on the pairs of the evolution."""
    dpo: DpoSettings
    """Each round of preference training."""
    negative: NegativeBooster = NegativeBooster()
    """Where boosters learn to write negative prompts."""

    def writing(self, what: Writes) -> "BoosterConfig":
        """The settings of boosters that write texts, or negative prompts.

        Raises:
            ValidationError: `negative.sampling` holds a key or a value that sampling does not take.
        """
        if what == "text":
            return self
        laid, _ = lay({"sampling": self.sampling.model_dump(), "negative": self.negative.sampling})
        sampling = SamplingSettings.model_validate(laid)
        return self.model_copy(update={"instruction": self.negative.instruction, "sampling": sampling})

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for stage, settings in (("sft", self.sft), ("dpo", self.dpo)):
            try:
                accumulation(settings, self.devices)
            except InputError as error:
                raise ValueError(f"{stage}.{error}") from error
        try:
            self.writing("negative")
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"negative.sampling.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return self


def accumulation(settings: TrainSettings, devices: int) -> int:
    """Forward passes of each device that make one step, so that a step sees `batch_size` examples on any devices.

    Raises:
        InputError: The batch cannot be split evenly.
    """
    parallel = settings.micro_batch_size * devices
    if settings.batch_size % parallel:
        raise InputError(
            f"batch_size {settings.batch_size} is no multiple of micro_batch_size {settings.micro_batch_size} x "
            f"{devices} devices; change one of them"
        )
    return settings.batch_size // parallel
