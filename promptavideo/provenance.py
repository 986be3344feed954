"""Where a number comes from: code, models, settings, prompts, seeds and machine."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from promptavideo import published
from promptavideo.batches import Draw, Refine, Round
from promptavideo.boosters.config import Writes
from promptavideo.errors import InputError
from promptavideo.files import discarded, sha256
from promptavideo.hardware import computed_on
from promptavideo.models import check_model
from promptavideo.prompts import PromptSet
from promptavideo.records import read_record
from promptavideo.timing import Timing

if TYPE_CHECKING:
    from promptavideo.batches import Batch
    from promptavideo.store import Entry, Store
    from promptavideo.study import Study

ARITHMETIC = ("numpy", "pandas", "scipy")
"""What gathers scores and makes tables; what filmed, scored, wrote and trained is in the records of those jobs."""


def code_version(root: Path) -> str:
    """The commit of the checkout, with `-dirty` when tracked files differ from it; `unknown` outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()


def model(folder: Path) -> dict[str, Any]:
    """Source, revision and digest of a fetched model."""
    manifest = check_model(folder)
    return {**manifest.model_dump(exclude={"files"}), "digest": manifest.digest}


def texts(study: "Study", batch: "Batch") -> dict[str, Any]:
    """What wrote the texts that a batch films: settings, and models by name; nothing for users' own prompts.

    A budget or a price is no part of it: they may change between two runs that give the same texts.
    """
    config = study.config

    def booster(what: Writes) -> dict[str, Any]:
        return {"sampling": config.booster.writing(what).sampling.decides(), "base": config.booster.base}

    match batch.source:
        case Draw(learner):
            return {"booster": booster(learner.writes), "candidates": batch.per_prompt}
        case Round(number):
            operator = config.operators[config.evolution.operator_of(batch.track)]
            return {"operator": operator.decides(), "evolution": config.evolution.round(number)}
        case Refine(_, name):
            refiner = config.refiners[name]
            operator_, writer = refiner.asks, study.writer(batch.track, name)
            return {
                "refiner": refiner.decides(),
                **({"of": texts(study, below)} if (below := study.below(batch)) else {}),
                **({"operator": config.operators[operator_].decides()} if operator_ else {}),
                **({"booster": booster(writer.writes) | {"name": writer.known_as}} if writer else {}),
            }
    return {}


def writers(study: "Study", batch: "Batch") -> dict[str, Any]:
    """Source, revision and digest of the models that wrote a batch's texts, beside those of boosters."""
    if not isinstance(batch.source, Refine):
        return {}
    models = study.config.refiners[batch.source.refiner].models
    return {"writers": [model(Path(study.layout.model(one))) for one in models]} if models else {}


