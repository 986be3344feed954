"""Generators: one small module a kind. A new kind is a module here and a line in each function below."""

from pathlib import Path

from promptavideo.generators.base import Generator
from promptavideo.generators.diffusers import DiffusersGenerator
from promptavideo.generators.diffusers_config import DiffusersConfig, check_pipeline

GeneratorConfig = DiffusersConfig
"""The configuration of any generator, told apart by `kind`."""

__all__ = ["Generator", "GeneratorConfig", "check_generator", "check_pipeline", "load_generator"]


def check_generator(name: str, config: GeneratorConfig) -> None:
    """Check what an entry says beyond its own keys, before anything runs.

    Raises:
        InputError: It cannot work; the message names the key.
    """
    check_pipeline(name, config)


def load_generator(config: GeneratorConfig, folder: Path) -> Generator:
    """Load the generator of a configuration entry from its model's folder."""
    return DiffusersGenerator(config, folder)
