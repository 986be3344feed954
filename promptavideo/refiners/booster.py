"""The booster as a refiner, and as the source of DPO candidates."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from promptavideo.boosters.chat import Instruction
from promptavideo.boosters.config import BoosterConfig
from promptavideo.boosters.load import Chain, read_chain
from promptavideo.devices import choose_device
from promptavideo.hardware import device_name, environment
from promptavideo.reading import Fits, anything, read_readers, within
from promptavideo.refiners.base import Refiner, RefinerEntry
from promptavideo.seeds import derive
from promptavideo.settings import Ref

if TYPE_CHECKING:
    from promptavideo.batches import Booster
    from promptavideo.boosters.sampling import BoosterSampler, Drawing
    from promptavideo.study import Study

log = logging.getLogger(__name__)


class BoosterRefinerConfig(RefinerEntry):
    """A booster of this project."""

    network: ClassVar[bool] = True

    kind: Literal["booster"]
    booster: Annotated[str, Ref("boosters")]
    """`sft`, `dpo-1`, ... of the same track; `TRACK/NAME` is the booster of another one."""

    def load(self, name: str, track: str, study: "Study") -> Refiner:
        """Load the base model and merge the booster's chain of adapters."""
        return BoosterRefiner.of(study, study.booster(self.booster, track))


def load_sampler(chain: Chain, instruction: Instruction, config: "Drawing", key: str) -> "BoosterSampler":
    """Load a chat model by the engine that its settings name.

    Args:
        chain: The model, and the adapters to merge into it.
        instruction: Asks for a refined text.
        config: How to draw.
        key: Where that stands in the configuration, for messages.

    Raises:
        InputError: The model cannot be loaded, or what it should compute on is missing.
    """
    engine = config.sampling.engine
    if engine == "auto":
        fast = find_spec("vllm") is not None and choose_device(config.device, f"{key}.device") == "cuda"
        engine = "vllm" if fast else "generate"
        log.info("%s.sampling.engine: auto takes %s here", key, engine)
    if engine == "vllm":
        from promptavideo.boosters.vllm import VllmSampler

        return VllmSampler(chain, instruction, config, key)
    from promptavideo.boosters.sampling import Sampler

    return Sampler(chain, instruction, config, key)


class SampledRefiner(Refiner):
    """A loaded chat model that draws; every text has a seed of its own."""

    fits: Fits = staticmethod(anything)
    """What is not short enough is cut."""

    def __init__(
        self, chain: Chain, instruction: Instruction, config: "Drawing", key: str, name: str, run_seed: int
    ) -> None:
        """Load the model by the engine that the settings name.

        Args:
            chain: The model, and the adapters to merge into it.
            instruction: Asks for a refined text.
            config: How to draw.
            key: Where that stands in the configuration, for messages.
            name: What it is called in progress lines.
            run_seed: The run's seed.

        Raises:
            InputError: The model cannot be loaded, or what it should compute on is missing.
        """
        self._run_seed, self._stage = run_seed, name
        self._sampler = load_sampler(chain, instruction, config, key)

    def circumstances(self) -> dict[str, Any]:
        """Libraries, engine, device, dtype, and what was counted of the answers."""
        sampler, found = self._sampler, environment()
        return {
            **found,
            "engine": f"{sampler.engine} {found['packages'][sampler.engine]}",
            "device": device_name(sampler.device),
            "dtype": sampler.dtype,
            **sampler.tally.record(),
        }

    def refine(self, prompt_ids: Sequence[str], prompts: Sequence[str]) -> list[str]:
        """One refined text a prompt."""
        seeds = [derive(self._run_seed, "refine", prompt_id) for prompt_id in prompt_ids]
        return self._sampler.rewrite(prompts, seeds, f"refine with {self._stage}", self.fits)

    def answers(self, texts: Sequence[str], keys: Sequence[tuple[str | int, ...]]) -> list[str]:
        """What the booster answers about each text, as it is; `keys` name the draws."""
        seeds = [derive(self._run_seed, *key) for key in keys]
        return self._sampler.answers(texts, seeds, f"ask {self._stage}")


class BoosterRefiner(SampledRefiner):
    """A loaded booster."""

    def __init__(self, config: BoosterConfig, base: Path, folder: Path, run_seed: int) -> None:
        """Load the base model and merge the booster's chain of adapters."""
        instruction = Instruction(Path(config.instruction))
        super().__init__(read_chain(base, folder), instruction, config, "booster", folder.name, run_seed)

    @classmethod
    def of(cls, study: "Study", booster: "Booster") -> "BoosterRefiner":
        """Load a booster of a run; its texts are bounded by what the generators of its tracks read."""
        base, folder = study.layout.model(study.config.booster.base), study.files_of(booster).folder
        made = cls(study.settings_of(booster), Path(base), Path(folder), study.config.seed)
        made.fits = within(read_readers(study.readers(booster.tracks)))
        return made

    def candidates(
        self, prompt_ids: Sequence[str], prompts: Sequence[str], count: int, round_: int
    ) -> dict[str, list[str]]:
        """`count` refined texts of each prompt, by prompt id; `round_` makes each DPO round draw afresh."""
        seeds = [
            derive(self._run_seed, "candidate", round_, prompt_id, place)
            for prompt_id in prompt_ids
            for place in range(count)
        ]
        repeated = [prompt for prompt in prompts for _ in range(count)]
        texts = self._sampler.rewrite(repeated, seeds, f"draw candidates from {self._stage}", self.fits)
        return {prompt_id: texts[place * count : (place + 1) * count] for place, prompt_id in enumerate(prompt_ids)}
