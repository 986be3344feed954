"""One rewrite by an operator that has seen no scores: what a user without a booster would try."""

import logging
from collections.abc import Sequence
from pathlib import Path

from promptavideo.operators.base import (
    REFINE_PLACEHOLDERS,
    Operator,
    TextLimits,
    parse_variants,
    read_template,
    render_instruction,
)
from promptavideo.refiners.base import Refiner

log = logging.getLogger(__name__)


class LlmRefiner(Refiner):
    """Asks the operator once a prompt; an unusable answer leaves the prompt as it is, with a warning."""

    def __init__(self, operator: Operator, template: Path, limits: TextLimits, run_seed: int) -> None:
        self._operator, self._limits, self._run_seed = operator, limits, run_seed
        self._template = read_template(template, REFINE_PLACEHOLDERS)

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """One refined text a prompt."""
        answers = self._operator.answer_all(
            [
                (render_instruction(self._template, prompt), ("refine", self._run_seed, prompt_id))
                for prompt_id, prompt in zip(prompt_ids, prompts, strict=True)
            ]
        )
        texts = []
        for prompt_id, prompt, answer in zip(prompt_ids, prompts, answers, strict=True):
            parsed = parse_variants(answer, 1, self._limits, original=prompt)
            if not parsed.variants:
                log.warning("%s: no usable answer (%s); the prompt itself stands in", prompt_id, parsed.dropped)
            texts.append(parsed.variants[0] if parsed.variants else prompt)
        return texts
