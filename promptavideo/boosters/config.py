"""Settings of boosters: the base model, sampling, and the two trainings."""

from typing import Literal

from pydantic import Field

from promptavideo.settings import Section


class LoraSettings(Section):
    """Size of a LoRA adapter (peft)."""

    r: int = Field(16, ge=1)
    alpha: int = Field(16, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], min_length=1
    )


class TrainSettings(Section):
    """Settings that SFT and DPO share."""

    epochs: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    """Examples a step, over all devices."""
    micro_batch_size: int = Field(ge=1)
    """Examples a forward pass; the rest is accumulated."""
    learning_rate: float = Field(gt=0)
    warmup_ratio: float = Field(0.1, ge=0, le=1)
    max_length: int = Field(1024, ge=8)
    """Tokens of instruction and answer together."""
    checkpoint_steps: int = Field(10, ge=1)
    lora: LoraSettings = LoraSettings()


class DpoSettings(TrainSettings):
    """DPO adds the strength of the tie to the reference model."""

    beta: float = Field(0.1, gt=0)


class SamplingSettings(Section):
    """How candidates are drawn from a booster."""

    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(50, ge=0)
    max_new_tokens: int = Field(250, ge=1)
    max_words: int = Field(130, ge=1)
    """Longer answers are cut after their last whole sentence."""
    max_prompt_tokens: int = Field(256, ge=8)
    """Every instruction is padded to this length."""
    batch_size: int = Field(64, ge=1)
    """Rows of one call; every call is padded to it."""


class BoosterConfig(Section):
    """A booster: an instruct model, its instruction text, and how it is trained and sampled."""

    base: str
    """Name in the model registry."""
    instruction: str = "templates/booster.txt"
    device: Literal["auto", "cpu"] = "auto"
    threads: int = Field(2, ge=1)
    """Torch threads of a training, fixed here since sums depend on it; sampling takes one."""
    sampling: SamplingSettings = SamplingSettings()
    sft: TrainSettings
    dpo: DpoSettings
