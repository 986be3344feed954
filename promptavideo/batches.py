"""Batches: prompts tables that are filmed and judged, and what makes each; and the boosters that learn from them."""

from dataclasses import dataclass, field

from promptavideo.boosters.config import Writes
from promptavideo.boosters.trainers import TrainerEntry
from promptavideo.layout import SHARED


@dataclass(frozen=True)
class Booster:
    """One trained booster."""

    name: str
    home: str
    """The track that owns it, or `SHARED`."""
    entry: TrainerEntry = field(hash=False)
    tracks: tuple[str, ...]
    """Whose data it learns from."""
    start: "Booster | None"
    """The one that it goes on from."""
    drawing: "Booster | None"
    """The one that draws its candidates, if it learns from candidates."""
    texts: "Booster | None"
    """The one whose texts stay, if it learns from candidates of negative prompts for these."""
    prompts: str
    """Name of the prompt set whose prompts it learns from."""

    @property
    def writes(self) -> Writes:
        """A text to film, or a negative prompt for one."""
        return self.entry.writes

    @property
    def chain(self) -> "tuple[Booster, ...]":
        """Those whose adapters are merged, first trained first; it is the last."""
        return (*(self.start.chain if self.start else ()), self)

    @property
    def round(self) -> int:
        """How many of its chain learned from candidates; each round draws afresh."""
        return sum(one.drawing is not None for one in self.chain)

    @property
    def known_as(self) -> str:
        """Its name where tracks are mixed."""
        return self.name if self.home == SHARED else f"{self.home}/{self.name}"


@dataclass(frozen=True)
class Originals:
    """The prompts as users wrote them: round 0 of the evolution."""


@dataclass(frozen=True)
class Round:
    """What an operator proposes from the scores of all earlier rounds."""

    number: int


@dataclass(frozen=True)
class Draw:
    """Several texts a prompt, for a booster to learn from."""

    learner: Booster


@dataclass(frozen=True)
class Refine:
    """A refiner's texts of an evaluation set."""

    set: str
    refiner: str


@dataclass(frozen=True)
class Pilot:
    """The first prompts of the evolution, to measure how long work takes."""


Source = Originals | Round | Draw | Refine | Pilot

RULES: dict[type[Source], str] = {
    Originals: "propose",
    Round: "propose",
    Draw: "candidates",
    Refine: "refine",
    Pilot: "pilot_prompts",
}
"""The rule that makes the prompts table of each kind of batch."""


@dataclass(frozen=True)
class Batch:
    """A prompts table that one generator films and judges judge."""

    track: str
    name: str
    """Its folder within the track's: `evolution/round-1`."""
    generator: str
    """Name of what films it."""
    prompts: str
    """Name of its prompt set."""
    source: Source
    per_prompt: int
    """Videos of each prompt, at most."""
    judges: tuple[str, ...]
    """The groups of judges that look at it: `rewards`, and judges that only report by their name."""

    @property
    def part(self) -> str:
        """The part of the method that it belongs to, for people: `evolution`, `dpo-1`, `evaluation`, `pilot`."""
        match self.source:
            case Originals() | Round():
                return "evolution"
            case Draw(learner):
                return learner.name
            case Refine():
                return "evaluation"
            case Pilot():
                return "pilot"
