"""Judges: one small module a kind. A new kind is a module here, its configuration class and a case in `_loader`."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, assert_never

from pydantic import Field

from promptavideo.errors import InputError
from promptavideo.files import sha256
from promptavideo.judges import aesthetic, mps, videoscore
from promptavideo.judges.aesthetic import AestheticConfig
from promptavideo.judges.base import Judge, JudgeEntry
from promptavideo.judges.mps import MpsConfig
from promptavideo.judges.neural import NeuralConfig, resolved
from promptavideo.judges.videoscore import VideoScoreConfig
from promptavideo.models import check_model

__all__ = [
    "DIMENSIONS_OF",
    "AestheticConfig",
    "Judge",
    "JudgeConfig",
    "Judges",
    "MpsConfig",
    "PixelsConfig",
    "VideoScoreConfig",
    "load_judges",
]


class PixelsConfig(JudgeEntry):
    """The laptop's reward: all seven dimensions measured from pixels."""

    kind: Literal["pixels"]


JudgeConfig = Annotated[PixelsConfig | VideoScoreConfig | AestheticConfig | MpsConfig, Field(discriminator="kind")]
"""The configuration of any reward, told apart by `kind`."""

DIMENSIONS_OF = {
    "pixels": ("VQ", "TC", "DD", "TVA", "FC", "AES", "MPS"),
    "videoscore": ("VQ", "TC", "DD", "TVA", "FC"),
    "aesthetic": ("AES",),
    "mps": ("MPS",),
}
"""What each kind fills, known without loading it."""


class Judges(Mapping[str, Judge]):
    """Judges by identity, each loaded when it is first asked for: a job that finds all its scores loads none."""

    def __init__(self, loaders: Mapping[str, Callable[[], Judge]]) -> None:
        self._loaders, self._loaded = dict(loaders), dict[str, Judge]()

    def __getitem__(self, identity: str) -> Judge:
        if identity not in self._loaded:
            self._loaded[identity] = self._loaders[identity]()
        return self._loaded[identity]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def circumstances(self) -> dict[str, dict[str, Any]]:
        """What the rewards that were loaded have to record of this job, by the name of their entry."""
        found = {identity.split(" ", 1)[0]: reward.circumstances() for identity, reward in self._loaded.items()}
        return {name: said for name, said in found.items() if said}


def load_judges(configs: Mapping[str, JudgeConfig], models: Path = Path()) -> Judges:
    """The configured rewards.

    Args:
        configs: The entries, by name.
        models: The folder of all fetched models.

    Returns:
        The rewards by identity: name, version, and every setting that moves a score, with the digests of models and
        files in place of their names. Cached scores are kept under it.

    Raises:
        InputError: A model was not fetched, or a file is missing. When one is loaded: a model does not fit, or a
            required GPU is missing.
    """
    loaders: dict[str, Callable[[], Judge]] = {}
    for name, config in configs.items():
        config = resolved(config, name) if isinstance(config, NeuralConfig) else config
        folders = {key: models / model for key, model in config.models.items()}
        version, loader = _loader(config, folders)
        loaders[_identity(name, version, config, folders)] = loader
    return Judges(loaders)


def _loader(config: JudgeConfig, folders: Mapping[str, Path]) -> tuple[int, Callable[[], Judge]]:
    match config:
        case PixelsConfig():
            from promptavideo.judges import pixels

            return pixels.VERSION, pixels.PixelJudge
        case VideoScoreConfig():
            return videoscore.VERSION, partial(videoscore.VideoScore, config, folders["model"])
        case AestheticConfig():
            return aesthetic.VERSION, partial(aesthetic.Aesthetic, config, folders["model"], folders["head"])
        case MpsConfig():
            return mps.VERSION, partial(mps.Mps, config, folders["model"], folders["base"])
        case _:
            assert_never(config)


def _identity(name: str, version: int, config: JudgeConfig, folders: Mapping[str, Path]) -> str:
    settings = config.model_dump(mode="json", exclude=set(config.PLANNING))
    settings |= {key: check_model(folder).digest for key, folder in folders.items()}
    for key, file in config.files.items():
        try:
            settings[key] = sha256(Path(file))
        except OSError as error:
            raise InputError(f"judges.{name}.{key}: {file} cannot be read ({error})") from error
    return f"{name} {version} {json.dumps(settings, separators=(',', ':'))}"
