"""Refiners: `original` as it is, `llm` one shot by an operator, `booster` by a trained booster, `promptist` by that
model, `file` by a table made elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from promptavideo.boosters.config import BoosterConfig
from promptavideo.errors import InputError, require
from promptavideo.operators import OperatorConfig, load_operator
from promptavideo.operators.base import TextLimits
from promptavideo.refiners.base import Refiner
from promptavideo.refiners.file import FileRefiner, FileRefinerConfig
from promptavideo.refiners.promptist import PromptistConfig
from promptavideo.settings import Section

__all__ = [
    "BoosterRefinerConfig",
    "FileRefinerConfig",
    "LlmRefinerConfig",
    "OriginalConfig",
    "PromptistConfig",
    "RefinerConfig",
    "load_refiner",
]


class OriginalConfig(Section):
    """The user's prompt, unchanged."""

    kind: Literal["original"]


class LlmRefinerConfig(Section):
    """One rewrite by an operator that has seen no scores."""

    kind: Literal["llm"]
    operator: str
    """Name of the operator."""
    template: str = "templates/refine.txt"
    """The instruction, relative to the repository root."""
    examples: str | None = None
    """A file of good rewrites, shown to the operator where the template has `$examples`."""
    attempts: int = Field(default=1, ge=1)
    """How often the operator is asked, at most, while its answer is unusable."""
    limits: TextLimits = TextLimits()

    @property
    def files(self) -> list[str]:
        """What the refiner reads."""
        return [self.template, *([self.examples] if self.examples else [])]


class BoosterRefinerConfig(Section):
    """A booster of this project."""

    kind: Literal["booster"]
    stage: str
    """`sft`, `dpo-1`, `dpo-2`, ..."""


RefinerConfig = Annotated[
    OriginalConfig | LlmRefinerConfig | BoosterRefinerConfig | PromptistConfig | FileRefinerConfig,
    Field(discriminator="kind"),
]
"""The configuration of any refiner, told apart by `kind`."""


class Original(Refiner):
    """Leaves every prompt as the user wrote it."""

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """The prompts themselves."""
        return list(prompts)


def load_refiner(
    config: RefinerConfig,
    *,
    seed: int,
    name: str = "refiner",
    operator: OperatorConfig | None = None,
    store: Path | None = None,
    booster: BoosterConfig | None = None,
    base: Path | None = None,
    folder: Path | None = None,
    model: Path | None = None,
    tokenizer: Path | None = None,
) -> Refiner:
    """Load the refiner of a configuration entry.

    Args:
        config: Its entry.
        seed: The run's seed.
        name: Its name, for messages.
        operator: The operator's entry, for an `llm` refiner.
        store: The folder that keeps what was paid for, likewise.
        booster: The booster's settings, for a `booster` refiner.
        base: The base model's folder, likewise.
        folder: The booster's folder, likewise.
        model: The model's folder, for a `promptist` refiner.
        tokenizer: The folder of its tokenizer, if another.

    Raises:
        InputError: What the refiner's kind needs is not given, or cannot be loaded.
    """
    match config:
        case OriginalConfig():
            return Original()
        case LlmRefinerConfig():
            from promptavideo.refiners.llm import LlmRefiner

            if operator is None:
                raise InputError("an llm refiner needs an operator")
            chosen = load_operator(operator, config.operator, store)
            examples = Path(config.examples) if config.examples else None
            return LlmRefiner(chosen, Path(config.template), config.limits, seed, examples, config.attempts)
        case BoosterRefinerConfig():
            from promptavideo.refiners.booster import BoosterRefiner

            return BoosterRefiner(
                require(booster, "a booster refiner needs the booster's settings"),
                require(base, "a booster refiner needs the base model's folder"),
                require(folder, "a booster refiner needs the booster's folder"),
                seed,
            )
        case PromptistConfig():
            from promptavideo.refiners.promptist import Promptist

            return Promptist(config, name, require(model, "a promptist refiner needs the model's folder"), tokenizer)
        case FileRefinerConfig():
            return FileRefiner(config, name, Path())
