"""Print what a run takes and what of it is done, by generator and stage."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.config import Config
from promptavideo.errors import InputError
from promptavideo.estimate import Estimate, as_reference, as_table, describe, probe_here, speed_of

parser = cli.parser(__doc__)
parser.add_argument("--config", type=cli.settings(Config), required=True, help="the whole checked configuration")


def main(options: Namespace) -> None:
    """Reckon and print; nothing is written."""
    config: Config = options.config
    measured = None
    try:
        measured = probe_here(config, Path(__file__).parents[1], config.generators)
    except InputError as error:
        cli.say(f"expected times are those of the reference machine, since {error}")
    estimate = Estimate(config, Path(), speed_of(config, measured))
    rows = [row for generator in config.generators for row in estimate.rows(generator)]
    cli.say(describe(as_table(rows), estimate, config))
    if measured:
        cli.say(as_reference(measured))


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
