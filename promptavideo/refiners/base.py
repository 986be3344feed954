"""What a refiner is: something that rewrites a user's prompt before it is filmed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any


class Refiner(ABC):
    """Rewrites prompts, one text for each."""

    @abstractmethod
    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """A refined text for each prompt, in order; it depends on the prompt and its id alone."""

    def circumstances(self) -> dict[str, Any]:
        """What is recorded beside the texts that the settings do not say."""
        return {}
