"""Write a booster of a run as one small adapter, with all that its use takes, into a folder of its own."""

from argparse import Namespace
from pathlib import Path

from promptavideo import cli
from promptavideo.use.ship import ship

parser = cli.parser(__doc__, "track", "booster")
parser.add_argument("--export", type=Path, required=True, help="the folder to write")
parser.add_argument("--rank", type=int, default=24)


def main(options: Namespace) -> None:
    """Write it."""
    ship(cli.study(options), options.track, options.booster, options.export, options.rank)


if __name__ == "__main__":
    cli.run(parser.parse_args(), main)