def others(
    study: "Study", batch: "Batch", judges: Iterable[str], filming: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Who filmed, judged and wrote a batch without being one of its generator's or judges' models, by name.

    Args:
        study: The run.
        batch: What was filmed.
        judges: Names of the judges that looked at it.
        filming: The records of the jobs that filmed.
    """
    config, found = study.config, dict[str, str]()
    if hosted := config.generators[batch.generator].strangers(filming):
        found[batch.generator] = hosted
    if isinstance(batch.source, Refine):
        refiner = config.refiners[batch.source.refiner]
        if below := study.below(batch):
            found |= others(study, below, (), ())
        for name in refiner.models:
            found[name] = published.source_of(config.models[name].kind, config.models[name].source)
        if refiner.asks:
            found[refiner.asks] = config.operators[refiner.asks].source
    return found | {name: published.NO_MODEL for name in judges if not config.judges[name].models}


def prompt_set(name: str, settings: PromptSet, root: Path) -> dict[str, Any]:
    """Which file, or which revision of which dataset, a prompt set is of, and which slice of it.

    Args:
        name: The set's name.
        settings: Its entry.
        root: Folder that its path is relative to.

    Raises:
        InputError: The record of its source is missing.
    """
    path = root / settings.path
    kept = {"source", "first", "count"} if settings.source else None  # the rest is the source's
    said = {"name": name, **settings.model_dump(mode="json", include=kept, exclude_none=True), "sha256": sha256(path)}
    if settings.source is None:
        return said
    origin = read_record(path.with_suffix(".json"), dict[str, Any], "record of a source of captions")
    dataset = {**origin["source"], **{key: origin[key] for key in ("revision", "rows", "usable", "kept")}}
    # A commit says what its files hold.
    return said | {"dataset": dataset if origin["revision"] else dataset | {"files": origin["files"]}}


def scored_on(scorings: Sequence[Timing]) -> dict[str, int]:
    """Which hardware judged how many videos, in which dtypes; scores that a job found in the store count nowhere.

    Args:
        scorings: The records of a batch's scoring jobs.
    """
    scored = Counter[str]()
    for one in scorings:
        if one.items:
            scored[computed_on(one.device, one.circumstances)] += one.items
    return dict(scored)


def filmed(entries: "Sequence[Entry]") -> dict[str, Any]:
    """On what a batch's videos were filmed, how many of them show nothing happen (`video.nothing`), how many of its
    texts and negative prompts the generator's encoder cuts, and the mean share of a text's tokens that it reads.

    Args:
        entries: The manifests' lines of all its shards.
    """
    limits = {(entry.prompt_id, entry.candidate): (entry.cut_at, entry.negative_cut_at) for entry in entries}
    cut = [limit for limit, _ in limits.values() if limit is not None]
    negatives = [limit for _, limit in limits.values() if limit is not None]
    seen = {(one.prompt_id, one.candidate): (one.cut_at or one.tokens) / one.tokens for one in entries if one.tokens}
    return {
        "filmed_on": dict(Counter(entry.device for entry in entries)),
        "nothing": dict(Counter(entry.nothing for entry in entries if entry.nothing)),
        "cut_by_encoder": {"count": len(cut), "texts": len(limits), "limit": max(cut)} if cut else {},
        **({"negatives_cut_by_encoder": {"count": len(negatives), "limit": max(negatives)}} if negatives else {}),
        **({"tokens_seen": sum(seen.values()) / len(seen)} if seen else {}),
    }


def written(writings: Sequence[Timing]) -> dict[str, Any]:
    """What wrote a batch's texts, and how many of them stand in for an answer that could not be used.

    Args:
        writings: The records of what wrote its texts.
    """
    on, dropped, counts = Counter[str](), Counter[str](), Counter[str]()
    negatives = [one.circumstances["negatives"] for one in writings if "negatives" in one.circumstances]
    for one in writings:
        said = one.circumstances
        if "dtype" in said:  # a network wrote them
            on[computed_on(one.device, said)] += one.items
        counts.update({"texts": one.items, "fallbacks": said.get("fallbacks", 0), "cut": said.get("cut", 0)})
        dropped.update(said.get("dropped", {}))
    return {
        "written_on": dict(on),
        "writing": jobs((one for one in writings if "engine" in one.circumstances), "texts"),
        "stand_ins": {**counts, "dropped": dict(sorted(dropped.items()))},
        **({"negatives": negatives[0]} if negatives else {}),
    }


def filming(entries: "Sequence[Entry]", store: "Store") -> list[dict[str, Any]]:
    """What filmed some videos, whenever and for whatever batch that was, and how many of them.

    Args:
        entries: The manifests' lines.
        store: Their generator's.
    """
    counts = Counter((entry.made_with, entry.device) for entry in entries)
    first = {(entry.made_with, entry.device): entry for entry in entries}
    return [{**store.made_with(first[kind]), "videos": count} for kind, count in counts.items()]


def jobs(timings: Iterable[Timing], made: str = "videos") -> list[dict[str, Any]]:
    """What ran the jobs that scored or wrote anything: device and circumstances, and how many items they did.

    Jobs under the same circumstances are one entry. What a job found in the store counts for the job that did it.

    Args:
        timings: Their records.
        made: What their items are.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in timings:
        if one.items:
            said = {**one.circumstances, "device": one.device}
            entry = found.setdefault(json.dumps(said, sort_keys=True), {**said, "jobs": 0, made: 0})
            entry["jobs"] += 1
            entry[made] += one.items
    return list(found.values())


def origin(scores: Path) -> dict[str, Any]:
    """Read the record beside a table of scores.

    Raises:
        InputError: It is missing or is none, and then the table is removed with it: one step makes both.
    """
    path = scores.with_suffix(".provenance.json")
    try:
        return read_record(path, dict[str, Any], "record of where scores come from")
    except InputError as error:
        raise discarded(f"{path}: is no record of where {scores} comes from", path, scores) from error


def row(
    arm: Mapping[str, str], scores: pd.DataFrame, origin: Mapping[str, Any], booster: Path | None
) -> dict[str, Any]:
    """The origin of one table row.

    Args:
        arm: Its generator, set and refiner.
        scores: The `schemas.scores` table behind it.
        origin: The record beside that table.
        booster: The folder of the booster behind the refiner, if it is one.
    """
    return {
        **arm,
        "scores": dict(origin),
        "video_seeds": sorted(int(seed) for seed in scores["seed"].unique()),
        "booster": read_record(booster / "booster.json", dict[str, Any], "card of a booster") if booster else None,
    }


HARDWARE_NOTE = (
    "Not all on the same hardware, in the same dtype and by the same engine, between which scores differ: {}."
)
STAND_IN_NOTE = "Not every text is what its refiner answered: {}."
NEGATIVE_NOTE = "Not everything that was written as a negative prompt was taken: {}."
NOTHING_NOTE = "Not every video shows something happen: {}."
CUT_NOTE = "Not every text was read to its end: {}."
OTHERS_NOTE = (
    "Made with models that are not the paper's, or that nothing shows to be the paper's (perhaps stand-ins): {}. "
    "Numbers compare with the paper's only where the models are the same."
)


WORK = {
    "filmed_on": "videos filmed on",
    "scored_on": "scored on",
    "written_on": "texts written on",
    "trained_on": "boosters trained on",
}


def remarks(rows: Sequence[Mapping[str, Any]], paper: Sequence[str] | None = None) -> list[str]:
    """The notes that the records of a table's rows call for.

    Args:
        rows: Records of `row`.
        paper: Where the paper's models come from (`published.sources_at`), for a table at the paper's scale.
    """
    strangers = published.others(rows, paper) if paper is not None else []
    told: dict[str, list[str]] = {one: [] for one in (STAND_IN_NOTE, NEGATIVE_NOTE, CUT_NOTE, NOTHING_NOTE)}
    told[HARDWARE_NOTE] = hardware_of(rows)
    for row in rows:
        scores, whose = row["scores"], f"{row.get('refiner')} for {row.get('generator')} on {row.get('set')}"
        stand_ins = scores.get("stand_ins", {})
        texts = f"{stand_ins.get('texts')} texts of {whose}"
        if count := stand_ins.get("fallbacks"):
            reasons = ", ".join(f"{reason}: {times}" for reason, times in stand_ins["dropped"].items())
            told[STAND_IN_NOTE].append(f"{count} of {texts} are the prompt itself ({reasons})")
        if count := stand_ins.get("cut"):
            told[STAND_IN_NOTE].append(f"{count} of {texts} were cut at their limit")
        if cut := scores.get("cut_by_encoder"):
            told[CUT_NOTE].append(
                f"{cut['count']} of {cut['texts']} texts of {whose} are longer than the {cut['limit']} tokens that the "
                "encoder reads"
            )
        if cut := scores.get("negatives_cut_by_encoder"):
            told[CUT_NOTE].append(
                f"{cut['count']} negative prompts of {whose} are longer than the {cut['limit']} tokens that the "
                "encoder reads"
            )
        if (negatives := scores.get("negatives")) and (negatives["dropped"] or negatives["without"]):
            reasons = ", ".join(f"{reason}: {times}" for reason, times in negatives["dropped"].items())
            told[NEGATIVE_NOTE].append(
                f"{negatives['without']} of {negatives['texts']} texts of {whose} have no negative prompt; descriptors "
                f"and answers left out: {reasons or 'none'}"
            )
        for kind, count in scores.get("nothing", {}).items():
            told[NOTHING_NOTE].append(f"{count} of {scores['videos']} videos of {whose} are {kind}")
    notes = [note.format("; ".join(what)) for note, what in told.items() if what]
    return [OTHERS_NOTE.format(", ".join(strangers)), *notes] if strangers else notes


def hardware_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The kinds of work behind some rows that were done on different hardware, in different dtypes or by different
    engines, and on which.

    Args:
        rows: Records of `row`.

    Returns:
        Such as `videos filmed on NVIDIA A100 in bfloat16, NVIDIA T4 in float32`, one text a kind of work.
    """
    found: dict[str, dict[str, None]] = {kind: {} for kind in WORK}
    for row in rows:
        for kind in ("filmed_on", "scored_on", "written_on"):
            found[kind] |= dict.fromkeys(row["scores"].get(kind, {}))
        card = row.get("booster") or {}
        found["trained_on"] |= dict.fromkeys(computed_on(one["device"], card) for one in card.get("trained_on", []))
    return [f"{WORK[kind]} {', '.join(names)}" for kind, names in found.items() if len(names) > 1]
