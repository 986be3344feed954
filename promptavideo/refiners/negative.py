"""Another refiner's texts with negative prompts: one of a file for all, an operator's, or a booster's."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from promptavideo.errors import InputError, named
from promptavideo.generators.base import TAKES_NEGATIVE
from promptavideo.negatives import DescriptorLimits, Negatives, Subject, Written, ask, read_fixed
from promptavideo.operators.base import (
    FEW_SHOT_PLACEHOLDERS,
    REFINE_PLACEHOLDERS,
    Example,
    Key,
    Operator,
    TextLimits,
    read_examples,
    read_template,
)
from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.refiners.booster import BoosterRefiner
from promptavideo.settings import File, Ref
from promptavideo.shots import Refined

if TYPE_CHECKING:
    from promptavideo.config import Config
    from promptavideo.study import Study

log = logging.getLogger(__name__)


class NegativeConfig(RefinerEntry):
    """The texts of another refiner, each with a negative prompt of its own."""

    negates: ClassVar[bool] = True

    kind: Literal["negative"]
    of: Annotated[str, Ref("refiners")]
    """The refiner whose texts stay as they are; compared in the same tracks, without negative prompts."""
    text: Annotated[str | None, File()] = None
    """A text file with one negative prompt for all texts: descriptors with commas between."""
    operator: Annotated[str | None, Ref("operators")] = None
    """Instead: name of the operator that writes them."""
    template: Annotated[str | None, File()] = None
    """The operator's instruction, in which `$prompt` is the text that is filmed."""
    examples: Annotated[str | None, File()] = None
    """A file of texts with good negative prompts (`prompt`, `negative`), for `$examples` in the template."""
    booster: Annotated[str | None, Ref("boosters")] = None
    """Instead: the booster of negative prompts that writes them."""
    attempts: int = Field(default=1, ge=1)
    """How often the operator is asked, at most, while its answer is unusable."""
    limits: TextLimits = TextLimits()
    """Of the operator's answers."""
    descriptors: DescriptorLimits = DescriptorLimits()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(one is not None for one in (self.text, self.operator, self.booster)) != 1:
            raise ValueError("give one of `text`, `operator` and `booster`")
        if (self.operator is None) != (self.template is None):
            raise ValueError("`operator` and `template` go together")
        if self.examples and not self.operator:
            raise ValueError("`examples` are for an `operator`")
        return self

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check the files, and that whoever is compared by it takes negative prompts and is compared without them."""
        name = where.partition(".")[2]
        if config.refiners[self.of].goes_on_from:
            raise InputError(f"{where}.of: {self.of} has texts of another refiner itself; name that one")
        for track in config.generators:
            compared = config.evaluation.compared(track)
            if name in compared and self.of not in compared:
                raise InputError(
                    f"{where}.of: {track} is not compared by {self.of}, to which gains are measured; list it"
                )
            if name in compared and not config.generators[track].takes_negative:
                raise InputError(f"{where}: {track} is compared by it and takes no negative prompts. {TAKES_NEGATIVE}")
        owner, _, booster = (self.booster or "").rpartition("/")
        if owner and config.boosters[booster].drawn and not config.generators[owner].takes_negative:
            raise InputError(
                f"{where}.booster: {booster} learns from videos of {owner}, which takes no negative prompts. "
                f"{TAKES_NEGATIVE}"
            )
        with named(f"{where}.text"):
            self.read_text(root)
        with named(f"{where}.examples"):
            self.read_examples(root)
        with named(f"{where}.template"):
            self.read_template(root)

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load what writes them."""
        writer: Writer
        if self.booster:
            writer = Learned(BoosterRefiner.of(study, study.booster(self.booster, track)))
        elif self.operator:
            operator = study.config.operators[self.operator].load(self.operator, Path(study.config.store))
            writer = Asked(self, operator, study.config.seed)
        else:
            writer = Fixed(self.read_text(Path()))
        return NegativeRefiner(writer, name, self.descriptors)

    def read_text(self, root: Path) -> str:
        """The negative prompt for all texts; empty if each has one of its own."""
        return read_fixed(root / self.text, self.descriptors) if self.text else ""

    def read_template(self, root: Path) -> str:
        """The operator's instruction; empty if none is asked."""
        wanted = FEW_SHOT_PLACEHOLDERS if self.examples else REFINE_PLACEHOLDERS
        return read_template(root / self.template, wanted) if self.template else ""

    def read_examples(self, root: Path) -> list[Example]:
        """The good negative prompts to show."""
        return read_examples(root / self.examples, "negative") if self.examples else []


