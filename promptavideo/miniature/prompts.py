"""The miniature's prompt sets: one short human prompt for each content the world can show, split once in two."""

import csv
import io
from collections.abc import Sequence
from itertools import product

from promptavideo.miniature.world import (
    BACKGROUND_WORDS,
    BACKGROUNDS,
    COLOURS,
    MOTION_WORDS,
    MOTIONS,
    SHAPE_WORDS,
    SHAPES,
)
from promptavideo.seeds import derive

HELDOUT_A_CELL = 5  # of the 12 contents of a colour before a background; 100 of all 240

Content = tuple[str, str, str, str]
"""Colour, shape, motion and background, as the world names them."""

_TEMPLATES = (
    "a {colour} {shape} {motion} {background}",
    "a {colour} {shape} {motion} {background}",
    "{colour} {shape} {motion} {background}",
    "the {colour} {shape} is {motion} {background}",
    "a {colour} {shape} {background}, {motion}",
    "{background}, a {colour} {shape} {motion}",
    "one {colour} {shape} {motion} {background}",
)


def split_contents() -> tuple[list[Content], list[Content]]:
    """Every content of the world, parted once into those to train on and those held out.

    Of each pair of colour and background an equal share is held out, so both files show every one equally often.
    """
    train: list[Content] = []
    heldout: list[Content] = []
    for colour, background in product(COLOURS, BACKGROUNDS):
        cell = [(colour, shape, motion, background) for shape, motion in product(SHAPES, MOTIONS)]
        cell.sort(key=_rank)
        heldout += cell[:HELDOUT_A_CELL]
        train += cell[HELDOUT_A_CELL:]
    return sorted(train, key=_rank), sorted(heldout, key=_rank)


def short_prompt(content: Content) -> str:
    """A person's short request for a content: no word about quality, no final full stop, mostly lower case."""
    colour, shape, motion, background = content

    def pick(what: str, options: Sequence[str]) -> str:
        return options[derive("short prompt", what, *content) % len(options)]

    text = pick("template", _TEMPLATES).format(
        colour=colour,
        shape=pick("shape", SHAPE_WORDS[shape]),
        motion=pick("motion", MOTION_WORDS[motion]),
        background=pick("background", BACKGROUND_WORDS[background]),
    )
    return text[0].upper() + text[1:] if derive("capital", *content) % 8 == 0 else text


def prompt_files() -> dict[str, str]:
    """The text of each prompt file by file name."""
    train, heldout = split_contents()
    return {
        "miniature-train.txt": _file("train on", "heldout", train),
        "miniature-heldout.txt": _file("test on", "train", heldout),
        "miniature-styles.csv": _styled(heldout),
    }


def _rank(content: Content) -> int:
    return derive("split", *content)


def _file(purpose: str, other: str, contents: list[Content]) -> str:
    header = [
        f"# {len(contents)} prompts to {purpose}: one for each content (colour, shape, motion, background) of the",
        f"# miniature's world that miniature-{other}.txt lacks. Made by scripts/make_miniature_prompts.py.",
    ]
    return "\n".join([*header, *map(short_prompt, contents)]) + "\n"


def _styled(contents: list[Content]) -> str:
    """Prompts with their backgrounds as styles, style by style: at this scale, a benchmark of images by styles."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prompt", "style"])
    for background in BACKGROUNDS:
        writer.writerows([short_prompt(one), background] for one in contents if one[3] == background)
    return text.getvalue()
