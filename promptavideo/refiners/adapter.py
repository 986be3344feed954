"""A booster that was trained elsewhere, given as a folder, as a refiner: the one that ships, or another group's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.refiners.booster import BoosterRefiner
from promptavideo.settings import Ref

if TYPE_CHECKING:
    from promptavideo.study import Study


class AdapterConfig(RefinerEntry):
    """A booster's folder (`booster.json`, `adapter/`) over this run's base model."""

    network: ClassVar[bool] = True

    kind: Literal["adapter"]
    model: Annotated[str, Ref("models")]
    """Name in the model registry: a booster's folder."""

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the base model and merge the adapter; texts are bounded by what the track's generator reads."""
        from promptavideo.reading import read_readers, within

        settings = study.config.booster
        folder, base = study.layout.model(self.model), study.layout.model(settings.base)
        made = BoosterRefiner(settings, Path(base), Path(folder), study.config.seed)
        made.fits = within(read_readers(study.readers([track])))
        return made