class Writer(ABC):
    """Writes negative prompts."""

    own: ClassVar[bool] = True
    """Whether each is for its text, so that none may have a word of the user's prompt."""

    @abstractmethod
    def write(self, subjects: Sequence[Subject]) -> Sequence[Written]:
        """An answer for each text, in order."""

    def circumstances(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {}


@dataclass
class Fixed(Writer):
    """The same for all texts."""

    own: ClassVar[bool] = False

    text: str

    def write(self, subjects: Sequence[Subject]) -> list[Written]:
        """The one text."""
        return [Written(self.text)] * len(subjects)


class Asked(Writer):
    """An operator's."""

    def __init__(self, config: NegativeConfig, operator: Operator, run_seed: int) -> None:
        """Read the files.

        Raises:
            InputError: A file cannot be used.
        """
        self._config, self._operator, self._run_seed = config, operator, run_seed
        self._template, self._examples = config.read_template(Path()), config.read_examples(Path())

    def write(self, subjects: Sequence[Subject]) -> list[Written]:
        """One answer a text."""
        config, key = self._config, ("negative", self._run_seed)
        return ask(self._operator, self._template, subjects, self._examples, config.limits, config.attempts, key)


@dataclass
class Learned(Writer):
    """A booster's."""

    booster: BoosterRefiner

    def write(self, subjects: Sequence[Subject]) -> list[Written]:
        """One answer a text, each drawn with a seed of its own."""
        return self.draw([(one, ("negative", one.prompt_id)) for one in subjects])

    def draw(self, asked: Sequence[tuple[Subject, Key]]) -> list[Written]:
        """Answers about texts, each drawn with the seed that its key names."""
        return [Written(one) for one in self.booster.answers([one.text for one, _ in asked], [key for _, key in asked])]

    def circumstances(self) -> dict[str, Any]:
        """What the booster says of itself."""
        return self.booster.circumstances()


def draw(
    writer: Learned, subjects: Sequence[Subject], count: int, round_: int, limits: DescriptorLimits
) -> tuple[dict[str, list[Refined]], Negatives]:
    """`count` candidates of each text's negative prompt, by prompt id, and what was counted.

    Args:
        writer: The booster that draws.
        subjects: The texts, which stay as they are.
        count: Candidates of each.
        round_: Makes each round of DPO draw afresh.
        limits: Of candidates.

    Raises:
        InputError: No answer at all is usable.
    """
    negatives = Negatives(limits)
    asked = [(one, ("negative candidate", round_, one.prompt_id, place)) for one in subjects for place in range(count)]
    found: dict[str, list[Refined]] = {one.prompt_id: [] for one in subjects}
    for (one, _), written in zip(asked, writer.draw(asked), strict=True):
        found[one.prompt_id].append(Refined(one.text, negatives.read(written, one)))
    if asked and negatives.without == len(asked):
        raise InputError(f"none of {len(asked)} answers is a negative prompt ({negatives.report()})")
    return found, negatives


@dataclass
class NegativeRefiner(Refiner):
    """Leaves texts as they are and gives each a negative prompt; one without a usable one keeps the generator's."""

    writer: Writer
    name: str
    limits: DescriptorLimits
    negatives: Negatives = field(init=False)

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[Refined]:
        """The prompts themselves, each with a negative prompt."""
        return self.extend(prompt_ids, prompts, prompts)

    def extend(self, prompt_ids: Sequence[str], prompts: Sequence[str], texts: Sequence[str]) -> list[Refined]:
        """The texts, each with a negative prompt.

        Raises:
            InputError: No text at all has one, so that nothing would differ from the refiner whose texts these are.
        """
        subjects = [Subject(*one) for one in zip(prompt_ids, prompts, texts, strict=True)]
        negatives = self.negatives = Negatives(self.limits)
        found = [
            Refined(one.text, negatives.read(written, one if self.writer.own else one._replace(prompt="")))
            for one, written in zip(subjects, self.writer.write(subjects), strict=True)
        ]
        if said := negatives.report():
            log.warning("%s: %s", self.name, said)
        if subjects and negatives.without == len(subjects):
            raise InputError(f"refiners.{self.name}: none of {len(subjects)} texts has a negative prompt ({said})")
        return found

    def circumstances(self) -> dict[str, Any]:
        """What is recorded of the writer, and what was counted."""
        return self.writer.circumstances() | {"negatives": self.negatives.record()}
