"""One rewrite by an operator that has seen no scores: what a user without a booster would try."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from promptavideo.errors import InputError, named
from promptavideo.operators.asking import ask_variants
from promptavideo.operators.base import (
    FEW_SHOT_PLACEHOLDERS,
    REFINE_PLACEHOLDERS,
    Example,
    Operator,
    Request,
    TextLimits,
    read_template,
    render_instruction,
)
from promptavideo.refiners.base import Refiner, RefinerEntry, Tally
from promptavideo.settings import File, Ref
from promptavideo.text import clean

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
        with named(f"{where}.examples"):
            self.read_examples(root)
        with named(f"{where}.template"):
            self.read_template(root)

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the operator."""
        operator = study.config.operators[self.operator].load(self.operator, Path(study.config.store))
        return LlmRefiner(self, operator, study.config.seed)

    def read_template(self, root: Path) -> str:
        """The instruction's template, which shows examples if there are some."""
        return read_template(root / self.template, FEW_SHOT_PLACEHOLDERS if self.examples else REFINE_PLACEHOLDERS)

    def read_examples(self, root: Path) -> list[Example]:
        """The good rewrites to show, from a YAML list of {prompt: ..., refined: ...}.

        Raises:
            InputError: The file cannot be read, is empty, or an entry is not a pair of two texts.
        """
        if self.examples is None:
            return []
        path = root / self.examples
        try:
            entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"{path}: the examples cannot be read ({error})") from error
        if not isinstance(entries, list) or not entries:
            raise InputError(f"{path}: must be a list of examples, each with `prompt:` and `refined:`")
        return [_example(entry, f"{path}, example {number}") for number, entry in enumerate(entries, 1)]


def _example(entry: Any, where: str) -> Example:
    fields = ("prompt", "refined")
    if not isinstance(entry, dict) or set(entry) != set(fields):
        raise InputError(f"{where}: must have `prompt:` and `refined:` and nothing else")
    for field in fields:
        if not isinstance(entry[field], str) or not clean(entry[field]):
            raise InputError(
                f"{where}: `{field}:` must be a text; put it in quotes if it looks like a number or a date"
            )
    return Example(**entry)


class LlmRefiner(Refiner):
    """Asks the operator about each prompt by itself; if no answer is usable the prompt stays, which is counted."""

    def __init__(self, config: LlmRefinerConfig, operator: Operator, run_seed: int) -> None:
        """Read the files.

        Raises:
            InputError: A file cannot be used.
        """
        self._config, self._operator, self._run_seed = config, operator, run_seed
        self._template, self._examples = config.read_template(Path()), config.read_examples(Path())
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
