"""Generators: one small module a kind. A new kind is a module here and a line in each function below."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from promptavideo.errors import require
from promptavideo.generators.api import OpenAIVideoConfig, OpenAIVideoGenerator
from promptavideo.generators.base import Generator
from promptavideo.generators.command import CommandConfig, CommandGenerator, check_command
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.generators.diffusers_config import DiffusersConfig, check_pipeline
from promptavideo.hosted import read_key

GeneratorConfig = Annotated[DiffusersConfig | CommandConfig | OpenAIVideoConfig, Field(discriminator="kind")]
"""The configuration of any generator, told apart by `kind`."""

__all__ = ["Generator", "GeneratorConfig", "check_generator", "check_ready", "load_generator"]


def check_generator(name: str, config: GeneratorConfig) -> None:
    """Check what an entry says beyond its own keys, before anything runs.

    Raises:
        InputError: It cannot work anywhere; the message names the key.
    """
    if isinstance(config, DiffusersConfig):
        check_pipeline(name, config)


def check_ready(name: str, config: GeneratorConfig) -> None:
    """Check that a generator can film from here, as far as that shows without loading it.

    Raises:
        InputError: Its key or its code is missing.
    """
    entry = f"generators.{name}"
    match config:
        case CommandConfig():
            check_command(config, entry)
        case OpenAIVideoConfig():
            read_key(config.key_variable, config.base_url, entry)


def load_generator(
    config: GeneratorConfig, folders: Sequence[Path], name: str = "", work: Path | None = None
) -> Generator:
    """Load the generator of a configuration entry.

    Args:
        config: The entry.
        folders: The folders of its `models`, in their order.
        name: Its name, for messages.
        work: Folder for what commands and endpoints make and for what was ordered of them, the same in each job; a
            diffusers generator needs none.

    Raises:
        InputError: It cannot be loaded, or cannot film from here.
    """
    entry = f"generators.{name}"
    match config:
        case DiffusersConfig():
            return DiffusersGenerator(config, *folders)
        case CommandConfig():
            return CommandGenerator(
                config, entry, next(iter(folders), None), require(work, f"{entry}: needs a folder to work in")
            )
        case OpenAIVideoConfig():
            return OpenAIVideoGenerator(config, entry, require(work, f"{entry}: needs a folder to work in"))
