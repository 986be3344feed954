"""The entry of boosters as refiners, apart from the libraries that draw texts."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.settings import Ref

if TYPE_CHECKING:
    from promptavideo.study import Study


class BoosterRefinerConfig(RefinerEntry):
    """A booster of this project."""

    network: ClassVar[bool] = True

    kind: Literal["booster"]
    booster: Annotated[str, Ref("boosters")]
    """`sft`, `dpo-1`, ... of the same track; `TRACK/NAME` is the booster of another one."""

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the base model and merge the booster's chain of adapters."""
        from promptavideo.refiners.booster import BoosterRefiner

        return BoosterRefiner.of(study, study.booster(self.booster, track))
