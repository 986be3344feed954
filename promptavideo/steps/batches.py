"""The steps of every batch: its texts, its videos, their metrics, and where these come from."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from promptavideo import provenance, timing
from promptavideo.batches import Batch, Draw, Originals, Refine, Round
from promptavideo.errors import InputError
from promptavideo.files import atomic_path
from promptavideo.hardware import environment
from promptavideo.layout import REWARDS
from promptavideo.results import read_scores, store_of
from promptavideo.schemas import PROMPT_SET, PROMPTS, read_table, rewards, write_table
from promptavideo.shards import shard_rows
from promptavideo.store import read_manifest
from promptavideo.study import Study
from promptavideo.timing import Timing

log = logging.getLogger(__name__)

NO_VIDEO = "none"
"""What is in the column `key` where a judge looks at texts alone."""


def propose(study: Study, track: str, name: str) -> None:
    """Make the prompts of an evolution round: the originals, or what the operator proposes from all scores so far."""
    from promptavideo.evolution import first_round, next_round
    from promptavideo.operators.base import EVOLUTION_PLACEHOLDERS, read_template
    from promptavideo.reading import read_readers

    batch, config = study.batch(track, name), study.config
    prompt_set = read_table(Path(study.layout.prompt_set(batch.prompts)), PROMPT_SET)
    if isinstance(batch.source, Originals):
        table = first_round(prompt_set, config.evolution, config.seed)
    elif isinstance(batch.source, Round):
        operator = config.evolution.operator_of(track)
        selected = next_round(
            batch.source.number,
            prompt_set,
            [read_scores(study, one) for one in study.before(batch)],
            config.operators[operator].load(operator, Path(config.store)),
            read_template(Path(study.template(track)), EVOLUTION_PLACEHOLDERS),
            config.evolution,
            study.objective(track),
            track,
            config.seed,
            read_readers(study.readers([track])),
        )
        for line in selected.report:
            log.info(line)
        table = selected.table
    else:
        raise InputError(f"{name} is no round of the evolution; known are {_named(study.rounds(track))}")
    write_table(table, Path(study.files(batch).prompts), PROMPTS)


def candidates(study: Study, track: str, name: str) -> None:
    """Draw several refined texts a prompt from a booster, to be filmed and compared."""
    from promptavideo.negatives import Subject
    from promptavideo.refiners.booster import BoosterRefiner
    from promptavideo.refiners.negative import Learned, draw
    from promptavideo.shots import Refined, prompts_table

    batch = study.batch(track, name)
    if not isinstance(batch.source, Draw) or batch.source.learner.drawing is None:
        raise InputError(f"{name} is drawn by no booster; known are {_named(study.every(Draw))}")
    prompt_set = read_table(Path(study.layout.prompt_set(batch.prompts)), PROMPT_SET)
    learner, drawing = batch.source.learner, batch.source.learner.drawing
    prompts = dict(zip(prompt_set["prompt_id"], prompt_set["prompt"], strict=True))
    took = Timing()
    texts: Mapping[str, Sequence[str | Refined]]
    if learner.texts:
        refined = BoosterRefiner.of(study, learner.texts).refine([*prompts], [*prompts.values()])
        subjects = [Subject(*one, text) for one, text in zip(prompts.items(), refined, strict=True)]
        writer = Learned(BoosterRefiner.of(study, drawing))
        with took.measure(len(prompts) * batch.per_prompt):
            limits = study.config.booster.negative.descriptors
            texts, negatives = draw(writer, subjects, batch.per_prompt, learner.round, limits)
        log.info("%s: %s", name, negatives.report() or "every answer was taken as a negative prompt")
        took.circumstances = writer.circumstances() | {"negatives": negatives.record()}
    else:
        booster = BoosterRefiner.of(study, drawing)
        with took.measure(len(prompts) * batch.per_prompt):
            texts = booster.candidates([*prompts], [*prompts.values()], batch.per_prompt, learner.round)
        took.circumstances = booster.circumstances()
    took.write(Path(study.files(batch).writing))
    write_table(prompts_table(prompts, texts, study.config.seed), Path(study.files(batch).prompts), PROMPTS)


def refine(study: Study, track: str, name: str) -> None:
    """Rewrite a prompt set with one refiner, ready to be filmed."""
    from promptavideo.refiners.base import evaluation_table

    batch = study.batch(track, name)
    if not isinstance(batch.source, Refine):
        raise InputError(f"{name} is no evaluation; known are {_named(study.evaluations(track))}")
    refiner = study.config.refiners[batch.source.refiner].load(batch.source.refiner, track, study)
    prompt_set = read_table(Path(study.layout.prompt_set(batch.prompts)), PROMPT_SET)
    below = study.below(batch)
    texts = read_table(Path(study.files(below).prompts), PROMPTS) if below else None
    took = Timing()
    with took.measure(len(prompt_set)):
        table = evaluation_table(prompt_set, refiner, batch.per_prompt, study.config.seed, texts)
    took.circumstances = refiner.circumstances()
    took.write(Path(study.files(batch).writing))
    write_table(table, Path(study.files(batch).prompts), PROMPTS)


def pilot_prompts(study: Study, track: str) -> None:
    """Choose the prompts of the pilot: the first ones of the evolution, so that it films nothing of its own."""
    table = read_table(Path(study.files(study.rounds(track)[0]).prompts), PROMPTS)
    pilot = study.pilot(track)
    ids = sorted(table["prompt_id"].unique())[: study.prompts(pilot)]
    chosen = table[table["prompt_id"].isin(ids)].reset_index(drop=True)
    write_table(chosen, Path(study.files(pilot).prompts), PROMPTS)


def film(study: Study, track: str, name: str, shard: str) -> None:
    """Film one shard of a batch: load the generator once and film what the store does not hold."""
    from promptavideo.filming import check_negatives, film_shard

    batch = study.batch(track, name)
    files, entry = study.files(batch), study.config.generators[batch.generator]
    rows = shard_rows(read_table(Path(files.prompts), PROMPTS), shard)
    check_negatives(rows, entry, batch.generator)
    store = store_of(study, batch.generator)
    generator = entry.load(batch.generator, [Path(study.layout.model(one)) for one in entry.models], store.work)
    took = Timing()
    film_shard(rows, generator, store, Path(files.manifest(shard)), f"film {name} shard {shard}", took)
    took.circumstances = generator.circumstances()
    took.write(Path(files.filming(shard)))


def score(study: Study, track: str, name: str, judges: str, shard: str) -> None:
    """Judge one shard of a batch by a group of judges."""
    batch = study.batch(track, name)
    files, metrics = study.files(batch), study.metrics(judges, track)
    rows = shard_rows(read_table(Path(files.prompts), PROMPTS), shard)
    took = Timing()
    if study.looks_at_videos(judges, track):
        table, took.circumstances = _score_videos(study, batch, judges, shard, rows, took)
    else:
        table, took.circumstances = _score_texts(study, batch, judges, rows, took)
    write_table(table, Path(files.judged(judges, shard)), rewards(metrics))
    took.write(Path(files.judging(judges, shard)))


def _score_videos(
    study: Study, batch: Batch, judges: str, shard: str, rows: pd.DataFrame, took: Timing
) -> tuple[pd.DataFrame, dict[str, Any]]:
    from promptavideo.judges import load_judges
    from promptavideo.scoring import score_shard

    manifests = [Path(study.files(batch).manifest(one)) for one in study.scored_together(batch, shard)]
    loaded = load_judges(study.judging(judges, batch.track), Path(study.layout.models))
    store = store_of(study, batch.generator)
    stage = f"score {batch.name} shard {shard}" + ("" if judges == REWARDS else f" by {judges}")
    table = score_shard(rows, manifests, loaded, study.metrics(judges, batch.track), store, stage, took)
    return table, environment() | {"rewards": loaded.circumstances()}


def _score_texts(
    study: Study, batch: Batch, judges: str, rows: pd.DataFrame, took: Timing
) -> tuple[pd.DataFrame, dict[str, Any]]:
    from promptavideo.judges import load_judges
    from promptavideo.scoring import KEY

    asked = list(dict.fromkeys(zip(rows["prompt"], rows["refined"], strict=True)))
    found: dict[tuple[str, str], dict[str, float]] = {one: {} for one in asked}
    loaded = load_judges(study.judging(judges, batch.track), Path(study.layout.models))
    for judge in loaded.values():
        with took.measure(len(asked)):
            given = judge.score([prompt for prompt, _ in asked], [text for _, text in asked])
        for one, values in zip(asked, given, strict=True):
            found[one] |= values
    table = rows[KEY].reset_index(drop=True)
    table["key"] = pd.Series([NO_VIDEO] * len(rows), dtype="str")
    values = [found[one] for one in zip(rows["prompt"], rows["refined"], strict=True)]
    names = [metric.name for metric in study.metrics(judges, batch.track)]
    made = table.join(pd.DataFrame(values, columns=names, dtype=float))
    return made, environment() | {"rewards": loaded.circumstances()}


def gather(study: Study, track: str, name: str, judges: str) -> None:
    """Put together what a group of judges found of a batch, and record where it comes from.

    The record comes first, since the table is what others wait for.
    """
    from promptavideo.judging import group_of

    batch, group = study.batch(track, name), group_of(study, judges)
    found = group.join(batch)
    files = study.files(batch)
    with atomic_path(Path(files.origin(judges))) as partial:
        record = _origin(study, batch, group.judges(track)) | found.record
        partial.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    write_table(found.table, Path(files.scores(judges)), found.schema)


def _origin(study: Study, batch: Batch, judges: Mapping[str, Any]) -> dict[str, Any]:
    """What decided a batch and its metrics: code, settings, models, prompts, and what filmed and wrote.

    Args:
        study: The run.
        batch: The batch.
        judges: The entries of the judges that looked at it, by name.
    """
    config, entry = study.config, study.config.generators[batch.generator]
    entries = [one for path in study.manifests(batch) for one in read_manifest(Path(path))]
    filming = provenance.filming(entries, store_of(study, batch.generator))
    models = dict.fromkeys([*entry.models, *(model for judge in judges.values() for model in judge.models)])
    return {
        "code": provenance.code_version(Path()),
        "environment": environment(provenance.ARITHMETIC),
        "run_seed": config.seed,
        "texts": provenance.texts(study, batch),
        "generator": entry.decides(),
        "prompt_set": provenance.prompt_set(batch.prompts, config.prompt_sets[batch.prompts], Path()),
        "models": [provenance.model(Path(study.layout.model(one))) for one in models],
        **provenance.writers(study, batch),
        "others": provenance.others(study, batch, judges, filming),
        "filming": filming,
        **provenance.filmed(entries),
        **provenance.written([timing.read(Path(path)) for path in study.writing(batch)]),
    }


def _named(batches: Any) -> str:
    return ", ".join(dict.fromkeys(batch.name for batch in batches))
