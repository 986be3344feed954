"""The prompt as the user wrote it, against which gains are measured."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from promptavideo.refiners.base import Refiner, RefinerEntry

if TYPE_CHECKING:
    from promptavideo.study import Study


class OriginalConfig(RefinerEntry):
    """The user's prompt, unchanged."""

    unchanged: ClassVar[bool] = True

    kind: Literal["original"]

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Nothing is loaded."""
        return Original()


class Original(Refiner):
    """Leaves every prompt as the user wrote it."""

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """The prompts themselves."""
        return list(prompts)
