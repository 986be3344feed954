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
    Operator,
    Request,
    TextLimits,
    read_template,
    render_instruction,
)
from promptavideo.refiners.base import Refiner, RefinerEntry, Tally
from promptavideo.refiners.examples import read_examples
from promptavideo.settings import File, Ref

if TYPE_CHECKING:
    from promptavideo.config import Config
    from promptavideo.study import Study


class LlmRefinerConfig(RefinerEntry):
    """One rewrite by an operator that has seen no scores."""

    kind: Literal["llm"]
    operator: Annotated[str, Ref("operators")]
    """Name of the operator."""
    template: Annotated[str, File()] = "templates/refine.txt"
    """The instruction, relative to the repository root."""
    examples: Annotated[str | None, File()] = None
    """A file of good rewrites, shown to the operator where the template has `$examples`."""
    attempts: int = Field(default=1, ge=1)
    """How often the operator is asked, at most, while its answer is unusable."""
    limits: TextLimits = TextLimits()

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check the template and the examples."""
        if self.examples:
            with named(f"{where}.examples"):
                read_examples(root / self.examples)
        with named(f"{where}.template"):
            read_template(root / self.template, FEW_SHOT_PLACEHOLDERS if self.examples else REFINE_PLACEHOLDERS)

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the operator."""
        operator = study.config.operators[self.operator].load(self.operator, Path(study.config.store))
        examples = Path(self.examples) if self.examples else None
        return LlmRefiner(operator, Path(self.template), self.limits, study.config.seed, examples, self.attempts)


class LlmRefiner(Refiner):
    """Asks the operator about each prompt by itself; if no answer is usable the prompt stays, which is counted."""

    def __init__(
        self,
        operator: Operator,
        template: Path,
        limits: TextLimits,
        run_seed: int,
        examples: Path | None = None,
        attempts: int = 1,
    ) -> None:
        """Read the files.

        Args:
            operator: Rewrites.
            template: The instruction's template.
            limits: Bounds on a rewrite.
            run_seed: The run's seed.
            examples: A file of good rewrites for the template's `$examples`.
            attempts: How often to ask about a prompt, at most, while the answer is unusable.

        Raises:
            InputError: A file cannot be used.
        """
        self._operator, self._limits, self._run_seed, self._attempts = operator, limits, run_seed, attempts
        self._template = read_template(template, FEW_SHOT_PLACEHOLDERS if examples else REFINE_PLACEHOLDERS)
        self._examples = read_examples(examples) if examples else []
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
        answers = ask_variants(self._operator, requests, self._limits, self._attempts)
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
