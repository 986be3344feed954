"""Trainers: how a booster is made, from what and from which other one."""

from abc import abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pandera.pandas as pa
from pydantic import Field

from promptavideo.boosters.config import BoosterConfig, DpoSettings, TrainSettings
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

    @property
    def others(self) -> list[str]:
        """The boosters that it needs: what it goes on from, and what draws for it."""
        return [one.value for one in self.marked() if one.marker == Ref("boosters")]

    @abstractmethod
    def settled(self, booster: BoosterConfig) -> TrainSettings:
        """Its whole settings.

        Args:
            booster: The section `booster`.

        Raises:
            ValidationError: `settings` holds a key or a value that the trainer does not take.
        """

    @abstractmethod
    def seconds(self, per_example: float, per_triple: float) -> float:
        """Seconds of one row of its data in one epoch, of what the configuration expects of each kind."""

    @abstractmethod
    def train(
        self, data: "pd.DataFrame", chain: "Chain", instruction: "Instruction", settings: TrainSettings, run: "Run"
    ) -> None:
        """Train; see `training.train_sft` and `training.train_dpo`."""


class SftConfig(TrainerEntry):
    """Supervised fine-tuning on (prompt, best evolved text) pairs."""

    SCHEMA: ClassVar[pa.DataFrameSchema] = PAIRS

    trainer: Literal["sft"]
    data: Literal["evolution"] = "evolution"
    """The best text of each prompt of the evolution."""

    def settled(self, booster: BoosterConfig) -> TrainSettings:
        """`booster.sft` with what differs."""
        return TrainSettings.model_validate(_laid(booster.sft, self.settings))

    def seconds(self, per_example: float, per_triple: float) -> float:
        """A pair's."""
        return per_example

    def train(
        self, data: "pd.DataFrame", chain: "Chain", instruction: "Instruction", settings: TrainSettings, run: "Run"
    ) -> None:
        """Train on pairs."""
        from promptavideo.boosters.training import train_sft

        train_sft(data, chain, instruction, settings, run)


class DpoConfig(TrainerEntry):
    """Direct preference optimisation on better and worse ones of filmed candidates."""

    SCHEMA: ClassVar[pa.DataFrameSchema] = TRIPLES

    trainer: Literal["dpo"]
    data: Drawn = Drawn()
    """Texts that a booster draws, filmed and compared."""

    @property
    def drawn(self) -> Drawn:
        """Its candidates."""
        return self.data

    def settled(self, booster: BoosterConfig) -> DpoSettings:
        """`booster.dpo` with what differs."""
        return DpoSettings.model_validate(_laid(booster.dpo, self.settings))

    def seconds(self, per_example: float, per_triple: float) -> float:
        """A triple's."""
        return per_triple

    def train(
        self, data: "pd.DataFrame", chain: "Chain", instruction: "Instruction", settings: TrainSettings, run: "Run"
    ) -> None:
        """Train on triples."""
        from promptavideo.boosters.training import train_dpo

        assert isinstance(settings, DpoSettings)
        train_dpo(data, chain, instruction, settings, run)


def _laid(below: TrainSettings, settings: dict[str, Any]) -> dict[str, Any]:
    return lay({"booster": below.model_dump(), "settings": settings})[0]


def default_chain(rounds: int) -> dict[str, Any]:
    """The paper's boosters: SFT, then so many rounds of DPO, each from the one before and on what it draws."""
    names = ["sft", *(f"dpo-{number}" for number in range(1, rounds + 1))]
    later = {name: {"trainer": "dpo", "from": before} for before, name in pairwise(names)}
    return {"sft": {"trainer": "sft"}, **later}
