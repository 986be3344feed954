"""Generators: one small module a kind. A new kind is a module here and a line in `load_generator`."""

from pathlib import Path

from promptavideo.generators.base import Generator
from promptavideo.generators.diffusers import DiffusersConfig, DiffusersGenerator, check_pipeline

GeneratorConfig = DiffusersConfig
"""The configuration of any generator, told apart by `kind`."""

__all__ = ["Generator", "GeneratorConfig", "check_pipeline", "load_generator"]


def load_generator(config: GeneratorConfig, folder: Path) -> Generator:
    """Load the generator of a configuration entry from its model's folder."""
    return DiffusersGenerator(config, folder)
