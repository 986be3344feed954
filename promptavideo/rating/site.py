"""The public folder of a study: a page, copies of the videos under names that tell nothing, and what the page shows."""

import json
import logging
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from promptavideo.errors import InputError
from promptavideo.files import atomic_path, write_text
from promptavideo.pages import embedded
from promptavideo.rating.plan import BROKEN, Plan
from promptavideo.seeds import derive
from promptavideo.video import Clip
from promptavideo.viewing import Size, write_copy

if TYPE_CHECKING:
    from promptavideo.store import Entry, Store

VIDEOS = "videos"
"""The folder of copies."""

SHELL = ("index.html", "study.js", "study.css")

POLICY = (
    "default-src 'none'; script-src 'self' {file}; style-src 'self' {file}; media-src 'self' {file}; "
    "img-src 'self' data: {file}; connect-src 'self'; form-action 'none'; base-uri 'none'"
)
"""The page's Content-Security-Policy. From a folder, where nothing is of the page's own origin, it names files."""

BLOCK = 16
"""A side of a check's frame has about so many blocks of noise."""


def policy(from_folder: bool) -> str:
    """The policy of the page, as it stands in a folder or as a server sends it."""
    return " ".join(POLICY.format(file="file:" if from_folder else "").split()).replace(" ;", ";")


def write(plan: Plan, store: "Store", entries: "Mapping[str, tuple[Entry, Path]]", folder: Path) -> None:
    """Write the folder; copies that are there are left as they are.

    Args:
        plan: Of the study.
        store: What holds its videos.
        entries: The manifests' entries of them by their keys, each with the manifest.
        folder: What may be published.

    Raises:
        ScoreError: A video is gone or damaged; the next run films it again.
    """
    size = Size(plan.least_pixels, plan.most_pixels)
    copies: dict[tuple[str, bool], Path] = {}
    written = 0
    for item in plan.items:
        for shown in (item.first, item.second):
            path = folder / VIDEOS / shown.file
            what = shown.sha256, shown.refiner == BROKEN
            if not path.exists():
                written += 1
                if what in copies:  # a video that stands in several pairs has a name in each
                    with atomic_path(path) as partial:
                        shutil.copyfile(copies[what], partial)
                else:
                    clip = store.read(*entries[shown.key])
                    write_copy(broken(clip, shown.sha256) if what[1] else clip, plan.medium, path, size)
            copies[what] = path
    for path in (folder / VIDEOS).iterdir():
        if path.name not in plan.files and not path.name.startswith("."):
            path.unlink()  # of a plan before
    web = files("promptavideo.rating") / "web"
    for name in SHELL[1:]:
        write_text(folder / name, (web / name).read_text(encoding="utf-8"))
    shell = (web / SHELL[0]).read_text(encoding="utf-8")
    for mark, text in {"@POLICY@": policy(True), "@DATA@": embedded(page(plan))}.items():
        shell = shell.replace(mark, text)
    write_text(folder / SHELL[0], shell)
    logging.info("%d pairs in %s, %d copies written", len(plan.items), folder, written)


def page(plan: Plan) -> dict[str, Any]:
    """What the page knows of a plan: nothing of refiners, and not which pairs are checks or repeats."""
    named = plan.named
    prompts = list(dict.fromkeys(item.prompt for item in plan.items))
    return {
        "plan": plan.id,
        "medium": plan.medium,
        "consent": plan.consent,
        "questions": [{"name": name, "text": text} for name, text in plan.questions.items()],
        "prompts": prompts,
        "slots": [
            [
                [*named[position.item].files(position), prompts.index(named[position.item].prompt)]
                for position in positions
            ]
            for positions in plan.slots
        ],
    }


def check(plan: Plan, folder: Path) -> None:
    """Check that a folder holds all that raters will be shown.

    Raises:
        InputError: A file is missing or of another plan; names it.
    """
    missing = [name for name in (*SHELL, *(f"{VIDEOS}/{file}" for file in plan.files)) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder / missing[0]}: is missing, one of {len(missing)} files; snakemake study makes it again once "
            f"{folder / SHELL[0]} is deleted"
        )
    if json.dumps(plan.id) not in (folder / SHELL[0]).read_text(encoding="utf-8"):
        raise InputError(f"{folder / SHELL[0]}: is of another plan than {plan.id}; run snakemake study again")


def broken(clip: Clip, name: str) -> Clip:
    """A clip behind noise, which nobody who looks prefers: of each frame three blocks in four are a random colour.

    Args:
        clip: What is broken.
        name: Names it; the same clip is always broken alike.
    """
    rng = np.random.default_rng(derive("broken", name))
    count, height, width = clip.frames.shape[:3]
    side = max(1, min(height, width) // BLOCK)
    rows, columns = -(-height // side), -(-width // side)

    def blocks(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        return values.repeat(side, axis=1).repeat(side, axis=2)[:, :height, :width]

    colours = blocks(rng.integers(0, 256, (count, rows, columns, 3), dtype=np.uint8))
    hidden = blocks(rng.random((count, rows, columns, 1)) < 0.75)
    return Clip(np.where(hidden, colours, clip.frames), clip.fps)
