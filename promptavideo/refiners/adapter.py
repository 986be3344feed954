"""A booster that was trained elsewhere, given as a folder, as a refiner: the one that ships, or another group's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from promptavideo.boosters.load import CARD
from promptavideo.errors import InputError
from promptavideo.models import check_model
from promptavideo.records import read_record
from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.refiners.booster import BoosterRefiner
from promptavideo.settings import Ref

if TYPE_CHECKING:
    from promptavideo.study import Study


class AdapterConfig(RefinerEntry):
    """A booster's folder (`booster.json`, `adapter/`) over this run's base model."""

    network: ClassVar[bool] = True
    over_base: ClassVar[bool] = True

    kind: Literal["adapter"]
    model: Annotated[str, Ref("models")]
    """Name in the model registry: a booster's folder."""

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the base model and merge the adapter; texts are bounded by what the track's generator reads."""
        from promptavideo.reading import read_readers, within

        settings = study.config.booster
        folder, base = Path(study.layout.model(self.model)), Path(study.layout.model(settings.base))
        trained_over, here = read_record(folder / CARD, dict[str, Any], "card of a booster")["base"], check_model(base)
        if trained_over != here.digest:
            raise InputError(
                f"refiners.{name}.model: {folder} was trained over a base model of digest {trained_over[:16]}, and "
                f"booster.base is {settings.base} of digest {here.digest[:16]}; take that base model"
            )
        made = BoosterRefiner(settings, base, folder, study.config.seed)
        made.fits = within(read_readers(study.readers([track])))
        return made
