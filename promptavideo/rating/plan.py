"""The plan of a user study: which videos who sees, in which order and on which side, fixed before the first vote."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.rating.config import Compared, UserStudyConfig, compared
from promptavideo.rating.folder import check_replaced, voted
from promptavideo.rating.slots import Position, Side, slots
from promptavideo.records import read_record
from promptavideo.seeds import derive
from promptavideo.study import Study
from promptavideo.video import Filmed

if TYPE_CHECKING:
    from promptavideo.store import Entry

INTACT, BROKEN = "intact", "broken"
"""What stands for the refiners of a check."""

Answer = Literal["left", "right", "both-good", "both-poor"]
ANSWERS: tuple[Answer, ...] = ("left", "right", "both-good", "both-poor")

Outcome = Literal["win", "tie-good", "tie-poor", "loss"]
"""What an answer means for the refiner, as the first one of its pair."""


@dataclass(frozen=True)
class Shown:
    """One of the two videos of an item."""

    refiner: str
    """Whose it is; of a check `INTACT` or `BROKEN`."""
    key: str
    """In the store."""
    sha256: str
    """Of the stored file."""
    file: str
    """The name of its copy, which tells nothing."""


@dataclass(frozen=True)
class Item:
    """One pair of videos."""

    name: str
    prompt_id: str
    prompt: str
    """What the user wrote, which raters read."""
    replicate: int
    seed: int
    """Of both videos."""
    first: Shown
    second: Shown
    check: bool
    """Whether the answer is known: the first one is better."""

    def side(self, side: Side) -> Shown:
        """One of its videos."""
        return self.first if side == "first" else self.second

    def files(self, position: Position) -> tuple[str, str]:
        """The names of the left and of the right copy at a position of it."""
        return self.side(position.left).file, self.side("second" if position.left == "first" else "first").file


@dataclass(frozen=True)
class Plan:
    """A whole study."""

    id: str
    """A digest of all else."""
    track: str
    set: str
    medium: Filmed
    questions: dict[str, str]
    consent: str
    pairs: list[tuple[str, str]]
    items: list[Item]
    """Those that are compared, then the checks."""
    slots: list[list[Position]]
    """What each rater sees; spares come last."""
    raters: int
    """How many are to finish."""
    planned: list[int]
    """Votes of each pair on each question, if these do."""
    least_pixels: int
    most_pixels: int

    @property
    def named(self) -> dict[str, Item]:
        """The items by name."""
        return {item.name: item for item in self.items}

    @property
    def files(self) -> list[str]:
        """The names of all copies."""
        return [shown.file for item in self.items for shown in (item.first, item.second)]

    def steps(self, slot: int) -> int:
        """How many answers a place wants."""
        return len(self.slots[slot - 1]) * len(self.questions)

    def digest(self) -> str:
        """What `id` must be."""
        said = {key: value for key, value in asdict(self).items() if key != "id"}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def outcome(position: Position, answer: Answer) -> Outcome:
    """What an answer at a position says of the first video of its item."""
    if answer == "both-good":
        return "tie-good"
    if answer == "both-poor":
        return "tie-poor"
    return "win" if (answer == "left") == (position.left == "first") else "loss"


def make(study: Study) -> Plan:
    """Plan the study of a run whose videos are filmed.

    Raises:
        InputError: The configuration has no study, or no prompt was filmed for all refiners.
    """
    found, given = wanted(study)
    filmed = {name: _filmed(study, found, name) for name in found.refiners}
    shared = sorted(set.intersection(*(set(videos) for videos in filmed.values())))
    ids = _shuffled(study.config.seed, "prompt", dict.fromkeys(prompt for prompt, _ in shared))
    if not ids:
        raise InputError(f"user_study: no prompt of {found.set} was filmed for all of {', '.join(found.refiners)}")
    chosen, spare = ids[: given.prompts], ids[len(ids[: given.prompts]) :]
    items = [
        _item(study, given, pair, one, [(filmed[name], name) for name in pair], shared)
        for pair in found.pairs
        for one in chosen
    ]
    whose = found.pairs[0][0]
    checks = [
        _item(study, given, (INTACT, BROKEN), one, [(filmed[whose], name) for name in (INTACT, BROKEN)], shared)
        for one in [*spare, *chosen][: given.checks]
    ]
    names = sorted(item.name for item in items)
    count = given.raters + given.spares
    places = slots(names, [item.name for item in checks], given.items, given.repeats, count, study.config.seed)
    pair_of = {item.name: (item.first.refiner, item.second.refiner) for item in items}
    votes = Counter(
        pair_of[position.item]
        for place in places[: given.raters]
        for position in place
        if position.item in pair_of and position.repeats is None
    )
    plan = Plan(
        "", found.track, found.set, study.medium(found.track), given.questions, given.consent, list(found.pairs),
        [*sorted(items, key=lambda item: item.name), *checks], places, given.raters,
        [votes[pair] for pair in found.pairs], given.least_pixels, given.most_pixels,
    )  # fmt: skip
    return replace(plan, id=plan.digest())


def check_begun(study: Study) -> None:
    """Check before a run whether its plan would replace one that people have voted on.

    The step checks it too; but a job that fails leaves Snakemake without a record of what decided its outputs, so that
    the next run would take the plan before for the one that is wanted.

    Raises:
        InputError: It would.
    """
    votes = Path(wanted(study)[1].votes)
    if voted(votes) and all(Path(file).exists() for file in study.study_videos()):
        check_replaced(votes, make(study).id)


def wanted(study: Study) -> tuple[Compared, UserStudyConfig]:
    """What a run's user study compares, and its section.

    Raises:
        InputError: There is none.
    """
    found, given = compared(study), study.config.user_study
    if found is None or given is None:
        raise InputError(
            "user_study: the configuration has no such section, or its track compares one refiner alone; name `pairs`"
        )
    return found, given


def write(plan: Plan, path: Path) -> None:
    """Write a plan. It names refiners and checks, so it is not for raters."""
    write_text(path, json.dumps(asdict(plan), indent=1) + "\n")


def read(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: It is missing, or is none.
    """
    plan = read_record(path, Plan, "plan of a user study")
    if plan.digest() != plan.id:
        raise InputError(f"{path}: was changed since it was made; restore it, or delete it and run snakemake study")
    return plan


