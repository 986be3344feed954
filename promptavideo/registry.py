"""The kinds of entries, each by name: this project's, and those that other packages register.

A package adds a kind by an entry point, such as

    [project.entry-points."promptavideo.judges"]
    sharpness = "my_package.sharpness:SharpnessConfig"

whose class is an `Entry` of that group (`GeneratorEntry`, `JudgeEntry`, ...) with `kind: Literal["sharpness"]`.
"""

from functools import cache, reduce
from importlib.metadata import EntryPoint, entry_points
from operator import or_
from typing import Annotated, Any, get_args

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.settings import Entry

KINDS: dict[str, dict[str, str]] = {
    "models": {
        "package": "promptavideo.models:PackageModel",
        "hub": "promptavideo.models:HubModel",
        "local": "promptavideo.models:LocalModel",
        "url": "promptavideo.models:UrlModel",
        "miniature": "promptavideo.models:MiniatureModel",
    },
    "generators": {
        "diffusers": "promptavideo.generators.diffusers_config:DiffusersConfig",
        "command": "promptavideo.generators.command:CommandConfig",
        "openai-video": "promptavideo.generators.api:OpenAIVideoConfig",
        "openai-image": "promptavideo.generators.image_api:OpenAIImageConfig",
    },
    "judges": {
        "pixels": "promptavideo.judges.pixels_config:PixelsConfig",
        "pixel-preference": "promptavideo.judges.pixels_config:PixelPreferenceConfig",
        "videoscore": "promptavideo.judges.videoscore:VideoScoreConfig",
        "aesthetic": "promptavideo.judges.aesthetic:AestheticConfig",
        "mps": "promptavideo.judges.mps:MpsConfig",
        "hps": "promptavideo.judges.hps:HpsConfig",
        "videoreward": "promptavideo.judges.videoreward:VideoRewardConfig",
        "witness": "promptavideo.judges.witness:WitnessConfig",
        "fidelity": "promptavideo.judges.fidelity:FidelityConfig",
    },
    "operators": {
        "recombine": "promptavideo.operators.recombine:RecombineConfig",
        "chat": "promptavideo.operators.chat:ChatConfig",
    },
    "refiners": {
        "original": "promptavideo.refiners.original:OriginalConfig",
        "llm": "promptavideo.refiners.llm:LlmRefinerConfig",
        "booster": "promptavideo.refiners.booster:BoosterRefinerConfig",
        "adapter": "promptavideo.refiners.adapter:AdapterConfig",
        "chat-model": "promptavideo.refiners.chat_model:ChatModelConfig",
        "promptist": "promptavideo.refiners.promptist:PromptistConfig",
        "file": "promptavideo.refiners.file:FileRefinerConfig",
        "negative": "promptavideo.refiners.negative:NegativeConfig",
    },
    "trainers": {
        "sft": "promptavideo.boosters.trainers:SftConfig",
        "dpo": "promptavideo.boosters.trainers:DpoConfig",
    },
}
"""This project's kinds by group, where each is defined."""


def told_by(group: str) -> str:
    """The key by which a group's kinds are told apart."""
    return "trainer" if group == "trainers" else "kind"


@cache
def kinds(group: str) -> dict[str, type[Entry]]:
    """The classes of a group's entries by their kind.

    Raises:
        InputError: Another package's kind cannot be loaded, or has the name of one that there is.
    """
    found: dict[str, type[Entry]] = {
        kind: EntryPoint(kind, place, group).load() for kind, place in KINDS[group].items()
    }
    for point in entry_points(group=f"promptavideo.{group}"):
        whose = f"{point.value} of {point.dist.name if point.dist else 'another package'}"
        if point.name in found:
            raise InputError(f"{group}: there is a kind {point.name!r} already, so {whose} needs another name")
        try:
            found[point.name] = entry = point.load()
            if get_args(entry.model_fields[told_by(group)].annotation) != (point.name,):
                raise TypeError(f'its `{told_by(group)}` must be Literal["{point.name}"]')
        except Exception as error:
            raise InputError(f"{group}: the kind {point.name!r} ({whose}) cannot be loaded: {error}") from error
    return found


def union(group: str) -> Any:
    """The type of a group's entries, for pydantic."""
    return Annotated[reduce(or_, kinds(group).values()), Field(discriminator=told_by(group))]
