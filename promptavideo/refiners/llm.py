"""One rewrite by an operator that has seen no scores: what a user without a booster would try."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from promptavideo.errors import named
from promptavideo.operators.asking import ask_variants
from promptavideo.operators.base import (
    FEW_SHOT_PLACEHOLDERS,
    REFINE_PLACEHOLDERS,
    Example,
    Operator,
    Request,
    TextLimits,
    read_examples,
    read_template,
    render_instruction,
)
from promptavideo.refiners.base import Refiner, RefinerEntry, Tally
from promptavideo.settings import File, Ref
from promptavideo.templates import for_medium
from promptavideo.video import Filmed

if TYPE_CHECKING:
    from promptavideo.config import Config
    from promptavideo.study import Study


class LlmRefinerConfig(RefinerEntry):
    """One rewrite by an operator that has seen no scores."""

    kind: Literal["llm"]
    operator: Annotated[str, Ref("operators")]
    """Name of the operator."""
    template: Annotated[str, File()] = "templates/refine.txt"
    """The instruction, relative to the repository root. For generators of images `NAME_images.txt` beside it, where
    there is one; so with the examples."""
    examples: Annotated[str | None, File()] = None
    """A file of good rewrites, shown to the operator where the template has `$examples`."""
    attempts: int = Field(default=1, ge=1)
    """How often the operator is asked, at most, while its answer is unusable."""
    limits: TextLimits = TextLimits()

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check the template and the examples of each medium that the run films."""
        for medium in dict.fromkeys(entry.filmed for entry in config.generators.values()):
            with named(f"{where}.examples"):
                self.read_examples(medium, root)
            with named(f"{where}.template"):
                self.read_template(medium, root)

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the operator."""
        operator = study.config.operators[self.operator].load(self.operator, Path(study.config.store))
        return LlmRefiner(self, operator, study.config.seed, study.medium(track))

    def files_for(self, medium: Filmed, root: Path) -> list[str]:
        """The template and the examples of a medium."""
        return [for_medium(file, medium, root) for file in self.files]

    def read_template(self, medium: Filmed = "video", root: Path = Path()) -> str:
        """The instruction's template, which shows examples if there are some."""
        path = root / for_medium(self.template, medium, root)
        return read_template(path, FEW_SHOT_PLACEHOLDERS if self.examples else REFINE_PLACEHOLDERS)

    def read_examples(self, medium: Filmed = "video", root: Path = Path()) -> list[Example]:
        """The good rewrites to show, from a YAML list of {prompt: ..., refined: ...}."""
        return read_examples(root / for_medium(self.examples, medium, root), "refined") if self.examples else []


class LlmRefiner(Refiner):
    """Asks the operator about each prompt by itself; if no answer is usable the prompt stays, which is counted."""

    def __init__(self, config: LlmRefinerConfig, operator: Operator, run_seed: int, medium: Filmed = "video") -> None:
        """Read the files of a medium.

        Raises:
            InputError: A file cannot be used.
        """
        self._config, self._operator, self._run_seed = config, operator, run_seed
        self._template, self._examples = config.read_template(medium), config.read_examples(medium)
        self._tally = Tally()

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """One refined text a prompt.

        Raises:
            InputError: No answer at all is usable.
        """
        requests = [
            Request(
                render_instruction(self._template, prompt, examples=self._examples),
                ("refine", self._run_seed, prompt_id),
                prompt,
            )
            for prompt_id, prompt in zip(prompt_ids, prompts, strict=True)
        ]
        answers = ask_variants(self._operator, requests, self._config.limits, self._config.attempts)
        tally = self._tally = Tally(texts=len(prompts))
        for found in answers:
            if not found.variants:
                tally.fallbacks += 1
                tally.dropped.update(found.dropped)
        tally.close("refine")
        return [found.variants[0] if found.variants else prompt for prompt, found in zip(prompts, answers, strict=True)]

    def circumstances(self) -> dict[str, Any]:
        """What was counted of the answers."""
        return self._tally.record()