Videos = Mapping[tuple[str, int], tuple[str, int, "Entry"]]
"""By prompt and replicate the prompt's text, the seed, and the manifest's entry."""


def _filmed(study: Study, found: Compared, refiner: str) -> Videos:
    from promptavideo.schemas import PROMPTS, read_table
    from promptavideo.store import read_manifest

    batch = study.evaluation(found.track, found.set, refiner)
    table = read_table(Path(study.files(batch).prompts), PROMPTS)
    said = {
        (str(row["prompt_id"]), int(row["replicate"])): (str(row["prompt"]), int(row["seed"]))
        for row in table.to_dict("records")
        if row["candidate"] == 0
    }
    entries = [entry for path in study.manifests(batch) for entry in read_manifest(Path(path)) if entry.candidate == 0]
    return {
        (entry.prompt_id, entry.replicate): (*said[entry.prompt_id, entry.replicate], entry)
        for entry in entries
        if (entry.prompt_id, entry.replicate) in said
    }


def _item(
    study: Study,
    given: UserStudyConfig,
    pair: tuple[str, str],
    prompt_id: str,
    sides: Sequence[tuple[Videos, str]],
    shared: Sequence[tuple[str, int]],
) -> Item:
    """The pair of a prompt, of one of its replicates that all refiners have."""
    from promptavideo.viewing import VIEWED

    seed = study.config.seed
    replicates = [replicate for one, replicate in shared if one == prompt_id]
    replicate = replicates[derive(seed, "replicate", prompt_id) % len(replicates)]
    name = _name(seed, "item", *pair, prompt_id, replicate)
    suffix = VIEWED[study.medium(wanted(study)[0].track)]
    shown = []
    for videos, refiner in sides:
        entry = videos[prompt_id, replicate][2]
        size = f"{given.least_pixels}-{given.most_pixels}"
        file = _name(seed, "file", name, refiner, entry.sha256, size) + suffix
        shown.append(Shown(refiner, entry.key, entry.sha256, file))
    text, video_seed, _ = sides[0][0][prompt_id, replicate]
    return Item(name, prompt_id, text, replicate, video_seed, shown[0], shown[1], pair == (INTACT, BROKEN))


def _shuffled(seed: int, what: str, names: Mapping[str, object]) -> list[str]:
    return sorted(names, key=lambda name: derive(seed, "user study", what, name))


def _name(seed: int, *parts: str | int) -> str:
    """A name that tells nothing to who does not know the seed and the parts."""
    text = json.dumps([seed, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:20]
