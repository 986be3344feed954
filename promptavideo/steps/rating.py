"""The steps of the user study: the plan with its page, and the votes that came back."""

from pathlib import Path

from promptavideo.results import store_of
from promptavideo.study import Study


def plan(study: Study) -> None:
    """Plan a run's user study, and write the folder that raters see."""
    from promptavideo.rating import folder, site
    from promptavideo.rating import plan as plans

    found, given = plans.wanted(study)
    made = plans.make(study)
    folder.check_replaced(Path(given.votes), made.id)
    store = store_of(study, found.track)
    batches = [study.evaluation(found.track, found.set, name) for name in found.refiners]
    entries = store.of_manifests(Path(path) for batch in batches for path in study.manifests(batch))
    site.write(made, store, entries, Path(study.layout.study_site))
    plans.write(made, Path(study.layout.study_plan))


def collect(study: Study) -> None:
    """Read the votes of a run's user study into one table, and say what was left out and why."""
    from promptavideo.rating import collect as collecting
    from promptavideo.rating import plan as plans

    made = plans.read(Path(study.layout.study_plan))
    votes, record = collecting.collect(made, [Path(file) for file in study.votes])
    collecting.write(votes, record, Path(study.layout.study_votes), Path(study.layout.study_record))
