"""Trainers: how a booster is made, from what and from which other one."""

from abc import abstractmethod
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pandera.pandas as pa
from pydantic import Field

from promptavideo.boosters.config import BoosterConfig, DpoSettings, TrainSettings, Writes
from promptavideo.schemas import PAIRS, TRIPLES
from promptavideo.settings import Entry, Ref, Section, lay

if TYPE_CHECKING:
    import pandas as pd

    from promptavideo.boosters.chat import Instruction
    from promptavideo.boosters.load import Chain
    from promptavideo.boosters.training import Run


class Drawn(Section):
    """Preference data: texts that a booster draws, filmed and compared."""

    draw: Annotated[str | None, Ref("boosters")] = None
    """The booster that draws; the one that the training goes on from when absent."""
    prompts: Annotated[str | None, Ref("prompt_sets")] = None
    """`preference.prompts` when absent."""
    of: Annotated[str | None, Ref("boosters")] = None
    """The booster learns to write negative prompts: they are drawn for this other one's texts, which stay."""


class Released(Section):
    """Pairs of somebody else's, in place of the evolution's."""

    pairs: Annotated[str | dict[str, str], Ref("pair_sources")]
    """Name in `pair_sources`; or {track: name}, and tracks that are not named learn from the evolution."""


class TrainerEntry(Entry):
    """A booster: its trainer, what it goes on from and what it learns from.

    >>> from promptavideo.boosters.config import BoosterConfig, DpoSettings, TrainSettings
    >>> from promptavideo.boosters.trainers import DpoConfig
    >>> shared = {"epochs": 3, "batch_size": 8, "micro_batch_size": 2, "learning_rate": 5e-5}
    >>> booster = BoosterConfig(base="some-model", sft=TrainSettings(**shared), dpo=DpoSettings(**shared))
    >>> gentle = DpoConfig(trainer="dpo", **{"from": "sft"}, settings={"beta": 0.5})
    >>> gentle.start, gentle.settled(booster).beta, gentle.settled(booster).epochs
    ('sft', 0.5, 3.0)
    """

    SCHEMA: ClassVar[pa.DataFrameSchema]
    """Of its data."""
    SECTION: ClassVar[str]
    """Of `booster`, with the settings that the entry's are laid over."""
    SECONDS: ClassVar[str]
    """The key of `planning` with what one row of its data takes in one epoch."""

    start: Annotated[str | None, Ref("boosters")] = Field(None, alias="from")
    """The booster that it goes on from, `NAME` of the same track or `TRACK/NAME`; the base model when absent."""
    tracks: Annotated[list[str] | None, Ref("generators")] = Field(None, min_length=1)
    """One booster is trained on the data of these tracks together; when absent, each track has one of its own."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What differs from the trainer's settings in the section `booster`."""

    @property
    def drawn(self) -> Drawn | None:
        """What it has drawn and filmed to learn from; None if it learns from evolution."""
        return None

    def pairs_for(self, track: str) -> str | None:
        """The source of released pairs that it learns from in a track; None if it learns from what the track filmed."""
        return None

    @property
    def writes(self) -> Writes:
        """What it learns to write."""
        return "text"

    @property
    def others(self) -> list[str]:
        """The boosters that it needs: what it goes on from, and what draws for it or writes the texts beside."""
        return [one.value for one in self.marked() if one.marker == Ref("boosters")]

    def settled(self, booster: BoosterConfig) -> TrainSettings:
        """Its whole settings.

        Args:
            booster: The section `booster`.

        Raises:
            ValidationError: `settings` holds a key or a value that the trainer does not take.
        """
        below: TrainSettings = getattr(booster, self.SECTION)
        laid, _ = lay({"booster": below.model_dump(), "settings": self.settings})
        return type(below).model_validate(laid)

    @abstractmethod
    def train(
        self, data: "pd.DataFrame", chain: "Chain", instruction: "Instruction", settings: TrainSettings, run: "Run"
    ) -> None:
        """Train; see `training.train`."""


class SftConfig(TrainerEntry):
    """Supervised fine-tuning on (prompt, best evolved text) pairs, or on (such a text, negative prompt) pairs."""

    SCHEMA: ClassVar[pa.DataFrameSchema] = PAIRS
    SECTION: ClassVar[str] = "sft"
    SECONDS: ClassVar[str] = "seconds_per_example"

    trainer: Literal["sft"]
    data: Literal["evolution", "negatives"] | Released = "evolution"
    """The best text of each prompt of the evolution; or, to learn to write negative prompts, those that the section
    `negatives` derives from these texts; or `{pairs: NAME}`: pairs of somebody else's."""

    @property
    def writes(self) -> Writes:
        """What it learns to write."""
        return "negative" if self.data == "negatives" else "text"

    def pairs_for(self, track: str) -> str | None:
        """See `TrainerEntry.pairs_for`."""
        if not isinstance(self.data, Released):
            return None
        return self.data.pairs if isinstance(self.data.pairs, str) else self.data.pairs.get(track)

    def train(
        self, data: "pd.DataFrame", chain: "Chain", instruction: "Instruction", settings: TrainSettings, run: "Run"
    ) -> None:
        """Train on pairs; the loss counts the answer's tokens only."""
        from trl import SFTConfig as Arguments
        from trl import SFTTrainer

        from promptavideo.boosters.training import train

        arguments = partial(Arguments, completion_only_loss=True)
        train(data, chain, instruction, settings, run, self.SECTION, {"completion": "refined"}, SFTTrainer, arguments)


class DpoConfig(TrainerEntry):
    """Direct preference optimisation on better and worse ones of filmed candidates."""

    SCHEMA: ClassVar[pa.DataFrameSchema] = TRIPLES
    SECTION: ClassVar[str] = "dpo"
    SECONDS: ClassVar[str] = "seconds_per_triple"

    trainer: Literal["dpo"]
    data: Drawn = Drawn()
    """Texts that a booster draws, filmed and compared."""

    @property
    def drawn(self) -> Drawn:
        """Its candidates."""
        return self.data

    @property
    def writes(self) -> Writes:
        """What it learns to write."""
        return "negative" if self.data.of else "text"

    def train(
        self, data: "pd.DataFrame", chain: "Chain", instruction: "Instruction", settings: TrainSettings, run: "Run"
    ) -> None:
        """Train on triples (Rafailov et al. 2023, sigmoid loss).

        The adapter trains over the merged chain, so the same weights with the adapter switched off are the reference:
        no second copy is in memory. Its log-probabilities never change, so they are computed once before the first
        step, which saves a forward pass over each triple in every epoch but one.
        """
        from trl import DPOConfig as Arguments
        from trl import DPOTrainer

        from promptavideo.boosters.training import train

        assert isinstance(settings, DpoSettings)
        arguments = partial(
            Arguments,
            beta=settings.beta,
            precompute_ref_log_probs=True,  # with a peft model and no `ref_model`: the adapter is off meanwhile
            precompute_ref_batch_size=settings.micro_batch_size,
        )
        answers = {"chosen": "chosen", "rejected": "rejected"}
        train(data, chain, instruction, settings, run, self.SECTION, answers, DPOTrainer, arguments)


def default_chain(rounds: int) -> dict[str, Any]:
    """The paper's boosters: SFT, then so many rounds of DPO, each from the one before and on what it draws."""
    names = ["sft", *(f"dpo-{number}" for number in range(1, rounds + 1))]
    later = {name: {"trainer": "dpo", "from": before} for before, name in pairwise(names)}
    return {"sft": {"trainer": "sft"}, **later}
