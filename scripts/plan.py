"""Print what a run takes and what of it is done: videos, requests, tokens, GPU-hours and money, by track and stage."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.errors import InputError
from promptavideo.estimate import Estimate, as_reference, as_table, describe, probe_here
from promptavideo.probe import Speed

parser = cli.parser(__doc__)


def main(options: Namespace) -> None:
    """Estimate and print; nothing is written."""
    study = cli.study(options)
    measured = None
    try:
        measured = probe_here(study.config, Path(__file__).parents[1], study.tracks)
    except InputError as error:
        cli.say(f"expected times are those of the reference machine, since {error}")
    estimate = Estimate(study, Path(), Speed.of(measured, study.config.planning.reference))
    rows = [row for track in study.tracks for row in estimate.rows(track)]
    cli.say(describe(as_table(rows), estimate, study.config))
    if measured:
        cli.say(as_reference(measured))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
