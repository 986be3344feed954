"""Steps that bring in what comes from outside: models, prompt sets, and the check of the boosters' base model."""

import json
from pathlib import Path

from promptavideo.errors import InputError
from promptavideo.files import write_text
from promptavideo.study import Study


def fetch_model(study: Study, name: str) -> None:
    """Put one model on disk, verified."""
    from promptavideo.models import fetch

    entry = study.config.models[name]
    folders = {needed: Path(study.layout.model(needed)) for needed in entry.models}
    fetch(name, entry, Path(study.layout.model(name)), folders)


def read_prompt_source(study: Study, name: str) -> None:
    """Read a source of captions once into the table that prompt sets are slices of."""
    from promptavideo.captions import read_source

    entry = study.config.prompt_sources[name]
    table, record = study.layout.prompt_source(name), study.layout.source_record(name)
    without = {other: Path(study.layout.prompt_source(other)) for other in entry.without}
    read_source(name, entry, Path(), Path(table), Path(record), without)


def read_pair_source(study: Study, name: str) -> None:
    """Read a source of released pairs once into the table that boosters learn from."""
    from promptavideo.pairs import read_pairs
    from promptavideo.schemas import PROMPT_SET, read_table

    table, record = study.layout.pair_source(name), study.layout.pair_record(name)
    tests = {one: read_table(Path(study.layout.prompt_set(one)), PROMPT_SET)["prompt"] for one in study.evaluated()}
    read_pairs(name, study.config.pair_sources[name], Path(), Path(table), Path(record), tests)


def read_instruction(study: Study, refiner: str) -> None:
    """Read a refiner's instruction out of a published file, whose digest is checked."""
    published, path = study.config.refiners[refiner].published, study.instruction(refiner)
    if published is None or path is None:
        raise InputError(f"refiners.{refiner}: its instruction is in no published file")
    write_text(Path(path), published.read(f"refiners.{refiner}.instruction"))


def read_prompt_set(study: Study, name: str) -> None:
    """Read a prompt set from its file or source into a checked table, apart from those that boosters learn from."""
    from promptavideo.prompts import check_disjoint, check_styles, load_prompt_set
    from promptavideo.schemas import PROMPT_SET, read_table, write_table
    from promptavideo.vbench.rows import check_judged, read_rows

    table = load_prompt_set(name, study.config.prompt_sets[name], Path())
    paths = {other: Path(study.layout.prompt_set(other)) for other in study.apart(name)}
    others = {other: read_table(path, PROMPT_SET) for other, path in paths.items()}
    check_disjoint(others | {name: table}, [(name, other) for other in others])
    for evaluated, entry in study.config.evaluation.sets.items():
        if entry.styles and entry.prompts == name:
            check_styles(evaluated, entry.styles, name, table)
    if judged := study.vbench.judging(name):
        texts = dict(zip(table["prompt_id"], table["prompt"], strict=True))
        check_judged(texts, judged, read_rows(Path(study.layout.vbench_rows)))
    write_table(table, Path(study.layout.prompt_set(name)), PROMPT_SET)


def check_base(study: Study) -> None:
    """Check that the base model can be a booster's, before anything is filmed for its training."""
    from promptavideo.boosters import base

    settings = study.config.booster
    record = {"base": settings.base, **base.check_base(Path(study.layout.model(settings.base)), settings)}
    write_text(Path(study.layout.base), json.dumps(record, indent=1) + "\n")


def read_reader(study: Study, track: str) -> None:
    """Record what the generator of a track reads of a text, for those who write for it."""
    from promptavideo.reading import write_reader

    entry = study.config.generators[track]
    write_reader(Path(study.layout.reader(track)), entry.reader(Path(study.layout.model(entry.models[0]))))


def measure_card(study: Study, name: str) -> None:
    """Film fresh scenes of the miniature's world in good, short and bad wording, and write the generator's card."""
    from promptavideo.miniature.acceptance import measure, write_card
    from promptavideo.progress import Progress
    from promptavideo.sheets import contact_sheet
    from promptavideo.shots import Shot
    from promptavideo.video import Clip

    entry, folder = study.config.generators[name], Path(study.layout.track(name), "card")
    generator = entry.load(name, [Path(study.layout.model(one)) for one in entry.models], None)

    def film(shots: list[Shot]) -> list[Clip]:
        progress = Progress("card", len(shots), f"{entry.filmed}s")
        clips: list[Clip] = []
        for start in range(0, len(shots), generator.batch_size):
            made = list(generator.film(shots[start : start + generator.batch_size]))
            clips += [clip for clip in made if isinstance(clip, Clip)]
            progress.advance(len(made))
        return clips

    report = measure(film, study.config.seed, dialect=study.dialect(name), medium=entry.filmed)
    write_card(report, folder / "card.md")
    contact_sheet(report.examples, folder / "contact_sheet.png")
