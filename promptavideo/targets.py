"""What a run is asked for: a target that there is not is answered with those that there are."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from promptavideo.errors import InputError
from promptavideo.layout import SHARED
from promptavideo.study import Study, pattern

BESIDE = (
    "tables", "figures", "examples", "card", "boosters", "pairs.parquet", "negatives.parquet", "negatives.timing.json",
    "reader.json",
)  # fmt: skip
"""What a track's folder holds beside its batches."""


def unknown_target(study: Study, here: Path = Path()) -> str:
    """A regular expression for what nothing makes: names without a dot, and files below folders that there are not.

    Args:
        study: The run.
        here: The folder of the run. What a user has there, or in its `results/`, is an input and not asked for.
    """
    given = [path.name for path in here.iterdir()]
    others = ["tables", "figures", "gallery", "prompt_sets", "boosters", "study", "report.html"]
    others += [path.name for path in (here / "results").glob("*") if path.name not in study.homes]
    batches = {name for track in study.tracks for name in study.named(track)}
    tracks, homes, within = pattern(study.tracks), pattern(study.homes), pattern([*batches, *BESIDE])
    return "|".join(
        (
            rf"(?!(?:{pattern(given) or '/'})$)[^/.]+",
            rf"results/(?!(?:{tracks}|{SHARED}/boosters|{pattern(others)})(?:/|$)).+/.+",
            rf"results/(?:{tracks})/(?!(?:{within})(?:/|$)).+",
            rf"results/(?:{homes})/boosters/(?!(?:{pattern(study.config.boosters)})/)[^/]+/.+",
        )
    )


def explain(target: str, rules: Sequence[str], study: Study) -> str:
    """What there is instead of a target of `unknown_target`.

    Args:
        target: What was asked for.
        rules: Names of rules that can be asked for.
        study: The run.

    Raises:
        InputError: Always.
    """
    parts = PurePosixPath(target).parts
    if len(parts) < 3:
        known = ", ".join(dict.fromkeys((*study.tracks, *rules)))
        raise InputError(f"there is no target {target!r}; known are {known}, and any file below results/")
    if parts[1] not in study.tracks and parts[1:3] != (SHARED, "boosters"):
        raise InputError(f"{target}: there is no track {parts[1]!r}; known are {', '.join(study.tracks)}")
    if parts[2] == "boosters":
        known = ", ".join(study.config.boosters)
        raise InputError(f"{target}: there is no booster {parts[3]!r}; known are {known}")
    raise InputError(f"{target}: {parts[1]} has no such batch; known are {', '.join(study.named(parts[1]))}")
