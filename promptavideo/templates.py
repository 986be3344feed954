"""Instruction files by medium: a text that asks for prompts of videos is wrong for a generator of images."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from promptavideo.video import Filmed


def for_medium(file: str, medium: Filmed, root: Path = Path()) -> str:
    """The instruction file of a medium: for images `NAME_images.txt` beside `NAME.txt`, where there is one.

    Args:
        file: The configured file, relative to `root`.
        medium: What the prompts are filmed as.
        root: The repository root.
    """
    if medium == "video":
        return file
    path = PurePosixPath(file)
    of_images = str(path.with_name(f"{path.stem}_images{path.suffix}"))
    return of_images if (root / of_images).is_file() else file


def all_media(file: str, media: Iterable[Filmed], root: Path) -> list[str]:
    """The instruction files of some media, each once."""
    return list(dict.fromkeys(for_medium(file, medium, root) for medium in media))
