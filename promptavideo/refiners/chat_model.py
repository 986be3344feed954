"""A chat model on this machine as a refiner, such as a booster that was published as a whole model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import Dtype, SamplingSettings
from promptavideo.boosters.instructions import PublishedInstruction
from promptavideo.boosters.load import Chain
from promptavideo.devices import Device
from promptavideo.errors import named
from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.refiners.booster import SampledRefiner
from promptavideo.settings import File, Planning, Ref

if TYPE_CHECKING:
    from promptavideo.config import Config
    from promptavideo.study import Study


class ChatModelConfig(RefinerEntry):
    """A chat model on this machine that is asked for one refined text a prompt, each drawn with a seed of its own."""

    network: ClassVar[bool] = True

    kind: Literal["chat-model"]
    model: Annotated[str, Ref("models")]
    """Name in the model registry: a causal language model whose tokenizer has a chat template."""
    instruction: Annotated[str | PublishedInstruction, File()] = "templates/booster.txt"
    """A text file with the placeholder `$prompt`, relative to the repository root; or a constant of a published file.
    It is the user's turn."""
    released: bool = False
    """The model was published as a booster of the paper; the records of its texts say so."""
    device: Annotated[Device, Planning()] = "auto"
    """`auto`: a GPU when there is one; `cuda`: a GPU or an error."""
    dtype: Dtype = "auto"
    """Of its weights. `auto` is bfloat16 where the device has instructions for it, else float32."""
    threads: Annotated[int, Planning()] = Field(2, ge=1)
    """On a processor, so many calls at a time, each on one thread, which changes no text."""
    sampling: SamplingSettings = SamplingSettings()
    """How texts are drawn."""

    @property
    def published(self) -> PublishedInstruction | None:
        """The published file that its instruction must be read out of first."""
        return self.instruction if isinstance(self.instruction, PublishedInstruction) else None

    def check(self, where: str, config: "Config", root: Path) -> None:
        """Check the instruction, if it is a file of this machine."""
        if isinstance(self.instruction, str):
            with named(f"{where}.instruction"):
                Instruction(root / self.instruction)

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the model and the text that asks it."""
        if isinstance(self.instruction, str):
            asks = Instruction(Path(self.instruction))
        else:
            asks = Instruction(Path(study.layout.instruction(name)), exact=True)
        return ChatModel(self, name, Path(study.layout.model(self.model)), asks, study.config.seed)


class ChatModel(SampledRefiner):
    """The loaded model."""

    def __init__(
        self, config: ChatModelConfig, name: str, model: Path, instruction: Instruction, run_seed: int
    ) -> None:
        """Load the model.

        Raises:
            InputError: It cannot be loaded, its template does not end a turn, or a GPU is required and missing.
        """
        super().__init__(Chain(model, ()), instruction, config, f"refiners.{name}", name, run_seed)
