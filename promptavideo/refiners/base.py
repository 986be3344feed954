"""What a refiner is: something that rewrites a user's prompt before it is filmed."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from promptavideo.answers import bound, fit, no_prompt, without_thoughts
from promptavideo.errors import InputError
from promptavideo.reading import Fits, anything
from promptavideo.settings import Entry, Ref
from promptavideo.shots import Refined, prompts_table
from promptavideo.video import Filmed

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.boosters.instructions import PublishedInstruction
    from promptavideo.study import Study

log = logging.getLogger(__name__)

UNCHANGED = "equal to the original"
"""Why an answer that repeats the prompt is dropped."""


@dataclass
class Tally:
    """How many texts are not what a model meant as its answer, and why; recorded beside the texts."""

    texts: int = 0
    fallbacks: int = 0
    """Texts that are the prompt itself, since there was no usable answer."""
    cut: int = 0
    """Texts that were longer than allowed."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Answers that were not used, by reason."""

    def read(self, answer: str, prompt: str, max_words: int, fits: Fits = anything) -> str:
        """The text that a model's answer gives, in one clean line; the prompt itself if the answer is none.

        Args:
            answer: What the model wrote.
            prompt: What it was asked about.
            max_words: A longer text is cut, see `answers.bound`.
            fits: So is one that does not, see `answers.fit`.
        """
        said = without_thoughts(answer)
        self.texts += 1
        if fault := no_prompt(said):
            self.dropped[fault] += 1
            self.fallbacks += 1
            return prompt
        text, long = bound(said, max_words)
        text, unread = fit(text, fits)
        self.cut += long or unread
        return text

    def close(self, stage: str) -> None:
        """Say what was counted.

        Raises:
            InputError: No answer at all was usable, so that the texts say nothing of who wrote them.
        """
        reasons = ", ".join(f"{reason}: {count}" for reason, count in self.dropped.most_common())
        # A model that repeats a prompt has answered, though badly.
        if self.texts and self.fallbacks == self.texts and UNCHANGED not in self.dropped:
            raise InputError(
                f"{stage}: none of {self.texts} answers is usable ({reasons}), so every text would be its prompt itself"
            )
        if self.fallbacks:
            log.warning(
                "%s: %d of %d answers are not usable (%s); the prompt itself stands in",
                stage, self.fallbacks, self.texts, reasons,
            )  # fmt: skip

    def record(self) -> dict[str, Any]:
        """What is recorded: counts, and nothing where there is nothing to count."""
        found = {"fallbacks": self.fallbacks, "cut": self.cut, "dropped": dict(sorted(self.dropped.items()))}
        return {name: value for name, value in found.items() if value}


class RefinerEntry(Entry):
    """The configuration of any refiner."""

    unchanged: ClassVar[bool] = False
    """Whether every text is its prompt, so that gains can be measured against it."""
    network: ClassVar[bool] = False
    """Whether a network writes its texts where the job runs."""
    negates: ClassVar[bool] = False
    """Whether its texts are those of the refiner that it goes on from, with negative prompts."""

    over_base: ClassVar[bool] = False
    """Whether it is a part of a booster that is loaded over this run's base model, drawn from as the boosters are."""

    @property
    def asks(self) -> str | None:
        """Name of the operator that it asks, if it does."""
        return next((one.value for one in self.marked() if one.marker == Ref("operators")), None)

    def files_for(self, medium: Filmed, root: Path) -> list[str]:
        """The files that it reads when it writes for generators of a medium.

        Args:
            medium: What is filmed.
            root: The repository root.
        """
        return self.files

    @property
    def drawn_from(self) -> str | None:
        """Name of the booster that writes its texts, if one does."""
        return next((one.value for one in self.marked() if one.marker == Ref("boosters")), None)

    @property
    def published(self) -> "PublishedInstruction | None":
        """The published instruction that must be fetched first, if it has one."""
        return None

    @property
    def goes_on_from(self) -> str | None:
        """Name of the refiner whose texts it is given beside the prompts, if it is."""
        return next((one.value for one in self.marked() if one.marker == Ref("refiners")), None)

    @abstractmethod
    def load(self, name: str, track: str, study: "Study") -> "Refiner":
        """Load the refiner.

        Args:
            name: Its name, for messages.
            track: The track whose prompts it rewrites.
            study: The run around it.

        Raises:
            InputError: What it needs is missing or cannot be loaded.
        """


class Refiner(ABC):
    """Rewrites prompts, one text for each.

    >>> from promptavideo.refiners.base import Refiner
    >>> class AtNight(Refiner):
    ...     def refine(self, prompt_ids, prompts):
    ...         return [f"{prompt}, at night" for prompt in prompts]
    >>> AtNight().refine(["some-id"], ["a cat on a wall"])
    ['a cat on a wall, at night']
    """

    @abstractmethod
    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> Sequence[str | Refined]:
        """A refined text for each prompt, in order, as `Refined` if it has a negative prompt of its own.

        It depends on the prompt and its id alone.
        """

    def extend(
        self, prompt_ids: Sequence[str], prompts: Sequence[str], texts: Sequence[str]
    ) -> Sequence[str | Refined]:
        """The same for one that goes on from another refiner's texts: here they are refined as if they were prompts.

        Args:
            prompt_ids: Of the prompts.
            prompts: As users wrote them.
            texts: How the other one refined them.
        """
        return self.refine(prompt_ids, texts)

    def circumstances(self) -> dict[str, Any]:
        """What is recorded beside the texts that the settings do not say."""
        return {}


def evaluation_table(
    prompt_set: "pd.DataFrame",
    refiner: Refiner,
    replicates: int,
    run_seed: int,
    below: "pd.DataFrame | None" = None,
) -> "pd.DataFrame":
    """A `schemas.PROMPTS` table that films each prompt's refined text `replicates` times.

    Args:
        prompt_set: A `schemas.PROMPT_SET` table.
        refiner: Rewrites every prompt once.
        replicates: Videos a prompt, each with another seed.
        run_seed: The run's seed.
        below: The same table of the refiner from whose texts it goes on, if it does.

    Raises:
        InputError: That table lacks a prompt.
    """
    ordered = prompt_set.sort_values("prompt_id", ignore_index=True)
    ids, prompts = ordered["prompt_id"].tolist(), ordered["prompt"].tolist()
    if below is None:
        texts = refiner.refine(ids, prompts)
    else:
        known = dict(zip(below["prompt_id"], below["refined"], strict=True))
        if lost := [one for one in ids if one not in known]:
            raise InputError(f"{len(lost)} prompts have no text to go on from, first {lost[0]}; make that table again")
        texts = refiner.extend(ids, prompts, [known[one] for one in ids])
    refined = {identity: [text] for identity, text in zip(ids, texts, strict=True)}
    return prompts_table(dict(zip(ids, prompts, strict=True)), refined, run_seed, replicates)
